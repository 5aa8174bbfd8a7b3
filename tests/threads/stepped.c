/* SPDX-License-Identifier: MIT
 *
 * stepped.c - two threads that both want to step one worker, at once: one of them gets it, and can step it until it
 * ends; the other is refused and disturbs nothing. Without a test framework, so that the thread sanitizer's build runs
 * it too.
 */
#include "ringcast_latency.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { ROUNDS = 60, STEPS = 3 };

struct claim {
	rc_server *server;
	_Atomic unsigned *waiting, *done; /* of both */
	int fd, stepped;
};

/* Whoever was refused goes on asking, until the other one has ended the worker. */
static void *claim(void *argument)
{
	struct claim *own = argument;
	/* Not a barrier of pthread's, which lets one go long before the other. */
	for (++*own->waiting; *own->waiting < 2;)
		;
	own->fd = rc_server_fd(own->server, 0);
	if (own->fd < 0) {
		while (!*own->done) {
			int code = rc_server_fd(own->server, 0);
			if (code != -EBUSY && code != -EPERM && code != -ENOTCONN)
				own->fd = code;
			rc_worker_step(own->server, 0);
		}
		return NULL;
	}
	for (unsigned i = 0; i < STEPS && own->stepped == (int)i; i++)
		own->stepped += rc_worker_step(own->server, 0) == 1;
	rc_server_stop(own->server, 0);
	while (rc_worker_step(own->server, 0) > 0)
		;
	*own->done = 1;
	return NULL;
}

/* Null, or what went wrong. */
static const char *compete(rc_server *server)
{
	_Atomic unsigned waiting = 0, done = 0;
	pthread_t threads[2];
	struct claim claims[2];
	for (unsigned i = 0; i < 2; i++) {
		claims[i] = (struct claim){ .server = server, .waiting = &waiting, .done = &done };
		if (pthread_create(&threads[i], NULL, claim, &claims[i]))
			return "no thread";
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	const struct claim *winner = &claims[claims[0].fd < 0], *loser = &claims[claims[0].fd >= 0];
	if (winner->fd < 0 || loser->fd >= 0)
		return winner->fd < 0 ? "nobody got the worker" : "both got the worker";
	if (loser->fd != -EBUSY && loser->fd != -EPERM && loser->fd != -ENOTCONN)
		return "the other one was told something else";
	return winner->stepped == STEPS ? NULL : "it could not be stepped";
}

int main(void)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct rc_config config;
		struct rc_error error = { 0 };
		rc_config_init(&config);
		config.worker_count = 1;
		config.connections_max = 16;
		config.log_size = 1 << 20;
		rc_server *server = rc_server_new(&config, &error);
		if (!server) {
			printf("skip stepped: %s\n", error.text);
			return 77;
		}
		const char *wrong = compete(server);
		if (wrong) {
			printf("FAIL stepped: round %u: %s\n", round, wrong);
			return 1;
		}
		rc_server_free(server);
	}
	printf("ok stepped (%d rounds)\n", ROUNDS);
	return 0;
}
