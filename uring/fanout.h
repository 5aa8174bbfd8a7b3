/* SPDX-License-Identifier: MIT
 *
 * fanout.h - a worker's sending side: fanout.c goes through the audience of what is new, lag.c looks after who is
 * behind, subscription.c lets connections in and out. Planning is plans.h, sending pump.h.
 */
#ifndef RC_FANOUT_H
#define RC_FANOUT_H

#include "worker.h"

int rc_fanout_open(struct worker *worker);
void rc_fanout_close(struct worker *worker);

/* Prepares at most RC_SLICE_SENDS sends. Returns when there is more to do: 0 at once, a time for the next round, or
 * UINT64_MAX when something else must happen first. */
uint64_t rc_fanout_slice(struct worker *worker);
bool rc_fanout_idle(const struct worker *worker);

/* ---- lag.c ---- */

/* Where a connection stands in the log. */
uint64_t rc_fanout_cursor(const struct worker *worker, const struct connection *conn);

/* From now on it has a cursor of its own. */
void rc_fanout_fall_behind(struct worker *worker, uint32_t slot, uint64_t cursor);

/* It is at the head again, or wants nothing any more. */
void rc_fanout_catch_up(struct worker *worker, struct connection *conn);

/* Applies the topics' policies to one connection that is behind: it may be CLOSING or ENDING afterwards. */
void rc_fanout_enforce(struct worker *worker, uint32_t slot);

/* Looks after all who are behind, when it is time, and tells publishers how far the log may be recycled. */
void rc_fanout_settle(struct worker *worker);

/* ---- subscription.c ---- */

int rc_fanout_subscribe(struct worker *worker, uint32_t slot, const char *name, size_t size, struct rc_start *start);
int rc_fanout_unsubscribe(struct worker *worker, uint32_t slot, const char *name, size_t size);
void rc_fanout_unsubscribe_all(struct worker *worker, uint32_t slot);

/* Lets subscriptions begin that wait to begin further back; only when no frame is half sent. */
void rc_fanout_resume(struct worker *worker, uint32_t slot);

#endif
