/* SPDX-License-Identifier: MIT
 *
 * address.c - see address.h.
 */
#include "address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool address_parse(const char *text, struct in6_addr *address)
{
	struct in_addr four;
	if (inet_pton(AF_INET6, text, address) == 1)
		return true;
	if (inet_pton(AF_INET, text, &four) != 1)
		return false;
	*address = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
	memcpy(&address->s6_addr[12], &four, sizeof four);
	return true;
}

bool address_is_loopback(const struct in6_addr *address)
{
	return IN6_IS_ADDR_LOOPBACK(address) || (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == 127);
}

bool networks_add(struct networks *networks, const char *text)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchrnul(text, '/');
	size_t size = (size_t)(slash - text);
	struct network network;
	if (size >= sizeof address || networks->count == NETWORKS_MAX)
		return false;
	memcpy(address, text, size);
	address[size] = 0;
	bool four = !strchr(address, ':');
	unsigned bits_max = four ? 32 : 128;
	char *end = NULL;
	unsigned long bits = *slash ? strtoul(slash + 1, &end, 10) : bits_max;
	if (!address_parse(address, &network.address) || bits > bits_max ||
	    (*slash && (slash[1] < '0' || slash[1] > '9' || *end)))
		return false;
	network.bits = (unsigned)bits + (four ? 96 : 0);
	networks->items[networks->count++] = network;
	return true;
}

static bool hold(const struct networks *networks, struct in6_addr address)
{
	for (unsigned i = 0; i < networks->count; i++) {
		const struct network *network = &networks->items[i];
		unsigned bytes = network->bits / 8, rest = network->bits % 8;
		uint8_t mask = (uint8_t)(0xff00 >> rest);
		if (memcmp(&address, &network->address, bytes) == 0 &&
		    (!rest || ((address.s6_addr[bytes] ^ network->address.s6_addr[bytes]) & mask) == 0))
			return true;
	}
	return false;
}

bool networks_hold(const struct networks *networks, const char *text)
{
	struct in6_addr address;
	return address_parse(strcmp(text, "unix") == 0 ? "127.0.0.1" : text, &address) && hold(networks, address);
}

bool networks_hold_peer(const struct networks *networks, const struct sockaddr *peer)
{
	struct in6_addr address = { .s6_addr = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 } };
	if (peer->sa_family == AF_INET)
		memcpy(&address.s6_addr[12], &((const struct sockaddr_in *)peer)->sin_addr, 4);
	else if (peer->sa_family == AF_INET6)
		address = ((const struct sockaddr_in6 *)peer)->sin6_addr;
	return hold(networks, address);
}
