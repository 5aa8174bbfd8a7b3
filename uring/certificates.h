/* SPDX-License-Identifier: MIT
 *
 * certificates.h - which TLS contexts a server has now. They are replaced by a reload while workers go on.
 */
#ifndef RC_CERTIFICATES_H
#define RC_CERTIFICATES_H

#include "context.h"

#include <pthread.h>
#include <stdatomic.h>

struct rc_server;

struct certificates {
	pthread_mutex_t lock; /* held to take or to replace a context */
	struct rc_tls_context *server, *client;
	struct rc_tls_tickets *tickets;
	_Atomic unsigned reload_count;
	pthread_mutex_t reload_lock;   /* one reload at a time */
	struct rc_tls_options options; /* the server's, copied */
};

int rc_certificates_open(struct rc_server *server);
void rc_certificates_close(struct rc_server *server);

/* Takes a reference, which the caller releases; null when there is no context. Any thread. */
struct rc_tls_context *rc_certificates_take(struct rc_server *server);
struct rc_tls_context *rc_certificates_take_client(struct rc_server *server);

/* Makes the client's context with default options when there is none yet. Returns 0 or a negative errno. */
int rc_certificates_need_client(struct rc_server *server);

#endif
