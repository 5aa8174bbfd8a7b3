/* SPDX-License-Identifier: MIT
 *
 * embed_replica.c - topics that are numbered elsewhere: what is refused, what a reader of the binary form is told of
 * holes, losses and epochs, and what becomes of handles, history, states and topics that were forgotten.
 */
#include "ringcast.h"
#include "ringcast_feed.h"
#include "ringcast_form.h"
#include "ringcast_publish.h"
#include "ringcast_replica.h"
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

#define LOG_SIZE ((size_t)64 << 10)

static rc_server *server;
static int port;
static struct rc_start started; /* as rc_subscribe() left it */
static _Atomic unsigned resyncs;

/* ---- the server ---- */

static uint64_t number_of(rc_request *request, const char *name)
{
	const char *text = rc_request_query(request, name);
	return text ? strtoull(text, NULL, 10) : 0;
}

static int on_request(void *context, rc_request *request)
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

static void on_resync(void *context, rc_conn conn, void *user, const char *topic, uint64_t epoch, uint64_t sequence)
{
	(void)context, (void)conn, (void)user, (void)sequence;
	cr_assert(*topic && epoch);
	resyncs++;
}

static void begin(void)
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

static void finish(void)
{
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

static int64_t at(const char *topic, uint64_t epoch, uint64_t sequence, const char *text)
{
	struct rc_publication message = {
		.data = text, .size = strlen(text), .flags = RC_PUBLISH_WAIT, .at_epoch = epoch, .at_sequence = sequence
	};
	return rc_publish_with(server, topic, strlen(topic), &message);
}

static int64_t here(const char *topic, const char *text)
{
	return rc_publish(server, topic, strlen(topic), text, strlen(text), RC_PUBLISH_WAIT);
}

static int64_t at_key(const char *key, uint64_t epoch, uint64_t sequence, const char *text)
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

static int begin_topic(const char *topic, uint64_t epoch, uint64_t sequence)
{
	return rc_topic_begin(server, topic, strlen(topic), epoch, sequence);
}

static struct rc_topic_stats stats_of(const char *topic)
{
	struct rc_topic_stats stats = { 0 };
	rc_topic_stats(server, topic, strlen(topic), &stats);
	return stats;
}

static uint64_t topic_count(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.topics;
}

/* So much that the log has come around three times. */
static void come_around(void)
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

static bool remember(void *context, const struct rc_past *past)
{
	struct told *told = context;
	size_t used = strlen(told->text);
	snprintf(told->text + used, sizeof told->text - used, "%lu/%lu<%lu %.*s;", past->epoch, past->sequence,
	         past->previous, (int)past->size, (const char *)past->data);
	return true;
}

static struct told history(const char *topic, uint64_t since)
{
	struct told told = { 0 };
	rc_topic_read(server, topic, strlen(topic), since, 100, remember, &told);
	return told;
}

static struct told state(void)
{
	struct told told = { 0 };
	rc_topic_state(server, "t", 1, NULL, NULL, NULL, remember, &told);
	return told;
}

/* ---- a reader ---- */

static int reader_open(const char *topic_and_query)
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

static void read_all(int fd, void *to, size_t size)
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
static bool next_frame(int fd, struct frame *frame, int wait_ms)
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
static struct told read_told(int fd)
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

static void expect_told(int fd, const char *wanted)
{
	struct told told = read_told(fd);
	cr_expect_str_eq(told.text, wanted, "told %s instead of %s", told.text, wanted);
}

/* What one is told that begins there and ends. */
static void expect_beginning(const char *topic_and_query, uint64_t lost, const char *wanted)
{
	int fd = reader_open(topic_and_query);
	struct told told = read_told(fd);
	cr_expect_str_eq(told.text, wanted, "%s: told %s instead of %s", topic_and_query, told.text, wanted);
	cr_expect_eq(started.lost, lost, "%s: %lu lost", topic_and_query, started.lost);
	close(fd);
}

#define EXPECT_HISTORY(topic, since, wanted) cr_expect_str_eq(history(topic, since).text, wanted)

/* ---- numbers ---- */

Test(replica, numbers_rise_and_have_holes, .init = begin, .fini = finish)
{
	cr_expect_eq(at("t", 7, 10, "a"), 10);
	cr_expect_eq(at("t", 7, 11, "b"), 11);
	cr_expect_eq(at("t", 7, 500, "c"), 500);
	cr_expect_eq(at("t", 7, 500, "again"), -EEXIST);
	cr_expect_eq(at("t", 7, 11, "older"), -EEXIST);
	cr_expect_eq(at("t", 7, 1, "oldest"), -EEXIST);
	EXPECT_HISTORY("t", 0, "7/10<9 a;7/11<10 b;7/500<11 c;");
	EXPECT_HISTORY("t", 11, "7/500<11 c;");
	EXPECT_HISTORY("t", 300, "7/500<11 c;");
	struct rc_topic_stats stats = stats_of("t");
	cr_expect(stats.epoch == 7 && stats.sequence == 500 && stats.oldest == 10 && stats.lost == 9);
}

Test(replica, a_number_is_whole_or_refused, .init = begin, .fini = finish)
{
	cr_expect_eq(at("t", 0, 1, "x"), -EINVAL);
	cr_expect_eq(at("t", 1, 0, "x"), -EINVAL);
	cr_expect_eq(at("t", (uint64_t)INT64_MAX + 1, 1, "x"), -EINVAL);
	cr_expect_eq(at("t", 1, (uint64_t)INT64_MAX + 1, "x"), -EINVAL);
	cr_expect_eq(at("t", INT64_MAX, INT64_MAX, "x"), INT64_MAX);
	cr_expect_eq(begin_topic("", 1, 1), -EINVAL);
	cr_expect_eq(begin_topic("u", 0, 1), -EINVAL);
	cr_expect_eq(begin_topic("u", 1, (uint64_t)INT64_MAX + 1), -EINVAL);
	cr_expect_eq(rc_server_begin(server, 1, (uint64_t)INT64_MAX + 1), -EINVAL);
	cr_expect_eq(topic_count(), 1);
}

static size_t make_text(void *context, uint64_t sequence, uint64_t epoch, const void **data)
{
	*data = context;
	return (size_t)sprintf(context, "%lu of %lu", sequence, epoch);
}

Test(replica, what_is_made_knows_the_number, .init = begin, .fini = finish)
{
	char text[64];
	struct rc_publication message = { .make = make_text, .context = text, .at_epoch = 3, .at_sequence = 44 };
	cr_expect_eq(rc_publish_with(server, "t", 1, &message), 44);
	cr_expect_eq(message.epoch, 3);
	EXPECT_HISTORY("t", 0, "3/44<43 44 of 3;");
}

Test(replica, of_many_those_are_left_out_that_are_there, .init = begin, .fini = finish)
{
	struct rc_batch_message messages[7];
	static const uint64_t numbers[7] = { 5, 5, 6, 4, 9, 2, 9 };
	int fd = reader_open("t");
	for (unsigned i = 0; i < 7; i++)
		messages[i] = (struct rc_batch_message){ .name = "t",
			                                 .name_size = 1,
			                                 .data = "abcdefg" + i,
			                                 .size = 1,
			                                 .at_epoch = 7,
			                                 .at_sequence = numbers[i] };
	cr_expect_eq(rc_publish_many(server, messages, 7, 0), 7);
	static const int64_t results[7] = { 5, -EEXIST, 6, -EEXIST, 9, -EEXIST, -EEXIST };
	for (unsigned i = 0; i < 7; i++)
		cr_expect_eq(messages[i].result, results[i], "%u: %ld", i, messages[i].result);
	EXPECT_HISTORY("t", 0, "7/5<4 a;7/6<5 c;7/9<6 e;");
	expect_told(fd, "resync 7/4;7/5<4 a;7/6<5 c;7/9<6 e;");
	cr_expect_eq(rc_publish_many(server, messages, 7, 0), 7, "all of them");
	cr_expect_eq(messages[4].result, -EEXIST);
	expect_told(fd, "");
	for (unsigned i = 0; i < 7; i++)
		messages[i].at_sequence = 0;
	cr_expect_eq(rc_publish_many(server, messages, 7, 0), -EINVAL);
	close(fd);
}

Test(replica, many_may_begin_anew_in_between, .init = begin, .fini = finish)
{
	static const uint64_t epochs[5] = { 7, 7, 8, 8, 8 }, numbers[5] = { 5, 8, 3, 3, 4 };
	struct rc_batch_message messages[5];
	int fd = reader_open("t");
	for (unsigned i = 0; i < 5; i++)
		messages[i] = (struct rc_batch_message){ .name = "t",
			                                 .name_size = 1,
			                                 .data = "abcde" + i,
			                                 .size = 1,
			                                 .at_epoch = epochs[i],
			                                 .at_sequence = numbers[i] };
	cr_expect_eq(rc_publish_many(server, messages, 5, 0), 5);
	cr_expect(messages[1].result == 8 && messages[2].result == 3 && messages[3].result == -EEXIST);
	cr_expect(messages[1].epoch == 7 && messages[4].epoch == 8);
	EXPECT_HISTORY("t", 0, "8/3<2 c;8/4<3 e;");
	expect_told(fd, "resync 8/2;8/3<2 c;8/4<3 e;");
	close(fd);
}

/* ---- where a topic begins ---- */

Test(replica, who_resumes_is_told_of_what_came_before, .init = begin, .fini = finish)
{
	cr_expect_eq(begin_topic("t", 7, 100), 0);
	struct rc_topic_stats stats = stats_of("t");
	cr_expect(stats.epoch == 7 && stats.sequence == 100 && stats.oldest == 0 && stats.lost == 100);
	expect_beginning("t?since=99&epoch=7", 100, "");
	expect_beginning("t?since=100&epoch=7", 0, "");
	cr_expect_eq(at("t", 7, 100, "x"), -EEXIST);
	cr_expect_eq(at("t", 7, 105, "a"), 105);
	cr_expect_eq(at("t", 7, 109, "b"), 109);
	expect_beginning("t?since=99&epoch=7", 100, "7/105<100 a;7/109<105 b;");
	expect_beginning("t?since=100&epoch=7", 0, "7/105<100 a;7/109<105 b;");
	expect_beginning("t?since=104&epoch=7", 0, "7/105<100 a;7/109<105 b;");
	expect_beginning("t?since=105&epoch=7", 0, "7/109<105 b;");
	expect_beginning("t?since=107&epoch=7", 0, "7/109<105 b;");
	expect_beginning("t?since=109&epoch=7", 0, "");
	expect_beginning("t?since=107&epoch=6", 100, "state 7/100;7/105<100 a;7/109<105 b;");
	expect_beginning("t?last=1", 0, "7/109<105 b;");
	cr_expect_eq(begin_topic("t", 7, 50), 0, "it has more than that");
	EXPECT_HISTORY("t", 0, "7/105<100 a;7/109<105 b;");
}

Test(replica, what_was_recycled_is_a_loss_however_far_apart_the_numbers_are, .init = begin, .fini = finish)
{
	rc_topic handle;
	cr_assert_eq(rc_topic_open(server, "t", 1, &handle), 0);
	at("t", 7, 10, "a");
	at("t", 7, 20, "b");
	come_around();
	cr_expect_eq(stats_of("t").lost, 20);
	expect_beginning("t?since=19&epoch=7", 20, "");
	expect_beginning("t?since=20&epoch=7", 0, "");
	at("t", 7, 90, "c");
	expect_beginning("t?since=19&epoch=7", 20, "7/90<20 c;");
	expect_beginning("t?since=20&epoch=7", 0, "7/90<20 c;");
	expect_beginning("t?since=50&epoch=7", 0, "7/90<20 c;");
	rc_topic_close(server, handle);
}

Test(replica, all_topics_begin_where_it_is_said, .init = begin, .fini = finish)
{
	cr_expect_eq(rc_server_begin(server, 7, 1000), 0);
	int fd = reader_open("t");
	struct rc_topic_stats stats = stats_of("t");
	cr_expect(stats.epoch == 7 && stats.sequence == 1000 && stats.lost == 1000);
	cr_expect_eq(at("t", 7, 1000, "x"), -EEXIST);
	cr_expect_eq(at("t", 7, 1003, "a"), 1003);
	expect_told(fd, "7/1003<1000 a;");
	expect_beginning("u?since=999&epoch=7", 1000, "");
	expect_beginning("u?since=1000&epoch=7", 0, "");
	cr_expect_eq(here("here", "h"), 1, "that one is the server's");
	cr_expect_eq(stats_of("here").lost, 0);
	cr_expect_eq(rc_server_begin(server, 0, 0), 0);
	cr_expect_eq(here("v", "h"), 1);
	cr_expect_eq(stats_of("t").epoch, 7);
	close(fd);
}

Test(replica, a_topic_that_was_forgotten_has_lost_what_it_had, .init = begin, .fini = finish)
{
	cr_expect_eq(rc_server_begin(server, 7, 0), 0);
	at("t", 7, 40, "a");
	at("t", 7, 60, "b");
	come_around();
	cr_expect_eq(stats_of("t").epoch, 0, "it was forgotten");
	expect_beginning("t?since=59&epoch=7", 60, "");
	expect_beginning("t?since=60&epoch=7", 0, "");
	cr_expect_eq(at("t", 7, 60, "b"), -EEXIST);
	cr_expect_eq(at("t", 7, 70, "c"), 70);
	EXPECT_HISTORY("t", 0, "7/70<60 c;");
	expect_beginning("u?since=1&epoch=7", 0, "");
}

Test(replica, where_it_begins_is_known_until_it_has_begun, .init = begin, .fini = finish)
{
	cr_expect_eq(begin_topic("t", 7, 100), 0);
	come_around();
	cr_expect_eq(stats_of("t").lost, 100);
	at("t", 7, 101, "a");
	come_around();
	cr_expect_eq(stats_of("t").epoch, 0, "nothing holds it any more");
	cr_expect_eq(rc_server_begin(server, 7, 0), 0);
	cr_expect_eq(begin_topic("t", 7, 200), 0);
	cr_expect_eq(stats_of("t").epoch, 0, "its place among those that were forgotten does");
	cr_expect_eq(at("t", 7, 201, "a"), 201);
	EXPECT_HISTORY("t", 0, "7/201<200 a;");
}

Test(replica, a_node_may_be_behind_the_one_that_its_client_comes_from, .init = begin, .fini = finish)
{
	cr_expect_eq(rc_server_begin(server, 7, 0), 0);
	at("t", 7, 40, "a");
	int fd = reader_open("t?since=45&epoch=7");
	expect_told(fd, "");
	cr_expect_eq(started.lost, 0);
	at("t", 7, 43, "b");
	at("t", 7, 45, "c");
	at("t", 7, 50, "d");
	expect_told(fd, "7/50<45 d;");
	at("t", 7, 51, "e");
	expect_told(fd, "7/51<50 e;");
	close(fd);
	fd = reader_open("t?since=55&epoch=7&rate=100");
	at("t", 7, 52, "f");
	expect_told(fd, "");
	at("t", 7, 55, "g");
	at("t", 7, 56, "h");
	expect_told(fd, "7/56<55 h;");
	close(fd);
}

/* ---- another epoch ---- */

Test(replica, another_epoch_is_told_and_nothing_of_the_old_one_given, .init = begin, .fini = finish)
{
	at("t", 7, 10, "a");
	int fd = reader_open("t"), other = reader_open("t?since=0&epoch=7");
	expect_told(other, "7/10<9 a;");
	cr_expect_eq(at("t", 8, 3, "b"), 3);
	expect_told(fd, "resync 8/2;8/3<2 b;");
	expect_told(other, "resync 8/2;8/3<2 b;");
	cr_expect_eq(resyncs, 2);
	EXPECT_HISTORY("t", 0, "8/3<2 b;");
	expect_beginning("t?since=9&epoch=7", 2, "state 8/2;8/3<2 b;");
	cr_expect_eq(begin_topic("t", 9, 77), 0);
	expect_told(fd, "resync 9/77;");
	EXPECT_HISTORY("t", 0, "");
	cr_expect_eq(begin_topic("t", 9, 90), 0, "what lies between never came");
	expect_told(fd, "resync 9/90;");
	at("t", 9, 91, "c");
	expect_told(fd, "9/91<90 c;");
	cr_expect_eq(topic_count(), 3, "two of them until the log is recycled");
	come_around();
	cr_expect_eq(topic_count(), 2);
	cr_expect_eq(stats_of("t").subscribers, 2);
	close(fd);
	close(other);
}

static size_t make_no_text(void *context, const struct rc_numbers *numbers, const void **data)
{
	(void)context, (void)numbers;
	*data = "\xff";
	return 1;
}

/* It has begun anew though nothing came of the message, and stays so. */
Test(replica, an_epoch_whose_first_message_fails_is_told_too, .init = begin, .fini = finish)
{
	struct rc_publication message = { .make_of = make_no_text, .at_epoch = 8, .at_sequence = 3 };
	at("t", 7, 10, "a");
	int fd = reader_open("t");
	cr_expect_eq(rc_publish_with(server, "t", 1, &message), -EILSEQ);
	expect_told(fd, "resync 8/2;");
	at("t", 8, 4, "b");
	expect_told(fd, "8/4<2 b;");
	close(fd);
}

Test(replica, keys_and_last_values_go_with_their_epoch, .init = begin, .fini = finish)
{
	at_key("k", 7, 10, "a");
	at_key("l", 7, 20, "b");
	cr_expect_str_eq(state().text, "7/10<9 a;7/20<10 b;");
	expect_beginning("t?state=1", 0, "state 7/20;7/10<9 a;7/20<10 b;");
	at_key("k", 7, 35, "c");
	expect_beginning("t?state=1&since=20&epoch=7", 0, "7/35<20 c;");
	come_around();
	cr_expect_str_eq(state().text, "7/20<10 b;7/35<20 c;", "kept, with the number before each");
	expect_beginning("t?state=1&since=9&epoch=7", 35, "state 7/35;7/20<10 b;7/35<20 c;");
	int fd = reader_open("t?state=1");
	expect_told(fd, "state 7/35;7/20<10 b;7/35<20 c;");
	at_key("l", 8, 1, "d");
	expect_told(fd, "resync 8/0;8/1<0 d;");
	cr_expect_str_eq(state().text, "8/1<0 d;");
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	cr_expect(stats.keys == 1 && stats.state_size == 0);
	close(fd);

	at("kept", 7, 10, "a");
	at("kept", 7, 30, "b");
	come_around();
	expect_beginning("kept?last=1", 0, "7/30<10 b;");
	begin_topic("kept", 8, 0);
	expect_beginning("kept?last=1", 0, "");
}

Test(replica, the_server_gives_no_numbers_of_the_stream, .init = begin, .fini = finish)
{
	at("t", 7, 10, "a");
	int fd = reader_open("t");
	cr_expect_eq(here("t", "b"), 1);
	uint64_t epoch = stats_of("t").epoch;
	cr_expect_neq(epoch, 7);
	char wanted[100];
	snprintf(wanted, sizeof wanted, "resync %lu/0;%lu/1<0 b;", epoch, epoch);
	expect_told(fd, wanted);
	at("t", 7, 10, "a");
	expect_told(fd, "resync 7/9;7/10<9 a;");
	close(fd);
}

Test(replica, handles_stay_good, .init = begin, .fini = finish)
{
	rc_topic first, second;
	cr_assert_eq(rc_topic_open(server, "t", 1, &first), 0);
	for (uint64_t epoch = 7; epoch < 20; epoch++) {
		struct rc_publication message = {
			.data = "a", .size = 1, .topic = first, .at_epoch = epoch, .at_sequence = 5
		};
		cr_expect_eq(rc_publish_with(server, NULL, 0, &message), 5);
		cr_expect_eq(message.epoch, epoch);
	}
	cr_assert_eq(rc_topic_open(server, "t", 1, &second), 0);
	cr_expect_eq(rc_publish_to(server, second, "b", 1, 0), 1);
	cr_expect_eq(rc_publish_to(server, first, "c", 1, 0), 2);
	EXPECT_HISTORY("t", 1, history("t", 1).text);
	come_around();
	cr_expect_eq(topic_count(), 4, "who was opened, and who has the name");
	cr_expect_eq(rc_topic_close(server, first), 0);
	cr_expect_eq(rc_topic_close(server, first), -ENOENT);
	cr_expect_eq(rc_publish_to(server, second, "d", 1, 0), 3);
	cr_expect_eq(rc_topic_close(server, second), 0);
	cr_expect_eq(rc_publish_to(server, second, "d", 1, 0), -ENOENT);
	come_around();
	cr_expect_eq(topic_count(), 1);
}

Test(replica, all_topics_of_the_stream_begin_anew_with_it, .init = begin, .fini = finish)
{
	rc_server_begin(server, 7, 10);
	at("t", 7, 20, "a");
	here("here", "x");
	int one = reader_open("t"), other = reader_open("u"), own = reader_open("here");
	cr_expect_eq(rc_server_begin(server, 7, 15), 0);
	expect_told(one, "");
	expect_told(other, "resync 7/15;");
	cr_expect_eq(rc_server_begin(server, 8, 3), 0);
	expect_told(one, "resync 8/3;");
	expect_told(other, "resync 8/3;");
	expect_told(own, "");
	cr_expect_eq(at("t", 8, 3, "b"), -EEXIST);
	cr_expect_eq(at("t", 8, 4, "b"), 4);
	expect_told(one, "8/4<3 b;");
	close(one);
	close(other);
	close(own);
}

/* ---- all at once ---- */

/* A stream of some topics, which loses its data now and then; each reader knows what it must have been told. */
enum { TOPICS = 6, READERS = 12, STEPS = 3000 };

static void follow(int fd, uint64_t *epoch, uint64_t *sequence)
{
	struct frame frame;
	while (next_frame(fd, &frame, 0)) {
		if (frame.kind == 1 || frame.kind == 2) {
			cr_assert(frame.epoch > *epoch || frame.sequence >= *sequence);
			*epoch = frame.epoch;
			*sequence = frame.sequence;
			continue;
		}
		cr_assert_eq(frame.epoch, *epoch, "epoch %lu without a word after %lu", frame.epoch, *epoch);
		cr_assert_leq(frame.previous, *sequence, "%lu has %lu before it, after %lu", frame.sequence,
		              frame.previous, *sequence);
		cr_assert_gt(frame.sequence, *sequence);
		*sequence = frame.sequence;
	}
}

Test(replica, readers_of_a_stream_that_is_lost_now_and_then, .init = begin, .fini = finish, .timeout = 120)
{
	uint64_t seed = seed_of("replica"), epoch = 100, sequence = 0, newest[TOPICS] = { 0 };
	struct {
		int fd;
		unsigned topic;
		uint64_t epoch, sequence;
	} readers[READERS] = { 0 };
	char name[64];
	rc_server_begin(server, epoch, sequence);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned topic = (unsigned)below(&seed, TOPICS);
		snprintf(name, sizeof name, "topic%u", topic);
		sequence += 1 + below(&seed, 3);
		cr_assert_eq(at(name, epoch, sequence, "payload"), (int64_t)sequence);
		newest[topic] = sequence;
		if (below(&seed, 300) == 0) {
			rc_server_begin(server, ++epoch, sequence = below(&seed, 50));
			memset(newest, 0, sizeof newest);
		}
		unsigned i = (unsigned)below(&seed, READERS);
		if (readers[i].fd && below(&seed, 20)) {
			follow(readers[i].fd, &readers[i].epoch, &readers[i].sequence);
			continue;
		}
		if (readers[i].fd)
			close(readers[i].fd);
		else
			readers[i].topic = topic;
		snprintf(name, sizeof name, "topic%u?since=%lu&epoch=%lu", readers[i].topic, readers[i].sequence,
		         readers[i].epoch ? readers[i].epoch : epoch);
		if (!readers[i].epoch)
			readers[i].epoch = epoch;
		readers[i].fd = reader_open(name);
		if (started.lost > readers[i].sequence && started.epoch == readers[i].epoch)
			readers[i].sequence = started.lost;
	}
	for (unsigned i = 0; i < READERS; i++) {
		for (unsigned tries = 0; readers[i].fd && tries < 100; tries++) {
			follow(readers[i].fd, &readers[i].epoch, &readers[i].sequence);
			if (readers[i].epoch == epoch && readers[i].sequence >= newest[readers[i].topic])
				break;
			usleep(20000);
		}
		if (!readers[i].fd)
			continue;
		cr_assert(readers[i].epoch == epoch && readers[i].sequence >= newest[readers[i].topic],
		          "reader %u: %lu/%lu, and the newest of topic%u is %lu/%lu", i, readers[i].epoch,
		          readers[i].sequence, readers[i].topic, epoch, newest[readers[i].topic]);
		close(readers[i].fd);
	}
}
