/* SPDX-License-Identifier: MIT
 *
 * feed.h - what a subscription has that is given less than every message: a state before the first one, only the newest
 * of each key for a while, or a look now and then. Subscriptions without that have none of these.
 *
 *      log      ... from ==== the newest of each key ==== until ---- everything ---- head
 *      had      ... from ---- nothing, up to a number that it had of another server ---- everything ---- head
 *      paced    ... from ==== the newest of each key ==== until    (nothing before the next look)
 *
 * What is owed leaves before the log is read on, in this order: the application is told, the mark, the picture.
 */
#ifndef RC_FEED_H
#define RC_FEED_H

#include <stdbool.h>
#include <stdint.h>

struct picture;

struct rc_feed {
	uint64_t until;          /* entries before it are left out where one before it is newer; 0: all come */
	uint64_t until_sequence; /* of the topic's newest message before it */
	uint64_t due_ns;         /* of the next look; 0: at once */
	uint64_t began_ns;       /* when the latest state began: what it reads again waits since then, not for longer */
	uint64_t had;            /* messages up to this number are left out: it has had them elsewhere; 0: none */
	struct picture *picture; /* owed */
	uint32_t rate;           /* looks a second at most; 0: it is not paced */
	uint8_t mark;            /* owed: enum rc_mark_kind + 1 */
	bool state;              /* what comes before `until` is a state: entries without a key are left out as well */
	bool snapshot;           /* it asked to begin with the base */
	bool incomplete;         /* the state */
	bool tells;              /* owed: handlers.resync */
	bool wants_state;        /* owed, before all of these: a state that is to be looked for, and their beginning */
};

/* Whether entries from `number` on are not for it before its next look. */
static inline bool rc_feed_ends_before(const struct rc_feed *feed, uint64_t number)
{
	return feed && feed->rate && number >= feed->until;
}

#endif
