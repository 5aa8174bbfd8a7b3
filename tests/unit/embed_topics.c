/* SPDX-License-Identifier: MIT
 *
 * embed_topics.c - peers that make topics and leave them, time and again: what the server holds afterwards is what it
 * held before, by the counts of the allocator.
 */
#include "ringcast_stats.h"
#include "worker.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 60, TOPICS = 1000, ROUNDS = 5 };

static rc_server *server;
static _Atomic unsigned subscribed, made;

#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		for (int i_ = 0; i_ < 10000 && !(condition); i_++)                                                     \
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);                                     \
		cr_assert(condition);                                                                                  \
	} while (0)

static int on_request(void *context, rc_request *request)
{
	char name[32];
	(void)context;
	for (unsigned i = 0; i < TOPICS; i++) {
		size_t size = (size_t)snprintf(name, sizeof name, "t%u", atomic_fetch_add(&made, 1));
		cr_assert_eq(rc_subscribe(server, rc_request_conn(request), name, size, NULL), 0);
	}
	subscribed++;
	return 0;
}

static uint64_t subscriptions(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.subscriptions;
}

static size_t held(void)
{
	const struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

/* Everybody comes, makes topics of its own and goes. Returns what was held while all were there. */
static size_t one_round(int port)
{
	static const char request[] =
	    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	const struct sockaddr_in address = { .sin_family = AF_INET,
		                             .sin_port = htons((uint16_t)port),
		                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int sockets[CLIENTS];
	subscribed = 0;
	for (unsigned i = 0; i < CLIENTS; i++) {
		sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
		cr_assert_eq(connect(sockets[i], (const struct sockaddr *)&address, sizeof address), 0);
		cr_assert_eq(send(sockets[i], request, sizeof request - 1, 0), (ssize_t)sizeof request - 1);
	}
	AWAIT(subscribed == CLIENTS);
	size_t most = held();
	for (unsigned i = 0; i < CLIENTS; i++)
		close(sockets[i]);
	AWAIT(subscriptions() == 0);
	return most;
}

Test(embed_topics, who_makes_and_leaves_topics_leaves_nothing)
{
	struct rc_error error;
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1; /* or who gets which peers would differ */
	config.log_size = 1 << 20;
	config.subscriptions_max = TOPICS;
	config.handlers = (struct rc_handlers){ .request = on_request };
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	int port = rc_server_listen(server, "127.0.0.1:0", &error);
	cr_assert_gt(port, 0, "%s", error.text);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
	size_t before = held(), most = 0, after = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		most = one_round(port);
		size_t now = held();
		cr_expect(!round || now <= after + (64 << 10), "%zu KB more than a round ago", (now - after) >> 10);
		after = now;
	}
	/* The allocator of a sanitizer counts nothing. */
	cr_expect(!most || most - before > CLIENTS * TOPICS * 200, "%zu KB", (most - before) >> 10);
	/* The records of subscriptions stay, to be used again: 32 bytes each, with their places in the table. */
	cr_expect_leq(after, before + CLIENTS * TOPICS * 48 + (1 << 20), "%zu KB more than before, of %zu",
	              (after - before) >> 10, (most - before) >> 10);
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

/* What is in a server's tables cannot be reckoned with another one at hand. */
Test(embed_topics, each_server_has_seeds_of_its_own)
{
	struct rc_config config;
	rc_server *both[2];
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 20;
	for (unsigned i = 0; i < 2; i++) {
		both[i] = rc_server_new(&config, NULL);
		cr_assert_not_null(both[i]);
		cr_assert_eq(rc_server_start(both[i], NULL), 0);
	}
	cr_expect_neq(memcmp(both[0]->topics.secret, both[1]->topics.secret, RC_TOPIC_SECRET_SIZE), 0);
	cr_expect_neq(both[0]->workers[0].subscribers.seed, both[1]->workers[0].subscribers.seed);
	for (unsigned i = 0; i < 2; i++) {
		rc_server_stop(both[i], 0);
		rc_server_join(both[i]);
		rc_server_free(both[i]);
	}
}
