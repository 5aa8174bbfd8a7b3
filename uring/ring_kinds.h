/* SPDX-License-Identifier: MIT
 *
 * ring_kinds.h - the two rings behind ring.h: one on io_uring (ring_uring*.c) and one on epoll (ring_epoll*.c). ring.c
 * asks which of them a ring is and goes on to it: a branch that always goes the same way, where a table of functions
 * would be a call through memory for each send.
 *
 * Invariant: both rings begin with a struct rc_ring, and neither knows the other.
 */
#ifndef RC_RING_KINDS_H
#define RC_RING_KINDS_H

#include "bounds.h"
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

struct rc_ring {
	bool epoll;
};

struct rc_uring;
struct rc_epoll;

/* What ring.h declares, once for each kind. */
#define RC_RING_OF(kind)                                                                                               \
	int rc_##kind##_open(struct rc_##kind **ring, struct rc_ring_config *config, struct rc_error *error);          \
	void rc_##kind##_close(struct rc_##kind *ring);                                                                \
	void rc_##kind##_accept(struct rc_##kind *ring, int listener, uint64_t tag);                                   \
	void rc_##kind##_accept_cancel(struct rc_##kind *ring, int listener, uint64_t tag);                            \
	bool rc_##kind##_can_connect(const struct rc_##kind *ring);                                                    \
	void rc_##kind##_connect(struct rc_##kind *ring, const struct sockaddr_storage *to, socklen_t to_size,         \
	                         const struct sockaddr_storage *source, socklen_t source_size, uint64_t tag);          \
	void rc_##kind##_connect_cancel(struct rc_##kind *ring, uint64_t tag);                                         \
	void rc_##kind##_receive(struct rc_##kind *ring, unsigned slot, uint64_t tag);                                 \
	void rc_##kind##_receive_once(struct rc_##kind *ring, unsigned slot, void *to, size_t size, uint64_t tag);     \
	void rc_##kind##_buffer_return(struct rc_##kind *ring, uint16_t buffer);                                       \
	void rc_##kind##_send(struct rc_##kind *ring, unsigned slot, const struct rc_range *ranges,                    \
	                      unsigned range_count, bool zero_copy, uint64_t tag);                                     \
	int rc_##kind##_set_option(struct rc_##kind *ring, unsigned slot, int level, int name, const void *value,      \
	                           unsigned size, uint64_t tag);                                                       \
	void rc_##kind##_send_alert(struct rc_##kind *ring, unsigned slot, const struct rc_range *bytes,               \
	                            uint64_t tag);                                                                     \
	void rc_##kind##_abort(struct rc_##kind *ring, unsigned slot, uint64_t tag);                                   \
	void rc_##kind##_poll_writable(struct rc_##kind *ring, unsigned slot, uint64_t tag);                           \
	void rc_##kind##_shutdown(struct rc_##kind *ring, unsigned slot, uint64_t tag);                                \
	void rc_##kind##_cancel(struct rc_##kind *ring, unsigned slot, uint64_t of, uint64_t tag);                     \
	void rc_##kind##_close_slot(struct rc_##kind *ring, unsigned slot, uint64_t tag);                              \
	void rc_##kind##_watch(struct rc_##kind *ring, int fd, uint64_t tag);                                          \
	int rc_##kind##_wait(struct rc_##kind *ring, struct rc_completion *completions, unsigned max,                  \
	                     int64_t timeout_ns);                                                                      \
	int rc_##kind##_signal(struct rc_##kind *ring, int event_fd);                                                  \
	int rc_##kind##_arm(struct rc_##kind *ring, int64_t timeout_ns);                                               \
	int rc_##kind##_explain(const struct rc_##kind *ring, int code, struct rc_error *error);

RC_RING_OF(uring)
RC_RING_OF(epoll)

/* ---- what both need ---- */

static_assert(sizeof(struct rc_range) == sizeof(struct iovec), "a plan's ranges are handed over as they are");
static_assert(offsetof(struct rc_range, size) == offsetof(struct iovec, iov_len), "and in the same order");

#define RC_RECORD_ALERT 21 /* RFC 8446, section 5.1 */

/* How many descriptors a ring of so many of the process may take for its connections; 0: none. ring_limit.c */
uint64_t rc_ring_descriptors(unsigned ring_count);

/* The same where they take none of the process's: its limit is only for the size of the table. */
uint64_t rc_ring_descriptor_limit(void);

/* Whether the kernel lets nobody in, now or later: all else passes. */
static inline bool rc_ring_is_refusal(int result)
{
	return result == -EPERM || result == -EACCES || result == -ENOSYS || result == -EBADF || result == -EBADFD ||
	       result == -EOPNOTSUPP;
}

static inline uint64_t rc_ring_clock(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* A listening socket may be inherited, from whoever wanted it otherwise: its flag is the open file's, not ours. */
static inline void rc_ring_set_blocking(int fd, bool blocking)
{
	int flags = fcntl(fd, F_GETFL);
	int wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
	if (flags >= 0 && flags != wanted)
		fcntl(fd, F_SETFL, wanted);
}

/* Of an alert, whose record the kernel makes. What it says beside its bytes is static, and the same for every one. */
static inline void rc_ring_alert(struct msghdr *message, const struct rc_range *bytes)
{
	static _Thread_local _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(1)];
	*message = (struct msghdr){ .msg_iov = (struct iovec *)(uintptr_t)bytes,
		                    .msg_iovlen = 1,
		                    .msg_control = control,
		                    .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	header->cmsg_level = SOL_TLS;
	header->cmsg_type = TLS_SET_RECORD_TYPE;
	header->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(header) = RC_RECORD_ALERT;
}

#endif
