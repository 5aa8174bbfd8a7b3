/* SPDX-License-Identifier: MIT
 *
 * loop.c WORKERS IDLE_MS - a program with an epoll loop of its own, inside which all workers of a server are stepped.
 * Another thread does what standard input says: "publish TEXT" to the topic t, "steps" prints how often the loop
 * stepped, "stop MS" stops the server. /t is the topic; elsewhere it answers with the same message. test_loop.py runs
 * it.
 */
#include "ringcast_latency.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define WORKERS_MAX 4

static rc_server *server;
static _Atomic unsigned long steps;

static int on_request(void *context, rc_request *request)
{
	(void)context;
	if (strcmp(rc_request_path(request), "/t") == 0)
		return rc_subscribe(server, rc_request_conn(request), "t", 1, NULL) ? 500 : 0;
	return 0;
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	(void)context, (void)user;
	rc_send_unchecked(server, conn, message->opcode, message->data, message->size);
}

static void *other_thread(void *argument)
{
	char line[4096];
	(void)argument;
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "publish ", 8) == 0)
			rc_publish(server, "t", 1, line + 8, strlen(line + 8), RC_PUBLISH_WAIT);
		else if (strcmp(line, "steps") == 0)
			printf("steps %lu\n", atomic_load(&steps));
		else if (strncmp(line, "stop ", 5) == 0)
			rc_server_stop(server, (unsigned)atoi(line + 5));
	}
	return NULL;
}

static int fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	return 1;
}

static int loop(unsigned workers)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < workers; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
		int fd = rc_server_fd(server, i);
		if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
			return fail("no descriptor");
	}
	while (workers) {
		struct epoll_event events[WORKERS_MAX];
		int count = epoll_wait(epoll, events, WORKERS_MAX, -1);
		for (int i = 0; i < count; i++) {
			int result = rc_worker_step(server, events[i].data.u32);
			if (result < 0)
				return fail(rc_strerror(result));
			atomic_fetch_add(&steps, 1);
			workers -= result == 0;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct rc_config config;
	struct rc_error error;
	pthread_t thread;
	rc_config_init(&config);
	if (argc != 3)
		return fail("usage: loop WORKERS IDLE_MS");
	config.worker_count = (unsigned)atoi(argv[1]);
	config.handshake_timeout_ms = 600;
	config.idle_timeout_ms = (unsigned)atoi(argv[2]);
	config.handlers = (struct rc_handlers){ .request = on_request, .message = on_message };
	if (config.worker_count > WORKERS_MAX)
		return fail("too many workers");
	setvbuf(stdout, NULL, _IOLBF, 0);
	server = rc_server_new(&config, &error);
	int port = server ? rc_server_listen(server, "127.0.0.1:0", &error) : -1;
	if (port < 0)
		return fail(error.text);
	printf("listening on ws://127.0.0.1:%d\n", port);
	pthread_create(&thread, NULL, other_thread, NULL);
	int result = loop(config.worker_count);
	printf("ended\n");
	pthread_join(thread, NULL);
	rc_server_join(server);
	rc_server_free(server);
	return result;
}
