/* SPDX-License-Identifier: MIT
 *
 * plans.h - a worker's plans (engine/plan.h): which bytes a connection is sent next. A bounded number of them, each
 * kept until the sends that read it are complete; those at the same place of the same topic share one.
 */
#ifndef RC_PLANS_H
#define RC_PLANS_H

#include "worker.h"

int rc_plans_open(struct worker *worker);
void rc_plans_close(struct worker *worker);

/* The plan of a connection from one place of the log to another. Null: none is free, or no memory; try again later. */
struct rc_plan *rc_plans_for(struct worker *worker, uint32_t slot, uint64_t begin, uint64_t end);

/* It is done with, unless somebody refers to it or may still come to share it. */
void rc_plans_drop(struct worker *worker, struct rc_plan *plan);

/* Nobody more shares the last one: the log may have grown. */
void rc_plans_forget(struct worker *worker);

#endif
