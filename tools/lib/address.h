/* SPDX-License-Identifier: MIT
 *
 * address.h - IP addresses and blocks of them, as text and as 128 bits. IPv4 is a mapped IPv6 address here.
 */
#ifndef LIB_ADDRESS_H
#define LIB_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#define ADDRESS_TEXT_SIZE (INET6_ADDRSTRLEN + 4) /* with "/64" behind it */
#define NETWORKS_MAX 64

/* A block of addresses: the first `bits` of the address. */
struct network {
	struct in6_addr address;
	unsigned bits;
};

struct networks {
	struct network items[NETWORKS_MAX];
	unsigned count;
};

bool address_parse(const char *text, struct in6_addr *address);
/* 127.0.0.0/8 or ::1. */
bool address_is_loopback(const struct in6_addr *address);

/* Adds "ADDRESS" or "ADDRESS/BITS". False: it is neither, or there are too many. */
bool networks_add(struct networks *networks, const char *text);
/* Whether an address is in one of the blocks. "unix" counts as 127.0.0.1. */
bool networks_hold(const struct networks *networks, const char *text);
/* The same for the peer of a socket. */
bool networks_hold_peer(const struct networks *networks, const struct sockaddr *peer);

#endif
