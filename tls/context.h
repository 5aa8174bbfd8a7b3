/* SPDX-License-Identifier: MIT
 *
 * context.h - what all TLS connections of one kind share: certificates and keys, whom to trust, the keys of session
 * tickets. A context never changes once it is made; new certificates make a new context, and connections keep the one
 * they began with. Counted, any thread.
 *
 * The settings are those of Mozilla's intermediate set (TLS 1.2 and 1.3, forward secrecy, authenticated encryption), in
 * an order of our own: AES-128 comes first because it costs least here, ChaCha20 only where the peer prefers it.
 */
#ifndef RC_TLS_CONTEXT_H
#define RC_TLS_CONTEXT_H

#include "ringcast.h"
#include "ringcast_client.h"

#include <openssl/types.h>

/* Keys that tickets are sealed with. They belong to a server and outlive its contexts, so that a client can resume on
 * any worker and after a reload. A key seals for one turn and opens for one more. */
struct rc_tls_tickets;
struct rc_tls_tickets *rc_tls_tickets_new(void);
void rc_tls_tickets_free(struct rc_tls_tickets *tickets);

/* Makes a new key when it is time. Any thread; cheap when it is not. */
void rc_tls_tickets_turn(struct rc_tls_tickets *tickets, uint64_t now_ns);

struct rc_tls_context;

/* Reads the files named. Null with *error set to what is wrong with which file. `tickets` must outlive the context. */
struct rc_tls_context *rc_tls_context_server(const struct rc_tls_options *options, struct rc_tls_tickets *tickets,
                                             struct rc_error *error);
struct rc_tls_context *rc_tls_context_client(const struct rc_tls_client_options *options, struct rc_error *error);

struct rc_tls_context *rc_tls_context_keep(struct rc_tls_context *context);
void rc_tls_context_release(struct rc_tls_context *context); /* null is allowed */

/* For stream.c: what a new connection is made from, and whether names are checked. */
SSL_CTX *rc_tls_context_ssl(const struct rc_tls_context *context);
/* What the pair shows; null beyond the last one. It stays as long as the context. */
const X509 *rc_tls_context_certificate(const struct rc_tls_context *context, unsigned index);
bool rc_tls_context_verifies(const struct rc_tls_context *context);

/* Whom its revocation lists name; null when it has none. */
struct rc_tls_revoked;
const struct rc_tls_revoked *rc_tls_context_revoked(const struct rc_tls_context *context);

/* In stream.c: what OpenSSL's callbacks, which a context names, need of a connection. */
void rc_tls_note_secret(const SSL *ssl, const char *line);
const struct rc_tls_context *rc_tls_context_of(const SSL *ssl);

#endif
