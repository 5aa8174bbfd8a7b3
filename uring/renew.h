/* SPDX-License-Identifier: MIT
 *
 * renew.h - subscribers of a topic that began anew go on with its successor (engine/topic.h). Each worker moves its
 * own, a few in a tick, and nobody gets a message of the successor before he was told.
 */
#ifndef RC_RENEW_H
#define RC_RENEW_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

struct renewals {
	uint64_t seen; /* successions after which all of this worker's have moved */
	uint64_t pass; /* while it goes through the list: how many there were when it began */
	uint32_t at;   /* the topic in the list that is next, number + 1; 0: it does not go through it */
};

/* Whether some have not moved, as far as is known. */
bool rc_renewals_wait(const struct worker *worker);

/* Moves some. */
void rc_renewals_look(struct worker *worker);

/* Moves all that one connection is subscribed to: what it does with a name, it does with the topic that has it now.
 * With the log's lock. */
void rc_renewals_of(struct worker *worker, uint32_t slot);

#endif
