/* SPDX-License-Identifier: MIT
 *
 * tls_peer.c - streams in memory against OpenSSL's own client, where the test wants to be wrong or needs what a stream
 * does not offer: old versions, key updates, renegotiation, tickets, names.
 */
#include "bounds.h"

#include "seed.h"
#include "tls_side.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

TestSuite(tls_peer, .init = prepare);

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

Test(tls_peer, versions)
{
	static const struct {
		int version;
		bool opens;
	} cases[] = {
		{ TLS1_VERSION, false }, { TLS1_1_VERSION, false }, { TLS1_2_VERSION, true }, { TLS1_3_VERSION, true }
	};
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
			cr_expect(strstr(SSL_get_cipher_name(peer.ssl), "AES_128_GCM") ||
			          strstr(SSL_get_cipher_name(peer.ssl), "AES128-GCM"));
		}
		free_peer(&peer);
		free_side(server);
	}
}

Test(tls_peer, protocols)
{
	static const struct {
		const char *offered;
		bool opens, chosen;
	} cases[] = { { NULL, true, false },
		      { "\x08http/1.1", true, true },
		      { "\x02h2\x08http/1.1", true, true },
		      { "\x02h2", false, false } };
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

Test(tls_peer, key_update)
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

/* RFC 8446, section 4.6.3: who is asked for new keys takes some, also when data came right behind the question and we
 * have nothing to say ourselves. */
Test(tls_peer, key_update_is_answered)
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
Test(tls_peer, own_records)
{
	static const char *const suites[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
		                              "TLS_CHACHA20_POLY1305_SHA256" };
	static char text[40000], got[sizeof text];
	uint64_t seed = seed_of("own_records");
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
				cr_assert(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED) &&
				          SSL_write(peer.ssl, "x", 1) == 1);
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
Test(tls_peer, readable_alert)
{
	struct side *server = new_side(server_of(&here, NULL, false), NULL);
	struct peer peer = new_peer(TLS1_3_VERSION, NULL, NULL);
	talk(&peer, server, NULL, 0);
	for (int i = 0; i < 40; i++)
		say(server, "before", 6);
	take(server,
	     (const uint8_t *)"\x17\x03\x03\x00\x20"
	                      "0123456789abcdef0123456789abcdef",
	     37);
	cr_assert_eq(server->result, RC_TLS_FAILED);
	talk(&peer, server, NULL, 0);
	cr_expect_eq(ERR_GET_REASON(peer_error), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC, "%s",
	             ERR_error_string(peer_error, NULL));
	free_peer(&peer);
	free_side(server);
}

Test(tls_peer, renegotiation)
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

Test(tls_peer, resumption)
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
		cr_expect_not(resumes(versions[i], server_of(&here, &member, true)), "a session begun without them");
		SSL_SESSION *before = session_of_last;
		cr_expect_not(resumes(versions[i], server_of(&here, &member, true)), "nor one begun so");
		cr_expect_eq(session_of_last, before, "who may show a certificate gets no ticket");
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

Test(tls_peer, names)
{
	struct pair one = make_pair("one", "DNS:one.example,DNS:*.one.example", &authority);
	struct pair two = make_pair("two", "DNS:two.example", &authority);
	const struct rc_tls_pair files[] = { { here.path, here.key_path },
		                             { one.path, one.key_path },
		                             { two.path, two.key_path } };
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
