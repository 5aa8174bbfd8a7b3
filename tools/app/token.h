/* SPDX-License-Identifier: MIT
 *
 * token.h - JSON Web Tokens (RFC 7519) as compact JWS (RFC 7515): HS256, RS256, ES256 (RFC 7518) and EdDSA (RFC 8037).
 * Pure but for OpenSSL's arithmetic: a token, keys and the time go in, a verdict comes out.
 *
 * A key is for one algorithm, decided when the key is loaded; the token's header only chooses among the keys and can
 * never make a public key into a secret, or ask for none at all.
 */
#ifndef RC_APP_TOKEN_H
#define RC_APP_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RC_TOKEN_SIZE_MAX 8192
#define RC_TOKEN_KEYS_MAX 16
#define RC_TOKEN_ROOMS_MAX 64
#define RC_SUBJECT_SIZE_MAX 128
#define RC_TOKEN_LEEWAY_S 5 /* that clocks may differ by */

enum rc_permission { RC_MAY_READ = 1, RC_MAY_WRITE = 2, RC_MAY_BROADCAST = 4, RC_MAY_ADMIN = 8 };

struct rc_token_key;
struct rc_token_keys {
	struct rc_token_key *keys[RC_TOKEN_KEYS_MAX];
	unsigned count;
};

/* Adds the secret of HS256 (at least 32 bytes, RFC 7518, section 3.2), or a public key in PEM: RSA of 2048 bits and
 * more for RS256, P-256 for ES256, Ed25519 for EdDSA. Returns null or what is wrong. */
const char *rc_token_add_secret(struct rc_token_keys *keys, const void *secret, size_t size);
const char *rc_token_add_pem(struct rc_token_keys *keys, const void *pem, size_t size);
void rc_token_keys_free(struct rc_token_keys *keys);

struct rc_claims {
	char subject[RC_SUBJECT_SIZE_MAX + 1];
	uint64_t expires_s;   /* 0: never */
	bool has_permissions; /* the claim was there */
	unsigned permissions;
	char *rooms; /* names or prefixes with '*', each with its zero, one after the other; null: all */
	size_t rooms_size;
};

enum rc_token_verdict {
	RC_TOKEN_VALID,
	RC_TOKEN_MALFORMED,
	RC_TOKEN_UNKNOWN_KEY, /* no key is for its algorithm */
	RC_TOKEN_FORGED,      /* the signature is none of our keys' */
	RC_TOKEN_EXPIRED,
	RC_TOKEN_EARLY,  /* nbf */
	RC_TOKEN_CLAIMS, /* a claim that is needed lacks, or has the wrong type */
};
const char *rc_token_verdict_text(enum rc_token_verdict verdict);

/* Fills in *claims only for RC_TOKEN_VALID; the caller frees claims->rooms. */
enum rc_token_verdict rc_token_check(const struct rc_token_keys *keys, const char *token, size_t size, uint64_t now_s,
                                     struct rc_claims *claims);

bool rc_claims_allow_room(const struct rc_claims *claims, const char *room, size_t size);

/* "read,write" to bits; -1 for a word that is none. */
int rc_permissions_parse(const char *words);

/* base64url without padding (RFC 7515, section 2), strictly: no other characters, no bits left over. Returns the size,
 * or -1. `to` has room for size / 4 * 3 + 3 bytes. */
int rc_base64url_decode(const char *text, size_t size, uint8_t *to);

#endif
