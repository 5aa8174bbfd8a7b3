/* SPDX-License-Identifier: MIT
 *
 * connect.c - rc_connect() over the real loopback: names, headers, time-outs, and what is told in words. The hostile
 * servers are here too.
 */
#include "connect_side.h"
#include "tls_files.h"

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
