/* SPDX-License-Identifier: MIT
 *
 * ringcast_client.h - connections that a server opens itself. Part of the public contract; the conventions at the head
 * of ringcast.h hold here too.
 */
#ifndef RINGCAST_CLIENT_H
#define RINGCAST_CLIENT_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How rc_connect() meets wss:// servers, before the start. Without a call their certificates must be for the host in
 * the URL, and the system's authorities must vouch for them. Returns as rc_server_tls() does; -ENOENT is also for a
 * system whose authorities cannot be found. */
struct rc_tls_client_options {
	const char *ca;                /* PEM file that vouches instead of the system's authorities; or null */
	bool insecure;                 /* any certificate will do */
	const char *certificate, *key; /* PEM files to show to a server that asks; or null */
};
RC_API int rc_server_tls_client(rc_server *server, const struct rc_tls_client_options *options, struct rc_error *error,
                                size_t struct_size);
#define rc_server_tls_client(...) rc_server_tls_client(__VA_ARGS__, sizeof(struct rc_tls_client_options))

/* Opens a connection on a worker, after the start. The URL is "ws://HOST:PORT/PATH" (HOST is an address or
 * "localhost"), "wss://HOST:PORT/PATH" (see rc_server_tls_client()) or "ws+unix:/SOCKET:/PATH". The connection is
 * served like any other: open, message, close, the same handles. Any thread. `options` may be null. Returns 0 when the
 * attempt began; what goes wrong from then on arrives at handlers.close. Or -EINVAL (the URL, or no such worker),
 * -EAGAIN (RC_COMMANDS_MAX wait), -ENOTCONN (the worker has ended), -ENOENT (wss: the system's authorities cannot be
 * found), -ENOMEM. */
struct rc_connect_options {
	const char *protocols; /* subprotocols to offer, comma separated; or null */
	const char *source;    /* an address to bind; or null */
	void *user;
	bool deflate; /* offer permessage-deflate */
};
RC_API int rc_connect(rc_server *server, unsigned worker, const char *url, const struct rc_connect_options *options,
                      size_t struct_size);
#define rc_connect(...) rc_connect(__VA_ARGS__, sizeof(struct rc_connect_options))

#ifdef __cplusplus
}
#endif
#endif
