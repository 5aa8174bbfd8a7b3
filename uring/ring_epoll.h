/* SPDX-License-Identifier: MIT
 *
 * ring_epoll.h - what the parts of the ring on epoll share: ring_epoll.c (the operations and the wait),
 * ring_epoll_open.c (set-up) and ring_epoll_connect.c (accepts and connects).
 *
 *      sends, closes ... done at once -----> done[] ---------------------------------.
 *      epoll_wait ---> writable, a watch --> done[] ----------------------------------+--> completions
 *                 `--> readable ---> list ---> recv into one area, or where it belongs'
 *
 * A connection is registered once, edge-triggered, and only who could not be sent to asks for EPOLLOUT. What an edge
 * said is remembered (`readable`) until a recv that brings less than there was room for, so that a connection costs one
 * call for each time something comes. Each has one recv of a bounded size in a wait, and those that have more stand
 * behind all others: who floods is read as often as who whispers.
 *
 * It must not know what an operation is for. Invariant: a slot that is `listed` is in the list of the readable ones,
 * once; all else about it may have changed since, as may the connection that it stands for.
 */
#ifndef RC_RING_EPOLL_H
#define RC_RING_EPOLL_H

#include "check.h"
#include "ring_kinds.h"
#include "slots.h"

#include <sys/epoll.h>

#define RC_EPOLL_EVENTS 256   /* taken by one call */
#define RC_EPOLL_ACCEPTS 64   /* taken in one wait */
#define RC_EPOLL_BUFFERS 16   /* full ones that the area for what is received has room for; of small ones far more */
#define RC_EPOLL_WATCHES 2051 /* both of each producer, their door, the mailbox */
#define RC_EPOLL_PLACED_MAX (256 * RC_KIB) /* received by one call to where it belongs */

/* What an event is about: above an index. */
enum about { ABOUT_SLOT, ABOUT_LISTENER, ABOUT_WATCH, ABOUT_CONNECT, ABOUT_SIGNAL, ABOUT_TIMER };

#define RC_EPOLL_EVENTS_OF_SLOT (EPOLLIN | EPOLLRDHUP | EPOLLET)

struct epoll_slot {
	uint64_t receive_tag;
	uint32_t next : RC_SLOT_BITS + 1; /* number + 1, in the list of the readable */
	uint32_t listed : 1;
	uint32_t receiving : 1;
	uint32_t once : 1;
	uint32_t placed : 1;   /* to where places[] says */
	uint32_t readable : 1; /* perhaps */
	uint32_t ended : 1;    /* the end of the stream or an error lies behind what is there */
	uint32_t polling : 1;  /* for room to send; the tag is in writable_tags[] */
	uint32_t asked : 1;    /* the kernel tells when there is room */
};
static_assert(sizeof(struct epoll_slot) == 16, "what an idle connection costs here, beside its two numbers in slots.h");
static_assert(RC_EPOLL_WATCHES >= 2 * RC_PRODUCERS_LIMIT + 2, "every producer can be watched");

struct place {
	uint8_t *to;
	size_t size;
};

/* A completion that waits to be taken. */
struct done {
	uint64_t tag;
	int32_t result;
	uint16_t flags;
	bool closed; /* a slot is free once this was taken */
};

/* A listening socket that is accepted from. */
struct listening {
	uint64_t tag;
	int fd;
	sa_family_t family;
	bool armed, ready;
};

struct watching {
	uint64_t tag;
	int fd; /* -1: free */
};

struct connecting {
	uint64_t tag;
	uint32_t slot;
	bool used;
};

struct rc_epoll {
	struct rc_ring head;
	int fd;
	int refused;    /* the errno with which the kernel let nobody in */
	bool fine;      /* the kernel waits for less than a millisecond (Linux 5.11) */
	bool spared;    /* the last wait did not look for events */
	unsigned begun; /* operations since the last wait */
	struct slots slots;
	/* by slot; what was never used takes no memory */
	struct epoll_slot *slot;
	uint64_t *writable_tags;
	struct place *places;
	uint32_t readable_first, readable_last, readable_count; /* number + 1, or 0 */
	struct done *done;                                      /* done_begin <= done_end <= done_max */
	size_t done_begin, done_end, done_max;
	uint8_t *area;
	size_t area_size, area_used, buffer_size;
	bool area_touched; /* since its memory was given back */
	struct listening listening[RC_LISTENERS_MAX];
	unsigned listening_count;
	struct sockaddr_storage peers[RC_EPOLL_ACCEPTS];
	struct connecting connects[RC_DIALS_MAX];
	unsigned connect_count, connect_high;
	struct watching watches[RC_EPOLL_WATCHES];
	unsigned watch_high;
	struct epoll_event events[RC_EPOLL_EVENTS];
	/* of a ring inside another loop */
	int event_fd; /* or -1, as the timer's */
	int timer_fd;
	uint64_t timer_ns;    /* of the timer that runs; 0: none does */
	uint64_t received_ns; /* since then nothing was received */
};

/* A completion, to be taken by this wait or the next. There is room: a slot has at most eight at a time. */
static inline struct done *rc_epoll_done(struct rc_epoll *ring, uint64_t tag, int result, uint16_t flags)
{
	if (RC_UNLIKELY(ring->done_end == ring->done_max)) {
		RC_ASSERT(ring->done_begin);
		memmove(ring->done, ring->done + ring->done_begin,
		        (ring->done_end - ring->done_begin) * sizeof *ring->done);
		ring->done_end -= ring->done_begin;
		ring->done_begin = 0;
	}
	ring->done[ring->done_end] = (struct done){ .tag = tag, .result = result, .flags = flags };
	return &ring->done[ring->done_end++];
}

/* epoll_ctl(). Returns 0 or a negative errno. */
static inline int rc_epoll_control(const struct rc_epoll *ring, int how, int fd, uint32_t events, enum about about,
                                   uint32_t index)
{
	struct epoll_event event = { .events = events, .data.u64 = (uint64_t)about << 32 | index };
	return epoll_ctl(ring->fd, how, fd, &event) < 0 ? -errno : 0;
}

/* ---- ring_epoll_connect.c, for the wait ---- */

/* Accepts from the listeners that are ready, into out[count] and on. Returns the new count. */
unsigned rc_epoll_accept_some(struct rc_epoll *ring, struct rc_completion *out, unsigned count, unsigned max);

/* Something became of a connect. */
void rc_epoll_connected(struct rc_epoll *ring, uint32_t index);

#endif
