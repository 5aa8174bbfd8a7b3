/* SPDX-License-Identifier: MIT
 *
 * ring.c - see ring.h: to which of the two rings (ring_kinds.h) an operation goes, and which of them can be had. It
 * must not know how either does what it is asked.
 */
#include "ring.h"

#include "check.h"
#include "error.h"
#include "ring_kinds.h"

#include <stdio.h>
#include <sys/random.h>

/* The one on io_uring is the usual one. */
#define ON(operation, ...)                                                                                             \
	(RC_UNLIKELY(ring->epoll) ? rc_epoll_##operation((struct rc_epoll *)ring, __VA_ARGS__)                         \
	                          : rc_uring_##operation((struct rc_uring *)ring, __VA_ARGS__))

/* ---- which ---- */

bool rc_ring_can_uring(struct rc_error *why)
{
	/* All that a worker will need, in small: a filter may forbid any one of the calls. */
	struct rc_ring_config config = { .slot_count = 1,
		                         .entry_count = 8,
		                         .buffer_count = 8,
		                         .buffer_size = RC_RECEIVE_BUFFER_SIZE,
		                         .ring_count = 1 };
	struct rc_uring *ring;
	int result = rc_uring_open(&ring, &config, why);
	if (result == 0)
		rc_uring_close(ring);
	return result != -EINVAL && !rc_ring_is_refusal(result);
}

int rc_ring_open(struct rc_ring **ring, struct rc_ring_config *config, struct rc_error *error)
{
	if (config->epoll)
		return rc_epoll_open((struct rc_epoll **)ring, config, error);
	struct rc_error refused = { 0 };
	int result = rc_uring_open((struct rc_uring **)ring, config, &refused);
	bool other = result == -EINVAL || rc_ring_is_refusal(result);
	return result == 0 ? 0
	                   : rc_fail(error, result, "%s%s", refused.text,
	                             other ? "; or use the ring on epoll (--ring epoll, rc_config.ring)" : "");
}

void rc_ring_close(struct rc_ring *ring)
{
	if (ring->epoll)
		rc_epoll_close((struct rc_epoll *)ring);
	else
		rc_uring_close((struct rc_uring *)ring);
}

/* ---- operations ---- */

void rc_ring_accept(struct rc_ring *ring, int listener, uint64_t tag)
{
	ON(accept, listener, tag);
}

void rc_ring_accept_cancel(struct rc_ring *ring, int listener, uint64_t tag)
{
	ON(accept_cancel, listener, tag);
}

bool rc_ring_can_connect(const struct rc_ring *ring)
{
	return ring->epoll ? rc_epoll_can_connect((const struct rc_epoll *)ring)
	                   : rc_uring_can_connect((const struct rc_uring *)ring);
}

void rc_ring_connect(struct rc_ring *ring, const struct sockaddr_storage *to, socklen_t to_size,
                     const struct sockaddr_storage *source, socklen_t source_size, uint64_t tag)
{
	ON(connect, to, to_size, source, source_size, tag);
}

void rc_ring_connect_cancel(struct rc_ring *ring, uint64_t tag)
{
	ON(connect_cancel, tag);
}

void rc_ring_receive(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	ON(receive, slot, tag);
}

void rc_ring_receive_once(struct rc_ring *ring, unsigned slot, void *to, size_t size, uint64_t tag)
{
	ON(receive_once, slot, to, size, tag);
}

void rc_ring_buffer_return(struct rc_ring *ring, uint16_t buffer)
{
	ON(buffer_return, buffer);
}

void rc_ring_send(struct rc_ring *ring, unsigned slot, const struct rc_range *ranges, unsigned range_count,
                  bool zero_copy, uint64_t tag)
{
	ON(send, slot, ranges, range_count, zero_copy, tag);
}

int rc_ring_set_option(struct rc_ring *ring, unsigned slot, int level, int name, const void *value, unsigned size,
                       uint64_t tag)
{
	return ON(set_option, slot, level, name, value, size, tag);
}

void rc_ring_send_alert(struct rc_ring *ring, unsigned slot, const struct rc_range *bytes, uint64_t tag)
{
	ON(send_alert, slot, bytes, tag);
}

void rc_ring_abort(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	ON(abort, slot, tag);
}

void rc_ring_poll_writable(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	ON(poll_writable, slot, tag);
}

void rc_ring_shutdown(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	ON(shutdown, slot, tag);
}

void rc_ring_cancel(struct rc_ring *ring, unsigned slot, uint64_t of, uint64_t tag)
{
	ON(cancel, slot, of, tag);
}

void rc_ring_close_slot(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	ON(close_slot, slot, tag);
}

void rc_ring_watch(struct rc_ring *ring, int fd, uint64_t tag)
{
	ON(watch, fd, tag);
}

/* ---- waiting ---- */

int rc_ring_wait(struct rc_ring *ring, struct rc_completion *completions, unsigned max, int64_t timeout_ns)
{
	return ON(wait, completions, max, timeout_ns);
}

int rc_ring_signal(struct rc_ring *ring, int event_fd)
{
	return ON(signal, event_fd);
}

int rc_ring_arm(struct rc_ring *ring, int64_t timeout_ns)
{
	return ON(arm, timeout_ns);
}

int rc_ring_explain(const struct rc_ring *ring, int code, struct rc_error *error)
{
	return ring->epoll ? rc_epoll_explain((const struct rc_epoll *)ring, code, error)
	                   : rc_uring_explain((const struct rc_uring *)ring, code, error);
}

/* ---- time and chance ---- */

uint64_t rc_ring_now(struct rc_ring *ring)
{
	(void)ring;
	return rc_ring_clock();
}

void rc_ring_random(struct rc_ring *ring, void *bytes, size_t size)
{
	(void)ring;
	for (size_t done = 0; done < size;) {
		ssize_t got = getrandom((uint8_t *)bytes + done, size - done, 0);
		if (got > 0)
			done += (size_t)got;
	}
}
