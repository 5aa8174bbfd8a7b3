/* SPDX-License-Identifier: MIT
 *
 * app_token.c - JSON Web Tokens: the examples that the RFCs print, and everything about a token that may be wrong.
 */
#include "app/token.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1300000000u

static size_t encode(const void *bytes, size_t size, char *to)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *at = bytes;
	size_t written = 0;
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < size; i++) {
		bits = bits << 8 | at[i];
		for (have += 8; have >= 6; have -= 6)
			to[written++] = digits[bits >> (have - 6) & 63];
	}
	if (have)
		to[written++] = digits[bits << (6 - have) & 63];
	to[written] = 0;
	return written;
}

/* ---- base64url ---- */

Test(app_token, base64url)
{
	static const struct {
		const char *text;
		int size;
		const char *bytes;
	} cases[] = {
		{ "", 0, "" },
		{ "Zg", 1, "f" },
		{ "Zm8", 2, "fo" },
		{ "Zm9v", 3, "foo" },
		{ "-_-_", 3, "\xfb\xff\xbf" },
		{ "A-z_4ME", 5, "\x03\xec\xff\xe0\xc1" }, /* RFC 7515, appendix C */
		{ "Z", -1, "" },
		{ "Zm9vZ", -1, "" },
		{ "Zh", -1, "" },
		{ "Zm9=", -1, "" },
		{ "Zm+v", -1, "" },
		{ "Zm/v", -1, "" },
		{ "Zm v", -1, "" },
		{ "Zg==", -1, "" },
	};
	uint8_t to[32];
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int size = app_base64url_decode(cases[i].text, strlen(cases[i].text), to);
		cr_expect_eq(size, cases[i].size, "'%s' gives %d", cases[i].text, size);
		if (size > 0)
			cr_expect_arr_eq(to, cases[i].bytes, (size_t)size, "'%s'", cases[i].text);
	}
}

/* ---- what the RFCs print ---- */

static const struct app_token_rules endless = { .may_be_endless = true };

/* Puts the signature of a printed example through: its payload has no "sub", so that a right signature ends in the
 * claims and a wrong one at the signature. */
static void check_printed(const struct app_token_keys *keys, const char *token)
{
	struct app_claims claims;
	char wrong[1024];
	cr_expect_eq(app_token_check(keys, &endless, token, strlen(token), NOW, &claims), APP_TOKEN_CLAIMS, "%s",
	             token);
	snprintf(wrong, sizeof wrong, "%s", token);
	char *signature = strrchr(wrong, '.') + 5;
	*signature = *signature == 'A' ? 'B' : 'A';
	cr_expect_eq(app_token_check(keys, &endless, wrong, strlen(wrong), NOW, &claims), APP_TOKEN_FORGED, "%s",
	             wrong);
}

Test(app_token, rfc7515_a1_hs256)
{
	static const char secret[] =
	    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
	struct app_token_keys keys = { 0 };
	uint8_t bytes[128];
	int size = app_base64url_decode(secret, sizeof secret - 1, bytes);
	cr_assert_eq(size, 64);
	cr_assert_null(app_token_add_secret(&keys, bytes, (size_t)size));
	check_printed(&keys,
	              "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
	              "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	              "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
	app_token_keys_free(&keys);
}

/* A public key as SubjectPublicKeyInfo: what stands before the bytes of the key, then those bytes. */
static const char *add_spki(struct app_token_keys *keys, const char *prefix, size_t prefix_size,
                            const char *const *parts)
{
	static char pem[2048];
	uint8_t der[1024];
	size_t size = prefix_size;
	memcpy(der, prefix, prefix_size);
	for (; *parts; parts++)
		size += (size_t)app_base64url_decode(*parts, strlen(*parts), der + size);
	const uint8_t *at = der;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)size);
	cr_assert(key, "the key of the RFC");
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PUBKEY(bio, key);
	int written = BIO_read(bio, pem, sizeof pem);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return app_token_add_pem(keys, pem, (size_t)written);
}

Test(app_token, rfc7515_a3_es256)
{
	static const char prefix[] =
	    "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
	    "\x03\x42\x00\x04";
	struct app_token_keys keys = { 0 };
	cr_assert_null(add_spki(&keys, prefix, sizeof prefix - 1,
	                        (const char *const[]){ "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
	                                               "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", NULL }));
	check_printed(&keys,
	              "eyJhbGciOiJFUzI1NiJ9."
	              "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	              "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
	app_token_keys_free(&keys);
}

Test(app_token, rfc8037_a4_eddsa)
{
	static const char prefix[] = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
	static const char token[] =
	    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
	    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
	struct app_token_keys keys = { 0 };
	struct app_claims claims;
	cr_assert_null(add_spki(&keys, prefix, sizeof prefix - 1,
	                        (const char *const[]){ "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", NULL }));
	/* What it signs is no JSON: the signature is right, what follows is not. */
	cr_expect_eq(app_token_check(&keys, &endless, token, sizeof token - 1, NOW, &claims), APP_TOKEN_MALFORMED);
	char wrong[sizeof token];
	memcpy(wrong, token, sizeof token);
	wrong[sizeof token - 20] ^= 1;
	cr_expect_eq(app_token_check(&keys, &endless, wrong, sizeof token - 1, NOW, &claims), APP_TOKEN_FORGED);
	app_token_keys_free(&keys);
}

/* ---- claims ---- */

static const char secret[] = "a secret of at least 32 bytes....";

static void sign(const char *header, const char *payload, char *token)
{
	uint8_t digest[32];
	unsigned size;
	size_t at = encode(header, strlen(header), token);
	token[at++] = '.';
	at += encode(payload, strlen(payload), token + at);
	HMAC(EVP_sha256(), secret, sizeof secret - 1, (const uint8_t *)token, at, digest, &size);
	token[at++] = '.';
	encode(digest, size, token + at);
}

static enum app_token_verdict judge_by(const struct app_token_rules *rules, const char *header, const char *payload,
                                       struct app_claims *claims)
{
	static char token[20000];
	struct app_token_keys keys = { 0 };
	cr_assert_null(app_token_add_secret(&keys, secret, sizeof secret - 1));
	sign(header, payload, token);
	enum app_token_verdict verdict = app_token_check(&keys, rules, token, strlen(token), NOW, claims);
	app_token_keys_free(&keys);
	return verdict;
}

static enum app_token_verdict judge(const char *header, const char *payload, struct app_claims *claims)
{
	return judge_by(&endless, header, payload, claims);
}

Test(app_token, verdicts)
{
	static const char hs256[] = "{\"alg\":\"HS256\"}";
	static const struct {
		const char *header, *payload;
		enum app_token_verdict verdict;
	} cases[] = {
		{ hs256, "{\"sub\":\"a\"}", APP_TOKEN_VALID },
		{ "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"1\"}", "{\"sub\":\"a\",\"iss\":\"x\"}",
		  APP_TOKEN_VALID },
		/* exp: at the second it is over; nbf: with a little leeway */
		{ hs256, "{\"sub\":\"a\",\"exp\":1300000001}", APP_TOKEN_VALID },
		{ hs256, "{\"sub\":\"a\",\"exp\":1300000000.5}", APP_TOKEN_VALID },
		{ hs256, "{\"sub\":\"a\",\"exp\":1300000000}", APP_TOKEN_EXPIRED },
		{ hs256, "{\"sub\":\"a\",\"exp\":0}", APP_TOKEN_EXPIRED },
		{ hs256, "{\"sub\":\"a\",\"exp\":\"1300000001\"}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"exp\":-1}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"exp\":1e300}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"exp\":null}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"nbf\":1300000005}", APP_TOKEN_VALID },
		{ hs256, "{\"sub\":\"a\",\"nbf\":1300000006}", APP_TOKEN_EARLY },
		{ hs256, "{\"sub\":\"a\",\"nbf\":true}", APP_TOKEN_CLAIMS },
		{ hs256, "{}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"\"}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":1}", APP_TOKEN_CLAIMS },
		/* a name is shown to others: no control characters, of ASCII or beyond */
		{ hs256, "{\"sub\":\"a\\u0001\"}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\\u007f\"}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\\u0085\"}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"\\u00e9\\u20ac\"}", APP_TOKEN_VALID },
		{ hs256, "{\"sub\":\"\xff\xfe\"}", APP_TOKEN_MALFORMED },
		{ hs256, "{\"sub\":\"a\",\"rooms\":[\"r\\n\"]}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"topics\":[\"t\\u0001\"]}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"topics\":\"t\"}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\\u0000b\"}", APP_TOKEN_MALFORMED },
		{ hs256, "{\"sub\":\"a\",\"sub\":\"b\"}", APP_TOKEN_MALFORMED },
		{ hs256, "[]", APP_TOKEN_MALFORMED },
		{ hs256, "{\"sub\":\"a\"", APP_TOKEN_MALFORMED },
		{ hs256, "{\"sub\":\"a\",\"permissions\":{}}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"permissions\":[1]}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"rooms\":[1]}", APP_TOKEN_CLAIMS },
		{ hs256, "{\"sub\":\"a\",\"rooms\":\"r\"}", APP_TOKEN_CLAIMS },
		/* the algorithm chooses among our keys and nothing else */
		{ "{\"alg\":\"none\"}", "{\"sub\":\"a\"}", APP_TOKEN_UNKNOWN_KEY },
		{ "{\"alg\":\"hs256\"}", "{\"sub\":\"a\"}", APP_TOKEN_UNKNOWN_KEY },
		{ "{\"alg\":\"RS256\"}", "{\"sub\":\"a\"}", APP_TOKEN_UNKNOWN_KEY },
		{ "{\"alg\":1}", "{\"sub\":\"a\"}", APP_TOKEN_MALFORMED },
		{ "{}", "{\"sub\":\"a\"}", APP_TOKEN_MALFORMED },
		{ "{\"alg\":\"HS256\",\"crit\":[\"b64\"]}", "{\"sub\":\"a\"}", APP_TOKEN_MALFORMED },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct app_claims claims = { 0 };
		enum app_token_verdict verdict = judge(cases[i].header, cases[i].payload, &claims);
		cr_expect_eq(verdict, cases[i].verdict, "%s.%s: %s", cases[i].header, cases[i].payload,
		             app_token_verdict_text(verdict));
		app_claims_free(&claims);
	}
}

Test(app_token, what_the_operator_wants)
{
	static const char hs256[] = "{\"alg\":\"HS256\"}";
	static const char *const ours[] = { "chat", "feeds" };
	const struct app_token_rules strict = { 0 }, named = { ours, 2, "https://id.example", true };
	static const struct {
		const char *payload;
		enum app_token_verdict strict, named;
	} cases[] = {
		{ "{\"sub\":\"a\"}", APP_TOKEN_ENDLESS, APP_TOKEN_ISSUER },
		{ "{\"sub\":\"a\",\"exp\":1300000001}", APP_TOKEN_VALID, APP_TOKEN_ISSUER },
		{ "{\"sub\":\"a\",\"exp\":1300000001,\"iss\":\"https://id.example\"}", APP_TOKEN_VALID,
		  APP_TOKEN_AUDIENCE },
		{ "{\"sub\":\"a\",\"exp\":1300000001,\"aud\":\"chat\"}", APP_TOKEN_AUDIENCE, APP_TOKEN_ISSUER },
		{ "{\"sub\":\"a\",\"iss\":\"https://id.example\",\"aud\":\"chat\"}", APP_TOKEN_AUDIENCE,
		  APP_TOKEN_VALID },
		{ "{\"sub\":\"a\",\"iss\":\"https://id.example\",\"aud\":[\"x\",\"feeds\"]}", APP_TOKEN_AUDIENCE,
		  APP_TOKEN_VALID },
		{ "{\"sub\":\"a\",\"iss\":\"https://id.example\",\"aud\":[\"x\",5,\"chats\"]}", APP_TOKEN_AUDIENCE,
		  APP_TOKEN_AUDIENCE },
		{ "{\"sub\":\"a\",\"iss\":\"https://id.example\",\"aud\":[]}", APP_TOKEN_AUDIENCE, APP_TOKEN_AUDIENCE },
		{ "{\"sub\":\"a\",\"iss\":\"https://id.example\",\"aud\":{\"chat\":1}}", APP_TOKEN_AUDIENCE,
		  APP_TOKEN_AUDIENCE },
		{ "{\"sub\":\"a\",\"iss\":[\"https://id.example\"],\"aud\":\"chat\"}", APP_TOKEN_AUDIENCE,
		  APP_TOKEN_ISSUER },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct app_claims claims = { 0 };
		cr_expect_eq(judge_by(&strict, hs256, cases[i].payload, &claims), cases[i].strict, "%s",
		             cases[i].payload);
		app_claims_free(&claims);
		cr_expect_eq(judge_by(&named, hs256, cases[i].payload, &claims), cases[i].named, "%s",
		             cases[i].payload);
		app_claims_free(&claims);
	}
}

Test(app_token, names_within_names)
{
	static const struct {
		const char *pattern, *name;
		bool within;
	} cases[] = {
		{ "market/*", "market/a", true },   { "market/*", "market/", true },
		{ "market/*", "market", false },    { "market/*", "market/b*", true },
		{ "market/*", "market/*", true },   { "market/*", "market*", false },
		{ "market/*", "*", false },         { "market/a", "market/a", true },
		{ "market/a", "market/a*", false }, { "*", "*", true },
		{ "*", "anything", true },          { "", "a", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		cr_expect_eq(app_name_is_within(cases[i].pattern, cases[i].name, strlen(cases[i].name)),
		             cases[i].within, "%s holds %s", cases[i].pattern, cases[i].name);
}

Test(app_token, subject_at_its_bound)
{
	struct app_claims claims;
	char payload[APP_SUBJECT_SIZE_MAX + 32], name[APP_SUBJECT_SIZE_MAX + 2];
	for (int over = 0; over <= 1; over++) {
		memset(name, 'x', sizeof name);
		name[APP_SUBJECT_SIZE_MAX + over] = 0;
		snprintf(payload, sizeof payload, "{\"sub\":\"%s\"}", name);
		cr_expect_eq(judge("{\"alg\":\"HS256\"}", payload, &claims), over ? APP_TOKEN_CLAIMS : APP_TOKEN_VALID);
	}
}

Test(app_token, size_at_its_bound)
{
	static char payload[8000];
	struct app_claims claims;
	/* The header is 20 characters, the signature 43, the dots 2: the payload may have what is left. */
	size_t size = (APP_TOKEN_SIZE_MAX - 65) / 4 * 3;
	for (size_t over = 0; over <= 3; over += 3) {
		memset(payload, ' ', sizeof payload);
		memcpy(payload, "{\"sub\":\"a\"}", 11);
		payload[size + over] = 0;
		cr_expect_eq(judge("{\"alg\":\"HS256\"}", payload, &claims),
		             over ? APP_TOKEN_MALFORMED : APP_TOKEN_VALID, "%zu", over);
	}
}

Test(app_token, permissions_and_rooms)
{
	struct app_claims claims;
	cr_assert_eq(
	    judge("{\"alg\":\"HS256\"}",
	          "{\"sub\":\"a\",\"permissions\":[\"read\",\"admin\",\"unknown\"],\"rooms\":[\"lobby\",\"t-*\"]}",
	          &claims),
	    APP_TOKEN_VALID);
	cr_expect(claims.has_permissions);
	cr_expect_eq(claims.permissions, APP_MAY_READ | APP_MAY_ADMIN);
	static const struct {
		const char *room;
		bool allowed;
	} rooms[] = { { "lobby", true }, { "lobb", false }, { "lobby2", false },
		      { "t-", true },    { "t-1", true },   { "t", false } };
	for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
		cr_expect_eq(app_names_allow(&claims.rooms, rooms[i].room, strlen(rooms[i].room)), rooms[i].allowed,
		             "%s", rooms[i].room);
	app_claims_free(&claims);
	cr_assert_eq(judge("{\"alg\":\"HS256\"}", "{\"sub\":\"a\",\"permissions\":\"write  broadcast x\",\"rooms\":[]}",
	                   &claims),
	             APP_TOKEN_VALID);
	cr_expect_eq(claims.permissions, APP_MAY_WRITE | APP_MAY_BROADCAST);
	cr_expect_not(app_names_allow(&claims.rooms, "r", 1), "an empty list allows none");
	app_claims_free(&claims);
	cr_assert_eq(judge("{\"alg\":\"HS256\"}", "{\"sub\":\"a\"}", &claims), APP_TOKEN_VALID);
	cr_expect_not(claims.has_permissions);
	cr_expect_null(claims.rooms.text, "no list is none at all");
	cr_expect_eq(app_permissions_parse("read,write"), APP_MAY_READ | APP_MAY_WRITE);
	cr_expect_eq(app_permissions_parse("none"), 0);
	cr_expect_eq(app_permissions_parse("read,fly"), -1);
}

/* ---- keys ---- */

static const char *add_generated(struct app_token_keys *keys, EVP_PKEY *key)
{
	char pem[4096];
	BIO *bio = BIO_new(BIO_s_mem());
	cr_assert(key);
	PEM_write_bio_PUBKEY(bio, key);
	int size = BIO_read(bio, pem, sizeof pem);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return app_token_add_pem(keys, pem, (size_t)size);
}

Test(app_token, keys_that_are_too_weak_or_of_another_kind)
{
	struct app_token_keys keys = { 0 };
	cr_expect_not_null(app_token_add_secret(&keys, secret, 31));
	cr_expect_null(app_token_add_secret(&keys, secret, 32));
	cr_expect_not_null(add_generated(&keys, EVP_RSA_gen(1024)));
	cr_expect_null(add_generated(&keys, EVP_RSA_gen(2048)));
	cr_expect_not_null(add_generated(&keys, EVP_EC_gen("P-384")));
	cr_expect_null(add_generated(&keys, EVP_EC_gen("P-256")));
	cr_expect_not_null(app_token_add_pem(&keys, "nonsense", 8));
	cr_expect_eq(keys.count, 3);
	for (unsigned i = keys.count; i < APP_TOKEN_KEYS_MAX; i++)
		cr_expect_null(app_token_add_secret(&keys, secret, 32));
	cr_expect_not_null(app_token_add_secret(&keys, secret, 32), "one more than there is room for");
	app_token_keys_free(&keys);
}
