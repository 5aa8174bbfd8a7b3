/* SPDX-License-Identifier: MIT
 *
 * embed_rounds.c - what subscribers see of messages that were published as one, and of those that woke nobody: over the
 * real loopback, both ends of one library.
 */
#include "ringcast.h"
#include "ringcast_client.h"
#include "ringcast_publish.h"
#include "ringcast_stats.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SYMBOLS 50
#define TICKS 200
#define READERS 3

/* One subscriber of all topics. Messages are "TICK SYMBOL", or "-" from somebody else. */
struct reader {
	_Atomic unsigned messages;
	_Atomic bool wrong;
	unsigned tick, symbol;
};

static rc_server *server, *client;
static struct reader readers[READERS];
static rc_topic topics[SYMBOLS];
static _Atomic unsigned opened;

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		for (int i_ = 0; i_ < 10000 && !(condition); i_++)                                                     \
			nap();                                                                                         \
		cr_assert(condition);                                                                                  \
	} while (0)

static int on_request(void *context, rc_request *request)
{
	(void)context;
	for (unsigned i = 0; i <= SYMBOLS; i++) {
		char name[16];
		int size = i < SYMBOLS ? snprintf(name, sizeof name, "s%u", i) : snprintf(name, sizeof name, "other");
		if (rc_subscribe(rc_request_server(request), rc_request_conn(request), name, (size_t)size, NULL))
			return 400;
	}
	return 0;
}

static void on_open(void *context, rc_conn conn, void *user)
{
	(void)context, (void)conn, (void)user;
	opened++;
}

/* Between two messages of a tick nothing else may come. */
static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct reader *reader = user;
	char text[32] = { 0 };
	unsigned tick, symbol;
	(void)context, (void)conn;
	memcpy(text, message->data, message->size < 31 ? message->size : 31);
	if (sscanf(text, "%u %u", &tick, &symbol) == 2) {
		reader->wrong |= tick != reader->tick || symbol != reader->symbol;
		reader->symbol = (symbol + 1) % SYMBOLS;
		reader->tick = tick + !reader->symbol;
	} else {
		reader->wrong |= reader->symbol != 0;
	}
	reader->messages++;
}

static void begin(void)
{
	struct rc_config config;
	struct rc_error error;
	char url[64];
	rc_config_init(&config);
	config.worker_count = 2;
	config.handlers = (struct rc_handlers){ .request = on_request };
	server = rc_server_new(&config, &error);
	int port = rc_server_listen(server, "127.0.0.1:0", &error);
	cr_assert(port > 0 && rc_server_start(server, &error) == 0, "%s", error.text);
	config.worker_count = 1;
	config.handlers = (struct rc_handlers){ .open = on_open, .message = on_message };
	client = rc_server_new(&config, &error);
	cr_assert_eq(rc_server_start(client, &error), 0);
	snprintf(url, sizeof url, "ws://127.0.0.1:%d/", port);
	for (unsigned i = 0; i < READERS; i++) {
		const struct rc_connect_options options = { .user = &readers[i] };
		cr_assert_eq(rc_connect(client, 0, url, &options), 0);
	}
	AWAIT(opened == READERS);
	for (unsigned i = 0; i < SYMBOLS; i++) {
		char name[16];
		int size = snprintf(name, sizeof name, "s%u", i);
		cr_assert_eq(rc_topic_open(server, name, (size_t)size, &topics[i]), 0);
	}
}

static void end(void)
{
	rc_server *both[] = { client, server };
	for (unsigned i = 0; i < 2; i++) {
		rc_server_stop(both[i], 0);
		rc_server_join(both[i]);
		rc_server_free(both[i]);
	}
}

static bool all_have(unsigned messages)
{
	for (unsigned i = 0; i < READERS; i++)
		if (readers[i].messages != messages)
			return false;
	return true;
}

static uint64_t sends(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.sends;
}

static void publish_tick(unsigned tick, unsigned flags)
{
	struct rc_batch_message messages[SYMBOLS] = { 0 };
	char texts[SYMBOLS][32];
	for (unsigned i = 0; i < SYMBOLS; i++) {
		messages[i].topic = topics[i];
		messages[i].data = texts[i];
		messages[i].size = (size_t)snprintf(texts[i], sizeof texts[i], "%u %u", tick, i);
	}
	cr_assert_eq(rc_publish_many(server, messages, SYMBOLS, flags), SYMBOLS);
}

/* A tick of 50 symbols is one send to each. */
Test(rounds, a_tick_is_one_send, .init = begin, .fini = end)
{
	for (unsigned tick = 0; tick < TICKS; tick++) {
		uint64_t before = sends();
		publish_tick(tick, 0);
		AWAIT(all_have((tick + 1) * SYMBOLS));
		cr_assert_eq(sends() - before, READERS, "tick %u: %lu sends", tick, sends() - before);
	}
	for (unsigned i = 0; i < READERS; i++)
		cr_expect(!readers[i].wrong);
}

static _Atomic bool stop;
static unsigned others;

static void *publish_others(void *argument)
{
	(void)argument;
	for (; !stop && others < 20000; others++)
		cr_assert_gt(rc_publish(server, "other", 5, "-", 1, RC_PUBLISH_WAIT), 0);
	return NULL;
}

/* Whatever others publish meanwhile comes before a tick or behind it. */
Test(rounds, nothing_comes_between_a_tick, .init = begin, .fini = end)
{
	pthread_t thread;
	pthread_create(&thread, NULL, publish_others, NULL);
	for (unsigned tick = 0; tick < TICKS; tick++) {
		publish_tick(tick, RC_PUBLISH_WAIT | (tick % 2 ? RC_PUBLISH_QUIET : 0));
		if (tick % 16 == 0)
			nap();
	}
	rc_flush(server);
	stop = true;
	pthread_join(thread, NULL);
	AWAIT(all_have(TICKS * SYMBOLS + others));
	for (unsigned i = 0; i < READERS; i++)
		cr_expect(!readers[i].wrong);
}

/* Who publishes quietly wakes nobody; one flush then wakes all who have something. */
Test(rounds, quiet_until_the_flush, .init = begin, .fini = end)
{
	publish_tick(0, 0);
	AWAIT(all_have(SYMBOLS));
	for (unsigned i = 0; i < 100; i++)
		nap(); /* until the workers sleep */
	for (unsigned i = 0; i < SYMBOLS; i++) {
		char text[32];
		int size = snprintf(text, sizeof text, "1 %u", i);
		cr_assert_gt(rc_publish_to(server, topics[i], text, (size_t)size, RC_PUBLISH_QUIET), 0);
	}
	for (unsigned i = 0; i < 20; i++)
		nap();
	cr_expect(all_have(SYMBOLS), "something woke them");
	rc_flush(server);
	AWAIT(all_have(2 * SYMBOLS));
	publish_tick(2, RC_PUBLISH_QUIET);
	cr_assert_gt(rc_publish(server, "other", 5, "-", 1, 0), 0, "what is published loudly takes it along");
	AWAIT(all_have(3 * SYMBOLS + 1));
	rc_flush(server);
}
