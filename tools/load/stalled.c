/* SPDX-License-Identifier: MIT
 *
 * stalled.c - see stalled.h.
 */
#include "stalled.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/options.h"
#include "lib/url.h"

#define RECEIVE_BUFFER_SIZE 4096 /* so that the server notices after few bytes */
#define ANSWER_SECONDS 10

struct target {
	struct sockaddr_in address;
	char authority[64];
	const char *path;
};

static bool parse_target(const char *url, struct target *target)
{
	size_t base_size = url_base_size(url);
	char host[64];
	unsigned port = 80;
	if (base_size < 6 || base_size - 5 >= sizeof target->authority || strncmp(url, "ws://", 5))
		return false;
	memcpy(target->authority, url + 5, base_size - 5);
	target->authority[base_size - 5] = 0;
	target->path = url + base_size;
	if (sscanf(target->authority, "%63[^:]:%u", host, &port) < 1 || port > 65535)
		return false;
	target->address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	return inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &target->address.sin_addr) == 1;
}

/* Reads to the end of the answer's head, and no byte more. Returns its status, or 0. */
static int read_answer(int descriptor)
{
	char head[2048];
	size_t size = 0;
	while (size < sizeof head - 1 && read(descriptor, head + size, 1) == 1) {
		head[++size] = 0;
		if (size >= 4 && !memcmp(head + size - 4, "\r\n\r\n", 4))
			return atoi(size > 9 ? head + 9 : "0");
	}
	return 0;
}

static int open_one(const struct target *target)
{
	char request[4096];
	int size = snprintf(request, sizeof request,
	                    "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                    "Sec-WebSocket-Key: c3RhbGxlZCBzdWJzY3JpYg==\r\nSec-WebSocket-Version: 13\r\n\r\n",
	                    target->path, target->authority);
	int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), buffer_size = RECEIVE_BUFFER_SIZE;
	struct timeval patience = { .tv_sec = ANSWER_SECONDS };
	if (descriptor < 0 || size >= (int)sizeof request)
		goto failed;
	setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size);
	setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(descriptor, (const struct sockaddr *)&target->address, sizeof target->address) ||
	    write(descriptor, request, (size_t)size) != size)
		goto failed;
	errno = 0;
	int status = read_answer(descriptor);
	if (status == 101)
		return descriptor;
	command_failed("a stalled subscriber: HTTP status %d %s", status, errno ? strerror(errno) : "");
	close(descriptor);
	return -1;
failed:
	command_failed("a stalled subscriber: %s", strerror(errno));
	if (descriptor >= 0)
		close(descriptor);
	return -1;
}

int load_stall(const char *url, int *sockets, unsigned count)
{
	struct target target;
	if (!parse_target(url, &target)) {
		command_failed("--stalled needs a ws:// URL with an IPv4 address");
		return -1;
	}
	for (unsigned index = 0; index < count; index++) {
		sockets[index] = open_one(&target);
		if (sockets[index] < 0)
			return -1;
	}
	return 0;
}
