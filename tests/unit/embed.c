/* SPDX-License-Identifier: MIT
 *
 * embed.c - the public header as a trading system uses it, over the real loopback: workers in the caller's own threads,
 * publishing from many threads, handles kept too long, and every function from outside a worker. Both ends are ours
 * here; strangers' clients are in tests/live.
 */
#include "ringcast.h"
#include "ringcast_client.h"
#include "ringcast_stats.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PUBLISHERS 4
#define MESSAGES 2000

struct end {
	rc_server *server;
	int port;
	_Atomic unsigned opened, closed, messages, pongs, tasks;
	_Atomic rc_conn last;
	_Atomic int code, status;
	_Atomic bool wrong;
	char text[256];
	_Atomic uint64_t next[PUBLISHERS]; /* what each publisher's next message must be */
};

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Waits up to ten seconds for what must come. */
#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		for (int i_ = 0; i_ < 10000 && !(condition); i_++)                                                     \
			nap();                                                                                         \
		cr_assert(condition);                                                                                  \
	} while (0)

static int on_request(void *context, rc_request *request)
{
	struct end *end = context;
	const char *path = rc_request_path(request);
	cr_expect_eq(rc_request_server(request), end->server);
	cr_expect(rc_request_peer_is_local(request));
	cr_expect_str_eq(rc_request_peer(request), "127.0.0.1");
	if (strcmp(path, "/refused") == 0)
		return 451;
	if (strcmp(path, "/words") == 0)
		return rc_request_respond(request, 403, "text/plain", "no", 2);
	rc_request_choose_protocol(request, "second");
	if (strncmp(path, "/topic/", 7) == 0)
		return rc_subscribe(end->server, rc_request_conn(request), path + 7, strlen(path + 7), NULL) ? 400 : 0;
	return 0;
}

static void on_open(void *context, rc_conn conn, void *user)
{
	struct end *end = context;
	(void)user;
	end->last = conn;
	end->opened++;
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct end *end = context;
	unsigned publisher;
	unsigned long number;
	char text[256];
	(void)conn, (void)user;
	snprintf(text, sizeof text, "%.*s", (int)message->size, (const char *)message->data);
	if (sscanf(text, "publisher %u message %lu", &publisher, &number) == 2) {
		if (publisher >= PUBLISHERS || number != end->next[publisher]++)
			end->wrong = true;
	} else {
		memcpy(end->text, text, sizeof text);
	}
	end->messages++;
}

static void on_pong(void *context, rc_conn conn, void *user, const uint8_t *data, size_t size)
{
	struct end *end = context;
	(void)conn, (void)user;
	if (size != 4 || memcmp(data, "ping", 4) != 0)
		end->wrong = true;
	end->pongs++;
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct end *end = context;
	(void)conn, (void)user;
	end->code = closing->code;
	end->status = closing->status;
	end->closed++;
}

static struct rc_config config_of(struct end *end, unsigned workers)
{
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = workers;
	config.log_size = 1 << 24;
	config.handlers = (struct rc_handlers){
		.context = end, .open = on_open, .message = on_message, .pong = on_pong, .close = on_close
	};
	return config;
}

static void start_server(struct end *end, unsigned workers)
{
	struct rc_error error;
	struct rc_config config = config_of(end, workers);
	config.handlers.request = on_request;
	end->server = rc_server_new(&config, &error);
	cr_assert(end->server, "%s", error.text);
	end->port = rc_server_listen(end->server, "127.0.0.1:0", &error);
	cr_assert_gt(end->port, 0, "%s", error.text);
	cr_assert_eq(rc_server_start(end->server, &error), 0, "%s", error.text);
}

static void start_client(struct end *end)
{
	struct rc_error error;
	struct rc_config config = config_of(end, 1);
	end->server = rc_server_new(&config, &error);
	cr_assert(end->server, "%s", error.text);
	cr_assert_eq(rc_server_start(end->server, &error), 0, "%s", error.text);
}

static void connect_to(struct end *client, const struct end *server, const char *path)
{
	char url[128];
	snprintf(url, sizeof url, "ws://127.0.0.1:%d%s", server->port, path);
	cr_assert_eq(rc_connect(client->server, 0, url, NULL), 0);
}

static void stop(struct end *end)
{
	rc_server_stop(end->server, 1000);
	rc_server_join(end->server);
	rc_server_free(end->server);
}

struct publisher {
	rc_server *server;
	unsigned number;
};

static void *publish(void *argument)
{
	const struct publisher *publisher = argument;
	for (unsigned i = 0; i < MESSAGES; i++) {
		char text[64];
		int size = snprintf(text, sizeof text, "publisher %u message %u", publisher->number, i);
		cr_assert_gt(rc_publish(publisher->server, "feed", 4, text, (size_t)size, RC_PUBLISH_WAIT), 0);
	}
	return NULL;
}

Test(embed, publish_from_many_threads)
{
	static struct end server, client;
	start_server(&server, 3);
	start_client(&client);
	connect_to(&client, &server, "/topic/feed");
	AWAIT(client.opened == 1);
	struct publisher publishers[PUBLISHERS];
	pthread_t threads[PUBLISHERS];
	for (unsigned i = 0; i < PUBLISHERS; i++) {
		publishers[i] = (struct publisher){ server.server, i };
		pthread_create(&threads[i], NULL, publish, &publishers[i]);
	}
	for (unsigned i = 0; i < PUBLISHERS; i++)
		pthread_join(threads[i], NULL);
	AWAIT(client.messages == PUBLISHERS * MESSAGES);
	cr_expect_not(client.wrong, "each publisher's messages come in its order");
	struct rc_topic_stats topic;
	cr_assert_eq(rc_topic_stats(server.server, "feed", 4, &topic), 0);
	cr_expect_eq(topic.sequence, PUBLISHERS * MESSAGES);
	AWAIT(rc_topic_stats(server.server, "feed", 4, &topic) == 0 && topic.deliveries == PUBLISHERS * MESSAGES);
	cr_expect_eq(topic.subscribers, 1);
	struct rc_topic_stats top[4];
	cr_expect_eq(rc_topics_top(server.server, top, 4), 1);
	cr_expect_eq(rc_topic_stats(server.server, "none", 4, &topic), -ENOENT);
	stop(&client);
	stop(&server);
}

Test(embed, one_connection_from_outside_its_worker)
{
	static struct end server, client;
	start_server(&server, 2);
	start_client(&client);
	connect_to(&client, &server, "/");
	AWAIT(server.opened == 1 && client.opened == 1);
	rc_conn conn = server.last;
	cr_assert_eq(rc_send(server.server, conn, RC_TEXT, "hello", 5), 0);
	AWAIT(client.messages == 1);
	cr_expect_str_eq(client.text, "hello");
	cr_assert_eq(rc_ping(server.server, conn, "ping", 4), 0);
	AWAIT(server.pongs == 1);
	cr_expect_not(server.wrong);

	cr_assert_eq(rc_subscribe(server.server, conn, "late", 4, NULL), 0);
	struct rc_topic_stats topic;
	AWAIT(rc_topic_stats(server.server, "late", 4, &topic) == 0);
	cr_expect_eq(rc_publish(server.server, "late", 4, "one", 3, 0), 1);
	AWAIT(client.messages == 2);
	cr_expect_str_eq(client.text, "one");
	cr_assert_eq(rc_unsubscribe(server.server, conn, "late", 4), 0);
	AWAIT(rc_topic_stats(server.server, "late", 4, &topic) != 0 || !topic.subscribers);

	cr_assert_eq(rc_close(server.server, conn, 4001, "enough", 6), 0);
	AWAIT(client.closed == 1 && server.closed == 1);
	cr_expect_eq(client.code, 4001);
	stop(&client);
	stop(&server);
}

Test(embed, handles_kept_too_long)
{
	static struct end server, client;
	start_server(&server, 1);
	start_client(&client);
	connect_to(&client, &server, "/");
	AWAIT(server.opened == 1);
	rc_conn stale = server.last;
	rc_close(server.server, stale, 1000, NULL, 0);
	AWAIT(server.closed == 1 && client.closed == 1);
	struct rc_stats stats;
	AWAIT((rc_server_stats(server.server, &stats), stats.connections == 0));
	cr_expect_eq(rc_send(server.server, stale, RC_TEXT, "x", 1), -ENOTCONN);
	cr_expect_eq(rc_ping(server.server, stale, "x", 1), -ENOTCONN);
	cr_expect_eq(rc_close(server.server, stale, 1000, NULL, 0), -ENOTCONN);
	cr_expect_eq(rc_subscribe(server.server, stale, "t", 1, NULL), -ENOTCONN);
	cr_expect_eq(rc_unsubscribe(server.server, stale, "t", 1), -ENOTCONN);
	connect_to(&client, &server, "/");
	AWAIT(server.opened == 2);
	cr_expect_neq(server.last, stale, "the slot is used again, the handle is not");
	cr_expect_eq(rc_send(server.server, stale, RC_TEXT, "x", 1), -ENOTCONN);
	for (int i = 0; i < 64; i++)
		cr_expect_eq(rc_send(server.server, stale ^ (rc_conn)1 << i, RC_TEXT, "x", 1),
		             (stale ^ (rc_conn)1 << i) == server.last ? 0 : -ENOTCONN);
	cr_expect_eq(rc_send(server.server, 0, RC_TEXT, "x", 1), -ENOTCONN);
	stop(&client);
	stop(&server);
}

Test(embed, bad_arguments)
{
	static struct end server;
	static char big[(1 << 22) + 1];
	char name[300];
	memset(name, 'n', sizeof name);
	start_server(&server, 1);
	cr_expect_eq(rc_publish(server.server, "", 0, "x", 1, 0), -EINVAL);
	cr_expect_eq(rc_publish(server.server, name, 256, "x", 1, 0), -EINVAL);
	cr_expect_eq(rc_publish(server.server, name, 255, "x", 1, 0), 1);
	cr_expect_eq(rc_publish(server.server, "t", 1, big, sizeof big, 0), -EMSGSIZE);
	cr_expect_eq(rc_close(server.server, 1, 1005, NULL, 0), -EINVAL);
	cr_expect_eq(rc_close(server.server, 1, 1000, big, 124), -EINVAL);
	cr_expect_eq(rc_ping(server.server, 1, big, 126), -EINVAL);
	cr_expect_eq(rc_send(server.server, 1, (enum rc_opcode)8, "x", 1), -EINVAL);
	cr_expect_eq(rc_post(server.server, 1, (void (*)(void *))stop, NULL), -EINVAL);
	cr_expect_eq(rc_connect(server.server, 0, "http://127.0.0.1/", NULL), -EINVAL);
	struct rc_error error;
	cr_expect_eq(rc_server_start(server.server, &error), -EBUSY);
	cr_expect_eq(rc_server_listen(server.server, "127.0.0.1:0", &error), -EBUSY);
	stop(&server);

	struct rc_config config;
	rc_config_init(&config);
	config.log_size = 100000;
	cr_expect_null(rc_server_new(&config, &error));
	cr_expect_eq(error.code, -EINVAL);
	rc_config_init(&config);
	rc_server *unstarted = rc_server_new(&config, &error);
	cr_expect_eq(rc_server_listen(unstarted, "nonsense", &error), -EINVAL);
	cr_expect_eq(rc_server_listen(unstarted, "127.0.0.1:0?deflate=maybe", &error), -EINVAL);
	cr_expect_eq(rc_server_topic_rule(unstarted, "a*b", &(struct rc_topic_options){ 0 }), -EINVAL);
	rc_server_free(unstarted);
	rc_server_free(NULL);
}

Test(embed, connects_that_fail)
{
	static struct end server, client;
	start_server(&server, 1);
	start_client(&client);
	connect_to(&client, &server, "/refused");
	AWAIT(client.closed == 1);
	cr_expect_eq(client.status, 451);
	connect_to(&client, &server, "/words");
	AWAIT(client.closed == 2);
	cr_expect_eq(client.status, 403);
	rc_connect(client.server, 0, "ws://127.0.0.1:1/", NULL);
	AWAIT(client.closed == 3);
	cr_expect_eq(client.status, -ECONNREFUSED);
	rc_connect(client.server, 0, "ws+unix:/nowhere/at/all:/", NULL);
	AWAIT(client.closed == 4);
	cr_expect_eq(client.status, -ENOENT);
	rc_connect(client.server, 0, "ws://127.0.0.1:1/", &(struct rc_connect_options){ .source = "192.0.2.1" });
	AWAIT(client.closed == 5);
	cr_expect_eq(client.status, -EADDRNOTAVAIL);
	cr_expect_eq(client.opened, 0);
	stop(&client);
	stop(&server);
}

static void task(void *argument)
{
	((struct end *)argument)->tasks++;
}

static void *run_worker(void *argument)
{
	struct rc_error error;
	struct end *end = argument;
	cr_expect_eq(rc_server_run(end->server, 0, &error), 0);
	return NULL;
}

Test(embed, a_worker_in_the_callers_thread)
{
	static struct end server, client;
	struct rc_error error;
	struct rc_config config = config_of(&server, 1);
	config.handlers.request = on_request;
	server.server = rc_server_new(&config, &error);
	cr_assert(server.server);
	server.port = rc_server_listen(server.server, "127.0.0.1:0", &error);
	cr_expect_eq(rc_server_run(server.server, 7, &error), -EINVAL);
	pthread_t thread;
	pthread_create(&thread, NULL, run_worker, &server);
	start_client(&client);
	connect_to(&client, &server, "/topic/t");
	AWAIT(client.opened == 1);
	cr_expect_eq(rc_post(server.server, 0, task, &server), 0);
	AWAIT(server.tasks == 1);
	cr_expect_eq(rc_publish(server.server, "t", 1, "text", 4, RC_PUBLISH_BINARY), 1);
	AWAIT(client.messages == 1);
	rc_server_stop(server.server, 1000);
	pthread_join(thread, NULL);
	AWAIT(client.closed == 1);
	cr_expect_eq(client.code, 1001);
	rc_server_free(server.server);
	stop(&client);
}

/* The header says them beside each field, for an embedder who reads nothing else. */
Test(embed, defaults_are_those_of_the_header)
{
	struct rc_config config;
	rc_config_init(&config);
	cr_expect_eq(config.worker_count, 0);
	cr_expect_eq(config.connections_max, 0);
	cr_expect_eq(config.connections_per_address, 0);
	cr_expect_eq(config.subscriptions_max, 256);
	cr_expect_eq(config.body_size_max, 0);
	cr_expect_eq(config.message_size_max, 1 << 20);
	cr_expect_eq(config.fragments_max, 0);
	cr_expect_eq(config.send_size_max, 0);
	cr_expect_eq(config.memory_max, 0);
	cr_expect_eq(config.log_size, 64 << 20);
	cr_expect_eq(config.lag_size_max, 0);
	cr_expect_eq(config.lag_ms_max, 0);
	cr_expect_eq(config.policy, RC_POLICY_CLOSE);
	cr_expect_eq(config.handshake_timeout_ms, 10000);
	cr_expect_eq(config.idle_timeout_ms, 120000);
	cr_expect_eq(config.close_timeout_ms, 5000);
	cr_expect_eq(config.notsent_lowat_size, 32 << 10);
	cr_expect_eq(config.round_interval_us, 2000);
	cr_expect_eq(config.zero_copy_size_min, 0);
	cr_expect_not(config.kernel_tls || config.busy_poll || config.deflate.on || config.deflate.client_takeover);
	cr_expect_eq(config.deflate.level, 6);
	cr_expect_eq(config.deflate.bits, 15);
	cr_expect_eq(config.deflate.size_min, 128);
}
