/* SPDX-License-Identifier: MIT
 *
 * embed_budget.c - rc_config.memory_max over the real loopback: who reads nothing is closed with a reason, who comes
 * while memory is short gets 503, and who comes afterwards is let in.
 */
#include "ringcast.h"
#include "ringcast_stats.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUDGET (4u << 20)
#define SLOW 3 /* who take a block of 1 MiB each: three quarters, and a little more */

static rc_server *server;
static int port;
static _Atomic unsigned opened, closed, came;
static _Atomic int code;
static char reason[64];

#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		for (int i_ = 0; i_ < 10000 && !(condition); i_++)                                                     \
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);                                     \
		cr_assert(condition);                                                                                  \
	} while (0)

static void on_open(void *context, rc_conn conn, void *user)
{
	static const char large[900000];
	(void)context, (void)user;
	if (opened++ < SLOW)
		cr_expect_eq(rc_send(server, conn, RC_BINARY, large, sizeof large), 0);
}

/* Memory is short right now, and stays so until this worker goes on. */
static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	(void)context, (void)conn, (void)user;
	if (!closed) {
		code = closing->code;
		snprintf(reason, sizeof reason, "%.*s", (int)closing->reason_size, closing->reason);
		closed = 1;
		AWAIT(came);
	}
}

/* A connection whose request is under way. */
static int come(void)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				      "Sec-WebSocket-Version: 13\r\n"
				      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), size = 4096;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 5 }, sizeof(struct timeval));
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	cr_assert_eq(send(fd, request, sizeof request - 1, 0), (ssize_t)sizeof request - 1);
	return fd;
}

static const char *answer(int fd)
{
	static char text[1024];
	ssize_t size = recv(fd, text, sizeof text - 1, 0);
	text[size > 0 ? size : 0] = 0;
	return text;
}

Test(embed_budget, who_comes_while_memory_is_short)
{
	struct rc_error error;
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 20;
	config.memory_max = 1000;
	cr_expect_null(rc_server_new(&config, &error), "too little");
	config.memory_max = BUDGET;
	config.handlers = (struct rc_handlers){ .open = on_open, .close = on_close };
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	port = rc_server_listen(server, "127.0.0.1:0", &error);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
	int slow[SLOW];
	for (unsigned i = 0; i < SLOW; i++) {
		slow[i] = come();
		AWAIT(opened == i + 1);
	}
	AWAIT(closed);
	int late = come();
	came = 1;
	const char *text = answer(late);
	cr_expect(strstr(text, " 503 ") && strstr(text, "memory is short"), "%s", text);
	cr_expect_eq(code, RC_CLOSE_TRY_LATER);
	cr_expect_str_eq(reason, "memory is short");
	/* One of them was enough. */
	struct rc_stats stats;
	AWAIT((rc_server_stats(server, &stats), stats.memory_held < BUDGET / 4 * 3));
	cr_expect_eq(stats.memory_closed, 1);
	/* And a little later everybody is welcome. */
	bool welcome = false;
	for (int i = 0; i < 500 && !welcome; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
		int later = come();
		welcome = strstr(answer(later), " 101 ");
		close(later);
	}
	cr_expect(welcome);
	for (unsigned i = 0; i < SLOW; i++)
		close(slow[i]);
	close(late);
	rc_server_stop(server, 1000);
	rc_server_join(server);
	rc_server_free(server);
}
