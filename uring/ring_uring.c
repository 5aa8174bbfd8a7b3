/* SPDX-License-Identifier: MIT
 *
 * ring_uring.c - what a tick asks of a ring: it prepares operations on slots, waits, and takes what has completed. How
 * a slot comes to be is ring_uring_connect.c's. It must not know what a connection is.
 *
 * Invariant: an operation is an entry filled in. None reaches the kernel but in a wait, or where the submission queue
 * is full. The one exception is an option set on an older kernel.
 */
#include "ring_uring.h"

#include "check.h"
#include "trace.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SEND_ZC_REPORT_USAGE (1u << 3) /* Linux 6.2: the notification says whether the kernel copied ... */
#define NOTIFICATION_COPIED (1u << 31) /* ... by this bit of its result */
#define BUFFERS_IDLE_NS 1000000000

/* ---- operations ---- */

void rc_uring_receive(struct rc_uring *ring, unsigned slot, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_recv_multishot(sqe, (int)slot, NULL, 0, 0);
	aim(ring, sqe, slot);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RC_RING_BUFFER_GROUP;
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

void rc_uring_receive_once(struct rc_uring *ring, unsigned slot, void *to, size_t size, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_recv(sqe, (int)slot, to, to ? size : 0, 0);
	aim(ring, sqe, slot);
	if (!to) {
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = RC_RING_BUFFER_GROUP;
	}
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

void rc_uring_send(struct rc_uring *ring, unsigned slot, const struct rc_range *ranges, unsigned range_count,
                   bool zero_copy, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	/* MSG_DONTWAIT: a send that would block comes back at once instead of waiting with our memory in its hand. */
	if (range_count == 1) {
		io_uring_prep_send(sqe, (int)slot, ranges[0].at, ranges[0].size, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		struct msghdr *message = message_of(ring, sqe);
		*message = (struct msghdr){ .msg_iov = (struct iovec *)(uintptr_t)ranges, .msg_iovlen = range_count };
		io_uring_prep_sendmsg(sqe, (int)slot, message, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	if (zero_copy && ring->direct) { /* the same fields, sent in another way */
		sqe->opcode = range_count == 1 ? IORING_OP_SEND_ZC : IORING_OP_SENDMSG_ZC;
		sqe->ioprio = SEND_ZC_REPORT_USAGE;
	}
	aim(ring, sqe, slot);
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

int rc_uring_set_option(struct rc_uring *ring, unsigned slot, int level, int name, const void *value, unsigned size,
                        uint64_t tag)
{
	if (!ring->direct)
		return setsockopt(ring->slots.descriptors[slot], level, name, value, size) < 0 ? -errno : 0;
	struct io_uring_sqe *sqe = next_entry(ring);
	prep_option(sqe, COMMAND_SETSOCKOPT, slot, level, name, value, size);
	sqe->user_data = tag_make(FOR_CALLER, tag);
	return -EINPROGRESS;
}

void rc_uring_send_alert(struct rc_uring *ring, unsigned slot, const struct rc_range *bytes, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	struct msghdr *message = message_of(ring, sqe);
	rc_ring_alert(message, bytes); /* what it says beside the bytes is read when the entry is submitted */
	io_uring_prep_sendmsg(sqe, (int)slot, message, MSG_DONTWAIT | MSG_NOSIGNAL);
	aim(ring, sqe, slot);
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

void rc_uring_poll_writable(struct rc_uring *ring, unsigned slot, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_poll_add(sqe, (int)slot, POLLOUT);
	aim(ring, sqe, slot);
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

void rc_uring_shutdown(struct rc_uring *ring, unsigned slot, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_shutdown(sqe, (int)slot, SHUT_WR);
	aim(ring, sqe, slot);
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

void rc_uring_abort(struct rc_uring *ring, unsigned slot, uint64_t tag)
{
	static struct sockaddr nowhere = { .sa_family = AF_UNSPEC }; /* connect(2): dissolves the association */
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_connect(sqe, (int)slot, &nowhere, sizeof nowhere);
	aim(ring, sqe, slot);
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

void rc_uring_cancel(struct rc_uring *ring, unsigned slot, uint64_t of, uint64_t tag)
{
	(void)slot;
	struct io_uring_sqe *sqe = next_entry(ring);
	/* By its tag, which the kernel hashes: by descriptor it would look at every operation of the ring, and 20,000
	 * connections that end would cost 400 million looks. */
	io_uring_prep_cancel64(sqe, tag_make(FOR_CALLER, of), 0);
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

void rc_uring_close_slot(struct rc_uring *ring, unsigned slot, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	if (ring->direct)
		io_uring_prep_close_direct(sqe, slot);
	else
		io_uring_prep_close(sqe, rc_slots_begin_closing(&ring->slots, slot));
	sqe->user_data = tag_make(ring->direct ? FOR_CALLER : FOR_CLOSE, tag);
}

void rc_uring_watch(struct rc_uring *ring, int fd, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	/* Multishot and edge-triggered: the counter of an eventfd never needs to be read. */
	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	sqe->user_data = tag_make(FOR_CALLER, tag);
}

/* ---- receive buffers ---- */

void rc_uring_buffer_return(struct rc_uring *ring, uint16_t buffer)
{
	io_uring_buf_ring_add(ring->buffer_ring, ring->buffers + (size_t)buffer * ring->buffer_size,
	                      (unsigned)ring->buffer_size, buffer, io_uring_buf_ring_mask(ring->buffer_count),
	                      (int)ring->buffers_added++);
}

/* The kernel hands buffers out in turn, so every one that exists is soon in memory: few to begin with. */
static void more_buffers(struct rc_uring *ring)
{
	unsigned count = ring->buffers_made ? ring->buffers_made * 2 : RC_RECEIVE_BUFFERS_FIRST;
	for (count = RC_MIN(count, ring->buffer_count); ring->buffers_made < count; ring->buffers_made++)
		rc_uring_buffer_return(ring, (uint16_t)ring->buffers_made);
}

/* Nothing was received for a while: the buffers stay with the kernel, their memory does not. The kernel writes into
 * them only inside our own calls, so none is being filled now. */
static void give_buffers_back(struct rc_uring *ring)
{
	madvise(ring->buffers, ring->buffer_size * ring->buffer_count, MADV_DONTNEED);
	ring->buffers_touched = false;
}

/* ---- waiting ---- */

/* Turns a kernel's completion into one for the caller; false when it was only a step on the way. */
static bool take(struct rc_uring *ring, const struct io_uring_cqe *cqe, struct rc_completion *out)
{
	struct purpose_tag tag = tag_split(cqe->user_data);
	switch (tag.purpose) {
	case FOR_CALLER:
		break;
	case FOR_CLOSE: /* the kernel closes a socket while it submits, so closes complete in their order */
		rc_slots_end_closing(&ring->slots);
		break;
	case FOR_TIMER:
		ring->timer_ns = 0;
		return false;
	case FOR_NOBODY:
		return false;
	default:
		return rc_uring_take_step(ring, cqe, out);
	}
	*out = (struct rc_completion){ .tag = tag.value, .result = cqe->res };
	if (cqe->flags & IORING_CQE_F_NOTIF) {
		out->flags = RC_RING_RELEASED;
		out->result = ((unsigned)cqe->res & NOTIFICATION_COPIED) != 0;
		return true;
	}
	if (cqe->res == -ENOBUFS)
		ring->buffers_more = true;
	if (cqe->flags & IORING_CQE_F_MORE)
		out->flags |= RC_RING_MORE;
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		out->flags |= RC_RING_BUFFER;
		out->buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
		out->data = ring->buffers + (size_t)out->buffer * ring->buffer_size;
		ring->buffers_touched = true;
		ring->received_ns = 0;
	}
	return true;
}

/* What the caller let go of since the last time. */
static void before_entering(struct rc_uring *ring)
{
	if (ring->pending_done)
		rc_uring_recycle(ring);
	if (ring->buffers_more)
		more_buffers(ring);
	ring->buffers_more = false;
	if (ring->buffers_added) {
		io_uring_buf_ring_advance(ring->buffer_ring, (int)ring->buffers_added);
		ring->buffers_added = 0;
	}
}

/* What is worked off in this wait is taken in it too, and needs no word. */
static void hush(struct rc_uring *ring)
{
	uint64_t count;
	ssize_t got = read(ring->event_fd, &count, sizeof count);
	(void)got; /* nothing, when it is called without need */
	io_uring_cq_eventfd_toggle(&ring->uring, false);
}

int rc_uring_wait(struct rc_uring *ring, struct rc_completion *completions, unsigned max, int64_t timeout_ns)
{
	int entered;
	if (ring->refused)
		return ring->refused;
	if (ring->event_fd >= 0)
		hush(ring);
	before_entering(ring);
	unsigned submitted = io_uring_sq_ready(&ring->uring);
	if (timeout_ns == 0 || io_uring_cq_ready(&ring->uring)) {
		entered = io_uring_submit_and_get_events(&ring->uring);
	} else {
		struct io_uring_cqe *cqe;
		bool until_idle = ring->buffers_touched && (timeout_ns < 0 || timeout_ns > BUFFERS_IDLE_NS);
		int64_t wait_ns = until_idle ? BUFFERS_IDLE_NS : timeout_ns;
		struct __kernel_timespec time = { wait_ns / 1000000000, wait_ns % 1000000000 };
		entered = io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, wait_ns < 0 ? NULL : &time, NULL);
		if (until_idle && !io_uring_cq_ready(&ring->uring))
			give_buffers_back(ring);
	}
	if (rc_ring_is_refusal(entered))
		return ring->refused = entered;
	if (io_uring_cq_has_overflow(&ring->uring))
		RC_TRACE1(overflow, io_uring_cq_ready(&ring->uring));
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0, count = 0;
	io_uring_for_each_cqe(&ring->uring, head, cqe)
	{
		if (count == max)
			break;
		seen++;
		if (take(ring, cqe, &completions[count]))
			count++;
	}
	io_uring_cq_advance(&ring->uring, seen);
	RC_TRACE2(tick, count, submitted);
	return (int)count;
}

/* ---- inside another loop ---- */

/* The ring's own descriptor would not do: with DEFER_TASKRUN nothing wakes who polls it before a completion is worked
 * off, and that is done in our own calls alone. A registered eventfd is written to as soon as there is one to work off.
 */
int rc_uring_signal(struct rc_uring *ring, int event_fd)
{
	int result = io_uring_register_eventfd(&ring->uring, event_fd);
	if (result < 0)
		return result;
	return ring->event_fd = event_fd;
}

/* A timer that rings too early does no harm, so one that runs is left alone unless it would be late. */
static void set_timer(struct rc_uring *ring, uint64_t at_ns)
{
	const uint64_t tag = tag_make(FOR_TIMER, 0);
	if (ring->timer_ns && ring->timer_ns <= at_ns)
		return;
	struct io_uring_sqe *sqe = next_entry(ring);
	ring->timer_time = (struct __kernel_timespec){ (int64_t)(at_ns / 1000000000), (int64_t)(at_ns % 1000000000) };
	if (ring->timer_ns) { /* where it has just rung, its completion waits to be taken */
		io_uring_prep_timeout_update(sqe, &ring->timer_time, tag, IORING_TIMEOUT_ABS);
		sqe->user_data = tag_make(FOR_NOBODY, 0);
	} else {
		io_uring_prep_timeout(sqe, &ring->timer_time, 0, IORING_TIMEOUT_ABS);
		sqe->user_data = tag;
	}
	ring->timer_ns = at_ns;
}

/* When the receive buffers are to be given back, which is done if it is time; UINT64_MAX if there is nothing to give.
 */
static uint64_t buffers_idle_ns(struct rc_uring *ring, uint64_t now_ns)
{
	if (ring->buffers_touched && !ring->received_ns)
		ring->received_ns = now_ns;
	if (ring->buffers_touched && now_ns >= ring->received_ns + BUFFERS_IDLE_NS && !io_uring_cq_ready(&ring->uring))
		give_buffers_back(ring);
	return ring->buffers_touched ? ring->received_ns + BUFFERS_IDLE_NS : UINT64_MAX;
}

int rc_uring_arm(struct rc_uring *ring, int64_t timeout_ns)
{
	if (ring->refused)
		return ring->refused;
	before_entering(ring);
	io_uring_cq_eventfd_toggle(&ring->uring, true);
	if (timeout_ns == 0 || io_uring_cq_ready(&ring->uring)) {
		struct io_uring_sqe *sqe = next_entry(ring);
		io_uring_prep_nop(sqe); /* it completes at once, which is heard */
		sqe->user_data = tag_make(FOR_NOBODY, 0);
	} else {
		uint64_t now_ns = rc_ring_clock(), at_ns = buffers_idle_ns(ring, now_ns);
		if (timeout_ns > 0)
			at_ns = RC_MIN(at_ns, now_ns + (uint64_t)timeout_ns);
		if (at_ns != UINT64_MAX)
			set_timer(ring, at_ns);
	}
	/* What came since the wait is worked off here, now that it is heard. */
	atomic_thread_fence(memory_order_seq_cst);
	int entered = io_uring_submit_and_get_events(&ring->uring);
	if (rc_ring_is_refusal(entered))
		ring->refused = entered;
	if (ring->refused)
		return ring->refused;
	return io_uring_sq_ready(&ring->uring) ? -EAGAIN : 0;
}
