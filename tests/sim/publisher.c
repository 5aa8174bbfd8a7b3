/* SPDX-License-Identifier: MIT
 *
 * publisher.c - the part of the program that publishes: one message, many as one, or built in the log; by name or by
 * handle; waking workers at once or later. Some places are committed late, some never.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define LARGE ((size_t)1 << 17)
#define SMALL 4096
#define PATIENCE_NS UINT64_C(1000000000) /* of a place: what the header promises */

/* The bytes of a message. */
static void fill(uint8_t *to, unsigned topic, unsigned id, size_t size)
{
	char start[16];
	snprintf(start, sizeof start, "T%x%07x", topic, id);
	memcpy(to, start, 9);
	tap_fill(to + 9, id, 9, size - 9);
}

static unsigned right_flags(unsigned flags)
{
	return flags & ~(sim.events ? RC_PUBLISH_BINARY : 0u);
}

int64_t application_publish(unsigned topic, size_t size, unsigned flags)
{
	static uint8_t large[FIBERS_MAX + 1][LARGE];
	size = RC_MAX(size, 9);
	flags = right_flags(flags);
	unsigned id = oracle_new_message(topic, size, flags & RC_PUBLISH_BINARY);
	if (!id)
		return 0;
	/* A publish may wait while others publish: each has bytes of its own. */
	uint8_t small[SMALL], *own = size <= sizeof small ? small : large[host_current() + 1];
	fill(own, topic, id, size);
	const char *name = oracle_topics[topic];
	TRACE("publish %u: %s, %zu bytes", id, name, size);
	int64_t result = rc_publish(sim.server, name, strlen(name), own, size, flags);
	oracle_published(id, result, 0);
	return result;
}

/* ---- a thread that publishes ---- */

struct publisher {
	rc_topic handles[TOPICS]; /* 0: by name */
	unsigned topic, left;
	size_t size;
};

static size_t some_size(void)
{
	size_t most = sim.config.log_size / 4 - 16;
	switch (sim_below(16)) {
	case 0:
		return sim_between(120, 130); /* where the header's length changes */
	case 1:
		return sim_between(1000, (uint32_t)RC_MIN(most, 20000));
	case 2:
		return sim_one_in(8) ? RC_MIN(most, 70000) : 600;
	default:
		return sim_between(9, 200);
	}
}

static unsigned some_topic(const struct publisher *publisher)
{
	return sim_one_in(4) ? sim_below(TOPICS) : publisher->topic;
}

static void publish_to(const struct publisher *publisher, unsigned topic, unsigned flags)
{
	uint8_t bytes[SMALL];
	size_t size = RC_MIN(publisher->size, sizeof bytes);
	unsigned id = oracle_new_message(topic, size, flags & RC_PUBLISH_BINARY);
	if (!id)
		return;
	fill(bytes, topic, id, size);
	TRACE("publish %u: %s by its handle, %zu bytes", id, oracle_topics[topic], size);
	oracle_published(id, rc_publish_to(sim.server, publisher->handles[topic], bytes, size, flags), 0);
}

static void publish_many(const struct publisher *publisher, unsigned flags)
{
	static uint8_t all_bytes[FIBERS_MAX + 1][RC_PUBLISH_MANY_MAX][SMALL];
	uint8_t(*bytes)[SMALL] = all_bytes[host_current() + 1];
	struct rc_batch_message messages[RC_PUBLISH_MANY_MAX];
	unsigned ids[RC_PUBLISH_MANY_MAX], count = sim_between(0, RC_PUBLISH_MANY_MAX);
	unsigned kind = flags & RC_PUBLISH_BINARY;
	for (unsigned i = 0; i < count; i++) {
		unsigned topic = some_topic(publisher);
		size_t size = sim_one_in(4) ? some_size() : RC_MIN(publisher->size, 200);
		size = RC_MIN(size, SMALL);
		ids[i] = oracle_new_message(topic, size, kind);
		if (!ids[i])
			return;
		fill(bytes[i], topic, ids[i], size);
		messages[i] = (struct rc_batch_message){ .topic = publisher->handles[topic],
			                                 .name = oracle_topics[topic],
			                                 .name_size = strlen(oracle_topics[topic]),
			                                 .data = bytes[i],
			                                 .size = size,
			                                 .time_ns = sim_random(),
			                                 .flags = kind };
	}
	TRACE("publish %u together", count);
	int64_t result = rc_publish_many(sim.server, messages, count, flags & ~kind);
	CHECK(result < 0 || result == count, "%u together give %d", count, (int)result);
	/* Too large together: more than a quarter of a small log. */
	for (unsigned i = 0; i < count && result != -EMSGSIZE; i++)
		oracle_published(ids[i], result < 0 ? result : messages[i].result, count - 1 - i);
}

/* Builds a message in the log, while others go on. */
static void build(const struct publisher *publisher, unsigned topic, unsigned flags)
{
	size_t most = sim.config.log_size / 128 - 14, reserved = RC_MIN(publisher->size, most);
	size_t size = sim_one_in(3) ? sim_between(9, (uint32_t)reserved) : reserved;
	rc_place place;
	uint8_t *data;
	int result = rc_reserve(sim.server, reserved, &place, (void **)&data);
	if (result < 0) {
		CHECK(result == -ENOBUFS || result == -EAGAIN, "reserve gives %d", result);
		return;
	}
	uint64_t began_ns = sim.now_ns;
	memset(data, 0xEE, reserved);
	rc_flush(sim.server);
	if (sim_one_in(4))
		host_sleep(sim_one_in(16) ? sim_below((uint32_t)(PATIENCE_NS / 2 * 3)) : sim_below(200000));
	memset(data, 0xEE, reserved); /* though it may be late: nobody else is there */
	if (sim_one_in(200))
		return; /* it has died */
	unsigned id = sim_one_in(8) ? 0 : oracle_new_message(topic, size, flags & RC_PUBLISH_BINARY);
	if (!id) {
		CHECK(rc_abandon(sim.server, place) == 0, "a place cannot be abandoned");
		return;
	}
	fill(data, topic, id, size);
	TRACE("publish %u: %s, built, %zu bytes", id, oracle_topics[topic], size);
	int64_t published = rc_commit(sim.server, place, publisher->handles[topic], size, began_ns, flags);
	if (published != -ETIMEDOUT)
		oracle_published(id, published, 0);
	uint64_t took_ns = sim.now_ns - began_ns;
	CHECK(published != -ETIMEDOUT || took_ns > PATIENCE_NS, "a place is over too early");
	CHECK(published < 0 || flags & RC_PUBLISH_WAIT || took_ns < PATIENCE_NS + 10000000 || sim.jumped_ns > began_ns,
	      "a place is committed after %llu ns", (unsigned long long)took_ns);
	if (published == -ETIMEDOUT || published > 0)
		CHECK(rc_abandon(sim.server, place) == -EALREADY, "a place is given back twice");
	else
		CHECK(rc_abandon(sim.server, place) == 0, "a place that could not be committed is lost");
}

static void publish_one(struct publisher *publisher, unsigned flags)
{
	unsigned topic = some_topic(publisher);
	if (sim.books && sim_one_in(3))
		streams_publish(flags);
	else if (sim.books && sim_one_in(2))
		books_publish(flags);
	else if (sim_one_in(8))
		publish_many(publisher, flags);
	else if (publisher->handles[topic] && sim_one_in(2))
		build(publisher, topic, flags);
	else if (publisher->handles[topic])
		publish_to(publisher, topic, flags);
	else
		application_publish(topic, publisher->size, flags);
	if (sim_one_in(4))
		publisher->size = some_size();
}

static void publish_burst(struct publisher *publisher, unsigned count, unsigned flags)
{
	bool quiet = sim_one_in(3);
	for (; count && publisher->left; count--, publisher->left--)
		publish_one(publisher, flags | (sim_one_in(3) ? RC_PUBLISH_WAIT : 0) | (quiet ? RC_PUBLISH_QUIET : 0));
	if (quiet)
		rc_flush(sim.server);
}

static void open_topics(struct publisher *publisher)
{
	for (unsigned i = 0; i < TOPICS; i++) {
		const char *name = oracle_topics[i];
		int result = sim_one_in(2) ? rc_topic_open(sim.server, name, strlen(name), &publisher->handles[i]) : 0;
		CHECK(result == 0 || (result == -ENOMEM && sim.struck_here[FAULT_ALLOCATION]), "open gives %d", result);
	}
}

static void close_topics(const struct publisher *publisher)
{
	for (unsigned i = 0; i < TOPICS; i++)
		if (publisher->handles[i])
			CHECK(rc_topic_close(sim.server, publisher->handles[i]) == 0, "a handle is lost");
}

void application_publisher(unsigned index)
{
	(void)index;
	struct publisher publisher = { .left = sim_between(20, 400) };
	uint64_t pause_ns = 1000u << sim_below(12);
	unsigned burst_max = 1u << sim_below(6);
	if (sim_one_in(2))
		open_topics(&publisher);
	while (!sim.quiet && !sim.stopping && publisher.left) {
		host_sleep(sim_below((uint32_t)pause_ns * 2));
		if (sim_one_in(3))
			application_speak();
		unsigned flags = right_flags(sim_one_in(2) ? RC_PUBLISH_BINARY : 0);
		publisher.topic = sim.crowd ? sim_below(2) * 3 : sim_below(TOPICS);
		publisher.size = some_size();
		publish_burst(&publisher, sim_between(1, burst_max), flags);
	}
	close_topics(&publisher);
}
