/* SPDX-License-Identifier: MIT
 *
 * clock.h - when something is due for a client: a heap of deadlines a worker, and one thread that sleeps until the
 * first of all workers and then asks that worker to look. The thread touches no client. When nothing is due, nothing
 * wakes.
 */
#ifndef APP_CLOCK_H
#define APP_CLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define APP_NEVER UINT64_MAX

struct app;
struct app_client;

/* A client's own: when something is due, or APP_NEVER. Whoever changes one calls app_clock_set(). */
struct app_times {
	uint64_t auth_ns, expiry_ns; /* login.c */
	uint64_t resend_ns;          /* reliable.c */
	uint64_t batch_ns;           /* batch.c */
	uint64_t wait_ns;            /* plain.c */
	uint64_t partial_ns;         /* partials.c */
	uint64_t ping_ns;            /* heartbeat.c */
	uint64_t hook_ns;            /* hold.c */
	uint64_t deadline_ns;        /* the first of them, as the heap has it */
	size_t heap_position;        /* + 1; 0: not in the heap */
};
#define APP_TIMES_NONE                                                                                                 \
	((struct app_times){ .auth_ns = APP_NEVER,                                                                     \
	                     .expiry_ns = APP_NEVER,                                                                   \
	                     .resend_ns = APP_NEVER,                                                                   \
	                     .batch_ns = APP_NEVER,                                                                    \
	                     .wait_ns = APP_NEVER,                                                                     \
	                     .partial_ns = APP_NEVER,                                                                  \
	                     .ping_ns = APP_NEVER,                                                                     \
	                     .hook_ns = APP_NEVER,                                                                     \
	                     .deadline_ns = APP_NEVER })

/* A worker's own, but for next_ns. */
struct app_deadlines {
	struct app_client **heap; /* by deadline */
	size_t count, capacity;
	_Atomic uint64_t next_ns; /* the first deadline */
};

struct app_clock {
	/* Does what is due for a client, on its worker. */
	void (*due)(struct app_client *client, uint64_t now_ns);
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint64_t until_ns;
	bool ends;
};

/* Starts the thread. Returns 0 or a negative errno. */
int app_clock_start(struct app *app, void (*due)(struct app_client *client, uint64_t now_ns));
void app_clock_stop(struct app *app);

/* After one of a client's times has changed. */
void app_clock_set(struct app_client *client);
/* Nothing is due any more. */
void app_clock_remove(struct app_client *client);

#endif
