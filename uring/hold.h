/* SPDX-License-Identifier: MIT
 *
 * hold.h - zero-copy sends: the bytes of the log that the kernel still reads after such a send has completed.
 *
 *      rc_hold_begin ---- send ----> completes, RC_RING_MORE ---- acknowledged ----> RC_RING_RELEASED, rc_hold_end
 *
 * A hold keeps the worker's floor down as a cursor would, and its connection's slot from being closed. A peer that
 * acknowledges nothing is cut off before publishers would have to wait for it. There are at most RC_HOLDS_MAX of
 * them: beyond that, and for a connection that has one, sends copy as usual.
 */
#ifndef RC_HOLD_H
#define RC_HOLD_H

#include "bounds.h"
#include "plan.h"

struct worker;

struct hold {
	uint64_t begin; /* entries from here on */
	uint32_t slot;
	bool sending; /* the send itself has not completed */
	bool aborted;
};

struct holds {
	struct hold list[RC_HOLDS_MAX];
	unsigned count;
};

/* Whether this send of a plan is to be zero-copy. If so, its hold has begun. */
bool rc_hold_begin(struct worker *worker, uint32_t slot, const struct rc_plan *plan);

/* A plan's send has completed; `held`: the kernel still reads its bytes. Returns the result to go on with. Where there
 * could be no zero-copy send it is -EAGAIN, as if the send would have blocked: the next one copies. */
int rc_hold_sent(struct worker *worker, uint32_t slot, int result, bool held);

/* The kernel let go. `copied`: it had to copy anyway, as over loopback, so this connection's sends copy from now on. */
void rc_hold_end(struct worker *worker, uint32_t slot, bool copied);

bool rc_hold_has(const struct holds *holds, uint32_t slot);

/* Resets a connection that ends, so that the kernel lets go of what it holds for it, if it does. One completion. */
void rc_hold_reset(struct worker *worker, uint32_t slot);

/* The lowest entry that is held, or UINT64_MAX. Notes the end of connections whose hold would soon make publishers
 * wait. */
uint64_t rc_hold_floor(struct worker *worker);

#endif
