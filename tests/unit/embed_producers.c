/* SPDX-License-Identifier: MIT
 *
 * embed_producers.c - producers as an embedder lets them in: what may be set and when, a publish of the program's own,
 * and what it does with a message that it cannot take yet.
 */
#include "ringcast_ingest.h"
#include "ringcast_producer.h"
#include "ringcast_stats.h"
#include "worker.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HELD 5 /* times that a message is sent back */
#define CROWD 16

static struct {
	rc_server *server;
	char folder[64], path[96], address[128];
	_Atomic unsigned asked, taken, held, wrong;
	_Atomic bool full;
} s;

static void begin(void)
{
	struct rc_config config;
	struct rc_error error;
	memset(&s, 0, sizeof s);
	strcpy(s.folder, "/tmp/ringcast-unit-XXXXXX");
	cr_assert(mkdtemp(s.folder));
	snprintf(s.path, sizeof s.path, "%s/producers", s.folder);
	snprintf(s.address, sizeof s.address, "unix:%s", s.path);
	rc_config_init(&config);
	config.worker_count = 2;
	config.log_size = 65536;
	s.server = rc_server_new(&config, &error);
	cr_assert(s.server, "%s", error.text);
}

static void end(void)
{
	rc_server_stop(s.server, 0);
	rc_server_join(s.server);
	rc_server_free(s.server);
	cr_assert_eq(access(s.path, F_OK), -1, "the socket's file stays");
	rmdir(s.folder);
}

TestSuite(embed_producers, .init = begin, .fini = end);

static bool allow(void *context, const char *topic, size_t size)
{
	s.wrong += context != &s;
	s.asked++;
	return size == 1 && *topic == 't';
}

static int64_t publish(void *context, const struct rc_produced *message)
{
	s.wrong += context != &s || message->topic_size != 1 || message->time_ns != 42 ||
	           message->flags != RC_PUBLISH_BINARY || message->size != 3 || memcmp(message->data, "abc", 3) != 0;
	if (s.held < HELD) {
		s.held++;
		return -EAGAIN;
	}
	s.taken++;
	return 1;
}

static bool wait_for(const _Atomic unsigned *count, unsigned value)
{
	for (unsigned i = 0; i < 10000 && *count < value; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return *count == value;
}

Test(embed_producers, a_publish_of_its_own_may_send_a_message_back)
{
	const struct rc_producers_options options = { .allow = allow, .publish = publish, .context = &s };
	struct rc_producer producer;
	struct rc_producer_stats stats;
	struct rc_error error;
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, &options, &error), 0, "%s", error.text);
	cr_assert_eq(rc_server_start(s.server, &error), 0, "%s", error.text);
	cr_assert_eq(rc_producer_open(&producer, s.address), 0, "%s", producer.error);
	cr_assert_eq(rc_producer_topic(&producer, "u", 1), -EACCES);
	cr_assert_eq(rc_producer_topic(&producer, "t", 1), 0, "%s", producer.error);
	cr_assert_eq(s.asked, 2);
	const struct rc_producer_message message = {
		.topic = 0, .flags = RC_PRODUCER_BINARY, .data = "abc", .size = 3, .time_ns = 42
	};
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(rc_producer_publish_with(&producer, &message), 0);
	cr_assert(wait_for(&s.taken, 100), "%u were taken", s.taken);
	cr_assert_eq(s.held, HELD);
	cr_assert_eq(s.wrong, 0);
	cr_assert(rc_producer_is_connected(&producer));
	rc_producer_stats(s.server, &stats);
	cr_assert(stats.producers == 1 && stats.records == 100 && stats.bytes == 300 && stats.held == HELD);
	rc_producer_close(&producer);
}

Test(embed_producers, what_may_be_set_and_when)
{
	struct rc_producers_options options = { .ring_size = 100000 };
	struct rc_producer producer;
	struct rc_error error;
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, &options, &error), -EINVAL);
	options = (struct rc_producers_options){ .topics = (const char *const[]){ "" }, .topic_count = 1 };
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, &options, &error), -EINVAL);
	cr_assert_eq(rc_server_listen_producers(s.server, "tcp:1", NULL, &error), -EINVAL);
	cr_assert_eq(rc_server_listen_producers(s.server, "unix:/no/such/folder/x", NULL, &error), -ENOENT);
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, NULL, &error), 0, "%s", error.text);
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, NULL, &error), -EBUSY);
	cr_assert_eq(rc_server_start(s.server, &error), 0, "%s", error.text);
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, NULL, &error), -EBUSY);
	cr_assert_eq(rc_producer_open(&producer, s.path), 0, "a path will do, too: %s", producer.error);
	rc_producer_close(&producer);
	cr_assert_eq(rc_producer_open(&producer, "/no/such/folder/x"), -ENOENT);
	cr_assert(strlen(producer.error) > 0);
}

Test(embed_producers, who_is_let_go_is_told_so)
{
	struct rc_producer producer;
	struct rc_error error;
	int result = 0;
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, NULL, &error), 0, "%s", error.text);
	cr_assert_eq(rc_server_start(s.server, &error), 0, "%s", error.text);
	cr_assert_eq(rc_producer_open(&producer, s.path), 0, "%s", producer.error);
	cr_assert_eq(rc_producer_topic(&producer, "t", 1), 0);
	rc_server_stop(s.server, 0);
	rc_server_join(s.server);
	for (unsigned i = 0; i < 3 && result == 0; i++)
		result = rc_producer_publish(&producer, 0, "a", 1, 0);
	cr_assert_eq(result, -EPIPE);
	cr_assert_not(rc_producer_is_connected(&producer));
	cr_assert_eq(rc_producer_topic(&producer, "u", 1), -EPIPE);
	rc_producer_close(&producer);
}

static int64_t publish_if_room(void *context, const struct rc_produced *message)
{
	(void)context, (void)message;
	if (s.full) {
		s.held++;
		return -EAGAIN;
	}
	s.taken++;
	return 1;
}

/* What is there when the server stops is published, also when there is no room for it at that moment. */
Test(embed_producers, a_full_log_loses_nothing_at_the_end)
{
	const struct rc_producers_options options = { .publish = publish_if_room, .context = &s };
	struct rc_producer producer;
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, &options, NULL), 0);
	cr_assert_eq(rc_server_start(s.server, NULL), 0);
	cr_assert_eq(rc_producer_open(&producer, s.address), 0, "%s", producer.error);
	cr_assert_eq(rc_producer_topic(&producer, "t", 1), 0);
	s.full = true;
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(rc_producer_publish(&producer, 0, "abc", 3, RC_PRODUCER_BINARY), 0);
	for (unsigned i = 0; i < 10000 && !s.held; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	cr_assert_eq(s.taken, 0);
	rc_server_stop(s.server, 20000);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	s.full = false;
	rc_server_join(s.server);
	cr_expect_eq(s.taken, 100, "%u were taken", s.taken);
	rc_producer_close(&producer);
}

/* And one that never has room ends with the time that there was. */
Test(embed_producers, a_log_that_stays_full_ends_all_the_same)
{
	const struct rc_producers_options options = { .publish = publish_if_room, .context = &s };
	struct rc_producer producer;
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, &options, NULL), 0);
	cr_assert_eq(rc_server_start(s.server, NULL), 0);
	cr_assert_eq(rc_producer_open(&producer, s.address), 0, "%s", producer.error);
	cr_assert_eq(rc_producer_topic(&producer, "t", 1), 0);
	s.full = true;
	cr_assert_eq(rc_producer_publish(&producer, 0, "abc", 3, RC_PRODUCER_BINARY), 0);
	rc_server_stop(s.server, 100);
	rc_server_join(s.server);
	cr_expect_eq(s.taken, 0);
	cr_expect_eq(rc_producer_publish(&producer, 0, "abc", 3, RC_PRODUCER_BINARY), -EPIPE);
	rc_producer_close(&producer);
}

/* They are at the door before it opens, so that one look lets them all in. */
Test(embed_producers, many_at_once_are_spread_over_the_workers)
{
	int sockets[CROWD];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct rc_producer_stats stats = { 0 };
	cr_assert_eq(rc_server_listen_producers(s.server, s.address, NULL, NULL), 0);
	memcpy(address.sun_path, s.path, sizeof s.path);
	for (unsigned i = 0; i < CROWD; i++) {
		sockets[i] = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		cr_assert_eq(connect(sockets[i], (struct sockaddr *)&address, sizeof address), 0);
	}
	cr_assert_eq(rc_server_start(s.server, NULL), 0);
	for (unsigned i = 0; i < 10000 && stats.accepted < CROWD; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		rc_producer_stats(s.server, &stats);
	}
	cr_assert_eq(stats.accepted, CROWD);
	for (unsigned i = 0; i < 2; i++)
		cr_expect_eq(s.server->workers[i].producers.count, CROWD / 2, "worker %u has %u", i,
		             s.server->workers[i].producers.count);
	for (unsigned i = 0; i < CROWD; i++)
		close(sockets[i]);
	for (unsigned i = 0; i < 10000 && stats.producers; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		rc_producer_stats(s.server, &stats);
	}
	for (unsigned i = 0; i < 2; i++)
		cr_expect_eq(s.server->workers[i].producers.count, 0);
}
