/* SPDX-License-Identifier: MIT
 *
 * ring.h - the seam between what the server decides and what the kernel does: a handful of operations without a type of
 * liburing. Two rings implement it: one on io_uring (ring_uring*.c), and one on epoll (ring_epoll*.c) for where that is
 * not to be had; ring.c chooses. A test may implement it otherwise.
 *
 * An operation is only prepared by its function; it is submitted by the next rc_ring_wait() or rc_ring_arm(), or before
 * that, and its outcome comes as a completion with the tag it was given. Preparing cannot fail: a full submission queue
 * is submitted on the way. A slot is an index in the ring's own table of descriptors; on an older kernel, and with
 * epoll, it stands for an ordinary descriptor. One thread owns a ring and calls everything here.
 */
#ifndef RC_RING_H
#define RC_RING_H

#include "plan.h"
#include "ringcast.h"

#include <sys/socket.h>

struct rc_ring;

struct rc_ring_config {
	unsigned slot_count;   /* connections at most; cut to the descriptor limit */
	unsigned entry_count;  /* submission queue */
	unsigned buffer_count; /* receive buffers, a power of two */
	size_t buffer_size;
	unsigned ring_count; /* of the process: on an older kernel they share its descriptors */
	bool old_kernel;     /* use nothing newer than Linux 6.1 */
	bool epoll;          /* instead of io_uring */
};

/* IORING_FEAT_RW_ATTR, the first flag after Linux 6.13: such a kernel closes at once what left the table, see
 * ring_uring.h. */
#define RC_RING_FEATURE_6_14 (1u << 16)

enum {
	RC_RING_MORE = 1,   /* the operation goes on; without it, it is over and must be prepared again */
	RC_RING_BUFFER = 2, /* data lies in a receive buffer, to be given back */
	/* of a zero-copy send: the kernel has let go of its bytes; result 1: it had copied them */
	RC_RING_RELEASED = 4,
};

struct rc_completion {
	uint64_t tag;
	int32_t result; /* what the system call would return: a count, a slot, or a negative errno */
	uint16_t flags;
	uint16_t buffer;
	uint8_t *data;                       /* with RC_RING_BUFFER: `result` bytes */
	const struct sockaddr_storage *peer; /* of an accept; null where it could not be learned */
};

/* Tags are the caller's below this bound. */
#define RC_RING_TAG_MAX (UINT64_C(1) << 60)

/* Whether the kernel lets this process have an io_uring that a worker can use, found by making one; if not, *why says
 * what is in the way. Any thread. */
bool rc_ring_can_uring(struct rc_error *why);

/* Makes a ring. `slot_count` of the config is replaced by what could be had. Returns 0 or a negative errno with an
 * error that names the remedy. */
int rc_ring_open(struct rc_ring **ring, struct rc_ring_config *config, struct rc_error *error);

/* Ends every operation and closes every slot. */
void rc_ring_close(struct rc_ring *ring);

/* Accepts connections from a listening socket until cancelled: one completion for each, its result the new slot. Ends
 * with -ENFILE when the table is full. */
void rc_ring_accept(struct rc_ring *ring, int listener, uint64_t tag);
void rc_ring_accept_cancel(struct rc_ring *ring, int listener, uint64_t tag);

/* Opens a TCP or Unix connection: one completion, its result the new slot. `source` may be null. Only a bounded number
 * may be on their way: ask rc_ring_can_connect() first. */
bool rc_ring_can_connect(const struct rc_ring *ring);
void rc_ring_connect(struct rc_ring *ring, const struct sockaddr_storage *to, socklen_t to_size,
                     const struct sockaddr_storage *source, socklen_t source_size, uint64_t tag);

/* Ends a connect that has not completed: it completes soon, with -ECANCELED unless it was done already. */
void rc_ring_connect_cancel(struct rc_ring *ring, uint64_t tag);

/* Receives until the end of the stream (result 0), an error, or -ENOBUFS (no buffer was free): one completion for each
 * buffer filled, and one for how it ends. */
void rc_ring_receive(struct rc_ring *ring, unsigned slot, uint64_t tag);

/* Receives once, what is there or comes next: into a receive buffer, or, where `to` is not null, up to `size` bytes to
 * there. That memory stays valid, and nobody else's, until the completion. */
void rc_ring_receive_once(struct rc_ring *ring, unsigned slot, void *to, size_t size, uint64_t tag);

/* Gives a receive buffer back; it is used again after the next rc_ring_wait() at the latest. */
void rc_ring_buffer_return(struct rc_ring *ring, uint16_t buffer);

/* Sends without waiting: the result is what the socket took, or -EAGAIN. Ranges and bytes stay valid until the
 * completion. At most one send a slot may be on its way. With zero_copy the bytes are read where they lie, and on
 * completion with RC_RING_MORE stay valid until a second one, RC_RING_RELEASED, when the peer has acknowledged them;
 * where the kernel cannot say whether it copied in the end (before Linux 6.14, and with epoll), it is a plain send. */
void rc_ring_send(struct rc_ring *ring, unsigned slot, const struct rc_range *ranges, unsigned range_count,
                  bool zero_copy, uint64_t tag);

/* Sets a socket option. Returns what setsockopt would (0 or a negative errno), or -EINPROGRESS: then one completion
 * brings that, and the value stays valid until it. */
int rc_ring_set_option(struct rc_ring *ring, unsigned slot, int level, int name, const void *value, unsigned size,
                       uint64_t tag);

/* On a socket whose kernel makes TLS records: sends `size` bytes, at most a record, as one of type alert. Completes
 * like a send, and counts as one. */
void rc_ring_send_alert(struct rc_ring *ring, unsigned slot, const struct rc_range *bytes, uint64_t tag);

/* Resets a connection: what was not acknowledged is forgotten. One completion. */
void rc_ring_abort(struct rc_ring *ring, unsigned slot, uint64_t tag);

/* One completion when the socket can take bytes again. */
void rc_ring_poll_writable(struct rc_ring *ring, unsigned slot, uint64_t tag);

/* Says that no more will be sent. One completion. The kernel does this on a thread of its own, so it is kept for peers
 * that did wrong. */
void rc_ring_shutdown(struct rc_ring *ring, unsigned slot, uint64_t tag);

/* Ends the receive, poll or watch that was given the tag `of`: it then completes once more, without RC_RING_MORE, in
 * any order with this one's own completion. `slot` is that of a receive or poll. */
void rc_ring_cancel(struct rc_ring *ring, unsigned slot, uint64_t of, uint64_t tag);

/* Closes a slot on which nothing is on its way. The slot may be used again as soon as it completes. */
void rc_ring_close_slot(struct rc_ring *ring, unsigned slot, uint64_t tag);

/* Watches an ordinary descriptor until it is cancelled: a completion each time something comes, as when an eventfd is
 * written to, or a socket gets a message, a connection or its end. What is there is not read. */
void rc_ring_watch(struct rc_ring *ring, int fd, uint64_t tag);

/* Submits, waits up to timeout_ns (0: only looks; negative: for ever) for a completion, and takes up to `max`.
 * Returns how many, or a negative errno when the kernel lets nobody into the ring any more: it is only to be closed
 * then. What `peer` points to is valid until the next call. */
int rc_ring_wait(struct rc_ring *ring, struct rc_completion *completions, unsigned max, int64_t timeout_ns);

/* For a ring inside another loop, in place of rc_ring_watch(). Returns a descriptor, or a negative errno: from now on
 * it is readable when there is something to take, and when the eventfd was written to, which each wait empties. It is
 * the eventfd itself, or one of its own that the caller closes. */
int rc_ring_signal(struct rc_ring *ring, int event_fd);

/* On such a ring, in place of a wait: submits, and sees to it that the descriptor is readable when something has
 * completed, but after timeout_ns at the latest (0: at once; negative: no later than that). That may be early, with
 * nothing to take. Returns 0, -EAGAIN when the kernel had no room for all that was prepared, so that it must be called
 * again soon, or what rc_ring_wait() does when nobody is let in. */
int rc_ring_arm(struct rc_ring *ring, int64_t timeout_ns);

/* What a refusal to be let in means, with the remedy. Returns the code. */
int rc_ring_explain(const struct rc_ring *ring, int code, struct rc_error *error);

/* CLOCK_MONOTONIC, and bytes that nobody can guess. */
uint64_t rc_ring_now(struct rc_ring *ring);
void rc_ring_random(struct rc_ring *ring, void *bytes, size_t size);

#endif
