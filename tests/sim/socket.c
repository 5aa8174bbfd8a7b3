/* SPDX-License-Identifier: MIT
 *
 * socket.c - two bounded pipes of bytes between the ring and a peer, and listening sockets with the queues before them.
 * A socket that is closed with bytes unread resets the connection, as TCP does: the other side loses what it had not
 * read yet.
 */
#include "ring_sim.h"
#include "text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define LISTENERS_MAX 32
#define BACKLOG 16

/* ---- the pipes ---- */

void socket_link(struct peer *peer)
{
	peer->state = PEER_LINKED;
	peer->linked_ns = peer->next_ns = sim.now_ns;
	if (peer->secure)
		secret_begin(peer);
}

void socket_close(struct slot *slot)
{
	struct peer *peer = slot->peer;
	slot->state = SLOT_CLOSING;
	peer->closed = peer->down_ended = true;
	if (peer->up_size) {
		peer->reset_by_us = true;
		peer->down_size = 0;
	}
	TRACE("peer %u: closed by the server%s", peer->index, peer->reset_by_us ? ", reset" : "");
}

void socket_abort(struct peer *peer)
{
	peer->down_ended = peer->reset_by_us = true;
	peer->down_size = 0;
	TRACE("peer %u: reset by the server", peer->index);
}

void socket_take(struct peer *peer, uint8_t *to, size_t size)
{
	memcpy(to, peer->up + peer->up_begin, size);
	peer->up_begin += size;
	peer->up_size -= size;
	if (!peer->up_size)
		peer->up_begin = 0;
}

struct sockaddr_storage socket_address(const struct peer *peer)
{
	struct sockaddr_storage storage = { .ss_family = AF_UNIX };
	if (peer->over_unix)
		return storage;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&storage;
	struct sockaddr_in *four = (struct sockaddr_in *)&storage;
	if (peer->address % 2) {
		six->sin6_family = AF_INET6;
		inet_pton(AF_INET6, "2001:db8::", &six->sin6_addr);
		six->sin6_addr.s6_addr[7] = (uint8_t)peer->address;
		six->sin6_addr.s6_addr[15] = (uint8_t)peer->index; /* of one /64 */
	} else {
		four->sin_family = AF_INET;
		four->sin_addr.s_addr = htonl(0x0A000000u + peer->address);
	}
	return storage;
}

/* ---- listeners ---- */

static struct listening {
	int fd;
	unsigned queue; /* which queue: one of its own, or that of the socket it is a copy of */
	bool is_unix, secure;
} listening[LISTENERS_MAX];
static unsigned listening_count;
static struct {
	unsigned peers[BACKLOG], count;
} queues[LISTENERS_MAX];

int __wrap_dup(int fd);

void listener_reset(void)
{
	listening_count = 0;
	memset(queues, 0, sizeof queues);
}

static struct listening *listening_at(int fd)
{
	for (unsigned i = 0; i < listening_count; i++)
		if (listening[i].fd == fd)
			return &listening[i];
	sim_fail("%d is no listener", fd);
}

bool listener_offer(unsigned peer)
{
	if (!listening_count)
		return false;
	const struct listening *listener = &listening[sim_below(listening_count)];
	if (queues[listener->queue].count == BACKLOG)
		return false;
	queues[listener->queue].peers[queues[listener->queue].count++] = peer;
	peers[peer].over_unix = listener->is_unix;
	peers[peer].secure = listener->secure;
	return true;
}

bool listener_waiting(int fd)
{
	return queues[listening_at(fd)->queue].count;
}

struct peer *listener_take(int fd)
{
	unsigned queue = listening_at(fd)->queue, peer = queues[queue].peers[0];
	queues[queue].count--;
	memmove(queues[queue].peers, queues[queue].peers + 1, queues[queue].count * sizeof(unsigned));
	socket_link(&peers[peer]);
	return &peers[peer];
}

static int add_listener(unsigned queue, bool is_unix, bool secure)
{
	CHECK(listening_count < LISTENERS_MAX, "listeners without end");
	int fd = host_new_fd();
	listening[listening_count++] = (struct listening){ fd, queue, is_unix, secure };
	return fd;
}

int __real_dup(int fd);

int __wrap_dup(int fd)
{
	if (!listening_count)
		return __real_dup(fd); /* nobody of ours yet */
	const struct listening *of = listening_at(fd);
	return add_listener(of->queue, of->is_unix, of->secure);
}

/* ---- instead of uring/listen.c and uring/probe.c ---- */

int rc_choose_kernels(struct rc_error *error)
{
	(void)error;
	rc_text_choose(NULL);
	return 0;
}

int rc_listen_parse(struct listener *listener, const char *text, const struct rc_deflate_options *deflate,
                    struct rc_error *error)
{
	(void)error;
	memset(listener, 0, sizeof *listener);
	listener->deflate = *deflate;
	bool is_unix = strncmp(text, "unix:", 5) == 0;
	listener->secure = strncmp(text, "wss://", 6) == 0;
	listener->socket_address.ss_family = is_unix ? AF_UNIX : AF_INET;
	if (!is_unix)
		((struct sockaddr_in *)&listener->socket_address)->sin_port = htons(
		    (uint16_t)atoi(strrchr(text, ':') + 1));
	return 0;
}

void rc_listen_remove_stale(const struct sockaddr_un *address, int type)
{
	(void)address, (void)type;
}

int rc_listen_open(struct listener *listener, const struct rc_config *config, bool first, struct rc_error *error)
{
	(void)config, (void)first, (void)error;
	return add_listener(listening_count, listener->socket_address.ss_family == AF_UNIX, listener->secure);
}
