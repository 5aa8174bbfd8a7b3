/* SPDX-License-Identifier: MIT
 *
 * replica_side.h - what the tests of topics that are numbered elsewhere share: a server, publishing at given numbers,
 * and readers of the binary form, with what each was told as one text.
 */
#ifndef RC_REPLICA_SIDE_H
#define RC_REPLICA_SIDE_H

#include "ringcast.h"
#include "ringcast_feed.h"
#include "ringcast_form.h"
#include "ringcast_publish.h"
#include "ringcast_replica.h"
#include "ringcast_stats.h"

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

#define LOG_SIZE ((size_t)64 << 10)

static rc_server *server;
static int port;
static struct rc_start started; /* as rc_subscribe() left it */
static _Atomic unsigned resyncs;

/* ---- the server ---- */

static inline uint64_t number_of(rc_request *request, const char *name)
{
	const char *text = rc_request_query(request, name);
	return text ? strtoull(text, NULL, 10) : 0;
}

static inline int on_request(void *context, rc_request *request)
{
	(void)context;
	const char *topic = rc_request_path(request) + 1;
	struct rc_start start = { .state = number_of(request, "state"),
		                  .last = number_of(request, "last"),
		                  .resume = rc_request_query(request, "since"),
		                  .since = number_of(request, "since"),
		                  .epoch = number_of(request, "epoch"),
		                  .rate = (unsigned)number_of(request, "rate") };
	cr_assert_eq(rc_request_form(request, RC_FORM_BINARY), 0);
	int result = rc_subscribe(server, rc_request_conn(request), topic, strlen(topic), &start);
	started = start;
	return result == 0 ? 0 : 400;
}

static inline void on_resync(void *context, rc_conn conn, void *user, const char *topic, uint64_t epoch,
                             uint64_t sequence)
{
	(void)context, (void)conn, (void)user, (void)sequence;
	cr_assert(*topic && epoch);
	resyncs++;
}

static inline void begin(void)
{
	static const struct rc_topic_options kept = { .keep_last = true }, here = { .numbered_here = true };
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = 2;
	config.log_size = LOG_SIZE;
	config.handlers.request = on_request;
	config.handlers.resync = on_resync;
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	cr_assert_eq(rc_server_topic_rule(server, "kept", &kept), 0);
	cr_assert_eq(rc_server_topic_rule(server, "here", &here), 0);
	port = rc_server_listen(server, "127.0.0.1:0", &error);
	cr_assert_gt(port, 0);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
}

static inline void finish(void)
{
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

static inline int64_t at(const char *topic, uint64_t epoch, uint64_t sequence, const char *text)
{
	struct rc_publication message = {
		.data = text, .size = strlen(text), .flags = RC_PUBLISH_WAIT, .at_epoch = epoch, .at_sequence = sequence
	};
	return rc_publish_with(server, topic, strlen(topic), &message);
}

static inline int64_t here(const char *topic, const char *text)
{
	return rc_publish(server, topic, strlen(topic), text, strlen(text), RC_PUBLISH_WAIT);
}

static inline int64_t at_key(const char *key, uint64_t epoch, uint64_t sequence, const char *text)
{
	struct rc_publication message = { .data = text,
		                          .size = strlen(text),
		                          .flags = RC_PUBLISH_WAIT,
		                          .key = key,
		                          .key_size = strlen(key),
		                          .at_epoch = epoch,
		                          .at_sequence = sequence };
	return rc_publish_with(server, "t", 1, &message);
}

static inline int begin_topic(const char *topic, uint64_t epoch, uint64_t sequence)
{
	return rc_topic_begin(server, topic, strlen(topic), epoch, sequence);
}

static inline struct rc_topic_stats stats_of(const char *topic)
{
	struct rc_topic_stats stats = { 0 };
	rc_topic_stats(server, topic, strlen(topic), &stats);
	return stats;
}

static inline uint64_t topic_count(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.topics;
}

/* So much that the log has come around three times. */
static inline void come_around(void)
{
	static char filler[500];
	memset(filler, 'f', sizeof filler);
	for (unsigned i = 0; i < 3 * LOG_SIZE / sizeof filler; i++)
		cr_assert_gt(rc_publish(server, "here", 4, filler, sizeof filler, RC_PUBLISH_WAIT), 0);
}

/* ---- what there is to read, as text: "sequence<previous payload;" ---- */

struct told {
	char text[4096];
};

static inline bool remember(void *context, const struct rc_past *past)
{
	struct told *told = context;
	size_t used = strlen(told->text);
	snprintf(told->text + used, sizeof told->text - used, "%lu/%lu<%lu %.*s;", past->epoch, past->sequence,
	         past->previous, (int)past->size, (const char *)past->data);
	return true;
}

static inline struct told history(const char *topic, uint64_t since)
{
	struct told told = { 0 };
	rc_topic_read(server, topic, strlen(topic), since, 100, remember, &told);
	return told;
}

static inline struct told state(void)
{
	struct told told = { 0 };
	rc_topic_state(server, "t", 1, NULL, NULL, NULL, remember, &told);
	return told;
}

/* ---- a reader ---- */

static inline int reader_open(const char *topic_and_query)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	char request[512], answer[1024] = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	int size = snprintf(request, sizeof request,
	                    "GET /%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
	                    topic_and_query);
	cr_assert_eq(write(fd, request, (size_t)size), size);
	for (size_t used = 0; !strstr(answer, "\r\n\r\n"); used++)
		cr_assert_eq(read(fd, answer + used, 1), 1);
	cr_assert(strstr(answer, " 101 "), "%s", answer);
	return fd;
}

static inline void read_all(int fd, void *to, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = read(fd, (char *)to + done, size - done);
		cr_assert_gt(got, 0, "the connection is over");
		done += (size_t)got;
	}
}

struct frame {
	unsigned kind;
	uint64_t epoch, sequence, previous;
	char text[600];
};

/* False when none comes in time. */
static inline bool next_frame(int fd, struct frame *frame, int wait_ms)
{
	uint8_t head[4], bytes[2048];
	struct pollfd poll_for = { .fd = fd, .events = POLLIN };
	if (poll(&poll_for, 1, wait_ms) != 1)
		return false;
	read_all(fd, head, 2);
	size_t size = head[1];
	if (size == 126) {
		read_all(fd, head + 2, 2);
		size = (size_t)head[2] << 8 | head[3];
	}
	cr_assert(head[0] == 0x82 && size <= sizeof bytes, "a frame %02x of %zu", head[0], size);
	read_all(fd, bytes, size);
	uint64_t numbers[3];
	memcpy(numbers, bytes + 4, sizeof numbers);
	*frame = (struct frame){ bytes[0], be64toh(numbers[1]), be64toh(numbers[0]), be64toh(numbers[2]), "" };
	size_t before = 28u + bytes[2] + bytes[3];
	memcpy(frame->text, bytes + before, size - before);
	return true;
}

/* All that comes until nothing does. */
static inline struct told read_told(int fd)
{
	static const char *const marks[] = { "", "state", "resync", "conflated", "heartbeat" };
	struct told told = { 0 };
	struct frame frame;
	while (next_frame(fd, &frame, 150)) {
		size_t used = strlen(told.text), room = sizeof told.text - used;
		if (frame.kind)
			snprintf(told.text + used, room, "%s %lu/%lu;", marks[frame.kind], frame.epoch, frame.sequence);
		else
			snprintf(told.text + used, room, "%lu/%lu<%lu %s;", frame.epoch, frame.sequence, frame.previous,
			         frame.text);
	}
	return told;
}

static inline void expect_told(int fd, const char *wanted)
{
	struct told told = read_told(fd);
	cr_expect_str_eq(told.text, wanted, "told %s instead of %s", told.text, wanted);
}

/* What one is told that begins there and ends. */
static inline void expect_beginning(const char *topic_and_query, uint64_t lost, const char *wanted)
{
	int fd = reader_open(topic_and_query);
	struct told told = read_told(fd);
	cr_expect_str_eq(told.text, wanted, "%s: told %s instead of %s", topic_and_query, told.text, wanted);
	cr_expect_eq(started.lost, lost, "%s: %lu lost", topic_and_query, started.lost);
	close(fd);
}

#define EXPECT_HISTORY(topic, since, wanted) cr_expect_str_eq(history(topic, since).text, wanted)

#endif
