/* SPDX-License-Identifier: MIT
 *
 * rounds.c - when the next round of fan-out begins. The worker is stepped by the test itself, so that what one tick
 * does can be seen.
 */
#include "ringcast_latency.h"
#include "ringcast_stats.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READERS 200
#define APART_NS (READERS * UINT64_C(8000)) /* 8 us a send */

struct house {
	rc_server *server;
	int readers[READERS];
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

static void step_until(struct house *house, uint64_t deliveries)
{
	for (unsigned i = 0; i < 100000 && stats_of(house).deliveries < deliveries; i++)
		cr_assert_eq(rc_worker_step(house->server, 0), 1);
	cr_assert_eq(stats_of(house).deliveries, deliveries);
}

static void open_house(struct house *house, unsigned round_interval_us)
{
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 20;
	config.round_interval_us = round_interval_us;
	config.handlers = (struct rc_handlers){ .context = house, .request = on_request };
	house->server = rc_server_new(&config, NULL);
	int port = rc_server_listen(house->server, "127.0.0.1:0", NULL);
	cr_assert_geq(rc_server_fd(house->server, 0), 0);
	for (unsigned i = 0; i < READERS; i++)
		house->readers[i] = connect_reader(port);
	for (unsigned i = 0; i < 100000 && stats_of(house).subscriptions < READERS; i++)
		rc_worker_step(house->server, 0);
	cr_assert_eq(stats_of(house).subscriptions, READERS);
}

static void close_house(struct house *house)
{
	rc_server_stop(house->server, 0);
	while (rc_worker_step(house->server, 0) > 0)
		;
	rc_server_free(house->server);
	for (unsigned i = 0; i < READERS; i++)
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
	open_house(&house, 0);
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
	open_house(&house, 10000);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t sends = sends_at_once(&house);
		cr_expect(sends == 0 || sends == UINT64_MAX, "%lu sends", (unsigned long)sends);
		seen += sends == 0;
	}
	if (!seen)
		cr_skip("this machine is too slow to see it");
	close_house(&house);
}
