/* SPDX-License-Identifier: MIT
 *
 * pump.h - the sends of one connection: what comes next for it, and what became of the last. At most one is on its way.
 */
#ifndef RC_PUMP_H
#define RC_PUMP_H

#include "plan.h"
#include "tag.h"

struct worker;

/* Sends what comes next: the rest of a frame, then what is its own, then the log. Returns whether a send was prepared.
 */
bool rc_pump(struct worker *worker, uint32_t slot);

/* Sends a plan to a connection that is not busy. Returns whether a send was prepared; the plan is the pump's from here
 * on. */
bool rc_pump_plan(struct worker *worker, uint32_t slot, struct rc_plan *plan);

/* Nothing of the plan's window was wanted, or all of it was conflated: moves the cursor over it, and drops the plan.
 * Returns where it stands. */
uint64_t rc_pump_past(struct worker *worker, uint32_t slot, struct rc_plan *plan);

/* An operation with a tag TAG_SENT_* or TAG_OPTION_SET has completed. `held`: the kernel goes on reading the bytes
 * (hold.h). */
void rc_pump_completed(struct worker *worker, const struct tag *tag, int result, bool held);

#endif
