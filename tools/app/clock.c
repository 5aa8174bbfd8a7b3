/* SPDX-License-Identifier: MIT
 *
 * clock.c - see clock.h. It does not know what is to be done when something is due.
 */
#include "clock.h"

#include <stdlib.h>
#include <time.h>

#include "app.h"
#include "client.h"
#include "lib/log.h"
#include "lib/wait.h"

#define GRAIN_NS UINT64_C(10000000) /* deadlines closer together than this are handled together */

/* ---- the heap ---- */

static void put(struct app_deadlines *deadlines, size_t at, struct app_client *client)
{
	deadlines->heap[at] = client;
	client->times.heap_position = at + 1;
}

static void sift_up(struct app_deadlines *deadlines, size_t at, struct app_client *client)
{
	for (; at; at = (at - 1) / 2) {
		struct app_client *parent = deadlines->heap[(at - 1) / 2];
		if (parent->times.deadline_ns <= client->times.deadline_ns)
			break;
		put(deadlines, at, parent);
	}
	put(deadlines, at, client);
}

static void sift_down(struct app_deadlines *deadlines, size_t at, struct app_client *client)
{
	for (;;) {
		size_t child = at * 2 + 1;
		if (child >= deadlines->count)
			break;
		if (child + 1 < deadlines->count &&
		    deadlines->heap[child + 1]->times.deadline_ns < deadlines->heap[child]->times.deadline_ns)
			child++;
		if (deadlines->heap[child]->times.deadline_ns >= client->times.deadline_ns)
			break;
		put(deadlines, at, deadlines->heap[child]);
		at = child;
	}
	put(deadlines, at, client);
}

static void take_out(struct app_deadlines *deadlines, struct app_client *client)
{
	size_t at = client->times.heap_position - 1;
	struct app_client *last = deadlines->heap[--deadlines->count];
	client->times.heap_position = 0;
	if (last == client)
		return;
	if (at && deadlines->heap[(at - 1) / 2]->times.deadline_ns > last->times.deadline_ns)
		sift_up(deadlines, at, last);
	else
		sift_down(deadlines, at, last);
}

static bool put_in(struct app_deadlines *deadlines, struct app_client *client)
{
	if (deadlines->count == deadlines->capacity) {
		size_t capacity = deadlines->capacity ? deadlines->capacity * 2 : 64;
		struct app_client **heap = realloc(deadlines->heap, capacity * sizeof(struct app_client *));
		if (!heap)
			return false;
		deadlines->heap = heap;
		deadlines->capacity = capacity;
	}
	sift_up(deadlines, deadlines->count++, client);
	return true;
}

static uint64_t first_of(const struct app_deadlines *deadlines)
{
	return deadlines->count ? deadlines->heap[0]->times.deadline_ns : APP_NEVER;
}

static uint64_t earlier(uint64_t one_ns, uint64_t other_ns)
{
	return one_ns < other_ns ? one_ns : other_ns;
}

/* ---- what is due when ---- */

/* Tells the thread of a new first deadline, and wakes it if it would sleep past that. */
static void show_first(struct app_crew *crew)
{
	struct app_clock *clock = &crew->app->clock;
	uint64_t next_ns = first_of(&crew->deadlines);
	atomic_store(&crew->deadlines.next_ns, next_ns);
	if (next_ns == APP_NEVER)
		return;
	pthread_mutex_lock(&clock->lock);
	if (next_ns < clock->until_ns)
		pthread_cond_signal(&clock->wake);
	pthread_mutex_unlock(&clock->lock);
}

void app_clock_set(struct app_client *client)
{
	struct app_times *times = &client->times;
	struct app_deadlines *deadlines = &client->crew->deadlines;
	uint64_t first_ns = first_of(deadlines), deadline_ns = earlier(times->auth_ns, times->expiry_ns);
	deadline_ns = earlier(deadline_ns, earlier(times->resend_ns, earlier(times->batch_ns, times->wait_ns)));
	deadline_ns = earlier(deadline_ns, times->partial_ns);
	deadline_ns = earlier(deadline_ns, times->ping_ns);
	deadline_ns = earlier(deadline_ns, times->hook_ns);
	/* One that has no connection, whose end would be told, is due to be ended. */
	if (client->closing)
		deadline_ns = client->session ? times->wait_ns : APP_NEVER;
	if (times->heap_position && deadline_ns != times->deadline_ns)
		take_out(deadlines, client);
	times->deadline_ns = deadline_ns;
	if (deadline_ns != APP_NEVER && !times->heap_position && !put_in(deadlines, client))
		log_say(LEVEL_ERROR, "memory", client->id, "no memory for its deadline");
	if (first_of(deadlines) != first_ns)
		show_first(client->crew);
}

void app_clock_remove(struct app_client *client)
{
	struct app_times *times = &client->times;
	times->auth_ns = times->expiry_ns = times->resend_ns = times->batch_ns = APP_NEVER;
	times->wait_ns = times->ping_ns = times->hook_ns = APP_NEVER;
	app_clock_set(client);
}

static void look(void *argument)
{
	struct app_crew *crew = argument;
	uint64_t now_ns = clock_now();
	/* Each that is due is seen to once; whoever is due again at once waits for the next look. */
	for (size_t left = crew->deadlines.count; left && crew->deadlines.count; left--) {
		struct app_client *client = crew->deadlines.heap[0];
		if (client->times.deadline_ns > now_ns + GRAIN_NS / 2)
			break;
		crew->app->clock.due(client, now_ns);
		app_clock_set(client);
	}
	show_first(crew);
}

/* ---- the thread ---- */

static void *run(void *argument)
{
	struct app *app = argument;
	struct app_clock *clock = &app->clock;
	pthread_mutex_lock(&clock->lock);
	while (!clock->ends) {
		uint64_t next_ns = APP_NEVER, now_ns = clock_now();
		for (unsigned i = 0; i < app->crew_count; i++) {
			struct app_deadlines *deadlines = &app->crews[i].deadlines;
			uint64_t due_ns = atomic_load(&deadlines->next_ns);
			/* The worker is asked once: its look sets the next deadline. */
			if (due_ns <= now_ns &&
			    atomic_compare_exchange_strong(&deadlines->next_ns, &due_ns, APP_NEVER) &&
			    rc_post(app->server, i, look, &app->crews[i]))
				atomic_store(&deadlines->next_ns, due_ns = now_ns + GRAIN_NS);
			due_ns = atomic_load(&deadlines->next_ns);
			next_ns = earlier(due_ns, next_ns);
		}
		clock->until_ns = next_ns;
		if (next_ns == APP_NEVER) {
			pthread_cond_wait(&clock->wake, &clock->lock);
			continue;
		}
		const struct timespec until = { .tv_sec = (time_t)(next_ns / NS_PER_SECOND),
			                        .tv_nsec = (long)(next_ns % NS_PER_SECOND) };
		pthread_cond_timedwait(&clock->wake, &clock->lock, &until);
	}
	pthread_mutex_unlock(&clock->lock);
	return NULL;
}

int app_clock_start(struct app *app, void (*due)(struct app_client *client, uint64_t now_ns))
{
	struct app_clock *clock = &app->clock;
	pthread_condattr_t attributes;
	pthread_mutex_init(&clock->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&clock->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	clock->until_ns = APP_NEVER;
	clock->due = due;
	return -pthread_create(&clock->thread, NULL, run, app);
}

void app_clock_stop(struct app *app)
{
	struct app_clock *clock = &app->clock;
	pthread_mutex_lock(&clock->lock);
	clock->ends = true;
	pthread_cond_signal(&clock->wake);
	pthread_mutex_unlock(&clock->lock);
	pthread_join(clock->thread, NULL);
	pthread_cond_destroy(&clock->wake);
	pthread_mutex_destroy(&clock->lock);
}
