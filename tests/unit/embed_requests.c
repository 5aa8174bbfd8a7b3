/* SPDX-License-Identifier: MIT
 *
 * embed_requests.c - handlers.head and handlers.request over the real loopback: who is refused by the head alone,
 * before the body was gathered, and answers that cannot be made.
 */
#include "ringcast.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX 100000

static struct {
	rc_server *server;
	int port;
	_Atomic unsigned heads, requests;
	_Atomic size_t body_size;
	_Atomic int answered; /* what rc_request_respond() returned */
} world;

static int on_head(void *context, rc_request *request)
{
	(void)context;
	size_t size;
	world.heads++;
	rc_request_body(request, &size);
	cr_expect_eq(size, 0);
	cr_expect_str_eq(rc_request_method(request), "POST");
	cr_expect_eq(rc_request_wait(request), -EINVAL);
	cr_expect_eq(rc_request_add_header(request, "X-Seen", "head"), 0);
	const char *key = rc_request_header(request, "X-Key");
	if (!key)
		return 401;
	if (strcmp(key, "words") == 0)
		return rc_request_respond(request, 403, "text/plain", "by words", 8);
	const char *letter = rc_request_query(request, "a");
	cr_expect(letter && strcmp(letter, "b c") == 0);
	return strcmp(key, "nonsense") == 0 ? 200 : 0;
}

static int on_request(void *context, rc_request *request)
{
	(void)context;
	size_t size;
	const char *body = rc_request_body(request, &size);
	char type[2000];
	world.requests++;
	world.body_size = size;
	if (strcmp(rc_request_path(request), "/large") == 0) {
		static char large[(4 << 20) + 1]; /* send_size_max, and one more */
		world.answered = rc_request_respond(request, 200, NULL, large, sizeof large);
		return world.answered == -ENOBUFS ? 503 : 0;
	}
	if (strcmp(rc_request_path(request), "/long") != 0)
		return rc_request_respond(request, 200, NULL, body, size);
	rc_request_add_header(request, "X-Own", "yes");
	memset(type, 'x', sizeof type - 1);
	type[sizeof type - 1] = 0;
	world.answered = rc_request_respond(request, 200, type, "ok", 2);
	return 0;
}

static void start(void)
{
	struct rc_error error;
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 20;
	config.body_size_max = BODY_MAX;
	config.handlers = (struct rc_handlers){ .head = on_head, .request = on_request };
	world.server = rc_server_new(&config, &error);
	cr_assert(world.server, "%s", error.text);
	world.port = rc_server_listen(world.server, "127.0.0.1:0", &error);
	cr_assert_gt(world.port, 0, "%s", error.text);
	cr_assert_eq(rc_server_start(world.server, &error), 0, "%s", error.text);
}

static void stop(void)
{
	rc_server_stop(world.server, 1000);
	rc_server_join(world.server);
	rc_server_free(world.server);
}

/* Says each part with a pause before the next, and reads the answer to its end. */
static const char *ask(const char *const *parts, size_t part_count)
{
	static char answer[200000];
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)world.port) };
	const struct timeval limit = { .tv_sec = 5 };
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	for (size_t i = 0; i < part_count; i++) {
		if (i)
			usleep(20000);
		send(fd, parts[i], strlen(parts[i]), MSG_NOSIGNAL);
	}
	size_t size = 0;
	for (ssize_t got; (got = recv(fd, answer + size, sizeof answer - 1 - size, 0)) > 0;)
		size += (size_t)got;
	close(fd);
	answer[size] = 0;
	return answer;
}

#define ASK(...)                                                                                                       \
	ask((const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))
#define BEGINS(text, start) cr_expect_eq(strncmp(text, start, strlen(start)), 0, "%s", text)

#define POST "POST /x?a=b+c HTTP/1.1\r\nHost: a\r\n"

Test(embed_requests, the_head_is_judged_before_the_body_comes, .init = start, .fini = stop)
{
	/* No byte of these bodies ever comes. */
	const char *answer = ASK(POST "Content-Length: 50000\r\n\r\n");
	BEGINS(answer, "HTTP/1.1 401 ");
	cr_expect(strstr(answer, "X-Seen: head\r\n"));
	answer = ASK(POST "Content-Length: 50000\r\nX-Key: words\r\n\r\n");
	BEGINS(answer, "HTTP/1.1 403 ");
	cr_expect(strstr(answer, "by words"));
	BEGINS(ASK(POST "Content-Length: 50000\r\nX-Key: nonsense\r\n\r\n"), "HTTP/1.1 500 ");
	BEGINS(ASK(POST "Content-Length: 100001\r\n\r\n"), "HTTP/1.1 413 ");
	BEGINS(ASK(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), "HTTP/1.1 400 ");
	BEGINS(ASK(POST "Content-", "Length: 50000\r\n", "\r\n", "part"), "HTTP/1.1 401 ");
	cr_expect_eq(world.heads, 4);
	cr_expect_eq(world.requests, 0);
}

Test(embed_requests, the_head_is_judged_once, .init = start, .fini = stop)
{
	cr_expect(strstr(ASK(POST "Content-Length: 5\r\nX-Key: k\r\n\r\nhello"), "\r\n\r\nhello"));
	cr_expect_eq(world.heads, 1);
	cr_expect(strstr(ASK(POST "Content-Length: 9\r\nX-Key: k\r\n\r\n", "hel", "lo", " all"), "\r\n\r\nhello all"));
	cr_expect_eq(world.heads, 2);
	cr_expect(strstr(ASK(POST "Content-Length: 2\r\nX-K", "ey: k\r\n\r", "\nx", "y"), "\r\n\r\nxy"));
	cr_expect_eq(world.heads, 3);
	BEGINS(ASK(POST "Content-Length: 5\r\n\r\nhello"), "HTTP/1.1 401 ");
	cr_expect_eq(world.heads, 4);
	cr_expect_eq(world.requests, 3);
	/* Without a body there is nothing to judge beforehand. */
	BEGINS(ASK("GET /x HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 200 ");
	BEGINS(ASK(POST "Content-Length: 0\r\n\r\n"), "HTTP/1.1 200 ");
	cr_expect_eq(world.heads, 4);
	cr_expect_eq(world.requests, 5);
}

Test(embed_requests, an_answer_that_cannot_be_made, .init = start, .fini = stop)
{
	const char *answer = ASK("GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
	cr_expect_eq(world.answered, -EINVAL);
	BEGINS(answer, "HTTP/1.1 426 ");
	cr_expect(strstr(answer, "X-Own: yes\r\n"));
	BEGINS(ASK("GET /large HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 503 ");
	cr_expect_eq(world.answered, -ENOBUFS);
}
