/* SPDX-License-Identifier: MIT
 *
 * plan.h - one send: the byte ranges of the log that a subscriber is to get, made from its cursor and its
 * subscriptions.
 *
 *      index     begin ............................. end          entries that are wanted, found by their chains
 *      taken       x   x x   c     x x x x                        wanted entries; c: conflated, so left out
 *      ranges     [ ] [   ]       [       ]                       touching frames are one range
 *
 * A plan knows no connection: subscribers with the same cursor and the same interest share one. It is kept until the
 * last of their sends has completed, and then says how far a cursor moves for the bytes that left.
 */
#ifndef RC_PLAN_H
#define RC_PLAN_H

#include "encoding.h"
#include "subscriber.h"

/* Layout of the system's struct iovec, so that a plan is handed to a gathering send as it is. */
struct rc_range {
	void *at;
	size_t size;
};

/* What one subscriber wants of a topic. */
struct rc_want {
	uint64_t from; /* entries before it are not for this subscriber; rc_plan_make() writes over it */
	uint32_t topic;
	bool conflate;              /* only the topic's newest entry, or the newest of each key */
	const struct rc_feed *feed; /* or null */
};

/* What a subscriber wants, told in the way that costs least, and in which form it wants that:
 *   wants     each topic is followed along its chain. Costs the topics, and the entries that are wanted.
 *   set       the window is read, and each entry looked up. Costs the window: for more topics than it has entries.
 *   neither   one topic, along its chain. Such a plan may be shared. */
struct rc_interest {
	uint32_t topic;
	struct rc_want *wants; /* rc_plan_make() sorts them as it needs */
	uint32_t want_count;
	const struct rc_subscribers *set;
	uint32_t slot;                      /* with a set: whose subscriptions */
	bool conflates;                     /* with a set: those that conflate do so now */
	const struct rc_encoding *encoding; /* preferred where it has a message; null: the log's own form */
	uint32_t encoded_size_min;          /* frames of the log below it are sent as they are */
	uint32_t cohort; /* with RC_ENCODING_COHORT: the one topic that may be encoded; else UINT32_MAX */
	bool synced;     /* in step with the cohort: it can read the next frame, once the rest of `partial` has left */
	bool encoded_only; /* it cannot read the log's own form: the plan stops where there is no other */
	uint64_t self;     /* the connection whose own entries are left out, or 0 */
};

/* In `taken`, beside the offset of an entry: */
#define RC_PLAN_CONFLATED 0x80000000u /* it was left out */
#define RC_PLAN_ENCODED 0x40000000u   /* it is sent in its encoding's form */
#define RC_PLAN_OFFSET 0x3FFFFFFFu

/* In `partial`, beside the count of bytes that have left: they were of the encoding's form. */
#define RC_PARTIAL_ENCODED 0x80000000u
#define RC_PARTIAL_SIZE 0x7FFFFFFFu
static_assert(RC_LOG_FRAME_SIZE_MAX <= RC_PARTIAL_SIZE, "bytes of a frame and their flag share 32 bits");

struct rc_plan {
	/* Nothing is wanted from where it was asked for up to begin, nor from behind the last one taken up to end. */
	uint64_t begin, end;
	uint64_t size;    /* bytes of all ranges */
	uint32_t partial; /* of the first frame, how much had left before */
	const struct rc_encoding *encoding;
	uint32_t cohort;          /* the interest's */
	bool synced, synced_end;  /* in step with the cohort at the beginning, and when all of it has left */
	uint32_t reference_count; /* sends in flight */
	uint16_t range_count, frame_count, conflated_count, taken_count;
	bool single;       /* made for one topic: every frame is of it */
	bool left_out;     /* an entry of the subscriber's own, or one that it has had, lies in the window */
	bool encoded_only; /* the interest's */
	bool bare;         /* with encoded_only: it ends before a wanted entry that is not encoded */
	uint32_t topic;    /* with single: which */
	struct rc_range ranges[RC_PLAN_RANGES_MAX];
	uint32_t taken[RC_PLAN_TAKEN_MAX]; /* offsets from begin, in order */
};

/* Takes what is wanted of [begin, end), and stops early at a bound of bounds.h: plan->end is then where to go on. How
 * far apart the entries lie does not count, unless they are looked up in a set. `partial` bytes of the frame at `begin`
 * have left already, in one form or the other; the rest of that frame is taken, whoever wants it. `begin` is not below
 * the caller's floor, `end` not above the head. */
void rc_plan_make(struct rc_plan *plan, const struct rc_log *log, const struct rc_interest *interest, uint64_t begin,
                  uint64_t end, uint32_t partial);

struct rc_progress {
	uint64_t cursor;      /* the next entry to consider */
	uint32_t partial;     /* of the frame at the cursor, how much has left; 0 at a frame's beginning */
	uint16_t taken_count; /* entries of plan->taken that the cursor has passed: whole frames and conflated ones */
	bool synced;          /* in step with the cohort at the cursor, or once the rest of that frame has left */
};

/* The bytes of an entry in one form or the other. */
struct rc_range rc_plan_frame(const struct rc_log *log, const struct rc_encoding *encoding, uint64_t number,
                              bool encoded);

/* Where a cursor stands after `sent` bytes of the plan have left. */
struct rc_progress rc_plan_progress(const struct rc_plan *plan, const struct rc_log *log, uint64_t sent);

#endif
