/* SPDX-License-Identifier: MIT
 *
 * plans.h - a worker's plans (engine/plan.h): which bytes a connection is sent next. There is a bounded number of them,
 * each kept until the sends that read it have completed. Connections at the same place of the same topic share one.
 */
#ifndef RC_PLANS_H
#define RC_PLANS_H

#include "bounds.h"
#include "plan.h"

struct worker;

struct plans {
	struct rc_plan *all;
	uint16_t free[RC_PLANS_MAX];
	unsigned free_count;
	struct rc_plan *shared;            /* the plan made last for a single topic ... */
	uint64_t shared_begin, shared_end; /* ... from where to where it was asked for ... */
	uint32_t shared_size_min;          /* ... and from what size encoded */
	struct rc_want *wants;             /* what a connection with several topics wants: room for RC_PLAN_WINDOW */
	uint64_t own_end;                  /* behind the last message that some connection here does not get */
};

/* Returns 0 or -ENOMEM. */
int rc_plans_open(struct plans *plans);
void rc_plans_close(struct plans *plans);

/* The plan of a connection for the entries from `begin` to `end`; one that is not behind may get those of the round
 * alone, which then must not be over. Null: none is free or memory is out, so try again
 * later. */
struct rc_plan *rc_plans_for(struct worker *worker, uint32_t slot, uint64_t begin, uint64_t end);

/* Gives a plan back, unless a send refers to it or another connection may still share it. */
void rc_plans_drop(struct plans *plans, struct rc_plan *plan);

/* From now on nobody more shares the plan made last: the log may have grown. */
void rc_plans_forget(struct plans *plans);

/* The lowest entry that a send on its way may still need, to know what a short one left; UINT64_MAX: none. */
uint64_t rc_plans_floor(const struct plans *plans);

#endif
