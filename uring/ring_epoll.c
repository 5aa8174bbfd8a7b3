/* SPDX-License-Identifier: MIT
 *
 * ring_epoll.c - what a tick asks of the ring on epoll: operations on slots, the wait, and what has completed. How a
 * slot comes to be is ring_epoll_connect.c's. It must not know what a connection is.
 *
 * Invariant: an operation but a receive, a poll or a watch is done before its function returns, and only its completion
 * waits; these three are done in a wait.
 */
#include "ring_epoll.h"

#include "trace.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define COARSE_NS 20000000 /* from here on a wait is rounded up to milliseconds */
#define AREA_IDLE_NS 1000000000
#define AREA_STEP 64 /* what was received begins at a line of the cache */

/* ---- operations ---- */

/* Behind all that are readable. */
static void list(struct rc_epoll *ring, uint32_t slot)
{
	struct epoll_slot *own = &ring->slot[slot];
	if (own->listed)
		return;
	own->listed = true;
	own->next = 0;
	if (ring->readable_count++)
		ring->slot[ring->readable_last - 1].next = slot + 1;
	else
		ring->readable_first = slot + 1;
	ring->readable_last = slot + 1;
}

static struct epoll_slot *begin_receiving(struct rc_epoll *ring, unsigned slot, uint64_t tag)
{
	struct epoll_slot *own = &ring->slot[slot];
	RC_ASSERT(!own->receiving);
	own->receiving = true;
	own->receive_tag = tag;
	own->once = own->placed = false;
	if (own->readable)
		list(ring, slot);
	ring->begun++;
	return own;
}

void rc_epoll_receive(struct rc_epoll *ring, unsigned slot, uint64_t tag)
{
	begin_receiving(ring, slot, tag);
}

void rc_epoll_receive_once(struct rc_epoll *ring, unsigned slot, void *to, size_t size, uint64_t tag)
{
	struct epoll_slot *own = begin_receiving(ring, slot, tag);
	own->once = true;
	own->placed = to != NULL;
	if (to)
		ring->places[slot] = (struct place){ to, size };
}

/* All of them are free again at the next wait. */
void rc_epoll_buffer_return(struct rc_epoll *ring, uint16_t buffer)
{
	(void)ring, (void)buffer;
}

/* The end of an operation that was done by one call: what that returned. A signal is no reason to fail. */
static void finish(struct rc_epoll *ring, ssize_t result, uint64_t tag)
{
	int code = errno == EINTR ? EAGAIN : errno;
	rc_epoll_done(ring, tag, result < 0 ? -code : (int)result, 0);
	ring->begun++;
}

void rc_epoll_send(struct rc_epoll *ring, unsigned slot, const struct rc_range *ranges, unsigned range_count,
                   bool zero_copy, uint64_t tag)
{
	int fd = ring->slots.descriptors[slot];
	(void)zero_copy; /* whether it was one would be told by an error queue that somebody has to read */
	if (range_count == 1) {
		finish(ring, send(fd, ranges[0].at, ranges[0].size, MSG_DONTWAIT | MSG_NOSIGNAL), tag);
		return;
	}
	struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)ranges, .msg_iovlen = range_count };
	finish(ring, sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL), tag);
}

int rc_epoll_set_option(struct rc_epoll *ring, unsigned slot, int level, int name, const void *value, unsigned size,
                        uint64_t tag)
{
	(void)tag;
	return setsockopt(ring->slots.descriptors[slot], level, name, value, size) < 0 ? -errno : 0;
}

void rc_epoll_send_alert(struct rc_epoll *ring, unsigned slot, const struct rc_range *bytes, uint64_t tag)
{
	struct msghdr message;
	rc_ring_alert(&message, bytes);
	finish(ring, sendmsg(ring->slots.descriptors[slot], &message, MSG_DONTWAIT | MSG_NOSIGNAL), tag);
}

void rc_epoll_abort(struct rc_epoll *ring, unsigned slot, uint64_t tag)
{
	static const struct sockaddr nowhere = { .sa_family = AF_UNSPEC }; /* connect(2): dissolves the association */
	finish(ring, connect(ring->slots.descriptors[slot], &nowhere, sizeof nowhere), tag);
}

void rc_epoll_shutdown(struct rc_epoll *ring, unsigned slot, uint64_t tag)
{
	finish(ring, shutdown(ring->slots.descriptors[slot], SHUT_WR), tag);
}

void rc_epoll_poll_writable(struct rc_epoll *ring, unsigned slot, uint64_t tag)
{
	struct epoll_slot *own = &ring->slot[slot];
	/* The kernel looks anew when it is asked: an edge that came since the send is not lost. */
	int result = rc_epoll_control(ring, EPOLL_CTL_MOD, ring->slots.descriptors[slot],
	                              RC_EPOLL_EVENTS_OF_SLOT | EPOLLOUT, ABOUT_SLOT, slot);
	RC_ASSERT(result == 0 || rc_ring_is_refusal(result));
	own->polling = own->asked = true;
	ring->writable_tags[slot] = tag;
	ring->begun++;
}

void rc_epoll_watch(struct rc_epoll *ring, int fd, uint64_t tag)
{
	uint32_t index = 0;
	while (index < ring->watch_high && ring->watches[index].fd >= 0)
		index++;
	RC_ASSERT(index < RC_EPOLL_WATCHES);
	int result = rc_epoll_control(ring, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, ABOUT_WATCH, index);
	if (result < 0) {
		rc_epoll_done(ring, tag, result, 0);
		return;
	}
	ring->watches[index] = (struct watching){ .tag = tag, .fd = fd };
	ring->watch_high = RC_MAX(ring->watch_high, index + 1);
}

/* Others may have the same file open, so that closing it would not do. */
static int end_watch(struct rc_epoll *ring, uint64_t of)
{
	for (uint32_t i = 0; i < ring->watch_high; i++) {
		struct watching *watching = &ring->watches[i];
		if (watching->fd < 0 || watching->tag != of)
			continue;
		rc_epoll_control(ring, EPOLL_CTL_DEL, watching->fd, 0, ABOUT_WATCH, 0);
		watching->fd = -1;
		return 0;
	}
	return -ENOENT;
}

void rc_epoll_cancel(struct rc_epoll *ring, unsigned slot, uint64_t of, uint64_t tag)
{
	struct epoll_slot *own = &ring->slot[slot];
	int result = 0;
	if (own->receiving && own->receive_tag == of)
		own->receiving = false;
	else if (own->polling && ring->writable_tags[slot] == of)
		own->polling = false;
	else
		result = end_watch(ring, of);
	if (result == 0)
		rc_epoll_done(ring, of, -ECANCELED, 0);
	rc_epoll_done(ring, tag, result, 0);
	ring->begun++;
}

void rc_epoll_close_slot(struct rc_epoll *ring, unsigned slot, uint64_t tag)
{
	RC_ASSERT(!ring->slot[slot].receiving && !ring->slot[slot].polling);
	close(rc_slots_begin_closing(&ring->slots, slot));
	rc_epoll_done(ring, tag, 0, 0)->closed = true;
	ring->begun++;
}

/* ---- events ---- */

static void note_slot(struct rc_epoll *ring, uint32_t slot, uint32_t events)
{
	struct epoll_slot *own = &ring->slot[slot];
	bool ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	if (events & EPOLLIN || ended) {
		own->readable = true;
		own->ended |= ended;
		if (own->receiving)
			list(ring, slot);
	}
	if (own->polling && events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		own->polling = false;
		rc_epoll_done(ring, ring->writable_tags[slot], (int)events, 0);
	} else if (own->asked && events == EPOLLOUT) {
		/* A Unix socket tells of room whenever its peer has read, whether or not somebody waits for it. */
		own->asked = false;
		rc_epoll_control(ring, EPOLL_CTL_MOD, ring->slots.descriptors[slot], RC_EPOLL_EVENTS_OF_SLOT,
		                 ABOUT_SLOT, slot);
	}
}

static void note(struct rc_epoll *ring, const struct epoll_event *event)
{
	uint32_t index = (uint32_t)event->data.u64;
	uint64_t count;
	ssize_t got;
	switch ((enum about)(event->data.u64 >> 32)) {
	case ABOUT_SLOT:
		note_slot(ring, index, event->events);
		break;
	case ABOUT_LISTENER:
		ring->listening[index].ready = true;
		break;
	case ABOUT_WATCH:
		rc_epoll_done(ring, ring->watches[index].tag, (int)event->events, RC_RING_MORE);
		break;
	case ABOUT_CONNECT:
		rc_epoll_connected(ring, index);
		break;
	case ABOUT_SIGNAL:
		got = read(ring->event_fd, &count, sizeof count);
		(void)got; /* nothing, when it was emptied meanwhile */
		break;
	case ABOUT_TIMER:
		ring->timer_ns = 0;
		break;
	}
}

/* Waits to the nanosecond, as far as the kernel has it: Linux 5.11 does by itself, and before that epoll's own
 * descriptor can be polled so. */
static int wait_finely(struct rc_epoll *ring, int64_t timeout_ns)
{
	const struct timespec time = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
	if (ring->fine) {
		int count = epoll_pwait2(ring->fd, ring->events, RC_EPOLL_EVENTS, &time, NULL);
		if (count >= 0 || (errno != ENOSYS && errno != EPERM))
			return count;
		ring->fine = false;
	}
	struct pollfd own = { .fd = ring->fd, .events = POLLIN };
	int ready = ppoll(&own, 1, &time, NULL);
	return ready <= 0 ? ready : epoll_wait(ring->fd, ring->events, RC_EPOLL_EVENTS, 0);
}

/* Nothing was received for a while. */
static void give_area_back(struct rc_epoll *ring)
{
	madvise(ring->area, ring->area_size, MADV_DONTNEED);
	ring->area_touched = false;
}

/* Takes what happens. Returns 0, or a negative errno when the ring is over. */
static int look(struct rc_epoll *ring, int64_t timeout_ns)
{
	int count;
	bool until_idle = ring->area_touched && (timeout_ns < 0 || timeout_ns > AREA_IDLE_NS);
	if (until_idle)
		timeout_ns = AREA_IDLE_NS;
	if (timeout_ns > 0 && timeout_ns < COARSE_NS)
		count = wait_finely(ring, timeout_ns);
	else
		count = epoll_wait(ring->fd, ring->events, RC_EPOLL_EVENTS,
		                   timeout_ns > 0 ? (int)RC_MIN((timeout_ns + 999999) / 1000000, (int64_t)INT32_MAX)
		                                  : (int)timeout_ns);
	if (count < 0 && errno != EINTR)
		return ring->refused = -errno;
	for (int i = 0; i < count; i++)
		note(ring, &ring->events[i]);
	if (until_idle && count == 0)
		give_area_back(ring);
	return 0;
}

/* ---- receiving ---- */

/* One recv. Returns whether there is something to tell of it. */
static bool receive(struct rc_epoll *ring, uint32_t slot, struct rc_completion *out)
{
	struct epoll_slot *own = &ring->slot[slot];
	uint8_t *to = own->placed ? ring->places[slot].to : ring->area + ring->area_used;
	size_t size = own->placed ? RC_MIN(ring->places[slot].size, RC_EPOLL_PLACED_MAX) : ring->buffer_size;
	ssize_t got = recv(ring->slots.descriptors[slot], to, size, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
		own->readable = errno == EINTR;
		own->ended &= errno == EINTR;
		return false;
	}
	*out = (struct rc_completion){ .tag = own->receive_tag, .result = got < 0 ? -errno : (int)got };
	if (got > 0 && !own->placed) {
		out->flags = RC_RING_BUFFER;
		out->data = to;
		ring->area_touched = true;
		ring->received_ns = 0;
		ring->area_used += ((size_t)got + AREA_STEP - 1) / AREA_STEP * AREA_STEP;
	}
	if (got <= 0 || own->once)
		own->receiving = false;
	else
		out->flags |= RC_RING_MORE;
	/* Less than there was room for: it is empty, and what comes is an edge. Only an end behind it was told before.
	 */
	if (got > 0 && (size_t)got < size && !own->ended)
		own->readable = false;
	return true;
}

static unsigned receive_some(struct rc_epoll *ring, struct rc_completion *out, unsigned count, unsigned max)
{
	for (uint32_t left = ring->readable_count;
	     left && count < max && ring->area_used + ring->buffer_size <= ring->area_size; left--) {
		uint32_t slot = ring->readable_first - 1;
		struct epoll_slot *own = &ring->slot[slot];
		ring->readable_first = own->next;
		ring->readable_count--;
		own->listed = false;
		if (!own->receiving || !own->readable)
			continue;
		count += receive(ring, slot, &out[count]);
		if (own->receiving && own->readable)
			list(ring, slot);
	}
	return count;
}

/* ---- waiting ---- */

static unsigned take_done(struct rc_epoll *ring, struct rc_completion *out, unsigned max)
{
	unsigned count = 0;
	for (; count < max && ring->done_begin < ring->done_end; count++) {
		const struct done *done = &ring->done[ring->done_begin++];
		if (done->closed)
			rc_slots_end_closing(&ring->slots);
		out[count] = (struct rc_completion){ .tag = done->tag, .result = done->result, .flags = done->flags };
	}
	if (ring->done_begin == ring->done_end)
		ring->done_begin = ring->done_end = 0;
	return count;
}

/* The caller would wait, but there is something for it: looking for more is left to the next time, which comes soon and
 * then perhaps waits. So an answer costs one call less. Never twice in a row. */
static bool spares_a_look(struct rc_epoll *ring, int64_t timeout_ns)
{
	return ring->spared = timeout_ns && ring->done_end && !ring->readable_count && !ring->spared;
}

int rc_epoll_wait(struct rc_epoll *ring, struct rc_completion *completions, unsigned max, int64_t timeout_ns)
{
	unsigned submitted = ring->begun;
	bool has_some = ring->done_end || ring->readable_count;
	if (!ring->refused && !spares_a_look(ring, timeout_ns))
		look(ring, has_some ? 0 : timeout_ns);
	if (ring->refused)
		return ring->refused;
	ring->area_used = 0;
	ring->begun = 0;
	unsigned count = take_done(ring, completions, max);
	count = rc_epoll_accept_some(ring, completions, count, max);
	count = receive_some(ring, completions, count, max);
	RC_TRACE2(tick, count, submitted);
	return (int)count;
}

/* ---- inside another loop ---- */

int rc_epoll_signal(struct rc_epoll *ring, int event_fd)
{
	ring->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int result = ring->timer_fd < 0
	                 ? -errno
	                 : rc_epoll_control(ring, EPOLL_CTL_ADD, ring->timer_fd, EPOLLIN | EPOLLET, ABOUT_TIMER, 0);
	if (result == 0)
		result = rc_epoll_control(ring, EPOLL_CTL_ADD, event_fd, EPOLLIN, ABOUT_SIGNAL, 0);
	/* The ring may be over before the other loop knows it. */
	int own = result == 0 ? fcntl(ring->fd, F_DUPFD_CLOEXEC, 0) : result;
	if (result == 0 && own < 0)
		return -errno;
	ring->event_fd = event_fd;
	return own;
}

/* A timer that rings too early does no harm, so one that runs is left alone unless it would be late. */
static void set_timer(struct rc_epoll *ring, uint64_t at_ns)
{
	if (ring->timer_ns && ring->timer_ns <= at_ns)
		return;
	const struct itimerspec time = { .it_value = { (int64_t)(at_ns / 1000000000), (int64_t)(at_ns % 1000000000) } };
	timerfd_settime(ring->timer_fd, TFD_TIMER_ABSTIME, &time, NULL);
	ring->timer_ns = at_ns;
}

/* When the area's memory is to be given back, which is done if it is time; UINT64_MAX if there is nothing to give. */
static uint64_t area_idle_ns(struct rc_epoll *ring, uint64_t now_ns)
{
	if (!ring->received_ns)
		ring->received_ns = now_ns;
	if (ring->area_touched && now_ns >= ring->received_ns + AREA_IDLE_NS)
		give_area_back(ring);
	return ring->area_touched ? ring->received_ns + AREA_IDLE_NS : UINT64_MAX;
}

int rc_epoll_arm(struct rc_epoll *ring, int64_t timeout_ns)
{
	if (ring->refused)
		return ring->refused;
	if (timeout_ns == 0 || ring->done_end || ring->readable_count) {
		const uint64_t one = 1;
		ssize_t written = write(ring->event_fd, &one, sizeof one);
		(void)written; /* it fails only when the counter is full, and then the descriptor is readable */
	} else {
		uint64_t now_ns = rc_ring_clock(), at_ns = area_idle_ns(ring, now_ns);
		if (timeout_ns > 0)
			at_ns = RC_MIN(at_ns, now_ns + (uint64_t)timeout_ns);
		if (at_ns != UINT64_MAX)
			set_timer(ring, at_ns);
	}
	return 0;
}
