/* SPDX-License-Identifier: MIT
 *
 * record.h - the record layer of TLS 1.3 (RFC 8446, section 5), a direction at a time: from a traffic secret, plaintext
 * to records in the caller's buffer, or back. OpenSSL's own spends more on a small record's way than on its encryption,
 * and copies it twice; here it is encrypted where it is sent from. The handshake stays OpenSSL's.
 *
 * All streams of a thread share one cipher context a direction, which is keyed anew for each record. A half that sends
 * much gets one of its own. Nothing here knows an SSL object.
 */
#ifndef RC_TLS_RECORD_H
#define RC_TLS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RC_TLS_SECRET_MAX 48

enum rc_tls_record_type { RC_TLS_ALERT = 21, RC_TLS_HANDSHAKE = 22, RC_TLS_DATA = 23 };

struct evp_cipher_ctx_st;
struct evp_cipher_st;
struct evp_md_st;

/* RFC 8446, section 6: the alerts that this room sends or looks for. */
enum rc_tls_alert {
	RC_TLS_CLOSE_NOTIFY = 0,
	RC_TLS_UNEXPECTED_MESSAGE = 10,
	RC_TLS_BAD_RECORD_MAC = 20,
	RC_TLS_RECORD_OVERFLOW = 22,
	RC_TLS_ILLEGAL_PARAMETER = 47,
	RC_TLS_DECODE_ERROR = 50,
	RC_TLS_INTERNAL_ERROR = 80,
	RC_TLS_USER_CANCELED = 90,
};

#define RC_TLS_HEADER_SIZE 5
#define RC_TLS_SEALED_MIN 17           /* behind the header: a type and a tag */
#define RC_TLS_SEALED_MAX (16384 + 17) /* section 5.4: padding is no reason for more */

struct rc_tls_half {
	const struct evp_cipher_st *cipher; /* null: not in use */
	const struct evp_md_st *digest;
	struct evp_cipher_ctx_st *own; /* keyed; null while it uses the shared one */
	uint64_t sequence;
	uint8_t secret[RC_TLS_SECRET_MAX], key[32], iv[12];
};

/* `suite` is the number of a cipher suite, appendix B.4. False for one that is not known; the half is then unused. */
bool rc_tls_half_open(struct rc_tls_half *half, unsigned suite, const uint8_t *secret, uint64_t sequence);
void rc_tls_half_close(struct rc_tls_half *half);

static inline bool rc_tls_half_is_open(const struct rc_tls_half *half)
{
	return half->cipher;
}

/* Writes one record and moves *to behind it. False when it does not fit or the cipher failed; the half is then over. */
bool rc_tls_seal(struct rc_tls_half *half, struct evp_cipher_ctx_st *shared, enum rc_tls_record_type type,
                 const uint8_t *bytes, size_t size, uint8_t **to, const uint8_t *end);

/* Decrypts one whole record of type application_data, header and all. `to` has room for its plaintext without the type
 * (size - 22 bytes); *content is the size of what it holds, *type its kind. Returns 0, or the alert that says
 * what is wrong with it: what `to` has is then worth nothing, and the half is over. */
enum rc_tls_alert rc_tls_unseal(struct rc_tls_half *half, struct evp_cipher_ctx_st *shared, const uint8_t *record,
                                size_t size, uint8_t *to, size_t *content, enum rc_tls_record_type *type);

/* Section 7.2: the next keys, and numbers from 0. */
bool rc_tls_half_turn(struct rc_tls_half *half);

/* The kernel's struct tls12_crypto_info_... of this half, for a kernel that goes on with its records: at most 56 bytes.
 * Returns the size. */
size_t rc_tls_half_for_kernel(const struct rc_tls_half *half, uint8_t *to);

/* Section 4.6.3: writes a KeyUpdate, which says that new keys follow, and takes them. */
bool rc_tls_half_update(struct rc_tls_half *half, struct evp_cipher_ctx_st *shared, uint8_t **to, const uint8_t *end);

#endif
