/* SPDX-License-Identifier: MIT
 *
 * token.c - see token.h. The signature is judged before the claims are read: of a token that nobody signed, only the
 * header is ever parsed.
 */
#include "token.h"

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

#define SECRET_SIZE_MIN 32
#define RSA_BITS_MIN 2048
#define ES256_SIZE 64

struct app_token_key {
	const char *algorithm;
	EVP_PKEY *key; /* null for HS256 */
	uint64_t mark; /* by which it is known again when keys were read anew */
	size_t secret_size;
	uint8_t secret[];
};

const char *app_token_verdict_text(enum app_token_verdict verdict)
{
	static const char *const texts[] = {
		[APP_TOKEN_VALID] = "valid",
		[APP_TOKEN_MALFORMED] = "not a JSON Web Token",
		[APP_TOKEN_UNKNOWN_KEY] = "no key for its algorithm",
		[APP_TOKEN_FORGED] = "wrong signature",
		[APP_TOKEN_EXPIRED] = "expired",
		[APP_TOKEN_EARLY] = "not valid yet",
		[APP_TOKEN_CLAIMS] = "a claim is missing or wrong",
		[APP_TOKEN_ENDLESS] = "it has no end (exp)",
		[APP_TOKEN_AUDIENCE] = "it is for somebody else (aud)",
		[APP_TOKEN_ISSUER] = "it is from somebody else (iss)",
	};
	return texts[verdict];
}

/* ---- keys ---- */

static uint64_t mark_of(const void *bytes, size_t size)
{
	uint8_t digest[EVP_MAX_MD_SIZE] = { 0 };
	uint64_t mark;
	EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL);
	memcpy(&mark, digest, sizeof mark);
	return mark;
}

static const char *add_key(struct app_token_keys *keys, const char *algorithm, EVP_PKEY *key, const void *secret,
                           size_t size)
{
	if (keys->count == APP_TOKEN_KEYS_MAX)
		return "too many keys";
	struct app_token_key *made = malloc(sizeof *made + size);
	if (!made)
		return "no memory";
	*made = (struct app_token_key){ .algorithm = algorithm, .key = key, .secret_size = size };
	if (size) {
		memcpy(made->secret, secret, size);
		made->mark = mark_of(secret, size);
	} else {
		uint8_t *der = NULL;
		int der_size = i2d_PUBKEY(key, &der);
		if (der_size < 0) {
			free(made);
			return "no memory";
		}
		made->mark = mark_of(der, (size_t)der_size);
		OPENSSL_free(der);
	}
	keys->keys[keys->count++] = made;
	return NULL;
}

const char *app_token_add_secret(struct app_token_keys *keys, const void *secret, size_t size)
{
	if (size < SECRET_SIZE_MIN)
		return "a secret for HS256 has at least 32 bytes (RFC 7518, section 3.2)";
	return add_key(keys, "HS256", NULL, secret, size);
}

const char *app_token_add_pem(struct app_token_keys *keys, const void *pem, size_t size)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)size);
	EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	const char *error = NULL, *algorithm = NULL;
	char group[64] = "";
	BIO_free(bio);
	ERR_clear_error();
	if (!key)
		return "no public key in PEM (BEGIN PUBLIC KEY)";
	switch (EVP_PKEY_base_id(key)) {
	case EVP_PKEY_RSA:
		algorithm = "RS256";
		if (EVP_PKEY_bits(key) < RSA_BITS_MIN)
			error = "an RSA key has at least 2048 bits (RFC 7518, section 3.3)";
		break;
	case EVP_PKEY_EC:
		algorithm = "ES256";
		EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, NULL);
		if (strcmp(group, "prime256v1") != 0)
			error = "an elliptic curve key for ES256 is on P-256";
		break;
	case EVP_PKEY_ED25519:
		algorithm = "EdDSA";
		break;
	default:
		error = "a key that is neither RSA, P-256 nor Ed25519";
	}
	if (!error)
		error = add_key(keys, algorithm, key, NULL, 0);
	if (error)
		EVP_PKEY_free(key);
	return error;
}

bool app_token_keys_hold(const struct app_token_keys *keys, uint64_t mark)
{
	for (unsigned i = 0; i < keys->count; i++)
		if (keys->keys[i]->mark == mark)
			return true;
	return false;
}

void app_token_keys_free(struct app_token_keys *keys)
{
	for (unsigned i = 0; i < keys->count; i++) {
		EVP_PKEY_free(keys->keys[i]->key);
		OPENSSL_cleanse(keys->keys[i]->secret, keys->keys[i]->secret_size);
		free(keys->keys[i]);
	}
	keys->count = 0;
}

/* ---- signatures ---- */

static bool verify_hs256(const struct app_token_key *key, const char *signed_text, size_t signed_size,
                         const uint8_t *signature, size_t size)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned digest_size = 0;
	if (!HMAC(EVP_sha256(), key->secret, (int)key->secret_size, (const uint8_t *)signed_text, signed_size, digest,
	          &digest_size))
		return false;
	return size == digest_size && CRYPTO_memcmp(digest, signature, size) == 0;
}

/* R and S side by side (RFC 7518, section 3.4) to the DER that OpenSSL reads. Returns its size or 0. */
static size_t es256_to_der(const uint8_t *signature, size_t size, uint8_t **der)
{
	if (size != ES256_SIZE)
		return 0;
	ECDSA_SIG *parts = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(signature, ES256_SIZE / 2, NULL);
	BIGNUM *s = BN_bin2bn(signature + ES256_SIZE / 2, ES256_SIZE / 2, NULL);
	int der_size = 0;
	if (parts && r && s && ECDSA_SIG_set0(parts, r, s)) {
		r = s = NULL;
		der_size = i2d_ECDSA_SIG(parts, der);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(parts);
	return der_size > 0 ? (size_t)der_size : 0;
}

static bool verify(const struct app_token_key *key, const char *signed_text, size_t signed_size,
                   const uint8_t *signature, size_t size)
{
	uint8_t *der = NULL;
	if (!key->key)
		return verify_hs256(key, signed_text, signed_size, signature, size);
	if (strcmp(key->algorithm, "ES256") == 0) {
		size = es256_to_der(signature, size, &der);
		signature = der;
		if (!size)
			return false;
	}
	/* Ed25519 hashes by itself (RFC 8032). */
	const EVP_MD *digest = strcmp(key->algorithm, "EdDSA") == 0 ? NULL : EVP_sha256();
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = context && EVP_DigestVerifyInit(context, NULL, digest, NULL, key->key) == 1 &&
	            EVP_DigestVerify(context, signature, size, (const uint8_t *)signed_text, signed_size) == 1;
	EVP_MD_CTX_free(context);
	OPENSSL_free(der);
	ERR_clear_error();
	return good;
}

int app_base64url_decode(const char *text, size_t size, uint8_t *to)
{
	uint32_t bits = 0;
	unsigned have = 0;
	int written = 0;
	for (size_t i = 0; i < size; i++) {
		char c = text[i];
		unsigned value = c >= 'A' && c <= 'Z'   ? (unsigned)(c - 'A')
		                 : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 26
		                 : c >= '0' && c <= '9' ? (unsigned)(c - '0') + 52
		                 : c == '-'             ? 62
		                 : c == '_'             ? 63
		                                        : 64;
		if (value == 64)
			return -1;
		bits = bits << 6 | value;
		have += 6;
		if (have >= 8) {
			have -= 8;
			to[written++] = (uint8_t)(bits >> have);
		}
	}
	bool left_over = have >= 6 || (bits & ((1u << have) - 1)) != 0;
	return left_over ? -1 : written;
}

static json_t *decode_json(const char *text, size_t size, uint8_t *scratch)
{
	int decoded = app_base64url_decode(text, size, scratch);
	json_error_t error;
	json_t *value = decoded < 0
	                    ? NULL
	                    : json_loadb((const char *)scratch, (size_t)decoded, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(value))
		return value;
	json_decref(value);
	return NULL;
}

static enum app_token_verdict check_signature(const struct app_token_keys *keys, const char *token, size_t signed_size,
                                              size_t size, size_t header_size, uint8_t *scratch, uint64_t *mark)
{
	json_t *header = decode_json(token, header_size, scratch);
	const char *algorithm = json_string_value(json_object_get(header, "alg"));
	/* RFC 7515, section 4.1.11: an extension that must be understood, and is not. */
	enum app_token_verdict verdict = !algorithm || json_object_get(header, "crit") ? APP_TOKEN_MALFORMED
	                                                                               : APP_TOKEN_UNKNOWN_KEY;
	int signature_size = app_base64url_decode(token + signed_size + 1, size - signed_size - 1, scratch);
	if (signature_size <= 0)
		verdict = APP_TOKEN_MALFORMED;
	for (unsigned i = 0; i < keys->count && verdict != APP_TOKEN_MALFORMED && verdict != APP_TOKEN_VALID; i++) {
		if (strcmp(keys->keys[i]->algorithm, algorithm) != 0)
			continue;
		*mark = keys->keys[i]->mark;
		verdict = verify(keys->keys[i], token, signed_size, scratch, (size_t)signature_size) ? APP_TOKEN_VALID
		                                                                                     : APP_TOKEN_FORGED;
	}
	json_decref(header);
	return verdict;
}

/* ---- claims ---- */

static unsigned permission_of(const char *word, size_t size)
{
	static const char *const names[] = { "read", "write", "broadcast", "admin" };
	for (unsigned i = 0; i < 4; i++)
		if (strlen(names[i]) == size && memcmp(names[i], word, size) == 0)
			return 1u << i;
	return 0;
}

int app_permissions_parse(const char *words)
{
	int permissions = 0;
	while (*words) {
		size_t size = strcspn(words, ", ");
		unsigned permission = permission_of(words, size);
		if (size && !permission && !(size == 4 && memcmp(words, "none", 4) == 0))
			return -1;
		permissions |= (int)permission;
		words += size + (words[size] != 0);
	}
	return permissions;
}

/* An array of strings, or one string with spaces between the words. Names we do not know are for somebody else. */
static bool read_permissions(const json_t *value, struct app_claims *claims)
{
	size_t index;
	json_t *item;
	if (!value)
		return true;
	claims->has_permissions = true;
	if (json_is_string(value)) {
		for (const char *at = json_string_value(value); *at;) {
			size_t size = strcspn(at, " ");
			claims->permissions |= permission_of(at, size);
			at += size + (at[size] != 0);
		}
		return true;
	}
	if (!json_is_array(value))
		return false;
	json_array_foreach(value, index, item)
	{
		if (!json_is_string(item))
			return false;
		claims->permissions |= permission_of(json_string_value(item), json_string_length(item));
	}
	return true;
}

static bool is_name(const json_t *value)
{
	return json_is_string(value) && text_is_name(json_string_value(value), json_string_length(value));
}

static bool read_names(const json_t *value, struct app_names *names)
{
	size_t index, size = 1;
	json_t *item;
	if (!value)
		return true;
	if (!json_is_array(value) || json_array_size(value) > APP_TOKEN_NAMES_MAX)
		return false;
	json_array_foreach(value, index, item)
	{
		if (!is_name(item))
			return false;
		size += json_string_length(item) + 1;
	}
	char *at = names->text = malloc(size); /* never empty: a list without names allows none */
	if (!at)
		return false;
	json_array_foreach(value, index, item) at = stpcpy(at, json_string_value(item)) + 1;
	names->size = (size_t)(at - names->text);
	return true;
}

/* NumericDate (RFC 7519, section 2): whole seconds or a fraction. */
static bool read_date(const json_t *value, double *seconds)
{
	*seconds = json_number_value(value);
	return json_is_number(value) && *seconds >= 0 && *seconds < 1e15;
}

static bool is_one_of(const json_t *value, const struct app_token_rules *rules)
{
	for (unsigned i = 0; i < rules->audience_count; i++)
		if (json_is_string(value) && strlen(rules->audiences[i]) == json_string_length(value) &&
		    strcmp(rules->audiences[i], json_string_value(value)) == 0)
			return true;
	return false;
}

/* RFC 7519, section 4.1.3: `aud` is a name or an array of them, and whoever is not among them refuses the token. */
static bool is_for_us(const json_t *audience, const struct app_token_rules *rules)
{
	size_t index;
	json_t *item;
	if (!audience)
		return !rules->audience_count;
	if (!json_is_array(audience))
		return is_one_of(audience, rules);
	json_array_foreach(audience, index, item) if (is_one_of(item, rules)) return true;
	return false;
}

static enum app_token_verdict read_dates(const json_t *payload, const struct app_token_rules *rules, uint64_t now_s,
                                         struct app_claims *claims)
{
	const json_t *expires = json_object_get(payload, "exp"), *begins = json_object_get(payload, "nbf");
	double date;
	if (begins && !read_date(begins, &date))
		return APP_TOKEN_CLAIMS;
	if (begins && date > (double)now_s + APP_TOKEN_LEEWAY_S)
		return APP_TOKEN_EARLY;
	if (!expires)
		return rules->may_be_endless ? APP_TOKEN_VALID : APP_TOKEN_ENDLESS;
	if (!read_date(expires, &date))
		return APP_TOKEN_CLAIMS;
	if (date <= (double)now_s)
		return APP_TOKEN_EXPIRED;
	claims->expires_s = (uint64_t)date + (date > (double)(uint64_t)date);
	return APP_TOKEN_VALID;
}

static enum app_token_verdict read_claims(const json_t *payload, const struct app_token_rules *rules, uint64_t now_s,
                                          struct app_claims *claims)
{
	const json_t *subject = json_object_get(payload, "sub"), *issuer = json_object_get(payload, "iss");
	size_t size = json_string_length(subject);
	if (!is_name(subject) || size > APP_SUBJECT_SIZE_MAX)
		return APP_TOKEN_CLAIMS;
	memcpy(claims->subject, json_string_value(subject), size + 1);
	if (rules->issuer && (!json_is_string(issuer) || strlen(rules->issuer) != json_string_length(issuer) ||
	                      strcmp(rules->issuer, json_string_value(issuer)) != 0))
		return APP_TOKEN_ISSUER;
	if (!is_for_us(json_object_get(payload, "aud"), rules))
		return APP_TOKEN_AUDIENCE;
	enum app_token_verdict verdict = read_dates(payload, rules, now_s, claims);
	if (verdict != APP_TOKEN_VALID)
		return verdict;
	if (!read_permissions(json_object_get(payload, "permissions"), claims) ||
	    !read_names(json_object_get(payload, "rooms"), &claims->rooms) ||
	    !read_names(json_object_get(payload, "topics"), &claims->topics))
		return APP_TOKEN_CLAIMS;
	return APP_TOKEN_VALID;
}

enum app_token_verdict app_token_check(const struct app_token_keys *keys, const struct app_token_rules *rules,
                                       const char *token, size_t size, uint64_t now_s, struct app_claims *claims)
{
	uint8_t scratch[APP_TOKEN_SIZE_MAX];
	const char *first = size <= APP_TOKEN_SIZE_MAX ? memchr(token, '.', size) : NULL;
	const char *second = first ? memchr(first + 1, '.', size - (size_t)(first + 1 - token)) : NULL;
	if (!second || memchr(second + 1, '.', size - (size_t)(second + 1 - token)))
		return APP_TOKEN_MALFORMED;
	uint64_t mark = 0;
	enum app_token_verdict verdict = check_signature(keys, token, (size_t)(second - token), size,
	                                                 (size_t)(first - token), scratch, &mark);
	if (verdict != APP_TOKEN_VALID)
		return verdict;
	json_t *payload = decode_json(first + 1, (size_t)(second - first - 1), scratch);
	struct app_claims read = { .key = mark };
	verdict = payload ? read_claims(payload, rules, now_s, &read) : APP_TOKEN_MALFORMED;
	json_decref(payload);
	if (verdict == APP_TOKEN_VALID)
		*claims = read;
	else
		app_claims_free(&read);
	return verdict;
}

enum app_token_verdict app_claims_read(const json_t *answer, const char *subject, uint64_t now_s,
                                       struct app_claims *claims)
{
	const json_t *expires = json_object_get(answer, "expires");
	struct app_claims read = { 0 };
	double date = 0;
	size_t size = strlen(subject);
	if (size > APP_SUBJECT_SIZE_MAX || !text_is_name(subject, size) ||
	    (expires && !json_is_null(expires) && !read_date(expires, &date)))
		return APP_TOKEN_CLAIMS;
	memcpy(read.subject, subject, size + 1);
	date = date > 1e11 ? date / 1000 : date;
	if (expires && !json_is_null(expires) && date <= (double)now_s)
		return APP_TOKEN_EXPIRED;
	read.expires_s = (uint64_t)date + (date > (double)(uint64_t)date);
	if (!read_permissions(json_object_get(answer, "permissions"), &read) ||
	    !read_names(json_object_get(answer, "rooms"), &read.rooms) ||
	    !read_names(json_object_get(answer, "topics"), &read.topics)) {
		app_claims_free(&read);
		return APP_TOKEN_CLAIMS;
	}
	*claims = read;
	return APP_TOKEN_VALID;
}

void app_claims_free(struct app_claims *claims)
{
	free(claims->rooms.text);
	free(claims->topics.text);
	*claims = (struct app_claims){ 0 };
}

bool app_name_is_within(const char *pattern, const char *name, size_t size)
{
	size_t pattern_size = strlen(pattern);
	bool prefix = pattern_size && pattern[pattern_size - 1] == '*';
	pattern_size -= prefix;
	return (prefix ? size >= pattern_size : size == pattern_size) && memcmp(pattern, name, pattern_size) == 0;
}

bool app_names_allow(const struct app_names *names, const char *name, size_t size)
{
	for (size_t at = 0; at < names->size; at += strlen(names->text + at) + 1)
		if (app_name_is_within(names->text + at, name, size))
			return true;
	return false;
}
