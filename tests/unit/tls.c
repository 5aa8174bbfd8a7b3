/* SPDX-License-Identifier: MIT
 *
 * tls.c - streams in memory against each other, in every split of the bytes, and against what is no TLS.
 */
#include "bounds.h"

#include "judge.h"
#include "ringcast_client.h"
#include "seed.h"
#include "tls_side.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

TestSuite(tls, .init = prepare);

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
		{ "here.example", true, true },    { "127.0.0.1", true, true }, { "there.example", true, false },
		{ "127.0.0.2", true, false },      { "::1", true, false },      { "there.example", false, true },
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
		cr_expect_eq(rc_tls_subject(server->stream, subject, sizeof subject), cases[i].subject != NULL,
		             "case %zu", i);
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
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"SSH-2.0-OpenSSH_9\r\n",
		"\x16\x03\x01\x50\x00"
		"too long a record ...",
		"\x15\x03\x01\x00\x02\x02\x28",
		"\x17\x03\x03\x00\x05hello",
		"\x80\x0b\x01\x00\x02\x00\x15\x00\x00\x00\x10\x00\x00",
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

/* Also where OpenSSL would let it pass. */
Test(tls, weak_certificates)
{
	struct pair authority = make_pair("authority", NULL, NULL),
		    self = make_pair_of(EVP_EC_gen("P-256"), EVP_sha1(), "x", NULL, NULL);
	const struct {
		struct pair pair;
		const char *word;
	} cases[] = {
		{ make_pair("fine", NULL, &authority), NULL },
		{ make_pair_of(EVP_RSA_gen(2048), EVP_sha256(), "fine", NULL, &authority), NULL },
		{ self, NULL },
		{ make_pair_of(EVP_RSA_gen(1024), EVP_sha256(), "short", NULL, &authority), "1024 bits" },
		{ make_pair_of(EVP_EC_gen("P-192"), EVP_sha256(), "short", NULL, &authority), "192 bits" },
		{ make_pair_of(EVP_EC_gen("P-256"), EVP_sha1(), "old", NULL, &authority), "SHA-1" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_error error = { 0 };
		int code = rc_tls_judge(cases[i].pair.certificate, "the-file", &error);
		cr_expect_eq(code, cases[i].word ? -EINVAL : 0, "case %zu: %s", i, error.text);
		cr_expect(!cases[i].word ||
		              (strstr(error.text, cases[i].word) && strstr(error.text, "'the-file' is weak")),
		          "case %zu: %s", i, error.text);
	}
}

Test(tls, wrong_files)
{
	char empty[64], locked[64];
	struct pair other = make_pair("other", NULL, NULL);
	struct pair weak = make_pair_of(EVP_RSA_gen(1024), EVP_sha256(), "weak", NULL, NULL);
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
		{ weak.path, weak.key_path, NULL, "is weak", weak.path, -EINVAL },
		{ here.path, locked, NULL, "is encrypted", locked, -EINVAL },
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
		cr_expect(strstr(error.text, cases[i].word) && strstr(error.text, cases[i].named), "case %zu: %s", i,
		          error.text);
	}
	struct rc_tls_options none = { 0 };
	cr_expect_null(rc_tls_context_server(&none, tickets, NULL));
	struct rc_tls_client_options half = { .certificate = here.path };
	cr_expect_null(rc_tls_context_client(&half, NULL));
}
