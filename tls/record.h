/* SPDX-License-Identifier: MIT
 *
 * record.h - the sending half of TLS 1.3's record layer (RFC 8446, section 5): from a traffic secret, plaintext to
 * records in the caller's buffer. OpenSSL's own spends more on a small record's way than on its encryption, and copies
 * it twice; here it is encrypted where it is sent from. Receiving and the handshake stay OpenSSL's.
 *
 * One thread shares a cipher context that is keyed anew for each record; a sender that has much to say gets one of its
 * own. Nothing here knows an SSL object.
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

struct rc_tls_sender {
	const struct evp_cipher_st *cipher;  /* null: not in use */
	const struct evp_md_st *digest;
	struct evp_cipher_ctx_st *own;       /* keyed; null while it uses the shared one */
	uint64_t sequence;
	uint8_t secret[RC_TLS_SECRET_MAX], key[32], iv[12];
};

/* `suite` is the number of a cipher suite, appendix B.4. False for one that is not known; the sender is then unused. */
bool rc_tls_sender_open(struct rc_tls_sender *sender, unsigned suite, const uint8_t *secret, uint64_t sequence);
void rc_tls_sender_close(struct rc_tls_sender *sender);

static inline bool rc_tls_sender_is_open(const struct rc_tls_sender *sender) { return sender->cipher; }

/* Writes one record and moves *to behind it. False when it does not fit or the cipher failed: the sender is over. */
bool rc_tls_sender_seal(struct rc_tls_sender *sender, struct evp_cipher_ctx_st *shared, enum rc_tls_record_type type,
                        const uint8_t *bytes, size_t size, uint8_t **to, const uint8_t *end);

/* The kernel's struct tls12_crypto_info_... of this sender, for a kernel that goes on with its records: at most 56 bytes.
 * Returns the size. */
size_t rc_tls_sender_for_kernel(const struct rc_tls_sender *sender, uint8_t *to);

/* Section 4.6.3: says with a KeyUpdate that new keys follow, and takes them. */
bool rc_tls_sender_update(struct rc_tls_sender *sender, struct evp_cipher_ctx_st *shared, uint8_t **to, const uint8_t *end);

#endif
