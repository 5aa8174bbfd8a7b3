/* SPDX-License-Identifier: MIT
 *
 * ring_uring_connect.c - accepts and connects, which take more than one operation each before the caller hears of them:
 *
 *      table of the kernel   accept ----> ask for the peer's address (not of Unix) ----> completion
 *                            socket ----> install in the table ----> connect ----> completion
 *      slots of ours         accept, with the peer's address ----> completion
 *                            socket ----> connect ----> completion
 *
 * It must not know what is done with a slot afterwards.
 *
 * Invariant: a pending is free, or on its way with exactly one operation, or done and not free before the next wait.
 */
#include "ring_uring.h"

#include "check.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define SINGLE_ACCEPTS 64 /* one-shot accepts armed for each listening socket where the table is not used */

static struct pending *take_pending(struct rc_uring *ring)
{
	struct pending *pending = ring->pending_free;
	if (pending)
		ring->pending_free = pending->next;
	else if (ring->pending_made < ring->pending_max)
		pending = &ring->pending[ring->pending_made++];
	return pending;
}

/* Not reused before the next wait: the caller may still read the address. */
static void give_pending(struct rc_uring *ring, struct pending *pending)
{
	pending->next = ring->pending_done;
	ring->pending_done = pending;
}

void rc_uring_recycle(struct rc_uring *ring)
{
	while (ring->pending_done) {
		struct pending *pending = ring->pending_done;
		ring->pending_done = pending->next;
		memset(pending, 0, sizeof *pending);
		pending->next = ring->pending_free;
		ring->pending_free = pending;
	}
}

/* The tag of the one operation that a pending has on its way. */
static uint64_t tag_of(const struct rc_uring *ring, enum purpose purpose, const struct pending *pending)
{
	return tag_make(purpose, (uint64_t)(pending - ring->pending));
}

static bool finish(struct rc_uring *ring, struct pending *pending, int result, uint16_t flags,
                   struct rc_completion *out)
{
	*out = (struct rc_completion){ .tag = pending->tag, .result = result, .flags = flags };
	if (result >= 0 && pending->address.ss_family)
		out->peer = &pending->address;
	give_pending(ring, pending);
	return true;
}

/* Gives a descriptor a slot; closes it and returns -ENFILE when there is none. */
static int slot_for(struct rc_uring *ring, int descriptor)
{
	int slot = rc_slots_add(&ring->slots, descriptor);
	if (slot < 0)
		close(descriptor);
	return slot;
}

/* ---- preparing ---- */

static void arm_accept(struct rc_uring *ring, unsigned index)
{
	struct accepting *accepting = &ring->accepting[index];
	if (ring->direct) {
		struct io_uring_sqe *sqe = next_entry(ring);
		io_uring_prep_multishot_accept_direct(sqe, accepting->fd, NULL, NULL, 0);
		sqe->user_data = tag_make(FOR_ACCEPT, index);
		return;
	}
	/* A multishot accept has one buffer for all addresses, so a number of one-shot ones is armed instead. */
	while (accepting->armed < SINGLE_ACCEPTS) {
		struct pending *pending = take_pending(ring);
		if (!pending)
			return;
		pending->tag = index;
		pending->address_size = sizeof pending->address;
		struct io_uring_sqe *sqe = next_entry(ring);
		io_uring_prep_accept(sqe, accepting->fd, (struct sockaddr *)&pending->address, &pending->address_size,
		                     SOCK_CLOEXEC);
		sqe->user_data = tag_of(ring, FOR_ACCEPT_ONE, pending);
		accepting->armed++;
	}
}

void rc_uring_accept(struct rc_uring *ring, int listener, uint64_t tag)
{
	unsigned index = 0;
	while (index < ring->accepting_count && ring->accepting[index].fd != listener)
		index++;
	RC_ASSERT(index < RC_LISTENERS_MAX);
	ring->accepting_count = RC_MAX(ring->accepting_count, index + 1);
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof address;
	getsockname(listener, (struct sockaddr *)&address, &size);
	rc_ring_set_blocking(listener, true); /* or an accept would not wait for a connection */
	struct accepting *accepting = &ring->accepting[index];
	accepting->fd = listener;
	accepting->tag = tag;
	accepting->family = address.ss_family;
	accepting->cancelled = false;
	arm_accept(ring, index);
}

void rc_uring_accept_cancel(struct rc_uring *ring, int listener, uint64_t tag)
{
	for (unsigned i = 0; i < ring->accepting_count; i++)
		if (ring->accepting[i].fd == listener)
			ring->accepting[i].cancelled = true;
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_cancel_fd(sqe, listener, IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

/* Asks the new slot for its peer's address: the command is done at once, inside the next submission. */
static bool ask_peer(struct rc_uring *ring, int slot, const struct accepting *accepting)
{
	struct pending *pending = take_pending(ring);
	if (!pending)
		return false;
	pending->slot = slot;
	pending->tag = accepting->tag;
	/* SO_PEERNAME refuses room for more than the address has. */
	unsigned size = accepting->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	struct io_uring_sqe *sqe = next_entry(ring);
	prep_option(sqe, COMMAND_GETSOCKOPT, (unsigned)slot, SOL_SOCKET, SO_PEERNAME, &pending->address, size);
	sqe->user_data = tag_of(ring, FOR_PEER, pending);
	return true;
}

/* Puts a descriptor into a free slot of the table; the kernel overwrites `slot` with that slot. */
static void install(struct rc_uring *ring, struct pending *pending)
{
	pending->slot = pending->fd;
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_files_update(sqe, &pending->slot, 1, (int)IORING_FILE_INDEX_ALLOC);
	sqe->user_data = tag_of(ring, FOR_INSTALL, pending);
}

/* Connects a slot. A negative `slot` is an error instead, which the completion brings. */
static void start_connect(struct rc_uring *ring, struct pending *pending, int slot)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	pending->slot = slot;
	if (slot >= 0) {
		io_uring_prep_connect(sqe, slot, (struct sockaddr *)&pending->address, pending->address_size);
		aim(ring, sqe, (unsigned)slot);
	} else {
		io_uring_prep_nop(sqe);
	}
	sqe->user_data = tag_of(ring, FOR_CONNECT, pending);
}

/* A completion that no operation of the kernel will bring. */
static void complete_by_hand(struct rc_uring *ring, uint64_t tag, int result)
{
	struct pending *pending = take_pending(ring);
	RC_ASSERT(pending);
	pending->tag = tag;
	start_connect(ring, pending, result);
}

bool rc_uring_can_connect(const struct rc_uring *ring)
{
	return ring->pending_made + 2 <= ring->pending_max || (ring->pending_free && ring->pending_free->next);
}

void rc_uring_connect(struct rc_uring *ring, const struct sockaddr_storage *to, socklen_t to_size,
                      const struct sockaddr_storage *source, socklen_t source_size, uint64_t tag)
{
	/* The socket is made by hand and then moved into the table: Linux 6.1 cannot bind one that is only there. */
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	if (fd >= 0 && to->ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (fd >= 0 && source) {
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		if (bind(fd, (const struct sockaddr *)source, source_size) < 0) {
			int code = -errno;
			close(fd);
			complete_by_hand(ring, tag, code);
			return;
		}
	}
	if (fd < 0) {
		complete_by_hand(ring, tag, -errno);
		return;
	}
	struct pending *pending = take_pending(ring);
	RC_ASSERT(pending);
	pending->address = *to;
	pending->address_size = to_size;
	pending->fd = fd;
	pending->tag = tag;
	if (ring->direct)
		install(ring, pending);
	else
		start_connect(ring, pending, slot_for(ring, fd));
}

void rc_uring_connect_cancel(struct rc_uring *ring, uint64_t tag)
{
	for (unsigned i = 0; i < ring->pending_made; i++) {
		struct pending *pending = &ring->pending[i];
		if (pending->tag != tag)
			continue;
		pending->cancelled = true;
		struct io_uring_sqe *sqe = next_entry(ring);
		io_uring_prep_cancel64(sqe, tag_of(ring, FOR_CONNECT, pending), 0);
		sqe->user_data = tag_make(FOR_NOBODY, 0);
	}
}

/* ---- completions ---- */

static bool take_accept(struct rc_uring *ring, unsigned index, const struct io_uring_cqe *cqe,
                        struct rc_completion *out)
{
	struct accepting *accepting = &ring->accepting[index];
	if (cqe->res >= 0 && accepting->family != AF_UNIX && ask_peer(ring, cqe->res, accepting)) {
		if (!(cqe->flags & IORING_CQE_F_MORE) && !accepting->cancelled)
			arm_accept(ring, index);
		return false;
	}
	static const struct sockaddr_storage of_unix = { .ss_family = AF_UNIX }; /* such peers have no name */
	*out = (struct rc_completion){ .tag = accepting->tag, .result = cqe->res };
	out->peer = accepting->family == AF_UNIX ? &of_unix : NULL;
	out->flags = cqe->flags & IORING_CQE_F_MORE ? RC_RING_MORE : 0;
	return true;
}

static bool take_peer(struct rc_uring *ring, struct pending *pending, int result, struct rc_completion *out)
{
	if (result < 0)
		pending->address.ss_family = 0; /* the peer has gone already */
	return finish(ring, pending, pending->slot, RC_RING_MORE, out);
}

static bool take_accept_one(struct rc_uring *ring, struct pending *pending, int result, struct rc_completion *out)
{
	unsigned index = (unsigned)pending->tag;
	struct accepting *accepting = &ring->accepting[index];
	accepting->armed--;
	pending->tag = accepting->tag;
	int slot = result < 0 ? result : slot_for(ring, result);
	/* Some are still waiting, so for the caller it goes on; after an error it decides when to begin again. */
	bool more = slot >= 0 && !accepting->cancelled;
	if (more && accepting->armed < SINGLE_ACCEPTS / 2)
		arm_accept(ring, index);
	return finish(ring, pending, slot, more || accepting->armed ? RC_RING_MORE : 0, out);
}

static bool take_connect(struct rc_uring *ring, struct pending *pending, int result, struct rc_completion *out)
{
	if (pending->slot >= 0 && result < 0 && !ring->direct) {
		close(rc_slots_remove(&ring->slots, (uint32_t)pending->slot));
	} else if (pending->slot >= 0 && result < 0) {
		struct io_uring_sqe *sqe = next_entry(ring);
		io_uring_prep_close_direct(sqe, (unsigned)pending->slot);
		sqe->user_data = tag_make(FOR_NOBODY, 0);
	}
	return finish(ring, pending, result < 0 ? result : pending->slot, 0, out);
}

/* The socket is in the table: close our own descriptor of it and connect. */
static bool take_install(struct rc_uring *ring, struct pending *pending, int result, struct rc_completion *out)
{
	close(pending->fd); /* the table holds the file now */
	if (result != 1)
		return finish(ring, pending, result < 0 ? result : -ENFILE, 0, out);
	if (pending->cancelled)
		return take_connect(ring, pending, -ECANCELED, out);
	start_connect(ring, pending, pending->slot);
	return false;
}

bool rc_uring_take_step(struct rc_uring *ring, const struct io_uring_cqe *cqe, struct rc_completion *out)
{
	struct purpose_tag tag = tag_split(cqe->user_data);
	if (tag.purpose == FOR_ACCEPT)
		return take_accept(ring, (unsigned)tag.value, cqe, out);
	struct pending *pending = &ring->pending[tag.value];
	switch (tag.purpose) {
	case FOR_PEER:
		return take_peer(ring, pending, cqe->res, out);
	case FOR_ACCEPT_ONE:
		return take_accept_one(ring, pending, cqe->res, out);
	case FOR_INSTALL:
		return take_install(ring, pending, cqe->res, out);
	default:
		RC_ASSERT(tag.purpose == FOR_CONNECT);
		return take_connect(ring, pending, cqe->res, out);
	}
}
