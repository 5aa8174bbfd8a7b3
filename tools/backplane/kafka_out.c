/* SPDX-License-Identifier: MIT
 *
 * kafka_out.c - Kafka's queue for services: a topic. A record's value is the data, its key the user; user, id and time
 * are headers. It must not know nodes.
 */
#include "built.h"
#ifdef BACKPLANE_KAFKA

#include <errno.h>
#include <stdlib.h>

#include "kafka_side.h"

struct out {
	const struct backplane_url *url;
	const char *queue;
	struct kafka_side side;
};

static void *open_state(const struct engine_setup *setup, const char *queue)
{
	struct out *out = calloc(1, sizeof *out);
	if (!out)
		return NULL;
	out->url = setup->url;
	out->queue = queue;
	return out;
}

static void close_state(void *state)
{
	struct out *out = state;
	kafka_side_leave(&out->side);
	free(out);
}

static int hand_out(void *state, struct engine_job *jobs, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct out *out = state;
	struct engine_packet packets[ENGINE_JOBS_MAX] = { 0 };
	const struct kafka_sending sending = { .packets = packets, .count = count, .jobs = jobs };
	bool connected = out->side.kafka && !out->side.away;
	int code = kafka_side_produce(&out->side, out->url, out->queue, why);
	if (code)
		return code;
	if (!connected)
		kafka_side_make_topic(&out->side, out->url, out->queue, -1, NULL);
	if (!count)
		return kafka_side_is_there(&out->side, out->queue, why);
	code = kafka_side_append(&out->side, out->queue, &sending, why);
	for (size_t i = 0; i < count; i++)
		jobs[i].appended = packets[i].appended;
	return code;
}

const struct engine_out engine_kafka_out = {
	.signs = "._-",
	.open = open_state,
	.close = close_state,
	.hand_out = hand_out,
};
#endif
