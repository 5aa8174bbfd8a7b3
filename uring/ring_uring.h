/* SPDX-License-Identifier: MIT
 *
 * ring_uring.h - what the parts of the ring share: ring_uring.c (the operations and the wait), ring_uring_open.c
 * (set-up) and ring_uring_connect.c (accepts and connects). It is the only file that includes liburing, and only they
 * include it.
 *
 * On an older kernel descriptors are ordinary ones. Up to Linux 6.12 a ring lets go of the files that left its table in
 * the order they left, each only when every operation begun before has ended: one idle connection with a receive armed
 * would keep all that closed since open, their peers waiting for an end (and 6.1 waits a second on top). Slots are then
 * indexes in an array of ours (slots.h), and accepts are one-shot ones, because 6.1 has no way to ask for a peer's
 * address afterwards.
 *
 * The thread sanitizer sees our side of a ring and not the kernel's, which reads and writes without it. That leaves
 * open whether memory that was handed over (ranges, receive buffers, addresses) is touched before its completion. What
 * covers it: only its own thread touches a ring, which SINGLE_ISSUER makes the kernel check; the simulator's ring
 * poisons and reuses memory at the first moment it may, and keeps it in use to the last; and under the address
 * sanitizer the live tests see memory of ours that was freed too early when it is next used.
 *
 * It must not know what an operation does. Invariant: every entry bears a tag that tag_make() made.
 */
#ifndef RC_RING_PRIVATE_H
#define RC_RING_PRIVATE_H

#include "ring_kinds.h"
#include "slots.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>

#define RC_RING_BUFFER_GROUP 0

/* A listening socket that is accepted from. */
struct accepting {
	int fd;
	uint64_t tag;
	sa_family_t family;
	bool cancelled;
	unsigned armed; /* one-shot accepts on their way */
};

/* An accept or connect that takes more than one operation. */
struct pending {
	struct sockaddr_storage address;
	socklen_t address_size;
	int fd;
	int slot;
	bool cancelled; /* a connect, while its socket is on its way into the table */
	uint64_t tag;
	struct pending *next;
};

struct rc_uring {
	struct rc_ring head;
	struct io_uring uring;
	struct io_uring_buf_ring *buffer_ring;
	size_t buffer_ring_size;
	uint8_t *buffers;
	size_t buffer_size;
	unsigned buffer_count;   /* buffers that there is room for */
	unsigned buffers_made;   /* buffers in use: more are made when they run out */
	bool buffers_more;       /* the next wait makes more: they ran out, or there are none yet */
	bool buffers_touched;    /* since their memory was given back */
	unsigned buffers_added;  /* given back since the last wait */
	bool direct;             /* the kernel's table, multishot accept, and the peer by COMMAND_GETSOCKOPT */
	struct slots slots;      /* used when it is not */
	struct msghdr *messages; /* one a submission entry: read when the entry is submitted */
	int refused;             /* the errno with which the kernel let nobody in; from then on nothing is submitted */
	struct io_uring_sqe scrap; /* what is then prepared where the queue is full */
	/* Accepts whose peer is being asked for, and connects on their way. The answers come behind all accepts that
	 * wait in the completion queue, so there are as many as that holds. One nobody used takes no memory. */
	struct pending *pending; /* all of them, and the lists of those that are free now and after the next wait */
	struct pending *pending_free, *pending_done;
	unsigned pending_made, pending_max; /* ever used, and room for */
	struct accepting accepting[RC_LISTENERS_MAX];
	unsigned accepting_count;
	/* of a ring inside another loop */
	int event_fd;                        /* that is written to when there is something to take, or -1 */
	struct __kernel_timespec timer_time; /* read when the entry is submitted */
	uint64_t timer_ns;                   /* of the timer that runs; 0: none does */
	uint64_t received_ns;                /* since then nothing was received */
};

/* What an operation is for: its tag says this above the value that follows. */
enum purpose {
	FOR_CALLER,     /* the caller's tag */
	FOR_CLOSE,      /* the caller's tag; the slot is not in the kernel's table */
	FOR_ACCEPT,     /* multishot: an index in `accepting` */
	FOR_ACCEPT_ONE, /* one-shot: an index in `pending`, as in those below */
	FOR_PEER,       /* asking for its address */
	FOR_INSTALL,    /* into the kernel's table */
	FOR_CONNECT,
	FOR_TIMER, /* no value */
	FOR_NOBODY /* no value */
};

struct purpose_tag {
	enum purpose purpose;
	uint64_t value;
};

static_assert(FOR_NOBODY <= UINT64_MAX / RC_RING_TAG_MAX, "a purpose fits above the largest tag");

static inline uint64_t tag_make(enum purpose purpose, uint64_t value)
{
	return (uint64_t)purpose * RC_RING_TAG_MAX | value;
}

static inline struct purpose_tag tag_split(uint64_t tag)
{
	return (struct purpose_tag){ (enum purpose)(tag / RC_RING_TAG_MAX), tag % RC_RING_TAG_MAX };
}

/* The message of a prepared entry. */
static inline struct msghdr *message_of(const struct rc_uring *ring, const struct io_uring_sqe *sqe)
{
	return &ring->messages[sqe == &ring->scrap ? 0 : sqe - ring->uring.sq.sqes];
}

/* An entry of the submission queue: every operation begins with it. */
static inline struct io_uring_sqe *next_entry(struct rc_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	while (!sqe) {
		/* Full: submit. -EBUSY means that completions have overflown; asking for events moves them. */
		int result = ring->refused ? ring->refused : io_uring_submit(&ring->uring);
		if (rc_ring_is_refusal(result)) {
			ring->refused = result;
			return &ring->scrap;
		}
		if (result == -EBUSY || result == -EAGAIN)
			io_uring_get_events(&ring->uring);
		sqe = io_uring_get_sqe(&ring->uring);
	}
	return sqe;
}

/* Says which slot a prepared entry is about. */
static inline void aim(const struct rc_uring *ring, struct io_uring_sqe *sqe, unsigned slot)
{
	sqe->fd = ring->direct ? (int)slot : ring->slots.descriptors[slot];
	if (ring->direct)
		sqe->flags |= IOSQE_FIXED_FILE;
}

#define COMMAND_GETSOCKOPT 2 /* Linux 6.7, after Debian 12's headers: getsockopt as a ring command */
#define COMMAND_SETSOCKOPT 3 /* and setsockopt */

/* Prepares a command about a socket option, of a slot in the kernel's table. */
static inline void prep_option(struct io_uring_sqe *sqe, unsigned command, unsigned slot, int level, int name,
                               const void *value, unsigned size)
{
	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = (int)slot;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->off = command;
	sqe->addr = (uint64_t)(unsigned)level | (uint64_t)(unsigned)name << 32;
	sqe->file_index = size;        /* optlen */
	sqe->addr3 = (uintptr_t)value; /* optval */
}

/* ---- ring_uring_connect.c, for the wait ---- */

/* Takes a completion that is neither the caller's own nor of a close: makes one for the caller of it, or goes on to the
 * next operation and returns false. */
bool rc_uring_take_step(struct rc_uring *ring, const struct io_uring_cqe *cqe, struct rc_completion *out);

/* Frees what the last wait completed: its caller has read the addresses by now. */
void rc_uring_recycle(struct rc_uring *ring);

#endif
