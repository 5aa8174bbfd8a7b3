/* SPDX-License-Identifier: MIT
 *
 * app_token.c - tokens: the input as a token, which is taken only if a second reading finds our signature on it; and
 * the input as the claims of a token that we sign, which is taken only if the claims allow it.
 */
#include "app/token.h"

#include "fuzz.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define NOW 1700000000u

static const char secret[] = "a secret of at least 32 bytes....";

static size_t encode(const uint8_t *bytes, size_t size, char *to)
{
	size_t written = 0;
	/* By OpenSSL's other alphabet, and with its padding cut off. */
	uint8_t *padded = malloc(size / 3 * 4 + 8);
	EVP_EncodeBlock(padded, bytes, (int)size);
	for (const uint8_t *at = padded; *at && *at != '='; at++)
		to[written++] = *at == '+' ? '-' : *at == '/' ? '_' : (char)*at;
	free(padded);
	return written;
}

static size_t sign(const char *text, size_t size, char *to)
{
	uint8_t digest[32];
	unsigned digest_size;
	HMAC(EVP_sha256(), secret, sizeof secret - 1, (const uint8_t *)text, size, digest, &digest_size);
	return encode(digest, digest_size, to);
}

static struct app_token_keys *keys_once(void)
{
	static struct app_token_keys keys;
	if (!keys.count)
		HOLDS(!app_token_add_secret(&keys, secret, sizeof secret - 1), "the secret");
	return &keys;
}

static void as_token(const uint8_t *data, size_t size)
{
	struct app_claims claims = { 0 };
	char *token = exact_copy(data, size), wanted[64];
	enum app_token_verdict verdict = app_token_check(keys_once(), token, size, NOW, &claims);
	bool signature_passed = verdict == APP_TOKEN_VALID || verdict == APP_TOKEN_EXPIRED ||
	                        verdict == APP_TOKEN_EARLY || verdict == APP_TOKEN_CLAIMS;
	if (signature_passed) {
		const char *dot = memrchr(token, '.', size);
		size_t signed_size = (size_t)(dot - token), wanted_size = sign(token, signed_size, wanted);
		HOLDS(size - signed_size - 1 == wanted_size && !memcmp(dot + 1, wanted, wanted_size), "forged: %.*s",
		      (int)size, token);
	}
	if (verdict == APP_TOKEN_VALID)
		free(claims.rooms);
	free(token);
}

static void as_claims(const uint8_t *data, size_t size)
{
	static const char header[] = "{\"alg\":\"HS256\"}";
	struct app_claims claims = { 0 };
	if (size > APP_TOKEN_SIZE_MAX / 2)
		return;
	char *token = malloc(size * 2 + 256);
	size_t at = encode((const uint8_t *)header, sizeof header - 1, token);
	token[at++] = '.';
	at += encode(data, size, token + at);
	char *signature = token + at + 1;
	size_t total = at + 1 + sign(token, at, signature);
	token[at] = '.';
	enum app_token_verdict verdict = app_token_check(keys_once(), token, total, NOW, &claims);
	HOLDS(verdict != APP_TOKEN_FORGED && verdict != APP_TOKEN_UNKNOWN_KEY, "%s", app_token_verdict_text(verdict));
	json_t *read = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	HOLDS(json_is_object(read) == (verdict != APP_TOKEN_MALFORMED), "%s: %.*s", app_token_verdict_text(verdict),
	      (int)size, data);
	if (verdict == APP_TOKEN_VALID) {
		const json_t *expires = json_object_get(read, "exp"), *begins = json_object_get(read, "nbf");
		const char *subject = json_string_value(json_object_get(read, "sub"));
		HOLDS(subject && *subject && !strcmp(subject, claims.subject), "whose is it?");
		HOLDS(!expires || json_number_value(expires) > NOW, "expired");
		HOLDS(!begins || json_number_value(begins) <= NOW + APP_TOKEN_LEEWAY_S, "too early");
		HOLDS(!expires || (double)claims.expires_s >= json_number_value(expires), "ends before its time");
		free(claims.rooms);
	}
	json_decref(read);
	free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	as_token(data, size);
	as_claims(data, size);
	return 0;
}
