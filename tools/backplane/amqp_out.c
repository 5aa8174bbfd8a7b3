/* SPDX-License-Identifier: MIT
 *
 * amqp_out.c - RabbitMQ's queue for services: a durable queue that refuses more than it may hold, or one that somebody
 * made otherwise. A message's body is the data; user, id and time are headers. It must not know nodes.
 */
#include "built.h"
#ifdef BACKPLANE_AMQP

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amqp_writer.h"

#define HEADERS 3

struct out {
	const struct backplane_url *url;
	const char *queue;
	unsigned long keep;
	struct amqp_writer writer;
	bool gone; /* the queue, when something was last sent there */
	/* Of what is being sent. */
	amqp_table_entry_t headers[ENGINE_JOBS_MAX][HEADERS];
	amqp_basic_properties_t properties[ENGINE_JOBS_MAX];
	struct engine_packet packets[ENGINE_JOBS_MAX];
};

static void *open_state(const struct engine_setup *setup, const char *queue)
{
	struct out *out = calloc(1, sizeof *out);
	if (!out)
		return NULL;
	out->url = setup->url;
	out->queue = queue;
	out->keep = setup->keep_max;
	return out;
}

static void close_state(void *state)
{
	struct out *out = state;
	amqp_side_leave(&out->writer.side);
	free(out);
}

/* Makes the queue, unless there is one: the question costs the channel when there is none. */
static int declare(struct out *out, char why[static ENGINE_WHY_SIZE])
{
	amqp_table_entry_t entries[] = {
		{ amqp_cstring_bytes("x-max-length"),
		  { .kind = AMQP_FIELD_KIND_I64, .value.i64 = (int64_t)out->keep } },
		{ amqp_cstring_bytes("x-overflow"),
		  { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("reject-publish") } },
	};
	struct amqp_side side = { .host = out->writer.side.host };
	int code = amqp_side_enter(&side, out->url, 0, why);
	if (code)
		return code;
	amqp_queue_declare(side.amqp, AMQP_CHANNEL, amqp_cstring_bytes(out->queue), 1, 1, 0, 0, amqp_empty_table);
	code = amqp_side_judge(amqp_get_rpc_reply(side.amqp), out->queue, why);
	if (code == -ENOENT) {
		amqp_side_leave(&side);
		code = amqp_side_enter(&side, out->url, 0, why);
		if (code)
			return code;
		amqp_queue_declare(side.amqp, AMQP_CHANNEL, amqp_cstring_bytes(out->queue), 0, 1, 0, 0,
		                   (amqp_table_t){ 2, entries });
		code = amqp_side_judge(amqp_get_rpc_reply(side.amqp), out->queue, why);
	}
	amqp_side_leave(&side);
	return code == -EBUSY ? 0 : code; /* another node made it meanwhile */
}

static int enter(struct out *out, char why[static ENGINE_WHY_SIZE])
{
	if (out->writer.side.amqp && !out->gone)
		return 0;
	int code = declare(out, why);
	if (!code)
		code = amqp_writer_enter(&out->writer, out->url, why);
	out->gone = code != 0;
	return code;
}

static void describe(struct out *out, size_t index, const struct engine_job *job)
{
	const amqp_table_entry_t headers[HEADERS] = {
		{ amqp_cstring_bytes("user"),
		  { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = { job->user_size, (void *)job->user } } },
		{ amqp_cstring_bytes("id"),
		  { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = { job->id_size, (void *)job->id } } },
		{ amqp_cstring_bytes("time"), { .kind = AMQP_FIELD_KIND_I64, .value.i64 = (int64_t)job->time_ms } },
	};
	memcpy(out->headers[index], headers, sizeof headers);
	out->properties[index] = (amqp_basic_properties_t){
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_HEADERS_FLAG,
		.content_type = amqp_cstring_bytes("application/json"),
		.delivery_mode = AMQP_DELIVERY_PERSISTENT,
		.headers = { HEADERS, out->headers[index] },
	};
	out->packets[index] = (struct engine_packet){ .data = job->data, .size = job->size };
}

static const amqp_basic_properties_t *properties_of(const void *context, size_t index)
{
	const struct out *out = context;
	return &out->properties[index];
}

static int hand_out(void *state, struct engine_job *jobs, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct out *out = state;
	const struct amqp_sending sending = { .queue = out->queue,
		                              .packets = out->packets,
		                              .count = count,
		                              .properties_of = properties_of,
		                              .context = out };
	int code = enter(out, why);
	if (code || !count)
		return code;
	for (size_t i = 0; i < count; i++)
		describe(out, i, &jobs[i]);
	code = amqp_writer_append(&out->writer, &sending, why);
	for (size_t i = 0; i < count; i++)
		jobs[i].appended = out->packets[i].appended;
	out->gone = code == -ENOENT;
	return code;
}

const struct engine_out engine_amqp_out = {
	.signs = "._-:/",
	.open = open_state,
	.close = close_state,
	.hand_out = hand_out,
};
#endif
