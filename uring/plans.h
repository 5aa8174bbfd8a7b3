/* SPDX-License-Identifier: MIT
 *
 * plans.h - a worker's plans (engine/plan.h): which bytes a connection is sent next. A bounded number of them, each
 * kept until the sends that read it are complete; those at the same place of the same topic share one.
 */
#ifndef RC_PLANS_H
#define RC_PLANS_H

#include "limits.h"
#include "plan.h"

struct worker;

#define PLANS_MAX (RC_SLICE_SENDS + 2)

struct plans {
	struct rc_plan *all;
	uint16_t free[PLANS_MAX];
	unsigned free_count;
	struct rc_plan *shared;            /* the plan made last for a single topic ... */
	uint64_t shared_begin, shared_end; /* ... from where to where it was asked for ... */
	uint32_t shared_size_min;          /* ... and from what size encoded */
	struct rc_want *wants;             /* what a connection with several topics wants: room for RC_PLAN_WINDOW */
};

/* Returns 0 or -ENOMEM. */
int rc_plans_open(struct plans *plans);
void rc_plans_close(struct plans *plans);

/* The plan of a connection from one place of the log to another. Null: none is free, or no memory; try again later. */
struct rc_plan *rc_plans_for(struct worker *worker, uint32_t slot, uint64_t begin, uint64_t end);

/* It is done with, unless somebody refers to it or may still come to share it. */
void rc_plans_drop(struct plans *plans, struct rc_plan *plan);

/* Nobody more shares the last one: the log may have grown. */
void rc_plans_forget(struct plans *plans);

/* The lowest entry that a send on its way may still need, to know what a short one left; UINT64_MAX: none. */
uint64_t rc_plans_floor(const struct plans *plans);

#endif
