/* SPDX-License-Identifier: MIT
 *
 * amqp_side.h - a connection to RabbitMQ with one channel: one for reading, one for writing, one for a moment where a
 * question may cost the channel. It must not know packets.
 *
 * Invariant: after a function here has failed, the connection is closed.
 */
#ifndef BACKPLANE_AMQP_SIDE_H
#define BACKPLANE_AMQP_SIDE_H

#include <amqp.h>

#include "engine.h"

#define AMQP_CHANNEL 1
#define AMQP_CALL_MS 2000

struct amqp_side {
	amqp_connection_state_t amqp; /* null: none */
	unsigned host;                /* of the URL's, to try next */
};

/* Looks at what of the URL is about connections. Returns false with what is wrong. */
bool amqp_side_check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE]);

/* Connects, unless there is a connection, and opens its channel. `heartbeat`: seconds, 0 for one that may be silent. */
int amqp_side_enter(struct amqp_side *side, const struct backplane_url *url, int heartbeat,
                    char why[static ENGINE_WHY_SIZE]);
void amqp_side_leave(struct amqp_side *side);

/* What an answer says: 0, -ENOENT (no such queue), -EBUSY (the queue is otherwise), or the connection's end. */
int amqp_side_judge(amqp_rpc_reply_t reply, const char *what, char why[static ENGINE_WHY_SIZE]);
int amqp_side_failed(int status, const char *what, char why[static ENGINE_WHY_SIZE]);

#endif
