/* SPDX-License-Identifier: MIT
 *
 * lag.h - subscribers that are behind: the list of them, what their topics' policies say, and how far the log may be
 * recycled. Where one stands is its cursor (engine/cursor.h).
 */
#ifndef RC_LAG_H
#define RC_LAG_H

#include "ringcast.h"
#include "ringcast_stats.h"

#include <stdatomic.h>

struct worker;

/* Who is behind, as the worker saw it last. Other threads read it word by word, so it may mix two looks. */
struct lag_book {
	_Atomic uint64_t ages[RC_LAG_AGES];
	struct {
		_Atomic uint64_t conn, since_ns, messages, topic;
	} slowest[RC_LAG_SLOWEST]; /* the slowest first; conn 0: no more */
};

struct laggards {
	uint32_t *slots; /* connection.listed */
	uint32_t count;
	uint64_t floor;                 /* no cursor of the list is below */
	uint64_t looked_end, looked_ns; /* where the log ended at the last look at the list, and when that was */
	struct lag_book book;           /* (shared) written at each look */
};

/* Returns 0 or -ENOMEM. */
int rc_lag_open(struct worker *worker);
void rc_lag_close(struct worker *worker);

/* After an operation on a connection's cursor: the list and the counters follow. */
void rc_lag_follow(struct worker *worker, uint32_t slot, bool was_behind);

/* From now on it has a cursor of its own, at this entry. */
void rc_lag_fall_behind(struct worker *worker, uint32_t slot, uint64_t at);

/* It is at the head again. */
void rc_lag_catch_up(struct worker *worker, uint32_t slot);

/* It wants nothing of the log any more. */
void rc_lag_end(struct worker *worker, uint32_t slot);

/* The same of a connection that is gone: nobody reads its cursor any more, so that stays as it is. */
void rc_lag_forget(struct worker *worker, uint32_t slot);

/* The entry at which it stands. */
uint64_t rc_lag_place(const struct worker *worker, uint32_t slot);

/* Applies its topics' policies to one that is behind. Returns whether it may go on: otherwise its end was noted. */
bool rc_lag_allows(struct worker *worker, uint32_t slot);

/* Notes that it is closed, since it cannot keep up with a topic. */
void rc_lag_close_slow(struct worker *worker, uint32_t slot, uint32_t topic);

/* Looks after all who are behind, when it is time. */
void rc_lag_look(struct worker *worker);

/* When that is next; UINT64_MAX: nobody is behind. */
uint64_t rc_lag_next_look_ns(const struct worker *worker);

/* Tells publishers how far the log may be recycled. */
void rc_lag_show_floor(struct worker *worker);

#endif
