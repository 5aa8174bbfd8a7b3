/* SPDX-License-Identifier: MIT
 *
 * proxy.c - the PROXY protocol: a header is taken at one length and no other, what is wrong stays wrong whatever
 * follows, and an address that was read is written and read again.
 */
#include "proxy.h"

#include "fuzz.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static void read_again(const struct sockaddr_storage *peer)
{
	char line[256], address[INET6_ADDRSTRLEN];
	struct sockaddr_storage again;
	bool four = peer->ss_family == AF_INET;
	const void *at = four ? (const void *)&((const struct sockaddr_in *)peer)->sin_addr
	                      : (const void *)&((const struct sockaddr_in6 *)peer)->sin6_addr;
	unsigned port = ntohs(four ? ((const struct sockaddr_in *)peer)->sin_port
	                           : ((const struct sockaddr_in6 *)peer)->sin6_port);
	inet_ntop(peer->ss_family, at, address, sizeof address);
	int size = snprintf(line, sizeof line, "PROXY TCP%d %s %s %u 1\r\n", four ? 4 : 6, address, address, port);
	HOLDS(rc_proxy_parse((const uint8_t *)line, (size_t)size, &again) == size, "%s", line);
	HOLDS(memcmp(peer, &again, sizeof again) == 0, "%s is another address", line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_storage peer, other;
	uint8_t *bytes = exact_copy(data, size);
	int verdict = rc_proxy_parse(bytes, size, &peer);
	HOLDS(verdict >= -1 && verdict <= (int)size, "%d of %zu", verdict, size);
	bool wrong = false;
	for (size_t part = 0; part < size && part < 300; part++) {
		uint8_t *cut = exact_copy(data, part);
		int early = rc_proxy_parse(cut, part, &other);
		free(cut);
		HOLDS(!wrong || early == -1, "wrong before, and %d with %zu bytes", early, part);
		wrong |= early == -1;
		if (verdict > 0)
			HOLDS(early == (part < (size_t)verdict ? 0 : verdict), "%d with %zu of %d", early, part,
			      verdict);
		else if (verdict == 0)
			HOLDS(early == 0, "%d with %zu bytes, and none yet with all", early, part);
	}
	HOLDS(!wrong || verdict == -1, "wrong before, and %d with all", verdict);
	if (verdict > 0 && (peer.ss_family == AF_INET || peer.ss_family == AF_INET6))
		read_again(&peer);
	free(bytes);
	return 0;
}
