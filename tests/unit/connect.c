/* SPDX-License-Identifier: MIT
 *
 * connect.c - rc_connect() as a trading system uses it, over the real loopback: names, headers, time-outs, the handle
 * that is good at once, and what brings a connection back. The servers here are raw sockets that do as a test says, the
 * hostile ones too.
 */
#include "ringcast_client.h"

#include "tls_files.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ACCEPT "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "

static uint64_t now_ms(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static void nap(unsigned ms)
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

static void *run_raw(void *argument)
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

static void listen_raw(struct raw *raw, int port)
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

static void start_raw(struct raw *raw, void (*serve)(struct raw *raw, int fd))
{
	raw->serve = serve;
	if (!raw->listener)
		listen_raw(raw, 0);
	cr_assert_eq(pthread_create(&raw->thread, NULL, run_raw, raw), 0);
}

static void stop_raw(struct raw *raw)
{
	raw->over = true;
	pthread_join(raw->thread, NULL);
	close(raw->listener);
	raw->listener = 0;
	raw->over = false;
}

/* Waits for the peer to go away, or for the test's end. */
static void outlast(struct raw *raw, int fd)
{
	char byte[512];
	struct pollfd ready = { fd, POLLIN, 0 };
	while (!raw->over)
		if (poll(&ready, 1, 20) == 1 && read(fd, byte, sizeof byte) < 1)
			return;
}

static void read_request(struct raw *raw, int fd)
{
	size_t size = 0;
	ssize_t got = 1;
	while (got > 0 && size < sizeof raw->request - 1 && !strstr(raw->request, "\r\n\r\n")) {
		got = read(fd, raw->request + size, sizeof raw->request - 1 - size);
		size += got > 0 ? (size_t)got : 0;
		raw->request[size] = 0;
	}
}

static void say(int fd, const char *text)
{
	ssize_t sent = send(fd, text, strlen(text), MSG_NOSIGNAL);
	(void)sent;
}

static void say_answer(struct raw *raw, int fd)
{
	raw->request[0] = 0;
	read_request(raw, fd);
	say(fd, raw->answer);
}

static void say_accept(struct raw *raw, int fd)
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

static void serve_websocket(struct raw *raw, int fd)
{
	say_accept(raw, fd);
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

static void on_open(void *context, rc_conn conn, void *user)
{
	struct client *client = context;
	cr_expect_eq(user, client);
	client->conn = conn;
	client->opened++;
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
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

static void start_client(struct client *client, unsigned handshake_timeout_ms)
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

static void run_client(struct client *client)
{
	struct rc_error error;
	cr_assert_eq(rc_server_start(client->server, &error), 0, "%s", error.text);
}

static void stop_client(struct client *client)
{
	rc_server_stop(client->server, 1000);
	rc_server_join(client->server);
	rc_server_free(client->server);
}

static rc_conn dial(struct client *client, const char *url, struct rc_connect_options options)
{
	rc_conn conn = 0;
	options.user = client;
	options.conn = &conn;
	cr_assert_eq(rc_connect(client->server, 0, url, &options), 0, "%s", url);
	cr_assert_neq(conn, 0);
	return conn;
}

static rc_conn dial_raw(struct client *client, const struct raw *raw, struct rc_connect_options options)
{
	char url[64];
	snprintf(url, sizeof url, "ws://127.0.0.1:%d/", raw->port);
	return dial(client, url, options);
}

static const struct told *last(const struct client *client)
{
	return &client->told[(client->closed - 1) % 64];
}

#define EXPECT_TOLD(client, status_, words)                                                                            \
	do {                                                                                                           \
		cr_expect_eq(last(client)->closing.status, status_, "%d", last(client)->closing.status);               \
		cr_expect(strstr(last(client)->reason, words), "%s", last(client)->reason);                            \
	} while (0)

/* ---- names ---- */

Test(connect, names)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_websocket);
	start_client(&client, 0);
	run_client(&client);
	/* The second is no address in figures as RFC 3986 has them, so the resolver is asked, which needs no network.
	 */
	static const char *const good[] = { "ws://localhost:%d/", "ws://127.1:%d/", "ws://LOCALHOST:%d" };
	for (unsigned i = 0; i < 3; i++) {
		char url[64];
		snprintf(url, sizeof url, good[i], raw.port);
		rc_conn conn = dial(&client, url, (struct rc_connect_options){ 0 });
		AWAIT(client.opened == i + 1);
		cr_expect_eq(client.conn, conn, "the handle is the same from the call on");
		cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), 0);
		AWAIT(client.final == i + 1); /* without its Close answered */
	}
	stop_raw(&raw);
	dial(&client, "ws://no-such-host.invalid/", (struct rc_connect_options){ .again_ms = 10 });
	AWAIT(client.final == 4);
	/* Without a network a resolver may say that it cannot say. */
	if (last(&client)->closing.status != -EAGAIN)
		EXPECT_TOLD(&client, -ENXIO, "the name 'no-such-host.invalid' cannot be found: ");
	dial(&client, "ws://127.0.0.1:1/", (struct rc_connect_options){ 0 });
	AWAIT(client.final == 5);
	EXPECT_TOLD(&client, -ECONNREFUSED, "127.0.0.1 port 1: Connection refused");
	dial(&client, "ws://localhost:1/", (struct rc_connect_options){ 0 });
	AWAIT(client.final == 6);
	EXPECT_TOLD(&client, -ECONNREFUSED, "127.0.0.1 port 1: Connection refused, and no other address");
	stop_client(&client);
}

/* The name's IPv4 address refuses, its IPv6 address answers. */
Test(connect, the_next_address_is_tried)
{
	static struct raw raw;
	static struct client client;
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t size = sizeof address;
	raw.listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (raw.listener < 0 || bind(raw.listener, (struct sockaddr *)&address, size) < 0)
		cr_skip_test("no IPv6 here");
	listen(raw.listener, 4);
	getsockname(raw.listener, (struct sockaddr *)&address, &size);
	raw.port = ntohs(address.sin6_port);
	start_raw(&raw, serve_websocket);
	start_client(&client, 0);
	run_client(&client);
	char url[64];
	snprintf(url, sizeof url, "ws://localhost:%d/", raw.port);
	dial(&client, url, (struct rc_connect_options){ 0 });
	AWAIT(client.opened == 1);
	dial(&client, url, (struct rc_connect_options){ .source = "127.0.0.1" });
	AWAIT(client.final == 1);
	EXPECT_TOLD(&client, -ECONNREFUSED, "127.0.0.1");
	stop_client(&client);
	stop_raw(&raw);
}

static void *ask_names(void *argument)
{
	struct client *client = argument;
	for (unsigned i = 0; i < 200; i++) {
		char url[64];
		snprintf(url, sizeof url, "ws://n%u.invalid/", i);
		int result = rc_connect(client->server, 0, url, &(struct rc_connect_options){ .user = client });
		cr_assert_eq(result, 0);
	}
	return NULL;
}

/* Whatever the resolver takes for each: a server that goes away waits for none. */
Test(connect, many_names_and_a_server_that_goes)
{
	static struct client client;
	pthread_t threads[3];
	start_client(&client, 0);
	run_client(&client);
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, ask_names, &client);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	uint64_t began = now_ms();
	stop_client(&client);
	cr_expect_lt(now_ms() - began, 3000);
	cr_expect_eq(client.final, 600, "each hears of its end, once");
}

/* ---- the request ---- */

Test(connect, request_headers)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_websocket);
	start_client(&client, 0);
	run_client(&client);
	const struct rc_connect_header headers[] = { { "X-MBX-APIKEY", "abc" }, { "User-Agent", "desk/1" } };
	dial_raw(&client, &raw, (struct rc_connect_options){ .headers = headers, .header_count = 2 });
	AWAIT(client.opened == 1);
	cr_expect(strstr(raw.request, "\r\nX-MBX-APIKEY: abc\r\nUser-Agent: desk/1\r\n\r\n"), "%s", raw.request);
	stop_client(&client);
	stop_raw(&raw);
}

Test(connect, bad_arguments)
{
	static struct client client;
	static char big[RC_CONNECT_HEADERS_SIZE_MAX];
	char path[5000] = "ws://127.0.0.1:1/";
	start_client(&client, 0);
	run_client(&client);
	static const struct rc_connect_header bad[] = { { "X", "a\r\nY: b" },
		                                        { "X\r\n", "a" },
		                                        { "Host", "x" },
		                                        { "sec-websocket-key", "x" },
		                                        { "Upgrade", "x" } };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		rc_conn conn = 7;
		struct rc_connect_options options = { .headers = &bad[i], .header_count = 1, .conn = &conn };
		cr_expect_eq(rc_connect(client.server, 0, path, &options), -EINVAL, "%s", bad[i].name);
	}
	memset(big, 'b', sizeof big - 1);
	const struct rc_connect_header large = { "X", big };
	cr_expect_eq(
	    rc_connect(client.server, 0, path, &(struct rc_connect_options){ .headers = &large, .header_count = 1 }),
	    -ENOSPC);
	big[sizeof big - 7] = 0; /* with its ends as large as may be */
	memset(path + 17, 'p', 2030);
	cr_expect_eq(rc_connect(client.server, 0, path,
	                        &(struct rc_connect_options){ .headers = &large, .header_count = 1, .user = &client }),
	             0);
	static const struct rc_connect_options wrong[] = {
		{ .source = "nonsense" },
		{ .source = "localhost" },
		{ .protocols = "a b" },
		{ .again_ms = 2000, .again_max_ms = 1000 },
		{ .again_ms = RC_CONNECT_TIMEOUT_MAX_MS + 1 },
		{ .timeout_ms = RC_CONNECT_TIMEOUT_MAX_MS + 1 },
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		cr_expect_eq(rc_connect(client.server, 0, "ws://127.0.0.1:1/", &wrong[i]), -EINVAL, "%zu", i);
	memset(path, 'u', sizeof path - 1);
	memcpy(path, "ws+unix:/", 9);
	path[200] = 0;
	cr_expect_eq(rc_connect(client.server, 0, path, NULL), -EINVAL, "too long for a Unix socket");
	cr_expect_eq(rc_connect(client.server, 1, "ws://127.0.0.1:1/", NULL), -EINVAL);
	AWAIT(client.final == 1);
	stop_client(&client);
	cr_expect_eq(client.closed, 1, "who was refused at once hears no more");
}

/* ---- time ---- */

static void serve_nothing(struct raw *raw, int fd)
{
	outlast(raw, fd);
}

static void serve_slowly(struct raw *raw, int fd)
{
	for (size_t i = 0; i < strlen(ACCEPT) && !raw->over; i++) {
		if (send(fd, &ACCEPT[i], 1, MSG_NOSIGNAL) < 1)
			return;
		nap(100);
	}
}

static void serve_headers(struct raw *raw, int fd)
{
	static char lines[1 << 20];
	read_request(raw, fd);
	memset(lines, 'a', sizeof lines);
	memcpy(lines, "HTTP/1.1 101 x\r\nX: ", 19);
	ssize_t sent = send(fd, lines, sizeof lines, MSG_NOSIGNAL);
	(void)sent;
	outlast(raw, fd);
}

static void time_out(void (*serve)(struct raw *raw, int fd), const char *scheme, const char *words)
{
	static struct raw raw;
	static struct client client;
	char url[64];
	start_raw(&raw, serve);
	start_client(&client, 0);
	run_client(&client);
	uint64_t began = now_ms();
	snprintf(url, sizeof url, "%s://127.0.0.1:%d/", scheme, raw.port);
	dial(&client, url, (struct rc_connect_options){ .timeout_ms = 300 });
	AWAIT(client.final == 1);
	cr_expect_geq(now_ms() - began, 300);
	cr_expect_lt(now_ms() - began, 3000);
	EXPECT_TOLD(&client, -ETIMEDOUT, words);
	stop_client(&client);
	stop_raw(&raw);
}

Test(connect, a_server_that_never_answers)
{
	time_out(serve_nothing, "ws", "no answer to the handshake in time");
}

Test(connect, a_server_that_never_answers_with_tls)
{
	time_out(serve_nothing, "wss", "no TLS handshake in time");
}

Test(connect, a_byte_now_and_then)
{
	time_out(serve_slowly, "ws", "no answer to the handshake in time");
}

Test(connect, the_servers_time_out_is_the_default)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_nothing);
	start_client(&client, 200);
	run_client(&client);
	dial_raw(&client, &raw, (struct rc_connect_options){ 0 });
	AWAIT(client.final == 1);
	EXPECT_TOLD(&client, -ETIMEDOUT, "in time");
	stop_client(&client);
	stop_raw(&raw);
}

/* A listener whose queue is full answers no SYN. */
Test(connect, an_address_that_does_not_answer)
{
	static struct raw raw;
	static struct client client;
	int fillers[64];
	listen_raw(&raw, 0);
	listen(raw.listener, 0);
	struct sockaddr_in address;
	socklen_t size = sizeof address;
	getsockname(raw.listener, (struct sockaddr *)&address, &size);
	for (unsigned i = 0; i < 64; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(fillers[i], (struct sockaddr *)&address, size);
	}
	nap(50);
	start_client(&client, 0);
	run_client(&client);
	uint64_t began = now_ms();
	dial_raw(&client, &raw, (struct rc_connect_options){ .timeout_ms = 300 });
	AWAIT(client.final == 1);
	cr_expect_lt(now_ms() - began, 3000);
	EXPECT_TOLD(&client, -ETIMEDOUT, ""); /* in TCP, or where the system answers nevertheless, behind it */
	rc_conn conn = dial_raw(&client, &raw, (struct rc_connect_options){ .timeout_ms = 60000 });
	nap(50);
	cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), 0);
	AWAIT(client.final == 2);
	EXPECT_TOLD(&client, -ECANCELED, "closed it before it was open");
	stop_client(&client);
	for (unsigned i = 0; i < 64; i++)
		close(fillers[i]);
	close(raw.listener);
}

Test(connect, a_megabyte_of_headers)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_headers);
	start_client(&client, 0);
	run_client(&client);
	dial_raw(&client, &raw, (struct rc_connect_options){ 0 });
	AWAIT(client.final == 1);
	EXPECT_TOLD(&client, -EPROTO, "its head is too long");
	stop_client(&client);
	stop_raw(&raw);
}

/* ---- what is told ---- */

Test(connect, answers_in_words)
{
	static struct raw raw;
	static struct client client;
	static const struct {
		const char *answer;
		int status;
		const char *words;
	} answers[] = {
		{ "HTTP/1.1 401 Unauthorized\r\n\r\n", 401, "HTTP status 401 Unauthorized" },
		{ "HTTP/1.1 301 x\r\nLocation: /\r\n\r\n", 301, "HTTP status 301 Moved Permanently" },
		{ "SSH-2.0-x\r\n\r\n", -EPROTO, "it is no HTTP/1.1 response" },
		{ "\x15\x03\x01", -EPROTO, "it is no HTTP" },
		{ ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", -EPROTO, "Sec-WebSocket-Accept is not for this" },
		{ "HTTP/1.1 101 x\r\n\r\n", -EPROTO, "it lacks Upgrade" },
		{ "", -ECONNRESET, "ended the connection before it answered" },
	};
	start_raw(&raw, say_answer);
	start_client(&client, 0);
	run_client(&client);
	for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
		raw.answer = answers[i].answer;
		dial_raw(&client, &raw, (struct rc_connect_options){ 0 });
		AWAIT(client.final == i + 1);
		EXPECT_TOLD(&client, answers[i].status, answers[i].words);
		cr_expect_eq(last(&client)->closing.code, RC_CLOSE_ABNORMAL);
	}
	stop_client(&client);
	stop_raw(&raw);
}

Test(connect, a_wrong_certificate)
{
	static struct client server, client;
	struct rc_error error;
	const struct pair pair = make_pair("wrong", "DNS:somebody.else", NULL);
	const struct rc_tls_pair files = { pair.path, pair.key_path };
	start_client(&server, 0);
	cr_assert_eq(rc_server_tls(server.server, &(struct rc_tls_options){ .pairs = &files, .pair_count = 1 }, &error),
	             0, "%s", error.text);
	int port = rc_server_listen(server.server, "wss://127.0.0.1:0", &error);
	cr_assert_gt(port, 0, "%s", error.text);
	run_client(&server);
	start_client(&client, 0);
	cr_assert_eq(rc_server_tls_client(client.server, &(struct rc_tls_client_options){ .ca = pair.path }, &error), 0,
	             "%s", error.text);
	run_client(&client);
	char url[64];
	snprintf(url, sizeof url, "wss://127.0.0.1:%d/", port);
	dial(&client, url, (struct rc_connect_options){ .again_ms = 10 });
	AWAIT(client.final == 1);
	EXPECT_TOLD(&client, -EKEYREJECTED, "mismatch");
	cr_expect_eq(client.closed, 1, "it is not tried again");
	stop_client(&client);
	stop_client(&server);
}

/* ---- again ---- */

static void serve_and_close(struct raw *raw, int fd)
{
	(void)raw;
	(void)fd;
}

static void serve_open_and_close(struct raw *raw, int fd)
{
	say_accept(raw, fd);
	nap(5);
}

/* The pauses double up to the largest, each is at least half of its step, and they hold. */
static void expect_pauses(void (*serve)(struct raw *raw, int fd), bool opens)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve);
	start_client(&client, 0);
	run_client(&client);
	rc_conn conn = dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = 20, .again_max_ms = 160 });
	AWAIT(client.closed == 7);
	unsigned step = 20;
	for (unsigned i = 0; i < 6; i++) {
		const struct told *told = &client.told[i];
		cr_expect_eq(told->conn, conn);
		cr_expect(told->closing.again_ms >= step / 2 && told->closing.again_ms <= step, "%u: %u ms", i,
		          told->closing.again_ms);
		cr_expect_geq(raw.times[i + 1] + 1, told->ms + told->closing.again_ms);
		step = step * 2 < 160 ? step * 2 : 160;
	}
	cr_expect_eq(client.opened, opens ? client.closed : 0);
	AWAIT(rc_close(client.server, conn, 1000, NULL, 0) == 0);
	AWAIT(client.final == 1);
	unsigned closed = client.closed, accepted = raw.accepted;
	cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), -ENOTCONN, "the handle is stale");
	nap(250);
	cr_expect_eq(client.closed, closed);
	cr_expect_eq(raw.accepted, accepted);
	stop_client(&client);
	stop_raw(&raw);
}

Test(connect, a_server_that_closes_at_once)
{
	expect_pauses(serve_and_close, false);
}

Test(connect, a_server_that_opens_and_closes_at_once)
{
	expect_pauses(serve_open_and_close, true);
}

Test(connect, it_comes_back_by_the_same_handle)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_websocket);
	int port = raw.port;
	start_client(&client, 0);
	run_client(&client);
	rc_conn conn = dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = 20, .again_max_ms = 60 });
	for (unsigned i = 1; i <= 3; i++) {
		AWAIT(client.opened == i);
		cr_expect_eq(client.conn, conn);
		cr_expect_eq(rc_send(client.server, conn, RC_TEXT, "x", 1), 0);
		nap(100); /* longer than again_max_ms: the pauses begin anew */
		unsigned closed = client.closed;
		stop_raw(&raw);
		AWAIT(client.closed > closed);
		cr_expect_leq(client.told[closed].closing.again_ms, 20);
		cr_expect_eq(client.told[closed].closing.status, 0);
		AWAIT(client.closed > closed + 1); /* nobody listens */
		EXPECT_TOLD(&client, -ECONNREFUSED, "Connection refused");
		listen_raw(&raw, port);
		start_raw(&raw, serve_websocket);
	}
	AWAIT(client.opened == 4);
	cr_expect_eq(client.final, 0);
	cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), 0);
	stop_raw(&raw);
	AWAIT(client.final == 1);
	cr_expect_eq(client.opened, 4);
	stop_client(&client);
}

Test(connect, what_is_to_stay_is_not_tried_again)
{
	static struct raw raw;
	static struct client client;
	static const struct {
		const char *answer;
		bool again;
	} answers[] = {
		{ "HTTP/1.1 403 x\r\n\r\n", false }, { "HTTP/1.1 404 x\r\n\r\n", false },
		{ "HTTP/1.1 429 x\r\n\r\n", true },  { "HTTP/1.1 503 x\r\n\r\n", true },
		{ "HTTP/1.1 302 x\r\n\r\n", false }, { "what\r\n\r\n", true },
	};
	start_raw(&raw, say_answer);
	start_client(&client, 0);
	run_client(&client);
	client.give_up = true;
	for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
		unsigned closed = client.closed;
		raw.answer = answers[i].answer;
		client.given_up = 1;
		dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = 60000, .again_max_ms = 60000 });
		AWAIT(client.final == i + 1);
		cr_expect_eq(client.closed - closed, 1 + answers[i].again, "%s", answers[i].answer);
		cr_expect_eq(client.given_up, answers[i].again ? 0 : 1);
		if (answers[i].again)
			EXPECT_TOLD(&client, -ECANCELED, "closed it before it was open");
	}
	stop_client(&client);
	stop_raw(&raw);
}

/* ---- a handle at once ---- */

static void connect_and_close(void *argument)
{
	struct client *client = argument;
	rc_conn conn = dial(client, "ws://127.0.0.1:1/", (struct rc_connect_options){ 0 });
	cr_expect_eq(rc_send(client->server, conn, RC_TEXT, "x", 1), -ENOTCONN);
	cr_expect_eq(rc_close(client->server, conn, 1000, NULL, 0), 0);
}

Test(connect, the_handle_works_before_it_is_open)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_nothing);
	start_client(&client, 0);
	run_client(&client);
	rc_conn before = 0;
	for (unsigned i = 0; i < 20; i++) {
		rc_conn conn = dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = i % 2 ? 50 : 0 });
		cr_expect_neq(conn, before);
		cr_expect_eq(rc_conn_worker(conn), 0);
		nap(i % 3); /* in the mailbox, or in any state behind it */
		cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), 0);
		AWAIT(client.final == i + 1);
		cr_expect_eq(last(&client)->conn, conn);
		EXPECT_TOLD(&client, -ECANCELED, "closed it before it was open");
		cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), -ENOTCONN);
		before = conn;
	}
	cr_assert_eq(rc_post(client.server, 0, connect_and_close, &client), 0);
	AWAIT(client.final == 21);
	EXPECT_TOLD(&client, -ECANCELED, "");
	/* Those that pause or open when the server stops hear of it. */
	dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = 50 });
	dial(&client, "ws://127.0.0.1:1/", (struct rc_connect_options){ .again_ms = 60000, .again_max_ms = 60000 });
	AWAIT(client.closed == 22);
	stop_client(&client);
	cr_expect_eq(client.final, 23);
	stop_raw(&raw);
}
