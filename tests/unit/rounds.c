/* SPDX-License-Identifier: MIT
 *
 * rounds.c - when the next round of fan-out begins. The worker is stepped by the test itself, so that what one tick
 * does can be seen.
 */
#include "ringcast_latency.h"
#include "ringcast_stats.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READERS 200
#define READERS_MAX 2000
#define APART_NS (READERS * UINT64_C(8000)) /* 8 us a send */
#define DOZE_NS 2000000                     /* a shorter pause ends by itself */

struct house {
	rc_server *server;
	unsigned reader_count;
	int port, readers[READERS_MAX];
};

static int on_request(void *context, rc_request *request)
{
	struct house *house = context;
	return rc_subscribe(house->server, rc_request_conn(request), "t", 1, NULL) ? 500 : 0;
}

static struct rc_stats stats_of(const struct house *house)
{
	struct rc_stats stats;
	rc_server_stats(house->server, &stats);
	return stats;
}

static uint64_t now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int connect_reader(int port)
{
	static const char request[] =
	    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	cr_assert_eq(write(fd, request, sizeof request - 1), (ssize_t)sizeof request - 1);
	return fd;
}

static void step_to(struct house *house, uint64_t deliveries)
{
	for (unsigned i = 0; i < 100000 && stats_of(house).deliveries < deliveries; i++)
		cr_assert_eq(rc_worker_step(house->server, 0), 1);
}

static void step_until(struct house *house, uint64_t deliveries)
{
	step_to(house, deliveries);
	cr_assert_eq(stats_of(house).deliveries, deliveries);
}

static void add_readers(struct house *house, unsigned count)
{
	for (count += house->reader_count; house->reader_count < count; house->reader_count++) {
		house->readers[house->reader_count] = connect_reader(house->port);
		rc_worker_step(house->server, 0);
	}
	for (unsigned i = 0; i < 100000 && stats_of(house).subscriptions < count; i++)
		rc_worker_step(house->server, 0);
	cr_assert_eq(stats_of(house).subscriptions, count);
}

static void open_house(struct house *house, unsigned reader_count, unsigned round_interval_us)
{
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 20;
	config.round_interval_us = round_interval_us;
	config.handlers = (struct rc_handlers){ .context = house, .request = on_request };
	house->server = rc_server_new(&config, NULL);
	house->port = rc_server_listen(house->server, "127.0.0.1:0", NULL);
	cr_assert_geq(rc_server_fd(house->server, 0), 0);
	house->reader_count = 0;
	add_readers(house, reader_count);
}

static void close_house(struct house *house)
{
	rc_server_stop(house->server, 0);
	while (rc_worker_step(house->server, 0) > 0)
		;
	rc_server_free(house->server);
	for (unsigned i = 0; i < house->reader_count; i++)
		close(house->readers[i]);
}

/* The sends of the tick right behind a round, with a message to send. UINT64_MAX when the test itself was too slow. */
static uint64_t sends_at_once(struct house *house)
{
	uint64_t before, began_ns = now_ns(), delivered = stats_of(house).deliveries;
	rc_publish(house->server, "t", 1, "first", 5, 0);
	step_until(house, delivered + READERS);
	before = stats_of(house).sends;
	rc_publish(house->server, "t", 1, "second", 6, 0);
	cr_assert_eq(rc_worker_step(house->server, 0), 1);
	uint64_t sends = stats_of(house).sends - before;
	bool in_time = now_ns() < began_ns + APART_NS;
	step_until(house, delivered + 2 * READERS);
	return in_time ? sends : UINT64_MAX;
}

Test(rounds, an_interval_of_0_keeps_none_apart)
{
	struct house house;
	open_house(&house, READERS, 0);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t sends = sends_at_once(&house);
		cr_expect(sends == READERS || sends == UINT64_MAX, "%lu sends", (unsigned long)sends);
	}
	close_house(&house);
}

Test(rounds, others_keep_their_distance)
{
	struct house house;
	unsigned seen = 0;
	open_house(&house, READERS, 10000);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t sends = sends_at_once(&house);
		cr_expect(sends == 0 || sends == UINT64_MAX, "%lu sends", (unsigned long)sends);
		seen += sends == 0;
	}
	if (!seen)
		cr_skip("this machine is too slow to see it");
	close_house(&house);
}

static void say_nothing(void *argument)
{
	(void)argument;
}

static bool is_readable(int fd)
{
	return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) == 1;
}

/* Publishes before each step, until the worker pauses with something to send. False: it never does. */
static bool crowd(struct house *house, int fd, uint64_t *published)
{
	uint64_t begin = stats_of(house).deliveries;
	for (unsigned i = 0; i < 200; i++) {
		cr_assert_gt(rc_publish(house->server, "t", 1, "more", 4, 0), 0);
		++*published;
		cr_assert_eq(rc_worker_step(house->server, 0), 1);
		if (!is_readable(fd) && stats_of(house).deliveries < begin + *published * house->reader_count)
			return true;
	}
	return false;
}

enum seen { NO_PAUSE, SHORT_PAUSE, SLEPT_ON, ENDED };

/* What a command does to a pause, and a publisher does not. */
static enum seen end_pause(struct house *house, int fd)
{
	enum seen seen = NO_PAUSE;
	uint64_t deliveries = stats_of(house).deliveries, published = 0;
	if (crowd(house, fd, &published)) {
		rc_publish(house->server, "t", 1, "last", 4, 0);
		published++;
		bool slept_on = !is_readable(fd);
		uint64_t began_ns = now_ns();
		cr_assert_eq(rc_post(house->server, 0, say_nothing, NULL), 0);
		seen = slept_on && is_readable(fd) ? ENDED : SHORT_PAUSE;
		cr_assert_eq(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 10000), 1);
		if (seen == SHORT_PAUSE && slept_on && now_ns() - began_ns > 2 * DOZE_NS)
			seen = SLEPT_ON;
	}
	step_until(house, deliveries + published * house->reader_count);
	return seen;
}

/* Where rounds are stretched. How many readers that takes depends on the machine. */
Test(rounds, a_command_ends_a_long_pause)
{
	static struct house house;
	struct rlimit limit;
	unsigned count[ENDED + 1] = { 0 };
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	open_house(&house, 300, 1);
	int fd = rc_server_fd(house.server, 0);
	for (unsigned i = 0; i < 60 && count[ENDED] < 3; i++) {
		enum seen seen = end_pause(&house, fd);
		count[seen]++;
		if (seen < SLEPT_ON && house.reader_count < READERS_MAX)
			add_readers(&house, 100);
	}
	close_house(&house);
	if (!count[ENDED] && !count[SLEPT_ON])
		cr_skip("this machine is too fast or too slow to see it");
	cr_expect_gt(count[ENDED], count[SLEPT_ON], "%u times it slept on", count[SLEPT_ON]);
}
