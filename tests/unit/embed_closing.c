/* SPDX-License-Identifier: MIT
 *
 * embed_closing.c - a connection that closes holds nothing of the log, whatever happens to its topics meanwhile.
 */
#include "ringcast.h"
#include "ringcast_form.h"
#include "ringcast_publish.h"
#include "ringcast_stats.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LOG_SIZE ((size_t)64 << 10)
#define UNREAD_SIZE ((size_t)16 << 20) /* more than the kernel keeps for a connection */
#define MESSAGE_SIZE ((size_t)1 << 20)

static rc_server *server;
static int port;
static _Atomic rc_conn reader;

static int on_request(void *context, rc_request *request)
{
	(void)context;
	reader = rc_request_conn(request);
	cr_assert_eq(rc_request_form(request, RC_FORM_BINARY), 0);
	return 0;
}

static void begin(void)
{
	static const struct rc_topic_options options = { .policy = RC_POLICY_RESYNC };
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = LOG_SIZE;
	config.send_size_max = 2 * UNREAD_SIZE;
	config.close_timeout_ms = 60000;
	config.handlers.request = on_request;
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	cr_assert_eq(rc_server_topic_rule(server, "t", &options), 0);
	port = rc_server_listen(server, "127.0.0.1:0", &error);
	cr_assert_gt(port, 0);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
}

static void finish(void)
{
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

/* One that never reads, with a small buffer. */
static int reader_open(void)
{
	static const char request[] =
	    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), size = 4096;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	cr_assert_eq(write(fd, request, sizeof request - 1), (ssize_t)sizeof request - 1);
	char first;
	cr_assert_eq(read(fd, &first, 1), 1);
	return fd;
}

static int64_t publish(const char *topic, uint64_t epoch, uint64_t sequence)
{
	static const char filler[500];
	struct rc_publication message = { .data = filler,
		                          .size = sizeof filler,
		                          .flags = RC_PUBLISH_WAIT | RC_PUBLISH_BINARY,
		                          .at_epoch = epoch,
		                          .at_sequence = sequence };
	return rc_publish_with(server, topic, strlen(topic), &message);
}

/* So much that the log has come around three times. */
static void come_around(uint64_t epoch)
{
	static uint64_t sequence;
	for (unsigned i = 0; i < 3 * LOG_SIZE / 500; i++)
		cr_assert_gt(publish("other", epoch, ++sequence), 0);
}

static struct rc_stats stats_now(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats;
}

static void reach(void *argument)
{
	atomic_store((_Atomic bool *)argument, true);
}

/* Everything that was asked of the worker has happened. */
static void wait_for_worker(void)
{
	_Atomic bool reached = false;
	cr_assert_eq(rc_post(server, 0, reach, (void *)&reached), 0);
	while (!atomic_load(&reached))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* One that is behind, as what was said to it alone comes first and it does not read. Its Close waits, too, and the log
 * leaves the place where it stands. Then its topic begins anew. */
Test(closing, a_topic_that_begins_anew_takes_no_closing_reader_along, .init = begin, .fini = finish, .timeout = 60)
{
	static const char filler[MESSAGE_SIZE];
	struct rc_start start = { .resume = true };
	int fd = reader_open();
	cr_assert_eq(publish("t", 7, 1), 1);
	for (size_t size = 0; size < UNREAD_SIZE; size += MESSAGE_SIZE)
		cr_assert_eq(rc_send(server, reader, RC_BINARY, filler, MESSAGE_SIZE), 0);
	cr_assert_eq(rc_subscribe(server, reader, "t", 1, &start), 0);
	cr_assert_eq(rc_subscribe(server, reader, "u", 1, NULL), 0); /* with which it stays where it stands */
	wait_for_worker();
	cr_assert(stats_now().behind == 1 && stats_now().subscriptions == 2);
	cr_assert_eq(rc_close(server, reader, RC_CLOSE_GOING_AWAY, "", 0), 0);
	wait_for_worker();
	come_around(7);
	cr_assert(stats_now().connections == 1 && stats_now().subscriptions == 2);
	cr_assert_eq(publish("t", 8, 1), 1);
	wait_for_worker(); /* in the worst case while it looks at what began anew */
	wait_for_worker();
	cr_expect_eq(stats_now().subscriptions, 1);
	come_around(8);
	close(fd);
}
