/* SPDX-License-Identifier: MIT
 *
 * poll.h - reading by one answer after another: what is new, at once or as soon as there is something; 204 when nothing
 * came in time. A poll that waits has a subscription, which says when to look, and reads the log by itself then.
 *
 *      {"messages":[{"t":...},...],"topics":[{"topic":...,"seq":...,"epoch":...}],"more":true}
 *
 * Threads: a poll belongs to its worker. One thread knows when each has waited for long enough, and asks the worker.
 */
#ifndef SERVE_POLL_H
#define SERVE_POLL_H

#include <pthread.h>
#include <stdbool.h>

#include "ask.h"
#include "ringcast.h"

struct serve_poll;

struct serve_polls {
	rc_server *server;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct serve_poll *first; /* those that wait */
	uint64_t next_ns;         /* when the thread looks for those that have waited for long enough */
	bool ending;
};

/* Starts the thread. Returns 0 or a negative errno. */
int serve_polls_start(struct serve_polls *polls, rc_server *server);
/* After rc_server_join(). */
void serve_polls_end(struct serve_polls *polls);

/* Answers a GET for these topics, or lets it wait; then *out is the poll. Returns 0, or the status that the library is
 * to answer. */
int serve_poll_begin(struct serve_polls *polls, rc_request *request, const char *names, struct serve_poll **out);
/* There is something new for a poll that waits. */
void serve_poll_ready(struct serve_poll *poll);
/* Its connection has ended. */
void serve_poll_free(struct serve_poll *poll);

#endif
