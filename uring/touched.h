/* SPDX-License-Identifier: MIT
 *
 * touched.h - what the messages of a round are to each connection: its subscriptions to their topics, in a list a
 * connection. So a connection with a thousand topics costs a round what it gets of it, and not a look at all of them.
 */
#ifndef RC_TOUCHED_H
#define RC_TOUCHED_H

#include <stdbool.h>
#include <stdint.h>

struct worker;
struct rc_want;

struct touch {
	uint32_t slot, subscription; /* number of the record */
	uint32_t next;               /* of the same slot, index + 1 */
};

struct touched {
	uint32_t *firsts;      /* by slot: index + 1, 0: the round has nothing for it */
	struct touch *touches; /* room for RC_ROUND_TOUCHES_MAX */
	uint32_t count;
	bool complete; /* everything of the round is here; else nobody may rely on it */
};

/* Returns 0 or -ENOMEM. */
int rc_touched_open(struct worker *worker);
void rc_touched_close(struct worker *worker);

/* Lists what the topics of the round that begins now touch. */
void rc_touched_begin(struct worker *worker);

/* A subscription goes, and its number may become another's. */
void rc_touched_spoil(struct worker *worker);

/* What a connection that is not behind wants of the round: writes it down and returns how much it is, which is at most
 * a round's topics. */
uint32_t rc_touched_wants(const struct worker *worker, uint32_t slot, struct rc_want *wants);

/* Asserts that all that is listed for a connection is still a subscription of it. */
void rc_touched_check(const struct worker *worker, uint32_t slot);

#endif
