/* SPDX-License-Identifier: MIT
 *
 * kafka_side.h - one handle of the library at a Kafka, and a topic at it: one for reading, others for writing. It must
 * not know what is read or written.
 */
#ifndef BACKPLANE_KAFKA_SIDE_H
#define BACKPLANE_KAFKA_SIDE_H

#include <librdkafka/rdkafka.h>

#include "engine.h"

#define KAFKA_CALL_MS 2000

struct kafka_side {
	rd_kafka_t *kafka; /* null: none */
	rd_kafka_topic_t *topic;
	bool away;      /* no broker answers */
	char said[128]; /* by the library: why it is not let in; empty: it did not say */
	/* Of one that writes: what it waits for. The library tells by tag. */
	struct engine_packet *packets;
	size_t count, told;
	uintptr_t first_tag;
	rd_kafka_resp_err_t wrong;
};

/* A setting of the library; a null value leaves it, and a null name ends them. */
struct kafka_choice {
	const char *name, *value;
};

int kafka_side_enter(struct kafka_side *side, const struct backplane_url *url, const char *topic, rd_kafka_type_t type,
                     const struct kafka_choice *more, char why[static ENGINE_WHY_SIZE]);
/* One that writes, unless there is a good one: idempotent, so that messages keep their order also when the library
 * sends some of them again. */
int kafka_side_produce(struct kafka_side *side, const struct backplane_url *url, const char *topic,
                       char why[static ENGINE_WHY_SIZE]);
void kafka_side_leave(struct kafka_side *side);

/* Asks a broker about the topic: 0, -ENOENT, or an error. */
int kafka_side_is_there(struct kafka_side *side, const char *name, char why[static ENGINE_WHY_SIZE]);

/* Asks for the topic. What is wrong with that is not looked at: where a broker makes topics by itself, or a person
 * does, appending says whether there is one. Null for keep_bytes: as the brokers have it. */
void kafka_side_make_topic(struct kafka_side *side, const struct backplane_url *url, const char *name, int partitions,
                           const char *keep_bytes);

struct kafka_sending {
	struct engine_packet *packets;
	size_t count;
	const struct engine_job *jobs;          /* null, or for each packet its key and headers */
	const rd_kafka_message_t *const *moved; /* null, or what each packet is a copy of (kafka_in.c) */
};
#define KAFKA_MOVED "from:" /* the key of a copy begins so, and goes on TOPIC:PARTITION:OFFSET */

/* Sends all, and waits until the brokers have them: `appended` says which. After an error the handle is gone, and with
 * it what it held. */
int kafka_side_append(struct kafka_side *side, const char *topic, const struct kafka_sending *sending,
                      char why[static ENGINE_WHY_SIZE]);

#endif
