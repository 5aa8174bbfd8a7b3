/* SPDX-License-Identifier: MIT
 *
 * token.h - JSON Web Tokens (RFC 7519) as compact JWS (RFC 7515): HS256, RS256, ES256 (RFC 7518) and EdDSA (RFC 8037).
 * Pure but for OpenSSL's arithmetic: a token, keys and the time go in, a verdict comes out.
 *
 * A key is for one algorithm, decided when the key is loaded. The token's header only chooses among the keys. It can
 * never make a public key into a secret, or ask for no key at all.
 */
#ifndef APP_TOKEN_H
#define APP_TOKEN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define APP_TOKEN_SIZE_MAX 8192
#define APP_TOKEN_KEYS_MAX 16
#define APP_TOKEN_NAMES_MAX 64 /* rooms, and topics */
#define APP_SUBJECT_SIZE_MAX 128
#define APP_TOKEN_LEEWAY_S 5 /* that clocks may differ by */

enum app_permission { APP_MAY_READ = 1, APP_MAY_WRITE = 2, APP_MAY_BROADCAST = 4, APP_MAY_ADMIN = 8 };

struct app_token_key;
struct app_token_keys {
	struct app_token_key *keys[APP_TOKEN_KEYS_MAX];
	unsigned count;
};

/* Adds the secret of HS256 (at least 32 bytes, RFC 7518, section 3.2), or a public key in PEM: RSA of 2048 bits and
 * more for RS256, P-256 for ES256, Ed25519 for EdDSA. Returns null or what is wrong. */
const char *app_token_add_secret(struct app_token_keys *keys, const void *secret, size_t size);
const char *app_token_add_pem(struct app_token_keys *keys, const void *pem, size_t size);
/* Whether a key is among these: the mark that claims have of theirs. */
bool app_token_keys_hold(const struct app_token_keys *keys, uint64_t mark);
void app_token_keys_free(struct app_token_keys *keys);

/* What the operator wants of a token beyond its signature. */
struct app_token_rules {
	const char *const
	    *audiences; /* who we are; a token's `aud` must be one of these, and without any it has none */
	unsigned audience_count;
	const char *issuer;  /* what `iss` must be, or null */
	bool may_be_endless; /* without `exp` */
};

/* Names, or prefixes with '*'. */
struct app_names {
	char *text; /* each with its zero, one after the other; null: the claim was not there */
	size_t size;
};

struct app_claims {
	char subject[APP_SUBJECT_SIZE_MAX + 1];
	uint64_t key;         /* a mark of the key that signed them */
	uint64_t expires_s;   /* 0: never */
	bool has_permissions; /* the claim was there */
	unsigned permissions;
	struct app_names rooms, topics;
};

enum app_token_verdict {
	APP_TOKEN_VALID,
	APP_TOKEN_MALFORMED,
	APP_TOKEN_UNKNOWN_KEY, /* no key is for its algorithm */
	APP_TOKEN_FORGED,      /* the signature is by none of our keys */
	APP_TOKEN_EXPIRED,
	APP_TOKEN_EARLY,    /* nbf */
	APP_TOKEN_CLAIMS,   /* a claim that is needed is missing, or has the wrong type */
	APP_TOKEN_ENDLESS,  /* no exp */
	APP_TOKEN_AUDIENCE, /* aud is not us */
	APP_TOKEN_ISSUER,   /* iss is somebody else */
};
const char *app_token_verdict_text(enum app_token_verdict verdict);

/* Fills in *claims only for APP_TOKEN_VALID; the caller frees them with app_claims_free(). */
enum app_token_verdict app_token_check(const struct app_token_keys *keys, const struct app_token_rules *rules,
                                       const char *token, size_t size, uint64_t now_s, struct app_claims *claims);
/* The same of what a backend says of a user: {"expires","permissions","rooms","topics"}, as a token has them. Beyond
 * 1e11 `expires` is in milliseconds. Returns APP_TOKEN_VALID, APP_TOKEN_EXPIRED or APP_TOKEN_CLAIMS. */
enum app_token_verdict app_claims_read(const json_t *answer, const char *subject, uint64_t now_s,
                                       struct app_claims *claims);
void app_claims_free(struct app_claims *claims);

bool app_names_allow(const struct app_names *names, const char *name, size_t size);
/* Whether `pattern`, a name or a prefix with '*', holds a name, or all that another prefix with '*' does. */
bool app_name_is_within(const char *pattern, const char *name, size_t size);

/* Reads "read,write" as bits of enum app_permission; -1 for any other word. */
int app_permissions_parse(const char *words);

/* base64url without padding (RFC 7515, section 2), strictly: no other characters, no bits left over. Returns the size,
 * or -1. `to` has room for size / 4 * 3 + 3 bytes. */
int app_base64url_decode(const char *text, size_t size, uint8_t *to);

#endif
