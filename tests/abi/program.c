/* SPDX-License-Identifier: MIT
 *
 * program.c - a program that was built against the frozen headers, and runs with today's library: it serves, connects
 * to itself, subscribes, publishes, reads back, and asks for every figure. Behind each struct that the library fills in
 * stands a wall that must not be touched. Ends with 0, or says what was wrong.
 */
#include <ringcast.h>
#include <ringcast_client.h>
#include <ringcast_stats.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WALL 0x77

#define WALLED(type, name)                                                                                             \
	struct {                                                                                                       \
		type it;                                                                                               \
		unsigned char wall[1024];                                                                              \
	} name;                                                                                                        \
	memset(&name, WALL, sizeof name)

#define must(what)                                                                                                     \
	do {                                                                                                           \
		if (!(what)) {                                                                                         \
			fprintf(stderr, "program.c:%d: %s\n", __LINE__, #what);                                        \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

#define stands(name) must(untouched((name).wall, sizeof(name).wall))

static rc_server *server;
static _Atomic int opened, received, closed;

static bool untouched(const unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != WALL)
			return false;
	return true;
}

static int on_request(void *context, rc_request *request)
{
	(void)context;
	WALLED(struct rc_start, start);
	memset(&start.it, 0, sizeof start.it);
	start.it.resume = true;
	must(strcmp(rc_request_path(request), "/feed") == 0);
	must(rc_subscribe(server, rc_request_conn(request), "feed", 4, &start.it) == 0);
	must(start.it.first == 1);
	stands(start);
	return 0;
}

static void on_open(void *context, rc_conn conn, void *user)
{
	(void)context;
	(void)conn;
	opened += user == &server;
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	(void)context;
	if (user != &server)
		return;
	must(message->opcode == RC_TEXT && message->size == 3 && memcmp(message->data, "one", 3) == 0);
	received++;
	must(rc_close(server, conn, 3000, "bye", 3) == 0);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	(void)context;
	(void)conn;
	must(closing->code == 3000 && closing->status == 0);
	must(user == &server || (closing->reason_size == 3 && memcmp(closing->reason, "bye", 3) == 0));
	closed++;
}

static bool on_past(void *context, const struct rc_past *past)
{
	must(past->sequence == 1 && past->opcode == RC_TEXT && past->size == 3 && past->epoch);
	++*(int *)context;
	return true;
}

static void await(_Atomic int *count, int value)
{
	for (int i = 0; i < 5000 && *count < value; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	must(*count == value);
}

static int start(void)
{
	WALLED(struct rc_config, config);
	WALLED(struct rc_topic_options, rule);
	WALLED(struct rc_error, error);
	rc_config_init(&config.it);
	stands(config);
	config.it.worker_count = 1;
	config.it.log_size = 1 << 20;
	config.it.handlers.request = on_request;
	config.it.handlers.open = on_open;
	config.it.handlers.message = on_message;
	config.it.handlers.close = on_close;
	server = rc_server_new(&config.it, &error.it);
	must(server);
	memset(&rule.it, 0, sizeof rule.it);
	rule.it.policy = RC_POLICY_CONFLATE;
	rule.it.keep_last = true;
	must(rc_server_topic_rule(server, "feed", &rule.it) == 0);
	int port = rc_server_listen(server, "127.0.0.1:0", &error.it);
	must(port > 0);
	must(rc_server_listen(server, "nowhere", &error.it) == error.it.code && error.it.code < 0 && error.it.text[0]);
	stands(error);
	must(rc_server_start(server, NULL) == 0);
	return port;
}

static void exchange(int port)
{
	char url[64];
	WALLED(struct rc_publication, message);
	WALLED(struct rc_connect_options, options);
	int past = 0;
	memset(&message.it, 0, sizeof message.it);
	message.it.data = "one";
	message.it.size = 3;
	must(rc_publish_with(server, "feed", 4, &message.it) == 1 && message.it.epoch);
	stands(message);
	must(rc_topic_read(server, "feed", 4, 0, 10, on_past, &past) == 1 && past == 1);
	memset(&options.it, 0, sizeof options.it);
	options.it.user = &server;
	snprintf(url, sizeof url, "ws://127.0.0.1:%d/feed", port);
	must(rc_connect(server, 0, url, &options.it) == 0);
	await(&received, 1);
	await(&closed, 2);
	must(opened == 1);
}

static void ask(void)
{
	WALLED(struct rc_stats, stats);
	WALLED(struct rc_stats, worker);
	WALLED(struct rc_lag_stats, lag);
	WALLED(struct rc_topic_stats, topic);
	WALLED(struct rc_topic_stats, top);
	WALLED(struct rc_topic_stats, matched);
	WALLED(struct rc_feature, features);
	must(rc_publish(server, "second", 6, "two", 3, RC_PUBLISH_BINARY) == 1);
	rc_server_stats(server, &stats.it);
	must(stats.it.published == 2 && stats.it.accepted == 1 && stats.it.connected == 1 && stats.it.topics == 2);
	must(rc_worker_stats(server, 0, &worker.it) == 0 && worker.it.accepted == 1);
	rc_lag_stats(server, &lag.it);
	must(lag.it.slowest_count <= RC_LAG_SLOWEST);
	must(rc_topic_stats(server, "feed", 4, &topic.it) == 0 && topic.it.sequence == 1 && topic.it.oldest == 1);
	must(rc_topics_top(server, &top.it, 1) == 1);
	must(rc_topics_match(server, "second", 6, &matched.it, 1) == 1 && strcmp(matched.it.name, "second") == 0);
	must(rc_probe(&features.it, 1, NULL) == 1 && strcmp(features.it.name, "kernel") == 0);
	stands(stats);
	stands(worker);
	stands(lag);
	stands(topic);
	stands(top);
	stands(matched);
	stands(features);
}

int main(void)
{
	must(rc_version_number() >= RC_VERSION_NUMBER);
	exchange(start());
	ask();
	rc_server_stop(server, 100);
	rc_server_join(server);
	rc_server_free(server);
	return 0;
}
