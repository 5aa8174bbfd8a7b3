/* SPDX-License-Identifier: MIT
 *
 * local.h - which requests come from this machine itself, and from which address the others come. `serve` and `app` ask
 * here before they believe anybody for the place that he is at.
 *
 * Local trust is for a person or a program on this machine. Invariant: whatever a proxy handed on has none, however
 * near the proxy is, and neither has a browser that shows a page of another site.
 */
#ifndef LIB_LOCAL_H
#define LIB_LOCAL_H

#include <stdbool.h>
#include <stddef.h>

#include "address.h"
#include "ringcast.h"

/* By the index of rc_request_listener(). */
struct local_listeners {
	bool loopback[RC_LISTENERS_MAX];
	bool secure[RC_LISTENERS_MAX]; /* wss */
	unsigned count;
};

/* Whether nobody but this machine reaches a listener: as rc_server_listen() takes it, "127.0.0.1:80", "unix:/x.sock",
 * "fd:3" (then the socket itself is asked). */
bool local_address_is_loopback(const char *address);
/* Whether it is a descriptor (fd:3) of which this process has no socket: nothing can be said of it. */
bool local_address_is_absent(const char *address);
/* Adds the listeners in the order in which the server has them. */
void local_listeners_add(struct local_listeners *listeners, const char *address);

/* Whether a proxy says that it hands the request on: a PROXY header, or any of the headers that name a client or the
 * way (local.c has the list). */
bool local_is_forwarded(const rc_request *request);
/* Whether a page of another site made the request: by its Origin. */
bool local_is_from_other_site(const rc_request *request);
/* Whether the request's Host is a loopback address or `localhost`. A name that somebody owns can be pointed here. */
bool local_host_is_loopback(const rc_request *request);

/* Whether the request's Host is an address, or `localhost` or a name below it: nobody can point these elsewhere. */
bool local_host_is_fixed(const rc_request *request);
/* The size of a Host without its port. 0: it is not the name of a host. */
size_t local_host_size(const char *host);

/* Local trust: by a listener of loopback, from loopback, to loopback, and handed on by nobody. */
bool local_is_trusted(const struct local_listeners *listeners, const rc_request *request);

/* The address of the client. Only proxies that were named are believed, by a PROXY header or by X-Forwarded-For, which
 * is read from its end. In `scratch`, or text of the request. */
const char *local_client(const struct networks *proxies, const rc_request *request, char scratch[ADDRESS_TEXT_SIZE]);
/* Who the connection is from: the proxy, if there is one. */
const char *local_neighbour(const rc_request *request);

#endif
