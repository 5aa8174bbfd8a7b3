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

static const char *const audiences[] = { "chat", "feeds" };

/* Which of the operator's rules hold: by the hash, so that every token meets each of them under some mutation. */
static struct app_token_rules rules_of(const uint8_t *data, size_t size)
{
	uint64_t bits = hash_of(data, size);
	return (struct app_token_rules){
		.audiences = audiences,
		.audience_count = (unsigned)(bits & 1 ? 2 : 0),
		.issuer = bits & 2 ? "https://id.example" : NULL,
		.may_be_endless = bits & 4,
	};
}

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
	struct app_token_rules rules = rules_of(data, size);
	char *token = exact_copy(data, size), wanted[64];
	enum app_token_verdict verdict = app_token_check(keys_once(), &rules, token, size, NOW, &claims);
	bool signature_passed = verdict != APP_TOKEN_MALFORMED && verdict != APP_TOKEN_UNKNOWN_KEY &&
	                        verdict != APP_TOKEN_FORGED;
	if (signature_passed) {
		const char *dot = memrchr(token, '.', size);
		size_t signed_size = (size_t)(dot - token), wanted_size = sign(token, signed_size, wanted);
		HOLDS(size - signed_size - 1 == wanted_size && !memcmp(dot + 1, wanted, wanted_size), "forged: %.*s",
		      (int)size, token);
	}
	if (verdict == APP_TOKEN_VALID)
		app_claims_free(&claims);
	free(token);
}

static bool holds_one(const json_t *value, const char *const *words, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (json_is_string(value) && !strcmp(json_string_value(value), words[i]))
			return true;
		for (size_t at = 0; at < json_array_size(value); at++)
			if (json_is_string(json_array_get(value, at)) &&
			    !strcmp(json_string_value(json_array_get(value, at)), words[i]))
				return true;
	}
	return false;
}

/* What others will see: no control characters, by a reading of the code points. */
static void check_name(const char *name)
{
	for (const unsigned char *at = (const unsigned char *)name; *at; at++)
		HOLDS(*at >= ' ' && *at != 0x7f && !(*at == 0xc2 && at[1] < 0xa0), "a control character in %s", name);
	json_t *text = json_string(name);
	HOLDS(text && *name, "no UTF-8, or nothing");
	json_decref(text);
}

/* Each name of a list is allowed, a list that is empty allows nothing, and a name that no item begins with is not. */
static void check_names(const struct app_names *names, const json_t *claim)
{
	HOLDS(!names->text == !claim, "a list that was not there, or is not");
	for (size_t i = 0; i < json_array_size(claim); i++) {
		const char *name = json_string_value(json_array_get(claim, i));
		check_name(name);
		HOLDS(app_names_allow(names, name, strlen(name)), "%s is named, and not allowed", name);
	}
	HOLDS(json_array_size(claim) || !app_names_allow(names, "a", 1), "nothing was named");
}

static void check_claims(const json_t *read, const struct app_token_rules *rules, const struct app_claims *claims)
{
	const json_t *expires = json_object_get(read, "exp"), *begins = json_object_get(read, "nbf");
	const json_t *audience = json_object_get(read, "aud");
	const char *subject = json_string_value(json_object_get(read, "sub"));
	HOLDS(subject && !strcmp(subject, claims->subject), "whose is it?");
	check_name(subject);
	HOLDS(expires ? json_number_value(expires) > NOW : rules->may_be_endless, "expired, or without an end");
	HOLDS(!begins || json_number_value(begins) <= NOW + APP_TOKEN_LEEWAY_S, "too early");
	HOLDS(!expires || (double)claims->expires_s >= json_number_value(expires), "ends before its time");
	HOLDS(!rules->issuer || holds_one(json_object_get(read, "iss"), &rules->issuer, 1), "of another issuer");
	HOLDS(audience || rules->audience_count ? holds_one(audience, rules->audiences, rules->audience_count) : true,
	      "for others");
	HOLDS(claims->has_permissions == (json_object_get(read, "permissions") != NULL), "permissions");
	check_names(&claims->rooms, json_object_get(read, "rooms"));
	check_names(&claims->topics, json_object_get(read, "topics"));
}

static void as_claims(const uint8_t *data, size_t size)
{
	static const char header[] = "{\"alg\":\"HS256\"}";
	struct app_token_rules rules = rules_of(data, size);
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
	enum app_token_verdict verdict = app_token_check(keys_once(), &rules, token, total, NOW, &claims);
	HOLDS(verdict != APP_TOKEN_FORGED && verdict != APP_TOKEN_UNKNOWN_KEY, "%s", app_token_verdict_text(verdict));
	json_t *read = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
	HOLDS(json_is_object(read) == (verdict != APP_TOKEN_MALFORMED), "%s: %.*s", app_token_verdict_text(verdict),
	      (int)size, data);
	if (verdict == APP_TOKEN_VALID)
		check_claims(read, &rules, &claims);
	app_claims_free(&claims);
	json_decref(read);
	free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	as_token(data, size);
	as_claims(data, size);
	return 0;
}
