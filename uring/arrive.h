/* SPDX-License-Identifier: MIT
 *
 * arrive.h - what arrives on a connection, from the ring to the part that it is for:
 *
 *      received --> [PROXY header] --> [TLS: secure.h] --> opening.h, until the connection is open
 *                                                     --> frames.h, from then on
 */
#ifndef RC_ARRIVE_H
#define RC_ARRIVE_H

#include "ring.h"

struct worker;

/* A completion of a receive. */
void rc_arrive(struct worker *worker, uint32_t slot, const struct rc_completion *completion);

/* Goes on with TLS handshakes that waited for their turn, a bounded number of them. Returns whether some still wait. */
bool rc_arrive_waiting(struct worker *worker);

/* The peer will send no more: the end of the stream (0), an error, or -ETIMEDOUT. */
void rc_arrive_end(struct worker *worker, uint32_t slot, int result);

#endif
