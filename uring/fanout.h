/* SPDX-License-Identifier: MIT
 *
 * fanout.h - from the log to its subscribers, in rounds: each goes through the audiences of what is new.
 */
#ifndef RC_FANOUT_H
#define RC_FANOUT_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

struct round {
	uint64_t begin, end; /* entries; a subscriber that is not behind has all before `begin` */
	uint64_t number;
	uint64_t began_ns;
	uint64_t sends;   /* so far */
	uint64_t took_ns; /* all sends of the last round, where it had so many that this counts; else 0 */
	unsigned crowded; /* so many rounds one after the other were long, and more had come when they were over */
	bool timed;       /* its last sends leave with this tick: the next one knows how long it took */
	uint32_t *walk;   /* topics touched by it */
	uint32_t walk_count, walk_index;
};

/* Returns 0 or -ENOMEM. */
int rc_fanout_open(struct worker *worker);
void rc_fanout_close(struct worker *worker);

/* Prepares at most RC_SLICE_SENDS sends. Returns when there is more to do: 0 for at once, the time of the next round,
 * or UINT64_MAX when something else must happen first. */
uint64_t rc_fanout_slice(struct worker *worker);

/* Whether all that was published has been through a round. */
bool rc_fanout_idle(const struct worker *worker);

#endif
