/* SPDX-License-Identifier: MIT
 *
 * tls.c - streams in memory: against each other in every split of the bytes, and against OpenSSL's own client where the
 * test wants to be wrong or needs what a stream does not offer (old versions, key updates, renegotiation, tickets).
 */
#include "limits.h"

#include "context.h"
#include "seed.h"
#include "stream.h"
#include "tls_files.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

static struct pair authority, here;
static struct rc_tls_tickets *tickets;

static void prepare(void)
{
	authority = make_pair("authority", NULL, NULL);
	here = make_pair("here", "DNS:here.example,IP:127.0.0.1", &authority);
	tickets = rc_tls_tickets_new();
	rc_tls_tickets_turn(tickets, 1);
}

TestSuite(tls, .init = prepare);

static struct rc_tls_context *server_of(const struct pair *pair, const struct pair *client_authority, bool optional)
{
	struct rc_tls_pair files = { pair->path, pair->key_path };
	struct rc_tls_options options = { .pairs = &files, .pair_count = 1, .client_optional = optional };
	struct rc_error error = { 0 };
	if (client_authority)
		options.client_ca = client_authority->path;
	struct rc_tls_context *context = rc_tls_context_server(&options, tickets, &error);
	cr_assert_not_null(context, "%s", error.text);
	return context;
}

static struct rc_tls_context *client_of(const struct pair *trusted, const struct pair *shown)
{
	struct rc_tls_client_options options = { .insecure = !trusted };
	struct rc_error error = { 0 };
	if (trusted)
		options.ca = trusted->path;
	if (shown) {
		options.certificate = shown->path;
		options.key = shown->key_path;
	}
	struct rc_tls_context *context = rc_tls_context_client(&options, &error);
	cr_assert_not_null(context, "%s", error.text);
	return context;
}

/* ---- one side: a stream, its wire, and what it has said ---- */

struct side {
	struct rc_tls_wire wire;
	struct rc_tls_stream *stream;
	uint8_t out[512 * 1024];
	size_t out_size;
	uint8_t plain[256 * 1024];
	size_t plain_size;
	enum rc_tls_result result; /* of the last call */
	size_t room;               /* given to a call; 0: plenty */
};

static void begin(struct side *side)
{
	size_t room = side->room ? side->room : sizeof side->out - side->out_size;
	side->wire.out = side->out + side->out_size;
	side->wire.out_end = side->wire.out + room;
}

static void done(struct side *side) { side->out_size = (size_t)(side->wire.out - side->out); }

static struct side *new_side(struct rc_tls_context *context, const char *host)
{
	struct side *side = calloc(1, sizeof *side);
	cr_assert_eq(rc_tls_wire_open(&side->wire), 0);
	side->stream = host ? rc_tls_stream_client(context, &side->wire, host)
	                    : rc_tls_stream_server(context, &side->wire);
	cr_assert_not_null(side->stream);
	rc_tls_context_release(context); /* the stream keeps it */
	return side;
}

static void free_side(struct side *side)
{
	rc_tls_stream_free(side->stream);
	rc_tls_wire_close(&side->wire);
	free(side);
}

static void take(struct side *side, const uint8_t *bytes, size_t size)
{
	side->wire.in = bytes;
	side->wire.in_end = bytes + size;
	side->result = RC_TLS_DONE;
	while (side->result == RC_TLS_DONE || side->result == RC_TLS_FULL) {
		size_t got = 0;
		begin(side);
		side->result = rc_tls_is_open(side->stream)
		                   ? rc_tls_read(side->stream, side->plain + side->plain_size, &got)
		                   : rc_tls_handshake(side->stream);
		done(side);
		if (side->result == RC_TLS_DONE)
			side->plain_size += got;
		cr_assert(side->plain_size <= sizeof side->plain - RC_TLS_RECORD_MAX);
	}
	if (side->result == RC_TLS_MORE)
		cr_assert_eq(side->wire.in, side->wire.in_end, "asks for more with bytes left");
}

static enum rc_tls_result say(struct side *side, const void *bytes, size_t size)
{
	begin(side);
	enum rc_tls_result result = rc_tls_write(side->stream, bytes, size);
	done(side);
	return result;
}

static uint64_t seed;

/* Hands over all that one side said, in pieces of 1 to `piece_max` bytes. */
static void carry(struct side *from, struct side *to, size_t piece_max)
{
	static uint8_t bytes[sizeof from->out];
	size_t size = from->out_size;
	memcpy(bytes, from->out, size);
	from->out_size = 0;
	for (size_t at = 0, some; at < size && to->result != RC_TLS_FAILED && to->result != RC_TLS_CLOSED; at += some) {
		some = 1 + below(&seed, piece_max);
		if (some > size - at)
			some = size - at;
		take(to, bytes + at, some);
	}
}

static void meet(struct side *client, struct side *server, size_t piece_max)
{
	take(client, NULL, 0);
	for (int turn = 0; turn < 8 && (client->out_size || server->out_size); turn++) {
		carry(client, server, piece_max);
		carry(server, client, piece_max);
	}
}

Test(tls, every_split)
{
	static const size_t pieces[] = { 1, 2, 3, 5, 7, 16, 100, 1000, 16384, 65536 };
	seed = seed_of("every_split");
	uint8_t text[40000];
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (uint8_t)chance(&seed);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		struct side *client = new_side(client_of(&authority, NULL), "here.example");
		meet(client, server, pieces[i]);
		cr_assert(rc_tls_is_open(client->stream) && rc_tls_is_open(server->stream), "pieces of %zu: %s",
		          pieces[i], ERR_error_string(ERR_peek_error(), NULL));
		for (size_t at = 0, some; at < sizeof text; at += some) {
			some = RC_TLS_RECORD_MAX < sizeof text - at ? RC_TLS_RECORD_MAX : sizeof text - at;
			cr_assert_eq(say(server, text + at, some), RC_TLS_DONE);
		}
		cr_assert(server->out_size <= sizeof text + 3 * RC_TLS_OVERHEAD_MAX, "records of 16 KB");
		carry(server, client, pieces[i]);
		cr_assert_eq(client->plain_size, sizeof text, "pieces of %zu", pieces[i]);
		cr_assert(!memcmp(client->plain, text, sizeof text), "pieces of %zu", pieces[i]);
		say(client, "ok", 2);
		carry(client, server, pieces[i]);
		cr_assert(server->plain_size == 2 && !memcmp(server->plain, "ok", 2));
		begin(client);
		cr_expect(rc_tls_close(client->stream));
		cr_expect_not(rc_tls_close(client->stream), "said once");
		done(client);
		carry(client, server, pieces[i]);
		cr_expect_eq(server->result, RC_TLS_CLOSED);
		cr_expect(rc_tls_saw_close(server->stream));
		cr_expect_not(rc_tls_saw_close(client->stream));
		free_side(server);
		free_side(client);
	}
}

Test(tls, little_room)
{
	seed = seed_of("little_room");
	struct side *server = new_side(server_of(&here, NULL, false), NULL);
	struct side *client = new_side(client_of(&authority, NULL), "here.example");
	server->room = client->room = 50;
	meet(client, server, 1000);
	cr_assert(rc_tls_is_open(client->stream) && rc_tls_is_open(server->stream));
	free_side(server);
	free_side(client);
}

Test(tls, hosts)
{
	static const struct {
		const char *host;
		bool trusts, opens;
	} cases[] = {
		{ "here.example", true, true },   { "127.0.0.1", true, true }, { "there.example", true, false },
		{ "127.0.0.2", true, false },     { "::1", true, false },      { "there.example", false, true },
		{ "x.here.example", true, false },
	};
	seed = seed_of("hosts");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		struct side *client = new_side(client_of(cases[i].trusts ? &authority : NULL, NULL), cases[i].host);
		meet(client, server, 1000);
		cr_expect_eq(rc_tls_is_open(client->stream), cases[i].opens, "%s", cases[i].host);
		bool distrusted;
		const char *why = rc_tls_why(client->stream, &distrusted);
		cr_expect_eq(distrusted, !cases[i].opens, "%s: %s", cases[i].host, why);
		if (!cases[i].opens)
			cr_expect(strstr(why, "mismatch"), "%s", why);
		free_side(server);
		free_side(client);
	}
	struct pair other = make_pair("other authority", NULL, NULL);
	struct side *server = new_side(server_of(&here, NULL, false), NULL);
	struct side *client = new_side(client_of(&other, NULL), "here.example");
	bool distrusted;
	meet(client, server, 1000);
	cr_expect_eq(client->result, RC_TLS_FAILED);
	cr_expect(strstr(rc_tls_why(client->stream, &distrusted), "issuer") && distrusted);
	cr_expect_eq(server->result, RC_TLS_FAILED, "the client's alert came");
	free_side(server);
	free_side(client);
}

Test(tls, client_certificates)
{
	struct pair member = make_pair("member", NULL, &authority), stranger = make_pair("stranger", NULL, NULL);
	const struct {
		const struct pair *shown;
		bool optional, opens;
		const char *subject;
	} cases[] = {
		{ &member, false, true, "CN=member,O=Example" },
		{ &member, true, true, "CN=member,O=Example" },
		{ NULL, false, false, NULL },
		{ NULL, true, true, NULL },
		{ &stranger, false, false, NULL },
		{ &stranger, true, false, NULL },
	};
	seed = seed_of("client_certificates");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char subject[64] = "";
		struct side *server = new_side(server_of(&here, &authority, cases[i].optional), NULL);
		struct side *client = new_side(client_of(&authority, cases[i].shown), "here.example");
		meet(client, server, 1000);
		cr_expect_eq(rc_tls_is_open(server->stream), cases[i].opens, "case %zu", i);
		cr_expect_eq(rc_tls_subject(server->stream, subject, sizeof subject), cases[i].subject != NULL, "case %zu", i);
		if (cases[i].subject)
			cr_expect_str_eq(subject, cases[i].subject);
		free_side(server);
		free_side(client);
	}
}

Test(tls, changed_bytes)
{
	seed = seed_of("changed_bytes");
	/* Every byte of a record counts: header, ciphertext, tag. The second byte is only a legacy version. */
	for (size_t at = 0; at < 5 + 5 + 1 + 16; at++) {
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		struct side *client = new_side(client_of(&authority, NULL), "here.example");
		meet(client, server, 1000);
		say(client, "hello", 5);
		cr_assert_eq(client->out_size, 5 + 5 + 1 + 16, "TLS 1.3, AES-128-GCM");
		client->out[at] ^= (uint8_t)(1 << below(&seed, 7));
		carry(client, server, 1000);
		cr_expect_eq(server->plain_size, 0, "byte %zu", at);
		if (at < 3 || at > 4) { /* a changed length may only make it wait for more */
			cr_expect_eq(server->result, RC_TLS_FAILED, "byte %zu", at);
			cr_expect_gt(server->out_size, 0, "an alert, byte %zu", at);
			cr_expect_eq(say(server, "x", 1), RC_TLS_FAILED, "over is over");
		}
		free_side(server);
		free_side(client);
	}
}

Test(tls, garbage)
{
	static const char *const openings[] = {
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-OpenSSH_9\r\n", "\x16\x03\x01\x50\x00" "too long a record ...",
		"\x15\x03\x01\x00\x02\x02\x28", "\x17\x03\x03\x00\x05hello", "\x80\x0b\x01\x00\x02\x00\x15\x00\x00\x00\x10\x00\x00",
	};
	static const size_t sizes[] = { 27, 19, 26, 7, 10, 13 };
	for (size_t i = 0; i < sizeof openings / sizeof *openings; i++) {
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		take(server, (const uint8_t *)openings[i], sizes[i]);
		bool distrusted;
		cr_expect_eq(server->result, RC_TLS_FAILED, "opening %zu", i);
		cr_expect_str_neq(rc_tls_why(server->stream, &distrusted), "", "opening %zu", i);
		free_side(server);
	}
	seed = seed_of("garbage");
	for (int round = 0; round < 200; round++) {
		uint8_t bytes[4096];
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (uint8_t)chance(&seed);
		bytes[0] &= 0x7f; /* above it may be the length of an SSL 2.0 hello, whose rest would be waited for */
		bytes[1] |= 0x80; /* 3 is a version, and behind it may be a length that is waited for */
		if (round % 2)    /* a record that is whole, of a ClientHello that is */
			memcpy(bytes, "\x16\x03\x01\x0f\xfb\x01\x00\x0f\xf7", 9);
		take(server, bytes, sizeof bytes);
		cr_expect_eq(server->result, RC_TLS_FAILED, "round %d", round);
		free_side(server);
	}
}

/* ---- against OpenSSL's own client ---- */

struct peer {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
};

static struct peer new_peer(int version, SSL_SESSION *session, const char *protocols)
{
	struct peer peer = { .ctx = SSL_CTX_new(TLS_client_method()) };
	SSL_CTX_set_security_level(peer.ctx, 0); /* it may be as old as a test wishes */
	if (version) {
		SSL_CTX_set_min_proto_version(peer.ctx, version);
		SSL_CTX_set_max_proto_version(peer.ctx, version);
	}
	peer.ssl = SSL_new(peer.ctx);
	peer.in = BIO_new(BIO_s_mem());
	peer.out = BIO_new(BIO_s_mem());
	SSL_set_bio(peer.ssl, peer.in, peer.out);
	SSL_set_connect_state(peer.ssl);
	if (session)
		SSL_set_session(peer.ssl, session);
	if (protocols)
		SSL_set_alpn_protos(peer.ssl, (const unsigned char *)protocols, (unsigned)strlen(protocols));
	return peer;
}

static void free_peer(struct peer *peer)
{
	SSL_free(peer->ssl);
	SSL_CTX_free(peer->ctx);
}

static unsigned long peer_error; /* of the last talk, the first */

/* To and fro until nobody has anything to say. What the peer reads is returned. */
static int talk(struct peer *peer, struct side *server, char *to, int to_size)
{
	int got = 0, some;
	peer_error = 0;
	for (int turn = 0; turn < 8; turn++) {
		char *bytes;
		uint8_t none;
		ERR_clear_error();
		if (!SSL_is_init_finished(peer->ssl))
			SSL_do_handshake(peer->ssl);
		while ((some = SSL_read(peer->ssl, to ? to + got : (char *)&none, to ? to_size - got : 1)) > 0)
			got += some;
		if (!peer_error)
			peer_error = ERR_peek_error();
		long size = BIO_get_mem_data(peer->out, &bytes);
		if (size && server->result != RC_TLS_FAILED)
			take(server, (const uint8_t *)bytes, (size_t)size);
		(void)BIO_reset(peer->out);
		BIO_write(peer->in, server->out, (int)server->out_size);
		server->out_size = 0;
	}
	return got;
}

Test(tls, versions)
{
	static const struct {
		int version;
		bool opens;
	} cases[] = { { TLS1_VERSION, false }, { TLS1_1_VERSION, false }, { TLS1_2_VERSION, true }, { TLS1_3_VERSION, true } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[64];
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		struct peer peer = new_peer(cases[i].version, NULL, NULL);
		talk(&peer, server, NULL, 0);
		cr_expect_eq(rc_tls_is_open(server->stream), cases[i].opens, "version %x", cases[i].version);
		if (cases[i].opens) {
			SSL_write(peer.ssl, "question", 8);
			talk(&peer, server, NULL, 0);
			cr_expect(server->plain_size == 8 && !memcmp(server->plain, "question", 8));
			cr_expect_eq(say(server, "answer", 6), RC_TLS_DONE);
			cr_expect_eq(talk(&peer, server, text, sizeof text), 6);
			cr_expect(strstr(SSL_get_cipher_name(peer.ssl), "AES_128_GCM") || strstr(SSL_get_cipher_name(peer.ssl), "AES128-GCM"));
		}
		free_peer(&peer);
		free_side(server);
	}
}

Test(tls, protocols)
{
	static const struct {
		const char *offered;
		bool opens, chosen;
	} cases[] = { { NULL, true, false }, { "\x08http/1.1", true, true }, { "\x02h2\x08http/1.1", true, true }, { "\x02h2", false, false } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		struct peer peer = new_peer(0, NULL, cases[i].offered);
		const unsigned char *chosen;
		unsigned size;
		talk(&peer, server, NULL, 0);
		cr_expect_eq(rc_tls_is_open(server->stream), cases[i].opens, "case %zu", i);
		SSL_get0_alpn_selected(peer.ssl, &chosen, &size);
		cr_expect_eq(size, cases[i].chosen ? 8 : 0, "case %zu", i);
		free_peer(&peer);
		free_side(server);
	}
}

Test(tls, key_update)
{
	char text[64];
	struct side *server = new_side(server_of(&here, NULL, false), NULL);
	struct peer peer = new_peer(TLS1_3_VERSION, NULL, NULL);
	talk(&peer, server, NULL, 0);
	for (int i = 0; i < 20; i++) {
		cr_assert(SSL_key_update(peer.ssl, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED));
		SSL_write(peer.ssl, "new keys", 8);
		server->plain_size = 0;
		talk(&peer, server, NULL, 0);
		cr_assert(server->plain_size == 8 && !memcmp(server->plain, "new keys", 8), "update %d", i);
		cr_assert_eq(say(server, "mine too", 8), RC_TLS_DONE);
		cr_assert_eq(talk(&peer, server, text, sizeof text), 8, "update %d", i);
	}
	free_peer(&peer);
	free_side(server);
}

static void count_update(int written, int version, int type, const void *bytes, size_t size, SSL *ssl, void *count)
{
	(void)version, (void)ssl;
	if (!written && type == SSL3_RT_HANDSHAKE && size && *(const uint8_t *)bytes == SSL3_MT_KEY_UPDATE)
		++*(int *)count;
}

/* RFC 8446, section 4.6.3: who is asked for new keys takes some, also when data came right behind the question and we have
 * nothing to say ourselves. */
Test(tls, key_update_is_answered)
{
	for (int with_data = 0; with_data < 2; with_data++) {
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		struct peer peer = new_peer(TLS1_3_VERSION, NULL, NULL);
		int count = 0;
		talk(&peer, server, NULL, 0);
		SSL_set_msg_callback(peer.ssl, count_update);
		SSL_set_msg_callback_arg(peer.ssl, &count);
		for (int i = 1; i <= 5; i++) {
			cr_assert(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED) && SSL_do_handshake(peer.ssl));
			if (with_data)
				cr_assert(SSL_write(peer.ssl, "behind", 6) == 6);
			talk(&peer, server, NULL, 0);
			cr_expect_eq(count, i, "data %d: %d answers to %d", with_data, count, i);
		}
		cr_expect(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) && SSL_do_handshake(peer.ssl));
		talk(&peer, server, NULL, 0);
		cr_expect_eq(count, 5, "nobody asked");
		free_peer(&peer);
		free_side(server);
	}
}

/* OpenSSL reads what our own records say, in each suite, over many of them and over new keys of both sides. */
Test(tls, own_records)
{
	static const char *const suites[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256" };
	static char text[40000], got[sizeof text];
	seed = seed_of("own_records");
	for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) {
		struct side *server = new_side(server_of(&here, NULL, false), NULL);
		struct peer peer = new_peer(TLS1_3_VERSION, NULL, NULL);
		cr_assert(SSL_set_ciphersuites(peer.ssl, suites[i]));
		talk(&peer, server, NULL, 0);
		cr_assert_str_eq(SSL_get_cipher_name(peer.ssl), suites[i]);
		for (int record = 0; record < 300; record++) {
			int size = 1 + (record % 50 ? (int)below(&seed, 300) : RC_TLS_RECORD_MAX - 1);
			for (int at = 0; at < size; at++)
				text[at] = (char)chance(&seed);
			if (record % 40 == 39) {
				begin(server);
				cr_assert(rc_tls_update_keys(server->stream));
				done(server);
			}
			if (record % 60 == 59)
				cr_assert(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED) && SSL_write(peer.ssl, "x", 1) == 1);
			cr_assert_eq(say(server, text, (size_t)size), RC_TLS_DONE);
			cr_assert_eq(talk(&peer, server, got, sizeof got), size, "%s record %d", suites[i], record);
			cr_assert(!memcmp(got, text, (size_t)size), "%s record %d", suites[i], record);
		}
		begin(server);
		cr_expect(rc_tls_close(server->stream));
		done(server);
		talk(&peer, server, NULL, 0);
		cr_expect_eq(SSL_get_shutdown(peer.ssl), SSL_RECEIVED_SHUTDOWN, "the peer read the close_notify");
		free_peer(&peer);
		free_side(server);
	}
}

/* What is wrong is answered by an alert that the peer can read. */
Test(tls, readable_alert)
{
	struct side *server = new_side(server_of(&here, NULL, false), NULL);
	struct peer peer = new_peer(TLS1_3_VERSION, NULL, NULL);
	talk(&peer, server, NULL, 0);
	for (int i = 0; i < 40; i++)
		say(server, "before", 6);
	take(server, (const uint8_t *)"\x17\x03\x03\x00\x20" "0123456789abcdef0123456789abcdef", 37);
	cr_assert_eq(server->result, RC_TLS_FAILED);
	talk(&peer, server, NULL, 0);
	cr_expect_eq(ERR_GET_REASON(peer_error), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC, "%s", ERR_error_string(peer_error, NULL));
	free_peer(&peer);
	free_side(server);
}

Test(tls, renegotiation)
{
	struct side *server = new_side(server_of(&here, NULL, false), NULL);
	struct peer peer = new_peer(TLS1_2_VERSION, NULL, NULL);
	talk(&peer, server, NULL, 0);
	cr_assert(rc_tls_is_open(server->stream));
	cr_assert_eq(SSL_renegotiate(peer.ssl), 1);
	SSL_do_handshake(peer.ssl);
	talk(&peer, server, NULL, 0);
	bool distrusted;
	cr_expect_eq(server->result, RC_TLS_FAILED);
	cr_expect_str_eq(rc_tls_why(server->stream, &distrusted), "renegotiation is not allowed");
	free_peer(&peer);
	free_side(server);
}

static SSL_SESSION *session_of_last;

static int remember(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(session_of_last);
	session_of_last = session;
	return 1;
}

/* Meets the server with the last session, if any. Returns whether that was resumed. */
static bool resumes(int version, struct rc_tls_context *context)
{
	struct side *server = new_side(context, NULL);
	struct peer peer = new_peer(version, session_of_last, NULL);
	SSL_CTX_set_session_cache_mode(peer.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(peer.ctx, remember);
	talk(&peer, server, NULL, 0);
	cr_assert(rc_tls_is_open(server->stream));
	bool resumed = rc_tls_is_resumed(server->stream);
	cr_assert_eq(resumed, SSL_session_reused(peer.ssl));
	SSL_shutdown(peer.ssl);
	free_peer(&peer);
	free_side(server);
	return resumed;
}

Test(tls, resumption)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	const uint64_t turn_ns = (uint64_t)RC_TLS_TICKET_TURN_S * 1000000000;
	for (size_t i = 0; i < 2; i++) {
		uint64_t now_ns = 1 + i * 100 * turn_ns;
		struct pair member = make_pair("member", NULL, &authority);
		session_of_last = NULL;
		rc_tls_tickets_turn(tickets, now_ns);
		cr_expect_not(resumes(versions[i], server_of(&here, NULL, false)), "nothing to resume yet");
		cr_expect(resumes(versions[i], server_of(&here, NULL, false)), "another context, as after a reload");
		SSL_SESSION *old = SSL_SESSION_dup(session_of_last);
		rc_tls_tickets_turn(tickets, now_ns + turn_ns - 1);
		cr_expect(resumes(versions[i], server_of(&here, NULL, false)), "not yet time for a new key, %zu", i);
		rc_tls_tickets_turn(tickets, now_ns + turn_ns);
		cr_expect(resumes(versions[i], server_of(&here, NULL, false)), "the key before still opens");
		cr_expect_not(resumes(versions[i], server_of(&here, &member, true)), "other authorities for clients");
		SSL_SESSION_free(session_of_last);
		session_of_last = old;
		rc_tls_tickets_turn(tickets, now_ns + 2 * turn_ns);
		cr_expect_not(resumes(versions[i], server_of(&here, NULL, false)), "that key is gone");
		SSL_SESSION_free(session_of_last);
	}
}

/* The name that the server's certificate bears when this one is asked for. */
static void expect_name(struct rc_tls_context *context, const char *asked, const char *want)
{
	char name[64] = "";
	struct side *server = new_side(rc_tls_context_keep(context), NULL);
	struct peer peer = new_peer(0, NULL, NULL);
	if (asked)
		SSL_set_tlsext_host_name(peer.ssl, asked);
	talk(&peer, server, NULL, 0);
	X509 *certificate = SSL_get0_peer_certificate(peer.ssl);
	cr_assert_not_null(certificate, "%s", asked ? asked : "(none)");
	X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
	cr_expect_str_eq(name, want, "asked for %s", asked ? asked : "(none)");
	free_peer(&peer);
	free_side(server);
}

Test(tls, names)
{
	struct pair one = make_pair("one", "DNS:one.example,DNS:*.one.example", &authority);
	struct pair two = make_pair("two", "DNS:two.example", &authority);
	const struct rc_tls_pair files[] = { { here.path, here.key_path }, { one.path, one.key_path }, { two.path, two.key_path } };
	struct rc_tls_options options = { .pairs = files, .pair_count = 3 };
	struct rc_tls_context *context = rc_tls_context_server(&options, tickets, NULL);
	cr_assert_not_null(context);
	expect_name(context, NULL, "here");
	expect_name(context, "here.example", "here");
	expect_name(context, "one.example", "one");
	expect_name(context, "A.one.example", "one");
	expect_name(context, "a.b.one.example", "here");
	expect_name(context, "two.example", "two");
	expect_name(context, "a.two.example", "here");
	expect_name(context, "unknown.example", "here");
	rc_tls_context_release(context);
}

Test(tls, wrong_files)
{
	char empty[64], locked[64];
	struct pair other = make_pair("other", NULL, NULL);
	snprintf(empty, sizeof empty, "%s/empty", temporary());
	snprintf(locked, sizeof locked, "%s/locked", temporary());
	fclose(fopen(empty, "w"));
	FILE *file = fopen(locked, "w");
	PEM_write_PKCS8PrivateKey(file, here.key, EVP_aes_128_cbc(), "word", 4, NULL, NULL);
	fclose(file);
	const struct {
		const char *certificate, *key, *client_ca, *word, *named;
		int code;
	} cases[] = {
		{ "/nowhere", here.key_path, NULL, "No such file", "/nowhere", -ENOENT },
		{ here.path, "/nowhere", NULL, "No such file", "/nowhere", -ENOENT },
		{ empty, here.key_path, NULL, "cannot be used", empty, -EINVAL },
		{ here.path, empty, NULL, "cannot be used", empty, -EINVAL },
		{ here.path, other.key_path, NULL, "not the key", other.key_path, -EINVAL },
		{ here.path, locked, NULL, "cannot be used", locked, -EINVAL },
		{ here.key_path, here.path, NULL, "cannot be used", here.key_path, -EINVAL },
		{ here.path, here.key_path, "/nowhere", "authority", "/nowhere", -ENOENT },
		{ here.path, here.key_path, empty, "authority", empty, -EINVAL },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_tls_pair files = { cases[i].certificate, cases[i].key };
		struct rc_tls_options options = { .pairs = &files, .pair_count = 1, .client_ca = cases[i].client_ca };
		struct rc_error error = { 0 };
		cr_expect_null(rc_tls_context_server(&options, tickets, &error), "case %zu", i);
		cr_expect_eq(error.code, cases[i].code, "case %zu: %s", i, error.text);
		cr_expect(strstr(error.text, cases[i].word) && strstr(error.text, cases[i].named), "case %zu: %s", i, error.text);
	}
	struct rc_tls_options none = { 0 };
	cr_expect_null(rc_tls_context_server(&none, tickets, NULL));
	struct rc_tls_client_options half = { .certificate = here.path };
	cr_expect_null(rc_tls_context_client(&half, NULL));
}
