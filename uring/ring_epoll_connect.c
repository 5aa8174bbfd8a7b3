/* SPDX-License-Identifier: MIT
 *
 * ring_epoll_connect.c - accepts and connects of the ring on epoll: how a slot comes to be. It must not know what is
 * done with a slot afterwards.
 *
 * A listener is registered level-triggered, so that what one wait leaves is there for the next; EPOLLEXCLUSIVE, because
 * all workers share the one socket of a Unix path.
 *
 * Invariant: a descriptor that has a slot is registered.
 */
#include "ring_epoll.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* Gives a descriptor a slot and registers it. Returns the slot, or a negative errno; then the descriptor is closed. */
static int take_in(struct rc_epoll *ring, int fd, uint32_t events, enum about about, uint32_t index)
{
	int slot = rc_slots_add(&ring->slots, fd);
	if (slot < 0) {
		close(fd);
		return slot;
	}
	struct epoll_slot *own = &ring->slot[slot];
	*own = (struct epoll_slot){ .next = own->next, .listed = own->listed };
	int result = rc_epoll_control(ring, EPOLL_CTL_ADD, fd, events, about,
	                              about == ABOUT_SLOT ? (uint32_t)slot : index);
	if (result < 0) {
		close(rc_slots_remove(&ring->slots, (uint32_t)slot));
		return result;
	}
	return slot;
}

/* ---- accepting ---- */

void rc_epoll_accept(struct rc_epoll *ring, int listener, uint64_t tag)
{
	unsigned index = 0;
	while (index < ring->listening_count && ring->listening[index].fd != listener)
		index++;
	RC_ASSERT(index < RC_LISTENERS_MAX);
	ring->listening_count = RC_MAX(ring->listening_count, index + 1);
	struct listening *listening = &ring->listening[index];
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof address;
	getsockname(listener, (struct sockaddr *)&address, &size);
	rc_ring_set_blocking(listener, false); /* another worker, or another process, may be faster */
	*listening = (struct listening){ .tag = tag, .fd = listener, .family = address.ss_family };
	int result = rc_epoll_control(ring, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE, ABOUT_LISTENER, index);
	if (result == -EINVAL) /* gVisor has no such flag: more workers are woken than needed */
		result = rc_epoll_control(ring, EPOLL_CTL_ADD, listener, EPOLLIN, ABOUT_LISTENER, index);
	listening->armed = result == 0;
	if (result < 0)
		rc_epoll_done(ring, tag, result, 0);
}

static void disarm(struct rc_epoll *ring, struct listening *listening)
{
	rc_epoll_control(ring, EPOLL_CTL_DEL, listening->fd, 0, ABOUT_LISTENER, 0);
	listening->armed = listening->ready = false;
}

void rc_epoll_accept_cancel(struct rc_epoll *ring, int listener, uint64_t tag)
{
	for (unsigned i = 0; i < ring->listening_count; i++) {
		struct listening *listening = &ring->listening[i];
		if (listening->fd != listener || !listening->armed)
			continue;
		disarm(ring, listening);
		rc_epoll_done(ring, listening->tag, -ECANCELED, 0);
	}
	rc_epoll_done(ring, tag, 0, 0);
}

/* One connection. Returns whether there was something to tell. */
static bool accept_one(struct rc_epoll *ring, struct listening *listening, struct sockaddr_storage *peer,
                       struct rc_completion *out)
{
	socklen_t size = sizeof *peer;
	int fd = accept4(listening->fd, (struct sockaddr *)peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EAGAIN || errno == EINTR)) {
		listening->ready = errno == EINTR;
		return false;
	}
	int result = fd < 0 ? -errno : take_in(ring, fd, RC_EPOLL_EVENTS_OF_SLOT, ABOUT_SLOT, 0);
	if (result < 0)
		disarm(ring, listening); /* the caller decides when to begin again */
	else if (listening->family == AF_UNIX)
		peer->ss_family = AF_UNIX; /* such peers have no name */
	*out = (struct rc_completion){ .tag = listening->tag,
		                       .result = result,
		                       .flags = result < 0 ? 0 : RC_RING_MORE,
		                       .peer = result < 0 ? NULL : peer };
	return true;
}

unsigned rc_epoll_accept_some(struct rc_epoll *ring, struct rc_completion *out, unsigned count, unsigned max)
{
	unsigned taken = 0;
	for (unsigned i = 0; i < ring->listening_count; i++) {
		struct listening *listening = &ring->listening[i];
		while (listening->ready && taken < RC_EPOLL_ACCEPTS && count < max)
			if (accept_one(ring, listening, &ring->peers[taken], &out[count])) {
				taken++;
				count++;
			}
		listening->ready = false; /* what is left is told of once more */
	}
	return count;
}

/* ---- connecting ---- */

bool rc_epoll_can_connect(const struct rc_epoll *ring)
{
	return ring->connect_count < RC_DIALS_MAX;
}

/* A socket on its way there, or connected already (*done); or a negative errno. */
static int begin_connect(const struct sockaddr_storage *to, socklen_t to_size, const struct sockaddr_storage *source,
                         socklen_t source_size, bool *done)
{
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	if (fd < 0)
		return -errno;
	if (to->ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	int result = 0;
	if (source) {
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		result = bind(fd, (const struct sockaddr *)source, source_size);
	}
	if (result == 0)
		result = connect(fd, (const struct sockaddr *)to, to_size);
	*done = result == 0;
	if (result == 0 || errno == EINPROGRESS)
		return fd;
	int code = -errno;
	close(fd);
	return code;
}

void rc_epoll_connect(struct rc_epoll *ring, const struct sockaddr_storage *to, socklen_t to_size,
                      const struct sockaddr_storage *source, socklen_t source_size, uint64_t tag)
{
	bool connected = false;
	uint32_t index = 0;
	while (index < RC_DIALS_MAX && ring->connects[index].used)
		index++;
	RC_ASSERT(index < RC_DIALS_MAX);
	int fd = begin_connect(to, to_size, source, source_size, &connected);
	int slot = fd;
	if (fd >= 0 && connected)
		slot = take_in(ring, fd, RC_EPOLL_EVENTS_OF_SLOT, ABOUT_SLOT, 0);
	else if (fd >= 0)
		slot = take_in(ring, fd, EPOLLOUT | EPOLLET, ABOUT_CONNECT, index);
	if (slot < 0 || connected) {
		rc_epoll_done(ring, tag, slot, 0);
		return;
	}
	ring->connects[index] = (struct connecting){ .tag = tag, .slot = (uint32_t)slot, .used = true };
	ring->connect_high = RC_MAX(ring->connect_high, index + 1);
	ring->connect_count++;
}

/* A connect is over. Where it failed, its slot goes at once: the caller never heard of it. */
static void end_connect(struct rc_epoll *ring, struct connecting *connecting, int result)
{
	if (result < 0) {
		int fd = rc_slots_remove(&ring->slots, connecting->slot);
		/* Where a child of this process has it too, closing it would not do, and its word be taken for
		 * another's. */
		rc_epoll_control(ring, EPOLL_CTL_DEL, fd, 0, ABOUT_CONNECT, 0);
		close(fd);
	}
	rc_epoll_done(ring, connecting->tag, result < 0 ? result : (int)connecting->slot, 0);
	connecting->used = false;
	ring->connect_count--;
}

void rc_epoll_connected(struct rc_epoll *ring, uint32_t index)
{
	struct connecting *connecting = &ring->connects[index];
	int fd = ring->slots.descriptors[connecting->slot], code = 0;
	socklen_t size = sizeof code;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0)
		code = errno;
	int result = code ? -code
	                  : rc_epoll_control(ring, EPOLL_CTL_MOD, fd, RC_EPOLL_EVENTS_OF_SLOT, ABOUT_SLOT,
	                                     connecting->slot);
	end_connect(ring, connecting, result);
}

void rc_epoll_connect_cancel(struct rc_epoll *ring, uint64_t tag)
{
	for (unsigned i = 0; i < ring->connect_high; i++)
		if (ring->connects[i].used && ring->connects[i].tag == tag)
			end_connect(ring, &ring->connects[i], -ECANCELED);
}
