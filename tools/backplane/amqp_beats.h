/* SPDX-License-Identifier: MIT
 *
 * amqp_beats.h - beats of nodes through RabbitMQ: an exchange PREFIX.beats, and of each node a queue of its own that
 * ends with its connection and keeps nothing for longer than a lease. It must not know the stream.
 */
#ifndef BACKPLANE_AMQP_BEATS_H
#define BACKPLANE_AMQP_BEATS_H

#include "amqp_side.h"
#include "beats.h"
#include "engine.h"

struct amqp_beats {
	struct amqp_side side;
	struct beats beats;
};

/* As engine.h says of lease. */
int amqp_beats_lease(struct amqp_beats *amqp, const struct engine_setup *setup, unsigned ttl_ms, bool *held,
                     void (*visit)(void *context, uint64_t node), void *visitor, char why[static ENGINE_WHY_SIZE]);
void amqp_beats_leave(struct amqp_beats *amqp);

#endif
