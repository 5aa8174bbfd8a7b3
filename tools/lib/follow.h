/* SPDX-License-Identifier: MIT
 *
 * follow.h - whether what a reader of a topic has is all that there is. Each message says its own number and that of
 * the message before it; where the server gives less than every message, it says so by a mark first, and up to which
 * number. Pure: it sees numbers alone. It must not know what the messages hold, nor in which form they came.
 *
 * Invariant: follow_is_whole() holds only while every message up to `last` was taken, or all of the state that stands
 * for them.
 */
#ifndef LIB_FOLLOW_H
#define LIB_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

/* What a message on the wire is; the numbers are those of the binary form. */
enum follow_kind {
	FOLLOW_MESSAGE,
	FOLLOW_STATE,     /* what follows up to the mark's number is the state: forget what was before */
	FOLLOW_RESYNC,    /* the same, because this reader was overrun */
	FOLLOW_CONFLATED, /* what follows up to the mark's number is the newest of each key: forget nothing */
	FOLLOW_HEARTBEAT, /* nothing follows; the topic stands at this number */
	FOLLOW_RESET,     /* what was before is over, and no state follows */
	FOLLOW_KIND_COUNT,
};

struct follow {
	uint64_t epoch;
	uint64_t last;  /* the number of the message that was taken last */
	uint64_t until; /* of the latest mark: up to here numbers may have holes */
	bool begun;
	bool partial; /* something was lost, or it began in the middle: only a state makes it right again */
	bool settled; /* no messages of a run are outstanding */
	/* For whoever tells them. */
	uint64_t gaps;    /* how often something was missing */
	uint64_t missing; /* how many numbers at least */
	uint64_t resyncs; /* how often it had to begin anew after it had begun */
};

enum follow_verdict {
	FOLLOW_TAKE,   /* the next one */
	FOLLOW_FORGET, /* marks only: what was taken before counts no longer */
	FOLLOW_OLD,    /* it was taken before: leave it out */
	FOLLOW_GAP,    /* something before it is missing, and was counted: take it, but the whole is not known */
};

/* A message with its numbers. */
enum follow_verdict follow_message(struct follow *follow, uint64_t epoch, uint64_t sequence, uint64_t previous);
/* A mark of any kind but FOLLOW_MESSAGE. */
enum follow_verdict follow_mark(struct follow *follow, enum follow_kind kind, uint64_t epoch, uint64_t sequence);

/* Whether all up to the last message is there. */
bool follow_is_whole(const struct follow *follow);

/* From where a new connection goes on (?since= and ?epoch=). Returns false when it has to ask for the state alone. */
bool follow_position(const struct follow *follow, uint64_t *epoch, uint64_t *since);

#endif
