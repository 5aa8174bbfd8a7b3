/* SPDX-License-Identifier: MIT
 *
 * proxy.h - the PROXY protocol, versions 1 and 2: what a proxy in front says, before anything else, about who connected
 * to it. Pure: bytes to a verdict. It must not guess: whether a connection begins with it is known beforehand.
 */
#ifndef RC_PROXY_H
#define RC_PROXY_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define RC_PROXY_V1_SIZE_MAX 107  /* the longest line that version 1 can make, CR LF included */
#define RC_PROXY_V2_SIZE_MAX 4096 /* with the extensions that proxies add, which are passed over */

/* Returns the size of the header when it is complete and correct, 0 while more bytes are needed, or -1 when these
 * bytes are no such header (judged as early as they allow). *peer is who connected to the proxy; its family is
 * AF_UNSPEC when the header does not say (UNKNOWN, LOCAL: the proxy speaks for itself). */
int rc_proxy_parse(const uint8_t *bytes, size_t size, struct sockaddr_storage *peer);

/* Who a peer is, as text: its address, "unix" or "unknown". */
void rc_peer_name(char text[INET6_ADDRSTRLEN], const struct sockaddr_storage *peer);

/* The same peer; one of IPv4 that came to a socket of IPv6 (RFC 4291, section 2.5.5.2) is one of IPv4 again, so that it
 * counts and is named like any other. */
void rc_peer_unmap(struct sockaddr_storage *plain, const struct sockaddr_storage *peer);

#endif
