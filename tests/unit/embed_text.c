/* SPDX-License-Identifier: MIT
 *
 * embed_text.c - text that is no UTF-8 does not leave by any function of the public header, unless its caller said that
 * it knows. A strict client that met such text would end its connection.
 */
#include "ringcast.h"
#include "ringcast_client.h"
#include "ringcast_stats.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct end {
	rc_server *server;
	_Atomic rc_conn conn;
	_Atomic unsigned messages, closed;
	_Atomic int code;
	_Atomic size_t reason_size;
	_Atomic int inside; /* what rc_send() returned in a callback */
	char text[64];
} server, client;
static int port;

static const char *const wrong[] = { "\xFF",
	                             "a\xC3",
	                             "\xE2\x82",
	                             "\xED\xA0\x80",
	                             "\xC0\xAF",
	                             "\xF4\x90\x80\x80",
	                             "a long enough text that a kernel takes it in vectors, and then \x80" };
#define WRONG_COUNT (sizeof wrong / sizeof *wrong)
static const char right[] = "\xE2\x82\xAC 5, \xF0\x9F\x98\x80";

#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		for (int i_ = 0; i_ < 10000 && !(condition); i_++)                                                     \
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);                                     \
		cr_assert(condition);                                                                                  \
	} while (0)

static int on_request(void *context, rc_request *request)
{
	(void)context;
	return rc_subscribe(server.server, rc_request_conn(request), "t", 1, NULL);
}

static void on_open(void *context, rc_conn conn, void *user)
{
	struct end *end = context;
	(void)user;
	end->inside = rc_send(end->server, conn, RC_TEXT, wrong[0], 1);
	end->conn = conn;
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct end *end = context;
	(void)conn, (void)user;
	snprintf(end->text, sizeof end->text, "%.*s", (int)message->size, (const char *)message->data);
	end->messages++;
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct end *end = context;
	(void)conn, (void)user;
	end->code = closing->code;
	end->reason_size = closing->reason_size;
	end->closed++;
}

static void start_end(struct end *end, const char *address)
{
	struct rc_error error;
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 20;
	config.handlers = (struct rc_handlers){
		.context = end, .request = on_request, .open = on_open, .message = on_message, .close = on_close
	};
	end->server = rc_server_new(&config, &error);
	cr_assert(end->server, "%s", error.text);
	if (address)
		port = rc_server_listen(end->server, address, &error);
	cr_assert_eq(rc_server_start(end->server, &error), 0, "%s", error.text);
}

static void start(void)
{
	char url[64];
	start_end(&server, "127.0.0.1:0");
	start_end(&client, NULL);
	snprintf(url, sizeof url, "ws://127.0.0.1:%d/", port);
	cr_assert_eq(rc_connect(client.server, 0, url, NULL), 0);
	AWAIT(client.conn && server.conn);
}

static void stop(void)
{
	for (struct end *ends[] = { &client, &server }, **end = ends; end < ends + 2; end++) {
		rc_server_stop((*end)->server, 1000);
		rc_server_join((*end)->server);
		rc_server_free((*end)->server);
	}
}

static size_t make(void *context, uint64_t sequence, uint64_t epoch, const void **data)
{
	(void)sequence, (void)epoch;
	*data = context;
	return strlen(context);
}

static int64_t publish_made(const char *text, unsigned flags)
{
	struct rc_publication message = { .make = make, .context = (void *)(uintptr_t)text, .flags = flags };
	return rc_publish_with(server.server, "t", 1, &message);
}

Test(embed_text, is_checked_before_it_is_published, .init = start, .fini = stop)
{
	for (size_t i = 0; i < WRONG_COUNT; i++) {
		cr_expect_not(rc_text_valid(wrong[i], strlen(wrong[i])));
		cr_expect_eq(rc_publish(server.server, "t", 1, wrong[i], strlen(wrong[i]), 0), -EILSEQ);
		cr_expect_eq(publish_made(wrong[i], 0), -EILSEQ);
	}
	/* What was refused has no number, and makes no topic. */
	struct rc_topic_stats stats;
	cr_expect_eq(rc_publish(server.server, "other", 5, "\xFF", 1, 0), -EILSEQ);
	cr_expect_eq(rc_topic_stats(server.server, "other", 5, &stats), -ENOENT);
	cr_expect_eq(rc_publish(server.server, "t", 1, right, strlen(right), 0), 1);
	cr_expect_eq(publish_made(right, 0), 2);
	cr_expect_eq(rc_publish(server.server, "t", 1, "", 0, 0), 3);
	cr_expect_eq(rc_publish(server.server, "t", 1, wrong[0], 1, RC_PUBLISH_BINARY), 4);
	AWAIT(client.messages == 4);
	/* Who says that he knows is believed, and our own client ends the connection. */
	cr_expect_eq(rc_publish(server.server, "t", 1, wrong[0], 1, RC_PUBLISH_UNCHECKED), 5);
	AWAIT(client.closed == 1);
	cr_expect_eq(client.code, 1007);
}

Test(embed_text, is_checked_before_it_is_sent, .init = start, .fini = stop)
{
	cr_expect_eq(server.inside, -EILSEQ);
	cr_expect_eq(client.inside, -EILSEQ);
	for (size_t i = 0; i < WRONG_COUNT; i++)
		cr_expect_eq(rc_send(server.server, server.conn, RC_TEXT, wrong[i], strlen(wrong[i])), -EILSEQ);
	cr_expect_eq(rc_send(server.server, server.conn, RC_BINARY, wrong[0], 1), 0);
	cr_expect_eq(rc_send_unchecked(server.server, server.conn, RC_TEXT, right, strlen(right)), 0);
	cr_expect_eq(rc_send(server.server, server.conn, RC_TEXT, right, strlen(right)), 0);
	AWAIT(client.messages == 3);
	cr_expect_str_eq(client.text, right);
	/* The end matters more than its words. */
	cr_expect_eq(rc_close(server.server, server.conn, 4000, "half \xE2\x82", 7), 0);
	AWAIT(client.closed == 1);
	cr_expect_eq(client.code, 4000);
	cr_expect_eq(client.reason_size, 0);
}
