/* SPDX-License-Identifier: MIT
 *
 * cursor.h - where a subscriber stands in the log, as pure state: the one idea of this program.
 *
 *      log       ......... round ------------------- head
 *      caught up           [ has everything before the round; `at` counts only where it is further on ]
 *      behind       at [ reads on from here when it can take more ]
 *
 *      begin --> caught up --planned--> on its way --sent--> caught up; behind, where the plan did not reach the round
 *                   |                        |
 *                   |                        +--cut short--> behind, perhaps within a frame
 *                   +--fell behind--> behind --planned--> ... --> caught up
 *
 * Within a frame, its rest comes before anything else, unless that is put aside. What is sealed (encrypted) counts as
 * sent at once. A subscription may begin further back than the cursor stands: it waits (`resuming`) until no frame is
 * half sent, and the cursor then goes back to it.
 *
 * The caller says where the round and the head are. An operation may change `behind`: the caller keeps the list.
 */
#ifndef RC_CURSOR_H
#define RC_CURSOR_H

#include "plan.h"

struct rc_cursor {
	uint64_t at; /* the next entry to consider; on its way: where it stands if all of the plan leaves */
	/* Bytes of the frame at `at` that have left, and RC_PARTIAL_ENCODED; the rest of that frame is in the log. */
	uint32_t partial;
	bool behind : 1; /* `at` is its own; without it, it has seen everything before the round */
	bool on_its_way : 1;
	bool resuming : 1;  /* something it wants begins further back than it stands */
	bool synced : 1;    /* it has read its cohort's last frame, so the next makes sense to it */
	bool own_ahead : 1; /* the log may have entries of its own ahead, which it does not get */
	bool owed : 1;      /* something of a feed comes before what it reads of the log: feed.h */
};

/* The invariant: within a frame, or with something further back to go to, it is behind; on its way it is within no
 * frame that it knows of; what goes back is in step with no cohort. Every operation ends with this. */
void rc_cursor_check(const struct rc_cursor *cursor);

/* Stands at an entry, and wants nothing before it. */
void rc_cursor_begin(struct rc_cursor *cursor, uint64_t at);

/* The entry it stands at. */
static inline uint64_t rc_cursor_place(const struct rc_cursor *cursor, uint64_t round_begin)
{
	return cursor->behind || cursor->at > round_begin ? cursor->at : round_begin;
}

/* A plan that begins where it stands is on its way up to `end`. It falls behind where that is not the round's end. */
void rc_cursor_planned(struct rc_cursor *cursor, uint64_t end, uint64_t round_end);

/* All of that plan has left: it is caught up if it has reached the round's end, else behind. Here and below `in_step`
 * means that the plan says of its cohort what this subscriber has read. */
void rc_cursor_sent(struct rc_cursor *cursor, const struct rc_plan *plan, uint64_t round_end, bool in_step);

/* Only what `progress` says has left. `aside`: the rest of a frame cut short is kept elsewhere. `wants`: it is
 * subscribed to something, so it is behind; within a frame it is behind in any case. */
void rc_cursor_cut_short(struct rc_cursor *cursor, const struct rc_progress *progress, bool aside, bool wants,
                         bool in_step);

/* What `progress` says was encrypted, without having been planned: that is as good as sent. */
void rc_cursor_sealed(struct rc_cursor *cursor, const struct rc_progress *progress, uint64_t round_end, bool in_step);

/* Nothing in the plan's window was for it. */
void rc_cursor_passed(struct rc_cursor *cursor, const struct rc_plan *plan, bool in_step);

/* The entry it stands at was handed over in another way. */
void rc_cursor_stepped(struct rc_cursor *cursor);

/* From here on its place is its own. */
void rc_cursor_fell_behind(struct rc_cursor *cursor, uint64_t at);

/* Entries before `at` are not for it any more: dropped, or conflated. */
void rc_cursor_skipped(struct rc_cursor *cursor, uint64_t at);

/* What comes next in its cohort refers to what it did not get. */
void rc_cursor_out_of_step(struct rc_cursor *cursor);

/* Something it wants begins further back than it stands, which is at `at`. */
void rc_cursor_wants_back(struct rc_cursor *cursor, uint64_t at);

/* It goes back there: `lowest` of all that it wants. Not within a frame. */
void rc_cursor_resumed(struct rc_cursor *cursor, uint64_t lowest);

/* It is at the head. */
void rc_cursor_caught_up(struct rc_cursor *cursor);

/* It is subscribed to nothing any more; only the rest of a frame may still have to leave. */
void rc_cursor_unsubscribed(struct rc_cursor *cursor);

/* Not even that. */
void rc_cursor_ended(struct rc_cursor *cursor);

#endif
