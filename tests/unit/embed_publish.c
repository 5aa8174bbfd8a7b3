/* SPDX-License-Identifier: MIT
 *
 * embed_publish.c - publishing from the hot thread: topics by handle, many messages as one, messages that are built in
 * the log, waking nobody, and how much room there is. What went into the log is read back by rc_topic_read().
 */
#include "ringcast.h"
#include "ringcast_publish.h"
#include "ringcast_stats.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_SIZE ((size_t)64 << 10)
#define PLACE_SIZE_MAX (LOG_SIZE / 128 - 14)

static rc_server *server;
static struct rc_error error;

/* Without a start: the floors of its workers stay where they are, so a full log stays full. */
static void make(void)
{
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = LOG_SIZE;
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
}

static void start(void)
{
	make();
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
}

static void end(void)
{
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

static rc_topic open_topic(const char *name)
{
	rc_topic topic;
	cr_assert_eq(rc_topic_open(server, name, strlen(name), &topic), 0);
	cr_assert_neq(topic, 0);
	return topic;
}

/* ---- reading back ---- */

struct history {
	unsigned count;
	char texts[64][128];
	uint64_t times[64], ages[64];
	enum rc_opcode opcodes[64];
};

static bool remember(void *context, const struct rc_past *past)
{
	struct history *history = context;
	unsigned at = history->count++;
	snprintf(history->texts[at], sizeof history->texts[at], "%.*s", (int)past->size, (const char *)past->data);
	history->times[at] = past->time_ns;
	history->ages[at] = past->age_ns;
	history->opcodes[at] = past->opcode;
	return history->count < 64;
}

static struct history read_back(const char *name)
{
	struct history history = { 0 };
	rc_topic_read(server, name, strlen(name), 0, 64, remember, &history);
	return history;
}

static uint64_t log_head(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.log_head;
}

static uint64_t topic_count(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.topics;
}

/* So much that the log has come around three times. */
static void come_around(void)
{
	static char filler[500];
	memset(filler, 'f', sizeof filler);
	for (unsigned i = 0; i < 3 * LOG_SIZE / sizeof filler; i++)
		cr_assert_gt(rc_publish(server, "filler", 6, filler, sizeof filler, RC_PUBLISH_WAIT), 0);
}

/* ---- handles ---- */

Test(publish, by_handle_it_is_the_same_topic, .init = make, .fini = end)
{
	rc_topic topic = open_topic("t");
	cr_expect_eq(rc_publish_to(server, topic, "one", 3, 0), 1);
	cr_expect_eq(rc_publish(server, "t", 1, "two", 3, 0), 2);
	struct rc_publication message = { .data = "three", .size = 5, .topic = topic, .time_ns = 77 };
	cr_expect_eq(rc_publish_with(server, NULL, 0, &message), 3);
	struct history history = read_back("t");
	cr_assert_eq(history.count, 3);
	cr_expect_str_eq(history.texts[0], "one");
	cr_expect_str_eq(history.texts[2], "three");
	cr_expect_eq(history.times[1], 0);
	cr_expect_eq(history.times[2], 77);
}

Test(publish, a_handle_keeps_its_topic, .init = start, .fini = end)
{
	struct rc_topic_stats before, after;
	rc_topic topic = open_topic("t");
	cr_expect_eq(rc_publish_to(server, topic, "x", 1, 0), 1);
	cr_assert_eq(rc_topic_stats(server, "t", 1, &before), 0);
	come_around();
	cr_assert_eq(rc_topic_stats(server, "t", 1, &after), 0);
	cr_expect_eq(after.epoch, before.epoch);
	cr_expect_eq(after.oldest, 0, "the log has none of its messages");
	cr_expect_eq(rc_publish_to(server, topic, "x", 1, 0), 2, "its numbers go on");
	cr_expect_eq(rc_topic_close(server, topic), 0);
	come_around();
	cr_expect_eq(rc_topic_stats(server, "t", 1, &after), -ENOENT);
}

Test(publish, a_closed_handle_is_refused, .init = make, .fini = end)
{
	rc_topic topic = open_topic("t"), again = open_topic("t"), other = open_topic("u");
	struct rc_publication message = { .topic = topic };
	cr_expect_eq(topic, again);
	cr_expect_neq(topic, other);
	cr_expect_eq(rc_topic_close(server, topic), 0);
	cr_expect_eq(rc_publish_to(server, again, "x", 1, 0), 1, "somebody else has it open");
	cr_expect_eq(rc_topic_close(server, again), 0);
	cr_expect_eq(rc_topic_close(server, again), -ENOENT);
	cr_expect_eq(rc_publish_to(server, again, "x", 1, 0), -ENOENT);
	cr_expect_eq(rc_publish_with(server, NULL, 0, &message), -ENOENT);
	static const rc_topic never[] = { 0, 1, UINT64_MAX, (UINT64_C(1) << 40) + 5 };
	for (size_t i = 0; i < 4; i++) {
		cr_expect_eq(rc_publish_to(server, never[i], "x", 1, 0), -ENOENT);
		cr_expect_eq(rc_topic_close(server, never[i]), -ENOENT);
	}
	cr_expect_eq(rc_topic_open(server, "", 0, &topic), -EINVAL);
	cr_expect_eq(topic, 0);
	cr_expect_eq(topic_count(), 2);
	cr_expect_eq(rc_topic_close(server, other), 0);
	cr_expect_eq(topic_count(), 1, "nobody had 'u' but the handle");
	cr_expect_eq(rc_publish_to(server, other, "x", 1, 0), -ENOENT);
	rc_topic anew = open_topic("u");
	cr_expect_neq(anew, other, "it is another topic now");
}

Test(publish, unknown_flags_are_refused, .init = make, .fini = end)
{
	rc_topic topic = open_topic("t");
	struct rc_publication message = { .data = "x", .size = 1, .flags = 16 };
	struct rc_batch_message many = { .topic = topic, .data = "x", .size = 1, .flags = RC_PUBLISH_QUIET };
	rc_place place;
	void *data;
	cr_expect_eq(rc_publish(server, "t", 1, "x", 1, 16), -EINVAL);
	cr_expect_eq(rc_publish_to(server, topic, "x", 1, 0x80000000u), -EINVAL);
	cr_expect_eq(rc_publish_with(server, "t", 1, &message), -EINVAL);
	cr_expect_eq(rc_publish_many(server, &many, 1, 0), -EINVAL, "that is said of all, not of one");
	many.flags = 0;
	cr_expect_eq(rc_publish_many(server, &many, 1, RC_PUBLISH_BINARY), -EINVAL, "and that of one");
	cr_assert_eq(rc_reserve(server, 8, &place, &data), 0);
	cr_expect_eq(rc_commit(server, place, topic, 0, 0, 32), -EINVAL);
	cr_expect_eq(rc_abandon(server, place), 0);
	cr_expect_eq(log_head(), 0, "nothing was published");
}

/* ---- many ---- */

Test(publish, many_are_one_after_the_other, .init = make, .fini = end)
{
	rc_topic topic = open_topic("a");
	struct rc_batch_message many[] = {
		{ .topic = topic, .data = "a1", .size = 2, .time_ns = 5 },
		{ .name = "b", .name_size = 1, .data = "b1", .size = 2, .flags = RC_PUBLISH_BINARY },
		{ .name = "a", .name_size = 1, .data = "a2", .size = 2 },
		{ .topic = topic, .data = "", .size = 0 },
	};
	cr_expect_eq(rc_publish_many(server, many, 4, 0), 4);
	cr_expect_eq(many[0].result, 1);
	cr_expect_eq(many[1].result, 1);
	cr_expect_eq(many[2].result, 2);
	cr_expect_eq(many[3].result, 3);
	struct history a = read_back("a"), b = read_back("b");
	cr_assert_eq(a.count, 3);
	cr_assert_eq(b.count, 1);
	cr_expect_str_eq(a.texts[1], "a2");
	cr_expect_eq(a.times[0], 5);
	cr_expect_eq(a.times[1], 0);
	cr_expect_eq(b.opcodes[0], RC_BINARY);
}

static size_t make_numbered(void *context, uint64_t sequence, uint64_t epoch, const void **data)
{
	char *text = context;
	*data = text;
	return (size_t)sprintf(text, "%llu %s", (unsigned long long)sequence, epoch ? "made" : "no epoch");
}

static size_t make_too_much(void *context, uint64_t sequence, uint64_t epoch, const void **data)
{
	(void)sequence, (void)epoch;
	*data = context;
	return 5;
}

Test(publish, some_of_many_are_made_when_they_have_their_numbers, .init = make, .fini = end)
{
	char first[32], second[32], long_one[] = "12345";
	struct rc_batch_message many[] = {
		{ .name = "a",
		  .name_size = 1,
		  .size = 32,
		  .flags = RC_PUBLISH_UNCHECKED,
		  .make = make_numbered,
		  .context = first },
		{ .name = "a", .name_size = 1, .data = "plain", .size = 5 },
		{ .name = "a",
		  .name_size = 1,
		  .size = 32,
		  .flags = RC_PUBLISH_UNCHECKED,
		  .make = make_numbered,
		  .context = second },
		{ .name = "a",
		  .name_size = 1,
		  .size = 4,
		  .flags = RC_PUBLISH_UNCHECKED,
		  .make = make_too_much,
		  .context = long_one },
	};
	cr_expect_eq(rc_publish_many(server, many, 4, 0), 4);
	struct history a = read_back("a");
	cr_assert_eq(a.count, 4);
	cr_expect_str_eq(a.texts[0], "1 made");
	cr_expect_str_eq(a.texts[1], "plain");
	cr_expect_str_eq(a.texts[2], "3 made");
	cr_expect_str_eq(a.texts[3], "1234", "no more than there is room for");
	cr_expect(many[0].epoch && many[0].epoch == many[3].epoch);
	many[2].flags = 0;
	cr_expect_eq(rc_publish_many(server, many, 4, 0), -EINVAL, "nobody can look at it before");
	cr_expect_eq(log_head(), 4);
}

Test(publish, none_of_many_when_one_is_wrong, .init = make, .fini = end)
{
	static char big[LOG_SIZE];
	rc_topic topic = open_topic("a"), closed = open_topic("b");
	rc_topic_close(server, closed);
	const struct {
		struct rc_batch_message message;
		int expected;
	} cases[] = {
		{ { .topic = topic, .data = "\xFF", .size = 1 }, -EILSEQ },
		{ { .topic = closed, .data = "x", .size = 1 }, -ENOENT },
		{ { .name = "", .data = "x", .size = 1 }, -EINVAL },
		{ { .name = big, .name_size = 256, .data = "x", .size = 1 }, -EINVAL },
		{ { .topic = topic, .data = "x", .size = 1, .flags = 64 }, -EINVAL },
		{ { .topic = topic, .data = big, .size = LOG_SIZE / 4 }, -EMSGSIZE },
		{ { .topic = topic, .data = big, .size = SIZE_MAX }, -EMSGSIZE },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_batch_message many[] = { { .name = "made", .name_size = 4, .data = "1", .size = 1 },
			                           { .name = "made", .name_size = 4, .data = "2", .size = 1 },
			                           cases[i].message,
			                           { .topic = topic, .data = "3", .size = 1 } };
		cr_expect_eq(rc_publish_many(server, many, 4, 0), cases[i].expected, "case %zu", i);
		cr_expect_eq(many[2].result, cases[i].expected, "case %zu", i);
		cr_expect_eq(many[0].result, 0);
		cr_expect_eq(log_head(), 0);
		cr_expect_eq(topic_count(), 1, "case %zu: a topic that was made for it has gone again", i);
	}
}

Test(publish, many_have_their_bounds, .init = make, .fini = end)
{
	static struct rc_batch_message many[RC_PUBLISH_MANY_MAX + 1];
	static char big[LOG_SIZE];
	rc_topic topic = open_topic("a");
	for (size_t i = 0; i <= RC_PUBLISH_MANY_MAX; i++)
		many[i] = (struct rc_batch_message){ .topic = topic, .data = "x", .size = 1 };
	cr_expect_eq(rc_publish_many(server, many, 0, 0), 0);
	cr_expect_eq(rc_publish_many(server, NULL, 0, 0), 0);
	cr_expect_eq(rc_publish_many(server, many, RC_PUBLISH_MANY_MAX + 1, 0), -EMSGSIZE);
	cr_expect_eq(rc_publish_many(server, many, LOG_SIZE / 512 + 1, 0), -EMSGSIZE, "a quarter of the index");
	cr_expect_eq(log_head(), 0);
	cr_expect_eq(rc_publish_many(server, many, LOG_SIZE / 512, 0), LOG_SIZE / 512);
	/* Together larger than a quarter of the log, and than all of it. */
	for (unsigned parts = 2; parts <= 16; parts += 14) {
		for (unsigned i = 0; i < parts; i++)
			many[i] = (struct rc_batch_message){ .topic = topic, .data = big, .size = LOG_SIZE / 8 };
		cr_expect_eq(rc_publish_many(server, many, parts, RC_PUBLISH_WAIT), -EMSGSIZE);
	}
	many[0].size = many[1].size = LOG_SIZE / 8 - 14;
	cr_expect_eq(rc_publish_many(server, many, 2, 0), 2);
}

Test(publish, many_from_a_program_of_another_version, .init = make, .fini = end)
{
	struct later {
		struct rc_batch_message known;
		uint64_t unknown;
	} many[2] = { { { .name = "a", .name_size = 1, .data = "x", .size = 1 }, 0 },
		      { { .name = "b", .name_size = 1, .data = "y", .size = 1 }, 0 } };
	cr_expect_eq((rc_publish_many)(server, &many[0].known, 2, 0, sizeof *many), 2);
	cr_expect_str_eq(read_back("b").texts[0], "y");
	many[1].unknown = 1;
	cr_expect_eq((rc_publish_many)(server, &many[0].known, 2, 0, sizeof *many), -E2BIG);
	cr_expect_eq((rc_publish_many)(server, &many[0].known, 2, 0, 8), -EINVAL);
	cr_expect_eq(log_head(), 2);
}

/* A full log refuses all of them, though the first would still find room. */
Test(publish, many_find_room_for_all_or_none, .init = make, .fini = end)
{
	static char part[1000];
	rc_topic topic = open_topic("a");
	struct rc_batch_message many[8];
	memset(part, 'x', sizeof part);
	for (size_t i = 0; i < 8; i++)
		many[i] = (struct rc_batch_message){ .topic = topic, .data = part, .size = sizeof part };
	uint64_t before;
	do {
		before = log_head();
	} while (rc_publish_many(server, many, 8, 0) == 8);
	cr_expect_eq(rc_publish_many(server, many, 8, 0), -EAGAIN);
	cr_expect_eq(log_head(), before);
	cr_expect_gt(rc_publish(server, "a", 1, part, 100, 0), 0, "one alone finds some");
}

/* ---- built in the log ---- */

Test(publish, what_is_built_is_published, .init = make, .fini = end)
{
	static const size_t sizes[][2] = { { 5, 5 }, { 100, 5 }, { 400, 5 }, { 400, 126 }, { 5, 0 }, { 0, 0 } };
	rc_topic topic = open_topic("t");
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		rc_place place;
		void *data;
		cr_assert_eq(rc_reserve(server, sizes[i][0], &place, &data), 0);
		cr_assert(place && data);
		memset(data, (int)('a' + i), sizes[i][0]);
		cr_expect_eq(rc_commit(server, place, topic, sizes[i][1], 40 + i, 0), (int64_t)i + 1);
	}
	struct history history = read_back("t");
	cr_assert_eq(history.count, sizeof sizes / sizeof *sizes);
	for (size_t i = 0; i < history.count; i++) {
		char expected[128] = { 0 };
		memset(expected, (int)('a' + i), sizes[i][1] < 127 ? sizes[i][1] : 127);
		cr_expect_str_eq(history.texts[i], expected);
		cr_expect_eq(history.times[i], 40 + i);
	}
}

Test(publish, a_place_is_given_back_once, .init = make, .fini = end)
{
	rc_topic topic = open_topic("t"), closed = open_topic("u");
	rc_place place, next;
	void *data;
	rc_topic_close(server, closed);
	cr_expect_eq(rc_commit(server, 0, topic, 0, 0, 0), -EALREADY);
	cr_expect_eq(rc_commit(server, UINT64_MAX, topic, 0, 0, 0), -EALREADY);
	cr_expect_eq(rc_abandon(server, 12345), -EALREADY);
	cr_assert_eq(rc_reserve(server, 8, &place, &data), 0);
	memcpy(data, "\xFFx", 2);
	/* What can be put right leaves the place as it was. */
	cr_expect_eq(rc_commit(server, place, topic, 9, 0, 0), -EMSGSIZE);
	cr_expect_eq(rc_commit(server, place, topic, SIZE_MAX, 0, 0), -EMSGSIZE);
	cr_expect_eq(rc_commit(server, place, topic, 2, 0, 0), -EILSEQ);
	cr_expect_eq(rc_commit(server, place, closed, 0, 0, 0), -ENOENT);
	memcpy(data, "ok", 2);
	cr_expect_eq(rc_commit(server, place, topic, 2, 0, 0), 1);
	cr_expect_eq(rc_commit(server, place, topic, 2, 0, 0), -EALREADY);
	cr_expect_eq(rc_abandon(server, place), -EALREADY);
	cr_assert_eq(rc_reserve(server, 8, &next, &data), 0);
	cr_expect_eq(rc_commit(server, place, topic, 2, 0, 0), -EALREADY, "not the next one's");
	cr_expect_eq(rc_abandon(server, next), 0);
	cr_expect_eq(rc_abandon(server, next), -EALREADY);
	cr_expect_eq(log_head(), 1);
}

Test(publish, places_have_their_bounds, .init = make, .fini = end)
{
	static rc_place places[1000];
	static void *data[1000];
	rc_topic topic = open_topic("t");
	rc_place none;
	void *nothing = data;
	cr_expect_eq(rc_reserve(server, PLACE_SIZE_MAX + 1, &none, &nothing), -EMSGSIZE);
	cr_expect_eq(rc_reserve(server, SIZE_MAX, &none, &nothing), -EMSGSIZE);
	cr_expect_null(nothing);
	for (unsigned i = 0; i < 1000; i++) {
		int result = rc_reserve(server, PLACE_SIZE_MAX, &places[i], &data[i]);
		cr_expect_eq(result, i < RC_PLACES_MAX ? 0 : -ENOBUFS, "place %u: %d", i, result);
		if (result == 0)
			memset(data[i], 'a' + (int)(i % 26), PLACE_SIZE_MAX);
	}
	cr_expect_gt(rc_publish(server, "t", 1, "others publish", 14, 0), 0);
	for (unsigned i = 0; i < RC_PLACES_MAX; i++)
		cr_expect_eq(i % 2 ? rc_abandon(server, places[i]) == 0
		                   : rc_commit(server, places[i], topic, 20, 0, 0) > 0,
		             true);
	struct history history = read_back("t");
	cr_assert_eq(history.count, 1 + RC_PLACES_MAX / 2);
	for (unsigned i = 1; i < history.count; i++)
		cr_expect_eq(history.texts[i][19], 'a' + (int)((i - 1) * 2 % 26));
	for (unsigned i = 0; i < 1000; i++) {
		cr_assert_eq(rc_reserve(server, PLACE_SIZE_MAX, &places[0], &data[0]), 0, "after %u", i);
		cr_assert_eq(rc_abandon(server, places[0]), 0);
	}
}

/* Each takes a block, and leaves hardly a byte in the log, which then lets go of all that it has. */
Test(publish, places_far_too_large_find_room, .init = start, .fini = end)
{
	rc_topic topic = open_topic("t");
	rc_server_stop(server, 0);
	rc_server_join(server); /* who has ended is not behind */
	for (unsigned i = 1; i <= 2000; i++) {
		rc_place place;
		char *data;
		int result = rc_reserve(server, PLACE_SIZE_MAX, &place, (void **)&data);
		cr_assert_eq(result, 0, "place %u: %d", i, result);
		*data = 'x';
		cr_assert_eq(rc_commit(server, place, topic, 1, 0, 0), i);
	}
}

/* Who comes late is told so, and has met nobody's message by what he wrote meanwhile: while the log came around. */
Test(publish, a_late_commit_is_refused, .init = start, .fini = end)
{
	rc_topic topic = open_topic("t");
	rc_place place;
	uint8_t *data;
	cr_assert_eq(rc_reserve(server, 100, &place, (void **)&data), 0);
	const struct timespec time = { .tv_sec = 1, .tv_nsec = 50000000 };
	come_around();
	memset(data, '!', 100);
	for (unsigned i = 0; i < 20; i++) {
		rc_place other;
		void *there;
		cr_assert_eq(rc_reserve(server, 20, &other, &there), 0);
		memset(there, 'o', 20);
		cr_assert_gt(rc_commit(server, other, topic, 20, 0, RC_PUBLISH_WAIT), 0);
		memset(data, '!', 100);
	}
	nanosleep(&time, NULL);
	memset(data, '!', 100);
	cr_expect_eq(rc_commit(server, place, topic, 100, 0, 0), -ETIMEDOUT);
	cr_expect_eq(rc_commit(server, place, topic, 100, 0, 0), -EALREADY);
	struct history history = read_back("t");
	cr_expect_eq(history.count, 20);
	for (unsigned i = 0; i < history.count; i++)
		cr_expect_str_eq(history.texts[i], "oooooooooooooooooooo");
}

/* A full log: the place stays, and can be committed when there is room. */
Test(publish, a_full_log_keeps_the_place, .init = make, .fini = end)
{
	static char part[1000];
	rc_topic topic = open_topic("t");
	rc_place place;
	void *data;
	memset(part, 'x', sizeof part);
	cr_assert_eq(rc_reserve(server, 100, &place, &data), 0);
	memset(data, 'y', 100);
	while (rc_publish(server, "u", 1, part, sizeof part, 0) > 0)
		;
	while (rc_publish(server, "u", 1, part, 10, 0) > 0)
		;
	cr_expect_eq(rc_commit(server, place, topic, 100, 0, 0), -EAGAIN);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
	cr_expect_eq(rc_commit(server, place, topic, 100, 0, RC_PUBLISH_WAIT), 1);
}

/* ---- threads that die in the middle, beside others that go on ---- */

static _Atomic unsigned done_count;

static void *die(void *argument)
{
	rc_place place;
	void *data;
	int *result = argument;
	*result = rc_reserve(server, 50, &place, &data);
	if (*result == 0)
		memset(data, '?', 50);
	return NULL; /* and nobody knows the place any more */
}

static void *live(void *argument)
{
	rc_topic topic = *(rc_topic *)argument;
	for (unsigned i = 0; i < 20000; i++) {
		rc_place place;
		char *data;
		int result = rc_reserve(server, 64, &place, (void **)&data);
		if (result < 0) {
			cr_assert(result == -ENOBUFS || result == -EAGAIN, "%d", result);
			sched_yield();
			continue;
		}
		memset(data, 'a' + (int)(i % 26), 64);
		if (i % 7 == 0)
			cr_assert_eq(rc_abandon(server, place), 0);
		else
			cr_assert_gt(rc_commit(server, place, topic, 64 - i % 40, 0, RC_PUBLISH_WAIT), 0);
	}
	atomic_fetch_add(&done_count, 1);
	return NULL;
}

static bool is_of_one_letter(void *context, const struct rc_past *past)
{
	const char *text = past->data;
	unsigned *count = context;
	++*count;
	for (size_t i = 1; i < past->size; i++)
		cr_assert_eq(text[i], text[0], "message %lu", past->sequence);
	return true;
}

Test(publish, the_dead_harm_nobody, .init = start, .fini = end, .timeout = 120)
{
	rc_topic topic = open_topic("t");
	pthread_t alive[3], dead;
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&alive[i], NULL, live, &topic);
	unsigned kept = 0;
	for (unsigned i = 0; i < 200; i++) {
		int result = 0;
		pthread_create(&dead, NULL, die, &result);
		pthread_join(dead, NULL);
		kept += result == 0;
		cr_assert(result == 0 || result == -ENOBUFS || result == -EAGAIN, "%d", result);
		unsigned seen = 0;
		rc_topic_read(server, "t", 1, 0, 1000000, is_of_one_letter, &seen);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(alive[i], NULL);
	cr_expect_leq(kept, RC_PLACES_MAX);
	cr_expect_gt(kept, RC_PLACES_MAX - 5, "%u", kept);
	cr_expect_eq(done_count, 3);
	come_around();
}

/* ---- room ---- */

/* Whatever the sizes: so much and so many fit, when nobody makes room meanwhile. */
Test(publish, there_is_the_room_that_was_told, .init = make, .fini = end)
{
	static char part[5000];
	uint64_t seed = seed_of("there_is_the_room_that_was_told"), told = 0;
	memset(part, 'x', sizeof part);
	for (unsigned round = 0; round < 1000; round++) {
		size_t count, room = rc_server_room(server, &count);
		size_t largest = below(&seed, 2) ? 20 : sizeof part;
		if (!count || room < 12)
			break;
		size_t part_of_it = 1 + room / (1 + below(&seed, 20));
		for (size_t used = 0; count--;) {
			size_t size = below(&seed, largest);
			if ((used += size + 10) > part_of_it || used > room)
				break;
			told++;
			cr_assert_gt(rc_publish(server, "t", 1, part, size, 0), 0, "%zu of %zu", used, room);
		}
	}
	cr_expect_gt(told, 10);
	while (rc_publish(server, "t", 1, part, 10, 0) > 0)
		;
	size_t count, room = rc_server_room(server, &count);
	cr_expect(room < 20 + LOG_SIZE / 64 || count < 1 + LOG_SIZE / 128 / 64, "%zu bytes, %zu messages", room, count);
}
