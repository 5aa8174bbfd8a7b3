/* SPDX-License-Identifier: MIT
 *
 * feeds.h - subscribers that are given less than every message, and told so: a state first, the newest of each key
 * while they are behind, a look now and then. What a subscription keeps of that is engine/feed.h; its state's bytes are
 * picture.h.
 */
#ifndef RC_FEEDS_H
#define RC_FEEDS_H

#include "picture.h"
#include "subscriber.h"
#include "value.h"
#include "wheel.h"

struct worker;
struct connection;

#define RC_PACE_TICK_NS 1000000
#define RC_PICTURE_TRIES 4 /* at one that the log leaves behind before anybody begins with it */

struct feeds {
	struct rc_wheel paces; /* a slot's next look */
};

/* Returns 0 or -ENOMEM. */
int rc_feeds_open(struct worker *worker);
void rc_feeds_close(struct worker *worker);

/* The state of its topic comes first: from a picture, which is the feed's from here on, or, without one, there is none;
 * and then the log up to the entry `until`. With the log's lock. False when memory is out: the picture is the caller's
 * still. */
bool rc_feeds_begin_state(struct worker *worker, uint32_t slot, struct rc_subscription *record, struct picture *picture,
                          uint64_t until, enum rc_mark_kind kind);

/* From now on it is looked at so often a second. With the log's lock. False when memory is out. */
bool rc_feeds_begin_pace(struct worker *worker, uint32_t slot, struct rc_subscription *record, unsigned rate);

/* It has had all messages up to this number of another server. False when memory is out. */
bool rc_feeds_begin_had(struct worker *worker, struct rc_subscription *record, uint64_t sequence);

/* The subscription ends. */
void rc_feeds_end(struct worker *worker, uint32_t slot, struct rc_subscription *record);

/* Whether an overrun subscriber of this topic goes on from its state. */
bool rc_feeds_resyncs(const struct worker *worker, const struct rc_subscription *record);

/* It goes on from the state. False when memory is out. */
bool rc_feeds_resync(struct worker *worker, uint32_t slot, struct rc_subscription *record);

/* What it is to go on from, as rc_feeds_begin_state() had it, is no whole state: that is looked for before anything is
 * said. With the log's lock. */
void rc_feeds_want_state(struct worker *worker, uint32_t slot, struct rc_subscription *record);

/* Of one that is behind: where it gets the newest alone from here on, and its form tells numbers, it is owed a mark. */
void rc_feeds_begin_runs(struct worker *worker, uint32_t slot);

/* Says the next of what is owed. Returns whether that is a picture, which is shown from here on; what is said is in the
 * outbox. The connection is open, and nothing else comes first. */
bool rc_feeds_next(struct worker *worker, uint32_t slot);

/* Looks after those who are paced, when it is time; and when that is next, UINT64_MAX: never. */
void rc_feeds_look(struct worker *worker);
uint64_t rc_feeds_next_look_ns(const struct worker *worker);

/* Puts a mark into a connection's outbox. False when there is no memory. */
bool rc_feeds_say(struct worker *worker, uint32_t slot, const struct rc_mark *mark);

#endif
