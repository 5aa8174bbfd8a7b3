/* SPDX-License-Identifier: MIT
 *
 * embed_own.c - a message that its own connection does not get (rc_publication.except), where what was published before
 * it keeps the worker busy: it must not come later either.
 */
#include "ringcast.h"
#include "ringcast_client.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LARGE_SIZE ((size_t)300 << 10) /* more than a worker compresses before it sends */
#define ROUNDS 20

/* A subscriber at the other end. */
struct reader {
	_Atomic rc_conn conn;
	_Atomic unsigned large, own, last;
};

static rc_server *server, *client;
static struct reader speaker, listener;
static char large[LARGE_SIZE];

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
	return rc_subscribe(rc_request_server(request), rc_request_conn(request), "t", 1, NULL) ? 400 : 0;
}

/* Whoever speaks: all three are published before the worker looks at the log. */
static void on_spoken(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct rc_publication own = { .data = "own", .size = 3, .except = conn };
	(void)context, (void)user, (void)message;
	cr_assert_gt(rc_publish(server, "t", 1, large, sizeof large, 0), 0);
	cr_assert_gt(rc_publish_with(server, "t", 1, &own), 0);
	cr_assert_gt(rc_publish(server, "t", 1, "last", 4, 0), 0);
}

static void on_open(void *context, rc_conn conn, void *user)
{
	struct reader *reader = user;
	(void)context;
	reader->conn = conn;
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct reader *reader = user;
	(void)context, (void)conn;
	reader->large += message->size == sizeof large;
	reader->own += message->size == 3;
	reader->last += message->size == 4;
}

static void begin(void)
{
	struct rc_config config;
	struct rc_error error;
	char url[64];
	memset(large, 'l', sizeof large);
	rc_config_init(&config);
	config.worker_count = 1;
	config.deflate.on = true;
	config.handlers = (struct rc_handlers){ .request = on_request, .message = on_spoken };
	server = rc_server_new(&config, &error);
	int port = rc_server_listen(server, "127.0.0.1:0", &error);
	cr_assert(port > 0 && rc_server_start(server, &error) == 0, "%s", error.text);
	config.handlers = (struct rc_handlers){ .open = on_open, .message = on_message };
	client = rc_server_new(&config, &error);
	cr_assert_eq(rc_server_start(client, &error), 0, "%s", error.text);
	snprintf(url, sizeof url, "ws://127.0.0.1:%d/", port);
	/* For who reads compressed the worker compresses, and the other one waits for that too. */
	const struct rc_connect_options plain = { .user = &speaker },
					compressed = { .user = &listener, .deflate = true };
	cr_assert_eq(rc_connect(client, 0, url, &plain), 0);
	cr_assert_eq(rc_connect(client, 0, url, &compressed), 0);
	AWAIT(speaker.conn && listener.conn);
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

Test(embed_own, it_does_not_come_behind_a_large_message, .init = begin, .fini = end)
{
	for (unsigned i = 1; i <= ROUNDS; i++) {
		cr_assert_eq(rc_send(client, speaker.conn, RC_TEXT, "go", 2), 0);
		AWAIT(speaker.last == i && listener.last == i);
	}
	cr_expect_eq(listener.large, ROUNDS);
	cr_expect_eq(listener.own, ROUNDS);
	cr_expect_eq(speaker.large, ROUNDS);
	cr_expect_eq(speaker.own, 0, "%u came back to who said them", speaker.own);
}
