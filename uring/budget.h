/* SPDX-License-Identifier: MIT
 *
 * budget.h - one budget of memory for all workers (rc_config.memory_max): what is kept for connections outside the log.
 * When it is short, those for whom most is kept go first, and new ones are refused.
 */
#ifndef RC_BUDGET_H
#define RC_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

struct budget {
	bool is_short;
	uint32_t next_slot; /* where the next look begins */
	uint64_t short_until_ns;
	uint64_t woke_ns; /* when the others were last asked to look too */
};

/* Before the worker's pool is used. */
void rc_budget_open(struct worker *worker);

/* Notes the end of a connection for which there is no room in the budget. */
void rc_budget_refuse(struct worker *worker, uint32_t slot);

/* Once a tick: notes the ends of those that must go. */
void rc_budget_look(struct worker *worker);

/* When to look again though nothing has happened; UINT64_MAX: never. */
uint64_t rc_budget_next_look_ns(const struct worker *worker);

#endif
