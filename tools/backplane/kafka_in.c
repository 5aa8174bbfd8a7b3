/* SPDX-License-Identifier: MIT
 *
 * kafka_in.c - topics of others in Kafka: the nodes are one group of consumers, so each partition is read by one of
 * them, which copies its records into the nodes' topic and then says how far it came. One that dies between the two has
 * its records copied again by another; who reads the nodes' topic sees by their keys that they came before
 * (kafka_moved.c). A topic that was never read is read from its newest record on.
 */
#include "built.h"
#ifdef BACKPLANE_KAFKA

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_side.h"

#define MOVED_MAX 64 /* records that are copied at once */
#define NAME_SIZE 256

struct in {
	struct engine_setup setup;
	char stream[NAME_SIZE];
	struct kafka_side reader, writer;
	rd_kafka_message_t *messages[MOVED_MAX];
	size_t count;
};

static void *open_state(const struct engine_setup *setup)
{
	struct in *in = calloc(1, sizeof *in);
	if (!in)
		return NULL;
	in->setup = *setup;
	snprintf(in->stream, sizeof in->stream, "%.100s.packets", setup->prefix);
	return in;
}

static void drop_messages(struct in *in)
{
	while (in->count)
		rd_kafka_message_destroy(in->messages[--in->count]);
}

static void leave_reader(struct in *in)
{
	drop_messages(in);
	if (in->reader.kafka)
		rd_kafka_consumer_close(in->reader.kafka);
	kafka_side_leave(&in->reader);
}

static void close_state(void *state)
{
	struct in *in = state;
	leave_reader(in);
	kafka_side_leave(&in->writer);
	free(in);
}

static int enter_reader(struct in *in, char why[static ENGINE_WHY_SIZE])
{
	const struct kafka_choice consumer[] = { { "group.id", in->setup.prefix },
		                                 { "enable.auto.commit", "false" },
		                                 { "auto.offset.reset", "latest" },
		                                 { "session.timeout.ms", "6000" },
		                                 { "fetch.wait.max.ms", "200" },
		                                 { "topic.metadata.refresh.interval.ms", "1000" },
		                                 { NULL, NULL } };
	const struct backplane_map *map = in->setup.map;
	if (in->reader.kafka && !in->reader.away)
		return 0;
	leave_reader(in);
	int code = kafka_side_enter(&in->reader, in->setup.url, in->stream, RD_KAFKA_CONSUMER, consumer, why);
	if (code)
		return code;
	rd_kafka_poll_set_consumer(in->reader.kafka);
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new((int)map->count);
	for (unsigned i = 0; i < map->count; i++) {
		char name[NAME_SIZE];
		snprintf(name, sizeof name, "%.*s", (int)map->rules[i].source_size, map->rules[i].source);
		rd_kafka_topic_partition_list_add(topics, name, RD_KAFKA_PARTITION_UA);
	}
	rd_kafka_resp_err_t error = rd_kafka_subscribe(in->reader.kafka, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	if (!error)
		return 0;
	leave_reader(in);
	return snprintf(why, ENGINE_WHY_SIZE, "backplane-map: %s", rd_kafka_err2str(error)), -EIO;
}

/* Gathers what has come. A topic that is not there is told, and keeps none of the others. */
static int gather(struct in *in, unsigned timeout_ms, char why[static ENGINE_WHY_SIZE])
{
	int code = 0;
	while (in->count < MOVED_MAX && !code) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(in->reader.kafka, in->count ? 0 : (int)timeout_ms);
		if (!message)
			break;
		if (!message->err) {
			in->messages[in->count++] = message;
			continue;
		}
		if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			snprintf(why, ENGINE_WHY_SIZE, "backplane-map: %.150s", rd_kafka_message_errstr(message));
			code = -EIO;
		}
		rd_kafka_message_destroy(message);
	}
	return code;
}

/* Copies them, and says so. What is not known to be copied is read again. */
static int copy(struct in *in, char why[static ENGINE_WHY_SIZE])
{
	struct engine_packet packets[MOVED_MAX] = { 0 };
	const struct kafka_sending sending = { .packets = packets,
		                               .count = in->count,
		                               .moved = (const rd_kafka_message_t *const *)in->messages };
	int code = kafka_side_produce(&in->writer, in->setup.url, in->stream, why);
	if (!code)
		code = kafka_side_append(&in->writer, in->stream, &sending, why);
	rd_kafka_resp_err_t error = code ? 0 : rd_kafka_commit(in->reader.kafka, NULL, 0);
	if (error && error != RD_KAFKA_RESP_ERR__NO_OFFSET) {
		snprintf(why, ENGINE_WHY_SIZE, "backplane-map: %s", rd_kafka_err2str(error));
		code = -EIO;
	}
	drop_messages(in);
	if (code)
		leave_reader(in);
	return code;
}

static int move(void *state, unsigned timeout_ms, char why[static ENGINE_WHY_SIZE])
{
	struct in *in = state;
	int code = enter_reader(in, why);
	if (code)
		return code;
	code = gather(in, timeout_ms, why);
	int copied = in->count ? copy(in, why) : 0;
	return copied ? copied : code;
}

static bool is_source(const char *source, size_t size)
{
	static const char *const signs = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	for (size_t i = 0; i < size; i++)
		if (!source[i] || !strchr(signs, source[i]))
			return false;
	return size < NAME_SIZE;
}

const struct engine_in engine_kafka_in = {
	.words = "a source of Kafka is the name of a topic: letters, digits, . _ -",
	.is_source = is_source,
	.open = open_state,
	.close = close_state,
	.move = move,
};
#endif
