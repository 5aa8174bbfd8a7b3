/* SPDX-License-Identifier: MIT
 *
 * kafka_moved.h - records in the nodes' topic that are copies of others' (kafka_in.c): where they go, and which of them
 * came before. Pure state, but for the headers of a record, which the library reads.
 */
#ifndef BACKPLANE_KAFKA_MOVED_H
#define BACKPLANE_KAFKA_MOVED_H

#include <librdkafka/rdkafka.h>

#include "engine.h"

#define KAFKA_MOVED_MAX 256 /* partitions of others that are remembered; the one that was silent for longest goes */

struct kafka_moved {
	struct kafka_moved_partition {
		char name[280]; /* TOPIC:PARTITION */
		int64_t offset; /* of the newest copy, */
		uint64_t place; /* and where in the nodes' topic that is */
	} partitions[KAFKA_MOVED_MAX];
	unsigned count;
};

/* Whether a record is such a copy. */
bool kafka_moved_is(const rd_kafka_message_t *message);
/* Hands it on, or, if it came before, as a packet that says nothing. */
void kafka_moved_take(struct kafka_moved *moved, const struct backplane_map *map, engine_take *take, void *context,
                      const rd_kafka_message_t *message);

#endif
