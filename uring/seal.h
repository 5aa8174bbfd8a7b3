/* SPDX-License-Identifier: MIT
 *
 * seal.h - TLS records on their way out: encrypted into a stage, sent from there, and what the socket did not take put
 * aside. A stage is a block that the records of many sends share until they have completed. There are few of them, so
 * they stay in the processor's cache.
 */
#ifndef RC_SEAL_H
#define RC_SEAL_H

#include "bounds.h"
#include "plan.h"
#include "stream.h"

struct worker;

#define RC_TLS_STAGED_MAX RC_TLS_SEALED_SIZE(RC_TLS_SEND_SIZE_MAX, RC_TLS_RECORD_LEAST)
static_assert(RC_TLS_STAGED_MAX <= RC_TLS_STAGE_SIZE, "a send fits in a stage");

struct stage {
	uint32_t used, reference_count;
};

struct staging {
	uint8_t *bytes;
	struct stage stages[RC_TLS_STAGES];
	uint16_t free[RC_TLS_STAGES];
	unsigned free_count, filling;
};

bool rc_seal_open(struct staging *staging);
void rc_seal_close(struct staging *staging);

/* Whether a send may be staged now. */
bool rc_seal_can_stage(const struct staging *staging);

/* Encrypts the first `size` bytes of the ranges (at most RC_TLS_SEND_SIZE_MAX), and a close_notify after them if it is
 * the last, and sends that. False when that failed: the connection's end was noted. Only when rc_seal_can_stage(). */
bool rc_seal_send(struct worker *worker, uint32_t slot, const struct rc_range *ranges, size_t size, bool last);

/* Puts aside what the stream has written into the worker's reply, to be sent before all else. False: no room. */
bool rc_seal_put_aside(struct worker *worker, uint32_t slot);
/* Makes the reply empty. */
void rc_seal_set_reply(struct worker *worker);

/* Sends what was put aside; false when there is nothing. */
bool rc_seal_send_aside(struct worker *worker, uint32_t slot);

/* A send has completed, and `result` bytes of it have left. Returns 1 when that is all of it, 0 when its rest is aside,
 * -ENOMEM. */
int rc_seal_sent_stage(struct worker *worker, uint32_t slot, unsigned stage, int result);
int rc_seal_sent_aside(struct worker *worker, uint32_t slot, int result);

/* Notes that the connection's TLS is over, and why. */
void rc_seal_broken(struct worker *worker, uint32_t slot);

#endif
