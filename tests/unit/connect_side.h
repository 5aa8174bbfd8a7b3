/* SPDX-License-Identifier: MIT
 *
 * connect_side.h - both sides of a test of rc_connect(): a server of raw sockets that does as the test says, and a
 * client that notes what it is told.
 */
#ifndef RC_CONNECT_SIDE_H
#define RC_CONNECT_SIDE_H

#include "ringcast_client.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ACCEPT "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "

static inline uint64_t now_ms(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static inline void nap(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 }, NULL);
}

#define AWAIT(condition)                                                                                               \
	do {                                                                                                           \
		for (int i_ = 0; i_ < 20000 && !(condition); i_++)                                                     \
			nap(1);                                                                                        \
		cr_assert(condition);                                                                                  \
	} while (0)

/* ---- a server of raw sockets ---- */

struct raw {
	int listener, port;
	void (*serve)(struct raw *raw, int fd);
	const char *answer;
	_Atomic unsigned accepted;
	_Atomic bool over;
	uint64_t times[64]; /* of each accept */
	char request[9000];
	pthread_t thread;
};

static inline void *run_raw(void *argument)
{
	struct raw *raw = argument;
	while (!raw->over) {
		struct pollfd ready = { raw->listener, POLLIN, 0 };
		if (poll(&ready, 1, 20) < 1)
			continue;
		int fd = accept(raw->listener, NULL, NULL);
		if (fd < 0)
			continue;
		raw->times[raw->accepted % 64] = now_ms();
		raw->accepted++;
		raw->serve(raw, fd);
		close(fd);
	}
	return NULL;
}

static inline void listen_raw(struct raw *raw, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	socklen_t size = sizeof address;
	int on = 1;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	raw->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(raw->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	cr_assert_eq(bind(raw->listener, (struct sockaddr *)&address, size), 0, "%s", strerror(errno));
	cr_assert_eq(listen(raw->listener, 16), 0);
	getsockname(raw->listener, (struct sockaddr *)&address, &size);
	raw->port = ntohs(address.sin_port);
}

static inline void start_raw(struct raw *raw, void (*serve)(struct raw *raw, int fd))
{
	raw->serve = serve;
	if (!raw->listener)
		listen_raw(raw, 0);
	cr_assert_eq(pthread_create(&raw->thread, NULL, run_raw, raw), 0);
}

static inline void stop_raw(struct raw *raw)
{
	raw->over = true;
	pthread_join(raw->thread, NULL);
	close(raw->listener);
	raw->listener = 0;
	raw->over = false;
}

/* Waits for the peer to go away, or for the test's end. */
static inline void outlast(struct raw *raw, int fd)
{
	char byte[512];
	struct pollfd ready = { fd, POLLIN, 0 };
	while (!raw->over)
		if (poll(&ready, 1, 20) == 1 && read(fd, byte, sizeof byte) < 1)
			return;
}

static inline void read_request(struct raw *raw, int fd)
{
	size_t size = 0;
	ssize_t got = 1;
	while (got > 0 && size < sizeof raw->request - 1 && !strstr(raw->request, "\r\n\r\n")) {
		got = read(fd, raw->request + size, sizeof raw->request - 1 - size);
		size += got > 0 ? (size_t)got : 0;
		raw->request[size] = 0;
	}
}

static inline void say(int fd, const char *text)
{
	ssize_t sent = send(fd, text, strlen(text), MSG_NOSIGNAL);
	(void)sent;
}

static inline void say_answer(struct raw *raw, int fd)
{
	raw->request[0] = 0;
	read_request(raw, fd);
	say(fd, raw->answer);
}

static inline void say_accept(struct raw *raw, int fd)
{
	char key[64] = "", text[300];
	unsigned char digest[EVP_MAX_MD_SIZE], accept[64];
	unsigned size;
	raw->request[0] = 0;
	read_request(raw, fd);
	const char *at = strstr(raw->request, "Sec-WebSocket-Key: ");
	sscanf(at ? at : "", "Sec-WebSocket-Key: %24s", key);
	strcat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	EVP_Digest(key, strlen(key), digest, &size, EVP_sha1(), NULL);
	EVP_EncodeBlock(accept, digest, (int)size);
	snprintf(text, sizeof text, ACCEPT "%s\r\n\r\n", (char *)accept);
	say(fd, text);
}

static inline void serve_websocket(struct raw *raw, int fd)
{
	say_accept(raw, fd);
	outlast(raw, fd);
}

static inline void serve_nothing(struct raw *raw, int fd)
{
	outlast(raw, fd);
}

/* ---- the client ---- */

struct told {
	struct rc_closing closing;
	char reason[400];
	rc_conn conn;
	uint64_t ms;
};

struct client {
	rc_server *server;
	_Atomic unsigned opened, closed, final;
	_Atomic rc_conn conn;
	_Atomic bool give_up; /* in handlers.close */
	_Atomic int given_up;
	struct told told[64];
};

static inline void on_open(void *context, rc_conn conn, void *user)
{
	struct client *client = context;
	cr_expect_eq(user, client);
	client->conn = conn;
	client->opened++;
}

static inline void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct client *client = context;
	struct told *told = &client->told[client->closed % 64];
	cr_expect_eq(user, client);
	*told = (struct told){ .closing = *closing, .conn = conn, .ms = now_ms() };
	snprintf(told->reason, sizeof told->reason, "%.*s", (int)closing->reason_size, closing->reason);
	if (client->give_up && closing->again_ms)
		client->given_up = rc_close(client->server, conn, 1000, NULL, 0);
	client->final += !closing->again_ms;
	client->closed++;
}

static inline void start_client(struct client *client, unsigned handshake_timeout_ms)
{
	struct rc_error error;
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 16;
	config.close_timeout_ms = 300; /* the raw servers answer no Close */
	if (handshake_timeout_ms)
		config.handshake_timeout_ms = handshake_timeout_ms;
	config.handlers = (struct rc_handlers){ .context = client, .open = on_open, .close = on_close };
	client->server = rc_server_new(&config, &error);
	cr_assert(client->server, "%s", error.text);
}

static inline void run_client(struct client *client)
{
	struct rc_error error;
	cr_assert_eq(rc_server_start(client->server, &error), 0, "%s", error.text);
}

static inline void stop_client(struct client *client)
{
	rc_server_stop(client->server, 1000);
	rc_server_join(client->server);
	rc_server_free(client->server);
}

static inline rc_conn dial(struct client *client, const char *url, struct rc_connect_options options)
{
	rc_conn conn = 0;
	options.user = client;
	options.conn = &conn;
	cr_assert_eq(rc_connect(client->server, 0, url, &options), 0, "%s", url);
	cr_assert_neq(conn, 0);
	return conn;
}

static inline rc_conn dial_raw(struct client *client, const struct raw *raw, struct rc_connect_options options)
{
	char url[64];
	snprintf(url, sizeof url, "ws://127.0.0.1:%d/", raw->port);
	return dial(client, url, options);
}

static inline const struct told *last(const struct client *client)
{
	return &client->told[(client->closed - 1) % 64];
}

#define EXPECT_TOLD(client, status_, words)                                                                            \
	do {                                                                                                           \
		cr_expect_eq(last(client)->closing.status, status_, "%d", last(client)->closing.status);               \
		cr_expect(strstr(last(client)->reason, words), "%s", last(client)->reason);                            \
	} while (0)

#endif
