/* SPDX-License-Identifier: MIT
 *
 * ending.h - how a connection is to end, as a value. Whoever finds a reason notes it here and goes on; nobody below
 * ends a connection. After the event close.c acts on what was noted, and tells the application.
 *
 *      pump, lag, hold, secure, frames, opening, the application --- rc_ending_note() ---> endings
 *      worker, arrive, after the event --- rc_close_noted() ---> close.c
 *
 * A new reason is a note where it arises. A new way to end is a kind here and a case in close.c.
 */
#ifndef RC_ENDING_H
#define RC_ENDING_H

#include "bounds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker;

enum ending_kind {
	ENDING_CLOSE,    /* we begin the closing handshake, with `code` and `reason`; or what its form has instead */
	ENDING_OVERRUN,  /* the same, and it gives up at once what it waits for */
	ENDING_CLOSED,   /* the peer's Close came, with `code` and `reason` */
	ENDING_FAILED,   /* the peer broke the protocol: a Close with `code` and `reason`, and no more is read */
	ENDING_ANSWERED, /* what waits to be sent is its last: a response */
	ENDING_KEPT,     /* a request that waited has its response, and the next may follow */
	ENDING_FLUSHED,  /* and that has left */
	ENDING_BROKEN,   /* its TLS is over, with `status` and `reason`: what that has put aside still leaves */
	ENDING_CUT,      /* now, with `code`, `reason` and `status` */
	ENDING_RESET,    /* now, and the kernel forgets what was not acknowledged */
};

struct ending {
	enum ending_kind kind;
	uint32_t slot;
	uint16_t code;      /* what handlers.close is told, unless a Close was sent or received before */
	bool lingers;       /* ANSWERED: the peer may still be sending */
	int status;         /* for handlers.close: of a client's failed handshake */
	const char *reason; /* valid until the event's end; may be null */
	size_t reason_size;
};

/* The oldest first; a connection has at most one. */
struct endings {
	struct ending *notes;
	uint32_t capacity, at, count;
	char peer_reason[RC_CONTROL_SIZE_MAX]; /* of the Close that came last: acted on before the next is read */
};

bool rc_endings_open(struct endings *endings, uint32_t capacity);
void rc_endings_close(struct endings *endings);

/* Notes how a connection is to end. The first note counts: returns whether this is it. Until it was acted on,
 * `connection.ends` is set: nothing is sent to it, and for the application it is not open any more. */
bool rc_ending_note(struct worker *worker, const struct ending *ending);

/* The same for what needs no more than a kind and a code. */
bool rc_ending_cut(struct worker *worker, uint32_t slot, uint16_t code);

/* Takes the oldest. False: there is none. */
bool rc_ending_take(struct worker *worker, struct ending *ending);

#endif
