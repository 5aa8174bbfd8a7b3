/* SPDX-License-Identifier: MIT
 *
 * amqp_writer.h - a connection to RabbitMQ that publishes to a queue and waits for the broker's confirms. It must not
 * know what is published.
 *
 * Invariant: after a function here has failed, the connection is closed; but not after -ENOENT and -ENOSPC.
 */
#ifndef BACKPLANE_AMQP_WRITER_H
#define BACKPLANE_AMQP_WRITER_H

#include "amqp_side.h"

struct amqp_writer {
	struct amqp_side side;
	uint64_t sent; /* messages on its channel: the tag of the last */
};

struct amqp_sending {
	const char *queue;
	struct engine_packet *packets;
	size_t count;
	const amqp_basic_properties_t *(*properties_of)(const void *context, size_t index);
	const void *context;
};

/* Connects, unless there is a connection, and asks for confirms. */
int amqp_writer_enter(struct amqp_writer *writer, const struct backplane_url *url, char why[static ENGINE_WHY_SIZE]);

/* Publishes all, and waits until each is confirmed: `appended` says which. -ENOENT: there is no such queue, and none of
 * them is in it; -ENOSPC: the queue refuses some of them. */
int amqp_writer_append(struct amqp_writer *writer, const struct amqp_sending *sending,
                       char why[static ENGINE_WHY_SIZE]);

#endif
