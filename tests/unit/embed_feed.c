/* SPDX-License-Identifier: MIT
 *
 * embed_feed.c - keyed feeds on the wire, by a reader of the binary form that keeps the state and looks at every
 * number: a beginning with the state or a base, slow readers, a pace, heartbeats, and what is asked of the publisher.
 */
#include "ringcast.h"
#include "ringcast_feed.h"
#include "ringcast_form.h"
#include "ringcast_stats.h"
#include "seed.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEYS 512

enum { MESSAGE, STATE, RESYNC, CONFLATED, HEARTBEAT }; /* kinds of the binary form */

static rc_server *server;
static int port;
static _Atomic unsigned resyncs, wanted;
static char wanted_topic[64];

/* ---- the server ---- */

static bool asks(rc_request *request, const char *name)
{
	return rc_request_query(request, name);
}

static unsigned number_of(rc_request *request, const char *name)
{
	const char *text = rc_request_query(request, name);
	return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static int on_request(void *context, rc_request *request)
{
	(void)context;
	struct rc_start start = { .state = asks(request, "state"),
		                  .snapshot = asks(request, "snapshot"),
		                  .resume = asks(request, "since"),
		                  .since = number_of(request, "since"),
		                  .rate = number_of(request, "rate"),
		                  .conflate = asks(request, "conflate") };
	if (!asks(request, "plain"))
		cr_assert_eq(rc_request_form(request, RC_FORM_BINARY), 0);
	int result = rc_subscribe(server, rc_request_conn(request), "t", 1, &start);
	return result == 0 ? 0 : 400;
}

static void on_resync(void *context, rc_conn conn, void *user, const char *topic, uint64_t epoch, uint64_t sequence)
{
	(void)context;
	(void)conn;
	(void)user;
	cr_assert_str_eq(topic, "t");
	cr_assert(epoch && sequence);
	resyncs++;
}

static void on_snapshot_wanted(void *context, const char *topic, size_t topic_size)
{
	(void)context;
	memcpy(wanted_topic, topic, topic_size);
	wanted++;
}

static void begin(const struct rc_topic_options *rule, size_t log_size)
{
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = log_size;
	config.handlers.request = on_request;
	config.handlers.resync = on_resync;
	config.handlers.snapshot_wanted = on_snapshot_wanted;
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	if (rule)
		cr_assert_eq(rc_server_topic_rule(server, "t", rule), 0);
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

static int64_t publish(unsigned key, const char *data, size_t size, unsigned flags)
{
	char name[16];
	int name_size = snprintf(name, sizeof name, "%u", key);
	struct rc_publication message = { .data = data,
		                          .size = size,
		                          .flags = flags | RC_PUBLISH_WAIT | RC_PUBLISH_BINARY,
		                          .key = name,
		                          .key_size = (size_t)name_size };
	if (flags & RC_PUBLISH_SNAPSHOT)
		message.key_size = 0;
	return rc_publish_with(server, "t", 1, &message);
}

/* ---- the truth, and a reader ---- */

static struct truth {
	uint64_t sequence;
	uint64_t keys[KEYS]; /* sequence of each; 0: it is not there */
} truth;

static void publish_one(unsigned key, size_t size, bool removes)
{
	static const char bytes[8192];
	cr_assert_eq(publish(key, bytes, size, removes ? RC_PUBLISH_REMOVE : 0), (int64_t)++truth.sequence);
	truth.keys[key] = removes ? 0 : truth.sequence;
}

struct reader {
	int fd;
	uint64_t keys[KEYS];
	uint64_t last, until; /* number of the last message; up to where it was told to get less */
	unsigned marks[5], messages, bases;
	bool begun;
};

static void reader_open(struct reader *reader, const char *query, int receive_buffer)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	char request[512], answer[1024] = { 0 };
	*reader = (struct reader){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
	if (receive_buffer)
		setsockopt(reader->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(connect(reader->fd, (struct sockaddr *)&address, sizeof address), 0);
	int size = snprintf(request, sizeof request,
	                    "GET /?%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
	                    query);
	cr_assert_eq(write(reader->fd, request, (size_t)size), size);
	for (size_t used = 0; !strstr(answer, "\r\n\r\n"); used++)
		cr_assert_eq(read(reader->fd, answer + used, 1), 1);
	cr_assert(strstr(answer, " 101 "), "%s", answer);
}

static void read_all(int fd, void *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = read(fd, (char *)to + done, size - done);
		cr_assert_gt(got, 0, "the connection is over");
		done += (size_t)got;
	}
}

static bool has_something(const struct reader *reader, int wait_ms)
{
	struct pollfd poll_for = { .fd = reader->fd, .events = POLLIN };
	return poll(&poll_for, 1, wait_ms) == 1;
}

static void take_mark(struct reader *reader, unsigned kind, uint64_t sequence)
{
	reader->marks[kind]++;
	reader->begun = true;
	if (kind == HEARTBEAT) {
		cr_assert_eq(sequence, reader->last, "a heartbeat finds %lu missing", sequence - reader->last);
		return;
	}
	if (kind != CONFLATED) {
		memset(reader->keys, 0, sizeof reader->keys);
		reader->last = 0;
	}
	cr_assert_geq(sequence, reader->until, "a mark goes back");
	reader->until = sequence;
}

static void take_message(struct reader *reader, unsigned flags, const char *key, uint64_t sequence, uint64_t previous)
{
	cr_assert_lt(previous, sequence);
	cr_assert_gt(sequence, reader->last, "%lu after %lu", sequence, reader->last);
	if (sequence > reader->until)
		cr_assert(!reader->begun || previous == (reader->last > reader->until ? reader->last : reader->until),
		          "%lu has %lu before it, and %lu was the last, told up to %lu", sequence, previous,
		          reader->last, reader->until);
	reader->begun = true;
	reader->last = sequence;
	reader->messages++;
	if (flags & 4) {
		memset(reader->keys, 0, sizeof reader->keys);
		reader->bases++;
	} else if (*key) {
		reader->keys[strtoul(key, NULL, 10)] = flags & 2 ? 0 : sequence;
	}
}

/* Takes the next frame. False when none comes in time. */
static bool reader_next(struct reader *reader, int wait_ms)
{
	static uint8_t bytes[1 << 16];
	uint8_t head[10];
	if (!has_something(reader, wait_ms))
		return false;
	read_all(reader->fd, head, 2);
	uint64_t size = head[1];
	if (size == 126) {
		read_all(reader->fd, head + 2, 2);
		size = (uint64_t)head[2] << 8 | head[3];
	}
	cr_assert_eq(head[0], 0x82, "a frame %02x", head[0]);
	cr_assert_leq(size, sizeof bytes);
	read_all(reader->fd, bytes, size);
	uint64_t numbers[3];
	memcpy(numbers, bytes + 4, sizeof numbers);
	char key[RC_KEY_MAX + 1] = { 0 };
	memcpy(key, bytes + 28 + bytes[3], bytes[2]);
	cr_assert_leq(bytes[0], HEARTBEAT);
	if (bytes[0] == MESSAGE)
		take_message(reader, bytes[1], key, be64toh(numbers[0]), be64toh(numbers[2]));
	else
		take_mark(reader, bytes[0], be64toh(numbers[0]));
	return true;
}

/* Reads until it has all, and holds its state against the truth. */
static void reader_check(struct reader *reader)
{
	while ((reader->last > reader->until ? reader->last : reader->until) < truth.sequence ||
	       has_something(reader, 50))
		cr_assert(reader_next(reader, 10000), "%lu never came, %lu is the last, told up to %lu", truth.sequence,
		          reader->last, reader->until);
	for (unsigned i = 0; i < KEYS; i++)
		cr_assert_eq(reader->keys[i], truth.keys[i], "key %u: %lu instead of %lu", i, reader->keys[i],
		             truth.keys[i]);
}

static void reader_close(struct reader *reader)
{
	close(reader->fd);
}

/* ---- beginning ---- */

Test(feed, who_comes_late_begins_with_the_state, .timeout = 60)
{
	struct reader early, late, resumed;
	begin(NULL, 64 * 1024);
	uint64_t seed = seed_of("feed");
	reader_open(&early, "state=1", 0);
	for (unsigned i = 0; i < 3000; i++) {
		publish_one((unsigned)below(&seed, i % 3 ? 8 : KEYS), 20 + below(&seed, 100), below(&seed, 10) == 0);
		while (i % 50 == 0 && early.last < truth.sequence)
			cr_assert(reader_next(&early, 10000));
	}
	reader_open(&late, "state=1", 0);
	reader_check(&late);
	cr_expect_eq(late.marks[STATE], 1);
	cr_expect_lt(late.messages, 1000, "%u", late.messages);
	reader_check(&early);
	cr_expect_eq(early.messages, 3000);
	publish_one(1, 10, false);
	reader_check(&late);
	char query[64];
	snprintf(query, sizeof query, "state=1&since=%lu", truth.sequence - 3);
	reader_open(&resumed, query, 0);
	resumed.until = truth.sequence - 3;
	cr_assert(reader_next(&resumed, 1000));
	cr_expect_eq(resumed.marks[STATE], 0, "the log has all that it missed");
	cr_expect_eq(resumed.messages, 1);
	reader_close(&resumed);
	reader_open(&resumed, "state=1&since=1", 0);
	reader_check(&resumed);
	cr_expect_eq(resumed.marks[STATE], 1, "it has not");
	reader_close(&early);
	reader_close(&late);
	reader_close(&resumed);
	finish();
}

Test(feed, a_base_is_where_to_begin, .timeout = 60)
{
	struct reader reader;
	begin(NULL, 64 * 1024);
	for (unsigned i = 0; i < 100; i++)
		publish_one(i, 20, false);
	cr_assert_eq(publish(0, "all", 3, RC_PUBLISH_SNAPSHOT), (int64_t)++truth.sequence);
	memset(truth.keys, 0, sizeof truth.keys);
	for (unsigned i = 0; i < 50; i++)
		publish_one(i % 5, 20, false);
	reader_open(&reader, "snapshot=1", 0);
	reader_check(&reader);
	cr_expect_eq(reader.messages, 51);
	cr_expect_eq(reader.bases, 1);
	reader_close(&reader);
	reader_open(&reader, "state=1", 0);
	reader_check(&reader);
	cr_expect_eq(reader.messages, 6, "%u", reader.messages);
	reader_close(&reader);
	/* The log comes around: then it is kept. */
	for (unsigned i = 0; i < 2000; i++)
		publish_one(5 + i % 5, 40, false);
	reader_open(&reader, "snapshot=1", 0);
	reader_check(&reader);
	cr_expect_eq(reader.messages, 11);
	cr_expect_eq(reader.bases, 1);
	reader_close(&reader);
	finish();
}

Test(feed, a_topic_without_a_key_has_an_empty_state, .timeout = 60)
{
	struct reader reader;
	begin(NULL, 64 * 1024);
	reader_open(&reader, "state=1", 0);
	cr_assert(reader_next(&reader, 1000));
	cr_expect_eq(reader.marks[STATE], 1);
	publish_one(1, 10, false);
	reader_check(&reader);
	reader_close(&reader);
	finish();
}

/* ---- those who are slow ---- */

static void stall(const struct rc_topic_options *rule, const char *query, struct reader *reader, size_t log_size,
                  unsigned messages)
{
	begin(rule, log_size);
	uint64_t seed = seed_of("feed that stalls");
	reader_open(reader, query, 4096);
	for (unsigned i = 0; i < messages; i++)
		publish_one((unsigned)below(&seed, 40), 500 + below(&seed, 3000), below(&seed, 10) == 0);
	reader_check(reader);
	for (unsigned i = 0; i < 20; i++)
		publish_one(i, 10, false);
	reader_check(reader);
	reader_close(reader);
}

Test(feed, who_is_slow_gets_the_newest_of_each_key, .timeout = 60)
{
	struct rc_topic_options rule = { .policy = RC_POLICY_CONFLATE };
	struct reader reader;
	stall(&rule, "state=1", &reader, 8 << 20, 2000);
	cr_expect_gt(reader.marks[CONFLATED], 0);
	cr_expect_eq(reader.marks[RESYNC], 0);
	cr_expect_lt(reader.messages, 1000, "%u", reader.messages);
	finish();
}

Test(feed, who_is_overrun_goes_on_from_the_state, .timeout = 60)
{
	struct rc_topic_options rule = { .policy = RC_POLICY_RESYNC };
	struct reader reader;
	struct rc_stats stats;
	stall(&rule, "state=1", &reader, 256 << 10, 2000);
	cr_expect_gt(reader.marks[RESYNC], 0);
	cr_expect_eq(resyncs, reader.marks[RESYNC], "%u told, %u marks", resyncs, reader.marks[RESYNC]);
	rc_server_stats(server, &stats);
	cr_expect_geq(stats.resyncs, reader.marks[RESYNC]);
	finish();
}

/* ---- a pace ---- */

Test(feed, a_pace_brings_the_newest_now_and_then, .timeout = 60)
{
	struct reader reader;
	begin(NULL, 1 << 20);
	reader_open(&reader, "state=1&rate=10", 0);
	for (unsigned i = 0; i < 500; i++) {
		publish_one(i % 5, 20, i % 50 == 49);
		usleep(2000);
	}
	reader_check(&reader);
	cr_expect_lt(reader.messages, 150, "%u", reader.messages);
	cr_expect_geq(reader.messages, 10, "%u", reader.messages);
	cr_expect_gt(reader.marks[CONFLATED], 3);
	cr_expect_eq(reader.marks[RESYNC], 0);
	reader_close(&reader);
	finish();
}

/* ---- heartbeats, and bases that are wanted ---- */

Test(feed, a_quiet_topic_says_that_nothing_is_missing, .timeout = 60)
{
	struct rc_topic_options rule = { .heartbeat_ms = 100 };
	struct reader reader, plain;
	begin(&rule, 1 << 20);
	reader_open(&reader, "state=1", 0);
	reader_open(&plain, "plain=1", 0);
	for (unsigned i = 0; i < 20; i++) {
		publish_one(i, 20, false);
		usleep(20000);
	}
	while (reader.last < truth.sequence)
		cr_assert(reader_next(&reader, 1000));
	cr_expect_eq(reader.marks[HEARTBEAT], 0, "it was not quiet");
	while (reader.marks[HEARTBEAT] < 3)
		cr_assert(reader_next(&reader, 1000));
	cr_expect_eq(reader.messages, 20);
	publish_one(1, 20, false);
	while (reader.marks[HEARTBEAT] < 5)
		cr_assert(reader_next(&reader, 1000));
	reader_close(&reader);
	/* In the plain form there are the messages and nothing else. */
	char bytes[1024];
	ssize_t size = read(plain.fd, bytes, sizeof bytes);
	cr_expect_eq(size, 21 * 22, "%zd", size);
	reader_close(&plain);
	finish();
}

static void await_wanted(unsigned count)
{
	for (unsigned i = 0; i < 1000 && wanted < count; i++)
		usleep(1000);
	usleep(20000);
	cr_expect_eq(wanted, count);
}

Test(feed, a_new_base_is_wanted_when_much_came_since, .timeout = 60)
{
	struct rc_topic_options rule = { .snapshot_factor = 4 };
	static const char bytes[1000];
	begin(&rule, 1 << 20);
	publish_one(1, 10, false);
	await_wanted(1);
	cr_expect_str_eq(wanted_topic, "t", "there is none");
	for (unsigned i = 0; i < 10; i++)
		publish_one(2, 10, false);
	await_wanted(1);
	cr_assert_eq(publish(0, bytes, sizeof bytes, RC_PUBLISH_SNAPSHOT), (int64_t)++truth.sequence);
	for (unsigned i = 0; i < 3; i++)
		publish_one(2, 1000, false);
	await_wanted(1);
	publish_one(2, 1020, false);
	await_wanted(2);
	publish_one(2, 1000, false);
	await_wanted(2);
	cr_assert_eq(publish(0, bytes, sizeof bytes, RC_PUBLISH_SNAPSHOT), (int64_t)++truth.sequence);
	publish_one(2, 5000, false);
	await_wanted(3);
	finish();
}
