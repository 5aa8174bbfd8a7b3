/* SPDX-License-Identifier: MIT
 *
 * embed_form.c - forms that the application writes: each reader gets its topics in its own, from the log, from what was
 * published before it came, and where no encoding has room; what the writer leaves out, its readers do not get.
 */
#include "ringcast.h"
#include "ringcast_client.h"
#include "ringcast_form.h"
#include "ringcast_stats.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOG_SIZE ((size_t)1 << 20)
#define LARGE_SIZE (LOG_SIZE / 5) /* more than a quarter of an encoding, and less than one of the log */
#define SMALL 40

/* A subscriber at the other end, and the form in which it reads. */
struct reader {
	char form; /* 'p'lain, 'o'wn or the 's'econd */
	_Atomic unsigned count, wrong;
};

static rc_server *server, *client;
static char large[LARGE_SIZE];
static _Atomic unsigned written;

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

/* The mark of the form, the number of the message, and its payload twice. */
static size_t write_form(void *context, const struct rc_past *message, void *to, size_t room)
{
	char *at = to;
	size_t size = 2 + 2 * message->size;
	if (message->size && *(const char *)message->data == '-')
		return 0;
	if (size > room)
		return size;
	written++;
	at[0] = *(const char *)context;
	at[1] = (char)message->sequence;
	memcpy(at + 2, message->data, message->size);
	memcpy(at + 2 + message->size, message->data, message->size);
	return size;
}

static int on_request(void *context, rc_request *request)
{
	const char *form = rc_request_query(request, "form");
	struct rc_start start = { .resume = rc_request_query(request, "since"),
		                  .last = rc_request_query(request, "last") };
	(void)context;
	cr_expect_eq(rc_request_form(request, RC_FORM_OWN_2 + 1), -EINVAL);
	if (*form != 'p')
		cr_assert_eq(rc_request_form(request, *form == 'o' ? RC_FORM_OWN : RC_FORM_OWN_2), 0);
	return rc_subscribe(server, rc_request_conn(request), "t", 1, &start) ? 400 : 0;
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct reader *reader = user;
	const uint8_t *at = message->data;
	size_t half = message->size / 2 - 1;
	(void)context, (void)conn;
	bool plain = reader->form == 'p' && message->opcode == RC_TEXT;
	bool own = message->opcode == RC_BINARY && message->size % 2 == 0 && at[0] == reader->form &&
	           memcmp(at + 2, at + 2 + half, half) == 0;
	reader->wrong += !plain && !own;
	reader->count++;
}

static void begin(void)
{
	static char first = 'o', second = 's';
	struct rc_config config;
	struct rc_error error;
	memset(large, 'l', sizeof large);
	rc_config_init(&config);
	config.worker_count = 2;
	config.log_size = LOG_SIZE;
	config.handlers = (struct rc_handlers){ .request = on_request };
	server = rc_server_new(&config, &error);
	cr_assert_eq(rc_server_form(server, RC_FORM_JSON, write_form, &first), -EINVAL);
	cr_assert_eq(rc_server_form(server, RC_FORM_OWN, NULL, &first), -EINVAL);
	cr_assert_eq(rc_server_form(server, RC_FORM_OWN, write_form, &first), 0);
	cr_assert_eq(rc_server_form(server, RC_FORM_OWN_2, write_form, &second), 0);
	const struct rc_topic_options kept = { .keep_last = true };
	cr_assert_eq(rc_server_topic_rule(server, "t", &kept), 0);
}

static int start(void)
{
	struct rc_config config;
	struct rc_error error;
	int port = rc_server_listen(server, "127.0.0.1:0", &error);
	cr_assert(port > 0 && rc_server_start(server, &error) == 0, "%s", error.text);
	cr_assert_eq(rc_server_form(server, RC_FORM_OWN, write_form, NULL), -EBUSY);
	rc_config_init(&config);
	config.worker_count = 1;
	config.message_size_max = 1 << 20;
	config.handlers = (struct rc_handlers){ .message = on_message };
	client = rc_server_new(&config, &error);
	cr_assert_eq(rc_server_start(client, &error), 0, "%s", error.text);
	return port;
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

static void read_topic(struct reader *reader, int port, const char *query)
{
	char url[96];
	const struct rc_connect_options options = { .user = reader };
	snprintf(url, sizeof url, "ws://127.0.0.1:%d/?form=%c%s", port, reader->form, query);
	cr_assert_eq(rc_connect(client, 0, url, &options), 0);
}

static uint64_t subscriptions(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.subscriptions;
}

Test(embed_form, each_reads_in_its_own, .init = begin, .fini = end)
{
	struct reader readers[8];
	int port = start();
	for (unsigned i = 0; i < 8; i++) {
		readers[i] = (struct reader){ .form = "pos"[i % 3] };
		read_topic(&readers[i], port, "");
	}
	AWAIT(subscriptions() == 8);
	for (unsigned i = 0; i < SMALL; i++)
		cr_assert_gt(rc_publish(server, "t", 1, "small", 5, RC_PUBLISH_WAIT), 0);
	for (unsigned i = 0; i < 8; i++)
		AWAIT(readers[i].count == SMALL);
	/* Two workers, two forms: each message once a form. */
	cr_expect_eq(written, 2 * SMALL, "%u were written", written);
	cr_assert_gt(rc_publish(server, "t", 1, large, sizeof large, RC_PUBLISH_WAIT), 0);
	cr_assert_gt(rc_publish(server, "t", 1, "-none", 5, RC_PUBLISH_WAIT), 0);
	cr_assert_gt(rc_publish(server, "t", 1, "last", 4, RC_PUBLISH_WAIT), 0);
	for (unsigned i = 0; i < 8; i++) {
		AWAIT(readers[i].count == SMALL + 2 + (readers[i].form == 'p'));
		cr_expect_eq(readers[i].wrong, 0);
	}
}

Test(embed_form, what_was_before_comes_in_it_too, .init = begin, .fini = end)
{
	struct reader resumed = { .form = 'o' }, last = { .form = 's' };
	int port = start();
	for (unsigned i = 0; i < SMALL; i++)
		cr_assert_gt(rc_publish(server, "t", 1, i == 7 ? "-none" : "small", 5, RC_PUBLISH_WAIT), 0);
	read_topic(&resumed, port, "&since=1");
	read_topic(&last, port, "&last=1");
	AWAIT(resumed.count == SMALL - 1 && last.count == 1);
	cr_assert_gt(rc_publish(server, "t", 1, "more", 4, RC_PUBLISH_WAIT), 0);
	AWAIT(resumed.count == SMALL && last.count == 2);
	cr_expect_eq(resumed.wrong + last.wrong, 0);
}
