/* SPDX-License-Identifier: MIT
 *
 * history.c - pages of the past and lists of topics, read while publishers go on and the log comes around: a page has
 * no gap within it, whatever is recycled between two of its pieces, and a list is complete where nothing changes.
 */
#include "ringcast.h"
#include "ringcast_stats.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rc_server *server;
static _Atomic bool ends;

static void begin(void)
{
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 64 * 1024;
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
	ends = false;
}

static void finish(void)
{
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

/* Each message says its number. */
static void *publish_all_the_time(void *argument)
{
	(void)argument;
	for (long number = 1; !ends; number++) {
		char text[24];
		int size = snprintf(text, sizeof text, "%ld", number);
		if (rc_publish(server, "t", 1, text, (size_t)size, RC_PUBLISH_WAIT) != number)
			abort();
	}
	return NULL;
}

struct reader {
	uint64_t first, last;
	unsigned visited, stops_at;
};

static bool visit(void *context, const struct rc_past *past)
{
	struct reader *reader = context;
	char text[24] = { 0 };
	memcpy(text, past->data, past->size);
	cr_assert_eq(strtoul(text, NULL, 10), past->sequence);
	cr_assert(!reader->visited || past->sequence == reader->last + 1, "%lu after %lu", past->sequence,
	          reader->last);
	if (!reader->visited++)
		reader->first = past->sequence;
	reader->last = past->sequence;
	return reader->visited != reader->stops_at;
}

static struct reader read_page(uint64_t since, unsigned max, unsigned stops_at)
{
	struct reader reader = { .stops_at = stops_at };
	int count = rc_topic_read(server, "t", 1, since, max, visit, &reader);
	cr_assert_eq(count, (int)reader.visited);
	cr_assert_leq(reader.visited, max);
	return reader;
}

Test(history, a_page_has_no_gap_while_the_log_comes_around, .init = begin, .fini = finish, .timeout = 60)
{
	pthread_t thread;
	unsigned cut_short = 0, read = 0;
	uint64_t since = 0;
	cr_assert_eq(pthread_create(&thread, NULL, publish_all_the_time, NULL), 0);
	/* Until some were cut short, though more had been published. */
	while (read < 500 || cut_short < 5) {
		struct reader page = read_page(since, 400, 0);
		if (!page.visited)
			continue;
		cr_assert_gt(page.first, since);
		cut_short += !since && page.visited < 400 && page.first > 1;
		since = ++read % 3 ? 0 : page.last;
	}
	ends = true;
	pthread_join(thread, NULL);
}

Test(history, at_rest_a_page_is_whole, .init = begin, .fini = finish)
{
	for (long number = 1; number <= 300; number++) {
		char text[24];
		rc_publish(server, "t", 1, text, (size_t)snprintf(text, sizeof text, "%ld", number), 0);
	}
	cr_expect_eq(read_page(0, 1000, 0).visited, 300, "more pieces than one");
	cr_expect_eq(read_page(0, 100, 0).last, 100);
	cr_expect_eq(read_page(250, 1000, 0).visited, 50);
	cr_expect_eq(read_page(0, 1000, 33).visited, 33, "the first message of the second piece");
	cr_expect_eq(read_page(300, 1000, 0).visited, 0);
	cr_expect_eq(read_page(UINT64_MAX, 1000, 0).visited, 0);
	cr_expect_eq(read_page(0, 0, 0).visited, 0);
	cr_expect_eq(rc_topic_read(server, "nobody", 6, 0, 10, visit, NULL), 0);
}

Test(history, all_topics_are_listed_though_looked_at_in_pieces, .init = begin, .fini = finish)
{
	enum { COUNT = 700, MAX = 1000 };
	struct rc_topic_stats *out = calloc(MAX, sizeof *out);
	for (unsigned i = 0; i < COUNT; i++) {
		char name[24];
		int size = snprintf(name, sizeof name, "%s/%u", i % 7 ? "many" : "few", i);
		rc_publish(server, name, (size_t)size, "x", 1, RC_PUBLISH_WAIT);
	}
	/* A log of 512 entries forgets topics that nobody is subscribed to. */
	size_t all = rc_topics_match(server, "*", 1, out, MAX);
	cr_assert_gt(all, 300);
	cr_expect_eq(rc_topics_top(server, out, MAX), all);
	size_t many = rc_topics_match(server, "many/*", 6, out, MAX);
	for (size_t i = 0; i < many; i++)
		cr_expect_eq(strncmp(out[i].name, "many/", 5), 0);
	size_t few = rc_topics_match(server, "few/*", 5, out, MAX);
	cr_expect_eq(many + few, all);
	cr_expect_eq(rc_topics_match(server, "few/*", 5, out, 3), few,
	             "how many there are, though fewer are described");
	cr_expect_eq(rc_topics_match(server, out[0].name, strlen(out[0].name), out, 1), 1);
	free(out);
}
