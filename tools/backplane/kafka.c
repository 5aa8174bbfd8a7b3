/* SPDX-License-Identifier: MIT
 *
 * kafka.c - Kafka as an engine: partition 0 of the topic PREFIX.packets. A packet's place is its offset and 1. It must
 * not know what a packet holds, nor nodes.
 *
 * The library mends its connections itself, and reads on by itself: so an offset that is not there, a topic that is
 * gone and brokers that are all away are what it has to tell. Then the consumer is made anew, at the place that the
 * node says. The producer is idempotent: packets keep their order also when the library sends some of them again.
 */
#include "built.h"
#ifdef BACKPLANE_KAFKA

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "kafka_moved.h"
#include "kafka_side.h"
#include "plain.h"

#define NAME_SIZE 128
#define SLICE_MS 100
#define SILENCE_MS 900 /* after which the topic is looked at */
#define READ_MAX 1024  /* packets that one read hands over */
#define PARTITION 0

struct state {
	struct engine_setup setup;
	char name[NAME_SIZE];
	struct kafka_side reader, writer;
	bool exists;  /* as the last follow found it */
	int64_t next; /* the offset to read */
	struct kafka_moved moved;
	uint64_t heard_ms;
};

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *version(void)
{
	return rd_kafka_version_str();
}

static int check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	static const char *const known[] = { "prefix", "keep", "keep-bytes", "plain", "replicas", "tls",
		                             "ca",     "cert", "key",        "sasl",  NULL };
	static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const char *stranger = backplane_url_unknown(url, known), *prefix = backplane_url_value(url, "prefix", "");
	const char *sasl = backplane_url_value(url, "sasl", "PLAIN");
	unsigned long number;
	if (stranger)
		snprintf(wrong, ENGINE_WHY_SIZE,
		         "%s: Kafka takes prefix, keep-bytes, plain, replicas, tls, ca, cert, key, sasl", stranger);
	else if (*url->path)
		snprintf(wrong, ENGINE_WHY_SIZE, "/%.100s: Kafka takes no path; the topic is ?prefix=NAME", url->path);
	else if (prefix[strspn(prefix, letters)] || strlen(prefix) > NAME_SIZE - 16)
		snprintf(wrong, ENGINE_WHY_SIZE, "prefix=%.100s: Kafka names a topic with letters, digits and . _ -",
		         prefix);
	else if (backplane_url_value(url, "keep", NULL))
		snprintf(wrong, ENGINE_WHY_SIZE, "keep: Kafka counts what a topic keeps in bytes: ?keep-bytes=");
	else if (!backplane_url_number(url, "keep-bytes", 1 << 20, ~0ul >> 1, &number))
		snprintf(wrong, ENGINE_WHY_SIZE, "keep-bytes is a number of bytes from 1048576 on");
	else if (!backplane_url_number(url, "replicas", 1, 32, &number) ||
	         !backplane_url_number(url, "tls", 0, 1, &number))
		snprintf(wrong, ENGINE_WHY_SIZE, "replicas is 1 to 32, and tls is 0 or 1");
	else if (strcmp(sasl, "PLAIN") != 0 && strcmp(sasl, "SCRAM-SHA-256") != 0 && strcmp(sasl, "SCRAM-SHA-512") != 0)
		snprintf(wrong, ENGINE_WHY_SIZE, "sasl is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
	else
		return 0;
	return -EINVAL;
}

static void *open_state(const struct engine_setup *setup, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = calloc(1, sizeof *state);
	if (!state)
		return snprintf(why, ENGINE_WHY_SIZE, "no memory"), NULL;
	state->setup = *setup;
	snprintf(state->name, sizeof state->name, "%s.packets", setup->prefix);
	return state;
}

static void close_state(void *context)
{
	struct state *state = context;
	kafka_side_leave(&state->reader);
	kafka_side_leave(&state->writer);
	free(state);
}

/* ---- following ---- */

static int stand(struct state *state, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	static const struct kafka_choice consumer[] = { { "fetch.wait.max.ms", "200" },
		                                        { "fetch.error.backoff.ms", "20" },
		                                        { "auto.offset.reset", "error" },
		                                        { "queued.max.messages.kbytes", "16384" },
		                                        { NULL, NULL } };
	int64_t low = 0, high = 0;
	int code = kafka_side_enter(&state->reader, state->setup.url, state->name, RD_KAFKA_CONSUMER, consumer, why);
	if (!code)
		code = kafka_side_is_there(&state->reader, state->name, why);
	state->exists = code == 0;
	state->heard_ms = now_ms();
	place->newest = (struct engine_position){ 0, 0 };
	if (code)
		return code == -ENOENT ? 0 : code;
	rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(state->reader.kafka, state->name, PARTITION, &low,
	                                                             &high, KAFKA_CALL_MS);
	if (error)
		return snprintf(why, ENGINE_WHY_SIZE, "%s: %s", state->name, rd_kafka_err2str(error)), -ECONNRESET;
	place->newest.sequence = (uint64_t)high;
	place->spent = low >= high;
	int64_t tail = high - (int64_t)place->tail_max, at = (int64_t)place->at.sequence - 1;
	int64_t from = at >= 0 ? at : tail;
	state->next = from < low ? low : from > high ? high : from;
	if (rd_kafka_consume_start(state->reader.topic, PARTITION, state->next) == 0)
		return 0;
	return snprintf(why, ENGINE_WHY_SIZE, "%s: %s", state->name, rd_kafka_err2str(rd_kafka_last_error())), -EIO;
}

static void leave_reader(struct state *state)
{
	if (state->reader.topic && state->exists)
		rd_kafka_consume_stop(state->reader.topic, PARTITION);
	kafka_side_leave(&state->reader);
}

static int follow(void *context, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	leave_reader(state);
	int code = stand(state, place, why);
	if (code)
		state->exists = false, leave_reader(state);
	return code;
}

/* ---- reading ---- */

/* Nothing came for a while: is there a topic now, or none any more, or less of it than was read? */
static int look_for_end(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	int64_t low = 0, high = 0;
	if (state->reader.away)
		return snprintf(why, ENGINE_WHY_SIZE, "no broker answers"), -ECONNRESET;
	if (now_ms() - state->heard_ms < SILENCE_MS)
		return 0;
	int code = kafka_side_is_there(&state->reader, state->name, why);
	state->heard_ms = now_ms();
	if (code && code != -ENOENT)
		return code;
	if (!code != state->exists)
		return snprintf(why, ENGINE_WHY_SIZE, "the topic %s %s", state->name,
		                code ? "is gone" : "was made anew"),
		       -ENOENT;
	if (state->exists &&
	    !rd_kafka_query_watermark_offsets(state->reader.kafka, state->name, PARTITION, &low, &high,
	                                      KAFKA_CALL_MS) &&
	    high < state->next)
		return snprintf(why, ENGINE_WHY_SIZE, "the topic %s has begun again", state->name), -ENOENT;
	return 0;
}

static int take_one(struct state *state, const rd_kafka_message_t *message, engine_take *take, void *taker,
                    char why[static ENGINE_WHY_SIZE])
{
	state->heard_ms = now_ms();
	if (!message->err) {
		state->next = message->offset + 1;
		const struct engine_position position = { 0, (uint64_t)message->offset + 1 };
		/* Packets have no key; that of a plain record says where it is for. */
		const struct plain_record record = { .to = message->key,
			                             .to_size = message->key_len,
			                             .data = message->payload ? message->payload : "",
			                             .size = message->len };
		if (kafka_moved_is(message))
			kafka_moved_take(&state->moved, state->setup.map, take, taker, message);
		else if (message->key)
			plain_take(state->setup.url, take, taker, position, &record);
		else
			take(taker, position, message->payload, message->len);
		return 1;
	}
	if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return 0;
	snprintf(why, ENGINE_WHY_SIZE, "%s: %s", state->name, rd_kafka_message_errstr(message));
	switch ((int)message->err) {
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
		return -ENOENT;
	default:
		return -ECONNRESET;
	}
}

/* The first message within the time. Without a topic, its time alone. */
static rd_kafka_message_t *wait_for_one(struct state *state, uint64_t wait_ms)
{
	if (state->exists)
		return rd_kafka_consume(state->reader.topic, PARTITION, (int)wait_ms);
	rd_kafka_poll(state->reader.kafka, (int)wait_ms);
	return NULL;
}

static int read_packets(void *context, unsigned timeout_ms, engine_take *take, void *taker,
                        char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	const uint64_t until = now_ms() + timeout_ms;
	int taken = 0, code = state->reader.kafka ? 0 : -ENOTCONN;
	while (!code && taken < READ_MAX) {
		const uint64_t now = now_ms(), left = taken || now >= until ? 0 : until - now;
		rd_kafka_message_t *message = wait_for_one(state, left < SLICE_MS ? left : SLICE_MS);
		if (message) {
			code = take_one(state, message, take, taker, why);
			rd_kafka_message_destroy(message);
			taken += code > 0;
			code = code < 0 ? code : 0;
			continue;
		}
		if (!taken) {
			rd_kafka_poll(state->reader.kafka, 0);
			code = engine_woken(state->setup.wake_fd) ? -EINTR : look_for_end(state, why);
		}
		if (!left)
			break;
	}
	if (code < 0 && code != -EINTR && code != -ENOENT)
		leave_reader(state);
	return code ? code : taken;
}

/* ---- appending ---- */

/* Packets have no key, so that they are told from plain records. */
static int append_by(const struct state *state, struct kafka_side *side, struct engine_packet *packets, size_t count,
                     char why[static ENGINE_WHY_SIZE])
{
	const struct kafka_sending sending = { .packets = packets, .count = count };
	return kafka_side_append(side, state->name, &sending, why);
}

static int enter_writer(void *context, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	return kafka_side_produce(&state->writer, state->setup.url, state->name, why);
}

static int append(void *context, struct engine_packet *packets, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	return append_by(state, &state->writer, packets, count, why);
}

/* ---- beginning ---- */

/* By a producer of its own: the writer's is another thread's. */
static int begin(void *context, const struct engine_packet *packet, struct engine_position newest,
                 char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	struct kafka_side side = { 0 };
	struct engine_packet one = *packet;
	(void)newest; /* there is no way to say that it must be the one before */
	int code = kafka_side_produce(&side, state->setup.url, state->name, why);
	if (!code && !state->exists)
		kafka_side_make_topic(&side, state->setup.url, state->name, 1,
		                      backplane_url_value(state->setup.url, "keep-bytes", NULL));
	if (!code)
		code = append_by(state, &side, &one, 1, why);
	kafka_side_leave(&side);
	if (code)
		leave_reader(state);
	return code;
}

const struct engine engine_kafka = {
	.name = "kafka",
	.schemes = (const char *const[]){ "kafka", "kafka+tls", NULL },
	.version = version,
	.check = check,
	.open = open_state,
	.close = close_state,
	.follow = follow,
	.read = read_packets,
	.begin = begin,
	.connect = enter_writer,
	.append = append,
	.out = &engine_kafka_out,
	.in = &engine_kafka_in,
};
#endif
