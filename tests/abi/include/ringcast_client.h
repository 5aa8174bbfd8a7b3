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

/* Says how rc_connect() meets wss:// servers, before the start. Without a call their certificates must be for the host
 * in the URL, and the system's authorities must vouch for them. Returns as rc_server_tls() does; -ENOENT is also for a
 * system whose authorities cannot be found. */
struct rc_tls_client_options {
	const char *ca;                /* PEM file that vouches instead of the system's authorities; or null */
	bool insecure;                 /* any certificate will do */
	const char *certificate, *key; /* PEM files to show to a server that asks; or null */
};
RC_API int rc_server_tls_client(rc_server *server, const struct rc_tls_client_options *options, struct rc_error *error,
                                size_t struct_size);
#define rc_server_tls_client(...) rc_server_tls_client(__VA_ARGS__, sizeof(struct rc_tls_client_options))

#define RC_CONNECT_HEADERS_SIZE_MAX 4096              /* bytes of all headers of a request, their ends included */
#define RC_CONNECT_TIMEOUT_MAX_MS (24 * 3600 * 1000u) /* of a time-out or a pause */

/* A header of the request. The library's own (Host, Upgrade, Connection, Sec-WebSocket-... and those that frame a body)
 * are refused, and so are bytes that may not stand there, as CR and LF. */
struct rc_connect_header {
	const char *name, *value;
};

/* Zeroed, each field has its default. All is copied. */
struct rc_connect_options {
	const char *protocols; /* subprotocols to offer, comma separated; or null */
	const char *source;    /* an address to bind; or null. Then only addresses of its family are tried */
	void *user;
	bool deflate;                            /* offer permessage-deflate */
	const struct rc_connect_header *headers; /* of the request; or null */
	unsigned header_count;
	/* For the whole opening: looking the name up, TCP, TLS and the handshake. An address that does not answer gets
	 * its share of it, so that the next one is tried in time. 0: the server's handshake_timeout_ms. */
	unsigned timeout_ms;
	/* Unless 0, the connection is opened again when it ends, and when it could not be opened. The pause before the
	 * next attempt begins with again_ms and doubles from one attempt to the next up to again_max_ms (0: 30 s, or
	 * again_ms if that is longer). Each pause is a random time between half of that and the whole, so that many
	 * clients do not come back as one. It begins anew with again_ms when a connection was open for again_max_ms: a
	 * server that accepts and ends at once does not make it begin anew. */
	unsigned again_ms, again_max_ms;
	/* Unless null, gets the handle, before any handler is called with it. */
	rc_conn *conn;
};

/* Opens a connection on a worker, after the start. The URL is "ws://HOST:PORT/PATH", "wss://HOST:PORT/PATH" (see
 * rc_server_tls_client()) or "ws+unix:/SOCKET:/PATH". HOST is an address, or a name: names are looked up (getaddrinfo)
 * on a thread that is no worker's, and the addresses of one are tried in their order until one answers. The connection
 * is served like any other: open, message, close. Any thread. `options` may be null. Returns 0 when the attempt began;
 * what goes wrong from then on arrives at handlers.close, in words. Or -EINVAL (the URL, the worker, the source, a
 * header, the protocols, the times), -ENOSPC (the headers or the request are too long), -EAGAIN (RC_COMMANDS_MAX wait),
 * -ENOTCONN (the worker has ended), -ENOENT (wss: the system's authorities cannot be found), -ENOMEM.
 *
 * The handle means what this call began, not one socket. It is good from here on until handlers.close is called with
 * again_ms 0: through every attempt and every pause. While the connection is not open, rc_send() and its like say
 * -ENOTCONN. handlers.open and handlers.close are called for each time that it opens or ends, with the same `user`.
 * rc_close() works at any time: it ends the connection, or the attempt, or the pause, and nothing is tried again.
 *
 * It is not tried again either when the server stops, or when the connection was not open and what went wrong is there
 * to stay: an HTTP status of 300 to 499 but 408, 425 and 429, a certificate that is not trusted, a name that does not
 * exist (unless the connection has been open before), a Unix socket's file that may not be opened. */
RC_API int rc_connect(rc_server *server, unsigned worker, const char *url, const struct rc_connect_options *options,
                      size_t struct_size);
#define rc_connect(...) rc_connect(__VA_ARGS__, sizeof(struct rc_connect_options))

#ifdef __cplusplus
}
#endif
#endif
