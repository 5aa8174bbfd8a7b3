/* SPDX-License-Identifier: MIT
 *
 * revoked.h - certificates as issuer and serial number, as revocation lists name them: those that a connection showed
 * and those that were revoked. So who is connected can be looked up in a list that was read later. It must not know a
 * connection.
 */
#ifndef RC_TLS_REVOKED_H
#define RC_TLS_REVOKED_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rc_tls_mark {
	uint32_t issuer;    /* hash of the name as it compares */
	uint8_t serial[28]; /* its size and sign, and its last bytes: a serial number has at most 20 (RFC 5280) */
};

/* Sorted. */
struct rc_tls_revoked {
	struct rc_tls_mark *marks;
	size_t count;
};

/* All that the lists of a store name. False when memory is out. */
bool rc_tls_revoked_read(struct rc_tls_revoked *revoked, X509_STORE *store);
void rc_tls_revoked_free(struct rc_tls_revoked *revoked);
bool rc_tls_revoked_has(const struct rc_tls_revoked *revoked, const struct rc_tls_mark *mark);

/* Marks of the chain that was verified, without its root. *count 0: there is none. False when memory is out. The caller
 * frees them. */
bool rc_tls_marks_of(const SSL *ssl, struct rc_tls_mark **marks, unsigned *count);

#endif
