/* SPDX-License-Identifier: MIT
 *
 * keys.c - keyed topics by the public functions, beside a naive model: what a message's key is told as, and what the
 * state of a topic is while the log comes around, keys are removed, bases are published and values are dropped.
 */
#include "ringcast.h"
#include "ringcast_feed.h"
#include "ringcast_publish.h"
#include "ringcast_stats.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 200
#define TOPICS 3

static rc_server *server;
static uint64_t seed;

static unsigned seed_below(unsigned bound)
{
	return (unsigned)below(&seed, bound);
}

static void begin_with(size_t state_max)
{
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 64 * 1024;
	config.state_max = state_max;
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
}

static void begin(void)
{
	begin_with(0);
}

static void finish(void)
{
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

static int64_t publish(const char *topic, const char *key, const char *data, unsigned flags)
{
	struct rc_publication message = { .data = data,
		                          .size = strlen(data),
		                          .flags = flags | RC_PUBLISH_WAIT,
		                          .key = key,
		                          .key_size = strlen(key) };
	return rc_publish_with(server, topic, strlen(topic), &message);
}

/* ---- what is told of a message ---- */

struct told {
	char text[4096];
};

static bool tell(void *context, const struct rc_past *past)
{
	struct told *told = context;
	size_t used = strlen(told->text);
	snprintf(told->text + used, sizeof told->text - used, "%lu<%lu %.*s=%.*s%s%s;", past->sequence, past->previous,
	         past->key ? (int)past->key_size : 1, past->key ? (const char *)past->key : "-", (int)past->size,
	         (const char *)past->data, past->removed ? " removed" : "", past->snapshot ? " base" : "");
	return true;
}

static const char *history(const char *topic)
{
	static struct told told;
	told.text[0] = 0;
	rc_topic_read(server, topic, strlen(topic), 0, 100, tell, &told);
	return told.text;
}

static const char *state(const char *topic)
{
	static struct told told;
	told.text[0] = 0;
	cr_assert_geq(rc_topic_state(server, topic, strlen(topic), NULL, NULL, NULL, tell, &told), 0);
	return told.text;
}

Test(keys, a_message_has_its_key, .init = begin, .fini = finish)
{
	cr_expect_eq(publish("t", "a", "1", 0), 1);
	cr_expect_eq(publish("t", "b", "2", 0), 2);
	cr_expect_eq(publish("t", "", "event", 0), 3);
	cr_expect_eq(publish("t", "a", "", RC_PUBLISH_REMOVE), 4);
	cr_expect_str_eq(history("t"), "1<0 a=1;2<1 b=2;3<2 -=event;4<3 a= removed;");
	cr_expect_str_eq(state("t"), "2<1 b=2;");
	cr_expect_eq(publish("t", "a", "5", 0), 5);
	cr_expect_eq(publish("t", "b", "6", 0), 6);
	cr_expect_str_eq(state("t"), "5<4 a=5;6<5 b=6;");
}

Test(keys, a_base_stands_for_all_before_it, .init = begin, .fini = finish)
{
	publish("t", "a", "1", 0);
	publish("t", "b", "2", 0);
	cr_expect_eq(publish("t", "", "all", RC_PUBLISH_SNAPSHOT), 3);
	cr_expect_str_eq(state("t"), "3<2 -=all base;");
	publish("t", "b", "4", 0);
	cr_expect_str_eq(state("t"), "3<2 -=all base;4<3 b=4;");
	publish("t", "", "anew", RC_PUBLISH_SNAPSHOT);
	cr_expect_str_eq(state("t"), "5<4 -=anew base;");
	cr_expect_eq(rc_publish(server, "t", 1, "again", 5, RC_PUBLISH_SNAPSHOT), 6, "by every way of publishing");
	cr_expect_str_eq(state("t"), "6<5 -=again base;");
}

Test(keys, what_does_not_go_together_is_refused, .init = begin, .fini = finish)
{
	char longest[RC_KEY_MAX + 2];
	memset(longest, 'k', sizeof longest);
	longest[RC_KEY_MAX + 1] = 0;
	cr_expect_eq(publish("t", longest, "1", 0), -EINVAL);
	cr_expect_eq(publish("t", longest + 1, "1", 0), 1);
	cr_expect_eq(publish("t", "", "1", RC_PUBLISH_REMOVE), -EINVAL);
	cr_expect_eq(publish("t", "a", "1", RC_PUBLISH_SNAPSHOT), -EINVAL);
	cr_expect_eq(publish("t", "a", "1", RC_PUBLISH_SNAPSHOT | RC_PUBLISH_REMOVE), -EINVAL);
	cr_expect_eq(rc_publish(server, "t", 1, "1", 1, RC_PUBLISH_REMOVE), -EINVAL);
	cr_expect_eq(rc_topic_state(server, "", 0, NULL, NULL, NULL, tell, NULL), -EINVAL);
	cr_expect_str_eq(state("nobody"), "");
	cr_expect_eq(publish("t", "a", "\xff", 0), -EILSEQ);
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	cr_expect_eq(stats.keys, 1);
}

Test(keys, many_as_one_have_keys_too, .init = begin, .fini = finish)
{
	struct rc_batch_message messages[] = {
		{ .name = "t", .name_size = 1, .data = "1", .size = 1, .key = "a", .key_size = 1 },
		{ .name = "t", .name_size = 1, .data = "2", .size = 1, .key = "a", .key_size = 1 },
		{ .name = "t", .name_size = 1, .data = "3", .size = 1, .key = "b", .key_size = 1 },
		{ .name = "u", .name_size = 1, .data = "4", .size = 1 },
		{ .name = "t", .name_size = 1, .flags = RC_PUBLISH_REMOVE, .key = "b", .key_size = 1 },
	};
	cr_expect_eq(rc_publish_many(server, messages, 5, 0), 5);
	cr_expect_str_eq(state("t"), "2<1 a=2;");
	cr_expect_str_eq(history("t"), "1<0 a=1;2<1 a=2;3<2 b=3;4<3 b= removed;");
	messages[1].key_size = RC_KEY_MAX + 1;
	cr_expect_eq(rc_publish_many(server, messages, 5, 0), -EINVAL);
	cr_expect_eq(messages[1].result, -EINVAL);
	/* One of a program that knows nothing of keys. */
	messages[0].key_size = 77;
	cr_expect_eq((rc_publish_many)(server, messages, 1, 0, offsetof(struct rc_batch_message, key)), 1);
	cr_expect_eq(messages[0].result, 5);
	cr_expect_str_eq(state("t"), "2<1 a=2;");
}

/* ---- beside a model ---- */

struct model_key {
	uint64_t sequence; /* 0: it is not of the state */
	unsigned value;
};

static struct model {
	struct model_key keys[KEYS];
	uint64_t sequence, base;
	unsigned base_value;
} models[TOPICS];

static const char *const names[TOPICS] = { "one", "two", "three" };

static void publish_any(struct model *model, unsigned count)
{
	const char *topic = names[model - models];
	char key[16], data[300] = { 0 };
	unsigned index = seed_below(seed_below(4) ? 20 : KEYS), what = seed_below(40);
	snprintf(key, sizeof key, "key%u", index);
	snprintf(data, sizeof data, "%u", count);
	size_t size = strlen(data), pad = seed_below(4) ? 0 : seed_below(200);
	memset(data + size, ' ', pad);
	if (what == 0 && seed_below(20) == 0) {
		cr_assert_eq(publish(topic, "", data, RC_PUBLISH_SNAPSHOT), (int64_t)++model->sequence);
		model->base = model->sequence;
		model->base_value = count;
		memset(model->keys, 0, sizeof model->keys);
	} else if (what < 4) {
		cr_assert_eq(publish(topic, key, data, RC_PUBLISH_REMOVE), (int64_t)++model->sequence);
		model->keys[index].sequence = 0;
	} else if (what < 6) {
		cr_assert_eq(publish(topic, "", data, 0), (int64_t)++model->sequence);
	} else {
		cr_assert_eq(publish(topic, key, data, 0), (int64_t)++model->sequence);
		model->keys[index] = (struct model_key){ model->sequence, count };
	}
}

struct check {
	const struct model *model;
	uint64_t before;
	unsigned seen, lost;
};

static bool check_value(void *context, const struct rc_past *past)
{
	struct check *check = context;
	char data[12] = { 0 };
	memcpy(data, past->data, past->size < 11 ? past->size : 11);
	unsigned value = (unsigned)strtoul(data, NULL, 10);
	cr_assert_gt(past->sequence, check->before, "in the order of the log");
	check->before = past->sequence;
	check->seen++;
	if (past->snapshot) {
		cr_assert_eq(past->sequence, check->model->base);
		cr_assert_eq(value, check->model->base_value);
		return true;
	}
	char key[RC_KEY_MAX + 1] = { 0 };
	memcpy(key, past->key, past->key_size);
	const struct model_key *known = &check->model->keys[strtoul(key + 3, NULL, 10)];
	cr_assert_eq(known->sequence, past->sequence, "%s", key);
	cr_assert_eq(known->value, value);
	return true;
}

/* Returns how many values are missing. */
static unsigned check_state(const struct model *model)
{
	struct check check = { .model = model };
	uint64_t sequence;
	bool complete;
	unsigned wanted = model->base != 0;
	const char *topic = names[model - models];
	int64_t count = rc_topic_state(server, topic, strlen(topic), NULL, &sequence, &complete, check_value, &check);
	for (unsigned i = 0; i < KEYS; i++)
		wanted += model->keys[i].sequence != 0;
	cr_assert_eq(count, check.seen);
	cr_assert_leq(check.seen, wanted);
	cr_assert(!complete || check.seen == wanted, "%u of %u, and it says that it is complete", check.seen, wanted);
	if (sequence) /* else the topic is forgotten */
		cr_assert_eq(sequence, model->sequence);
	return wanted - check.seen;
}

static void run_model(unsigned messages)
{
	memset(models, 0, sizeof models);
	for (unsigned i = 1; i <= messages; i++) {
		publish_any(&models[seed_below(8) ? 0 : seed_below(TOPICS)], i);
		if (seed_below(200) == 0)
			check_state(&models[seed_below(TOPICS)]);
	}
}

Test(keys, the_state_is_that_of_a_naive_model, .init = begin, .fini = finish, .timeout = 60)
{
	seed = seed_of("keys");
	run_model(30000);
	for (unsigned i = 0; i < TOPICS; i++)
		cr_expect_eq(check_state(&models[i]), 0, "with room enough nothing is dropped");
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	cr_expect_eq(stats.state_dropped, 0);
	cr_expect_gt(stats.state_size, 0, "some values outlive the log");
}

Test(keys, what_is_over_the_bound_is_dropped_and_told, .timeout = 60)
{
	seed = seed_of("keys that are dropped");
	begin_with(2000);
	run_model(30000);
	unsigned lost = 0;
	for (unsigned i = 0; i < TOPICS; i++)
		lost += check_state(&models[i]);
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	cr_expect_gt(stats.state_dropped, 0);
	cr_expect_leq(stats.state_size, 2000);
	cr_expect_gt(lost, 0);
	finish();
}

Test(keys, many_keys_come_and_go, .init = begin, .fini = finish, .timeout = 60)
{
	enum { MANY = 20000 };
	char key[24];
	struct rc_stats stats;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			snprintf(key, sizeof key, "%u", i);
			cr_assert_gt(publish("t", key, "v", 0), 0);
		}
		for (unsigned i = 0; i < MANY; i++) {
			snprintf(key, sizeof key, "%u", i);
			cr_assert_gt(publish("t", key, "", RC_PUBLISH_REMOVE), 0);
		}
	}
	cr_expect_str_eq(state("t"), "");
	for (unsigned i = 0; i < 2000; i++)
		publish("u", "", "event", 0);
	rc_server_stats(server, &stats);
	cr_expect_eq(stats.keys, 0, "%lu", stats.keys);
	cr_expect_eq(stats.state_size, 0);
}
