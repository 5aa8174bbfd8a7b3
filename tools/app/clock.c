/* SPDX-License-Identifier: MIT
 *
 * clock.c - when something is due for a client: a heap of deadlines a worker, and one thread that sleeps until the
 * first of all workers and then asks that worker to look. The thread touches no client; nothing is due, nothing wakes.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "app.h"
#include "lib/wait.h"

#define GRAIN_NS UINT64_C(10000000) /* deadlines closer together than this are seen to at once */

/* ---- the heap ---- */

static void put(struct app_crew *crew, size_t at, struct app_client *client)
{
	crew->heap[at] = client;
	client->heap_place = at + 1;
}

static void sift_up(struct app_crew *crew, size_t at, struct app_client *client)
{
	for (; at; at = (at - 1) / 2) {
		struct app_client *parent = crew->heap[(at - 1) / 2];
		if (parent->deadline_ns <= client->deadline_ns)
			break;
		put(crew, at, parent);
	}
	put(crew, at, client);
}

static void sift_down(struct app_crew *crew, size_t at, struct app_client *client)
{
	for (;;) {
		size_t child = at * 2 + 1;
		if (child >= crew->heap_count)
			break;
		if (child + 1 < crew->heap_count && crew->heap[child + 1]->deadline_ns < crew->heap[child]->deadline_ns)
			child++;
		if (crew->heap[child]->deadline_ns >= client->deadline_ns)
			break;
		put(crew, at, crew->heap[child]);
		at = child;
	}
	put(crew, at, client);
}

static void take_out(struct app_crew *crew, struct app_client *client)
{
	size_t at = client->heap_place - 1;
	struct app_client *last = crew->heap[--crew->heap_count];
	client->heap_place = 0;
	if (last == client)
		return;
	if (at && crew->heap[(at - 1) / 2]->deadline_ns > last->deadline_ns)
		sift_up(crew, at, last);
	else
		sift_down(crew, at, last);
}

static bool put_in(struct app_crew *crew, struct app_client *client)
{
	if (crew->heap_count == crew->heap_capacity) {
		size_t capacity = crew->heap_capacity ? crew->heap_capacity * 2 : 64;
		struct app_client **heap = realloc(crew->heap, capacity * sizeof(struct app_client *));
		if (!heap)
			return false;
		crew->heap = heap;
		crew->heap_capacity = capacity;
	}
	sift_up(crew, crew->heap_count++, client);
	return true;
}

/* ---- the thread ---- */

static void show_first(struct app_crew *crew)
{
	struct app *app = crew->app;
	uint64_t next_ns = crew->heap_count ? crew->heap[0]->deadline_ns : APP_NEVER;
	atomic_store(&crew->next_ns, next_ns);
	if (next_ns == APP_NEVER)
		return;
	pthread_mutex_lock(&app->clock_lock);
	if (next_ns < app->clock_until_ns)
		pthread_cond_signal(&app->clock_wake);
	pthread_mutex_unlock(&app->clock_lock);
}

void app_clock_set(struct app_client *client)
{
	struct app_crew *crew = client->crew;
	uint64_t deadline_ns = client->auth_ns, first = crew->heap_count ? crew->heap[0]->deadline_ns : APP_NEVER;
	deadline_ns = client->expiry_ns < deadline_ns ? client->expiry_ns : deadline_ns;
	deadline_ns = client->resend_ns < deadline_ns ? client->resend_ns : deadline_ns;
	deadline_ns = client->batch_ns < deadline_ns ? client->batch_ns : deadline_ns;
	deadline_ns = client->wait_ns < deadline_ns ? client->wait_ns : deadline_ns;
	if (client->closing)
		deadline_ns = APP_NEVER;
	if (client->heap_place && deadline_ns != client->deadline_ns)
		take_out(crew, client);
	client->deadline_ns = deadline_ns;
	if (deadline_ns != APP_NEVER && !client->heap_place && !put_in(crew, client))
		app_log_say(APP_LOG_ERROR, "memory", client->id, "no memory for its deadline");
	if ((crew->heap_count ? crew->heap[0]->deadline_ns : APP_NEVER) != first)
		show_first(crew);
}

void app_clock_remove(struct app_client *client)
{
	client->auth_ns = client->expiry_ns = client->resend_ns = client->batch_ns = client->wait_ns = APP_NEVER;
	app_clock_set(client);
}

static void look(void *argument)
{
	struct app_crew *crew = argument;
	uint64_t now_ns = clock_now();
	app_crew_enter(crew);
	/* Each that is due is seen to once; whoever is due again at once waits for the next look. */
	for (size_t left = crew->heap_count; left && crew->heap_count; left--) {
		struct app_client *client = crew->heap[0];
		if (client->deadline_ns > now_ns + GRAIN_NS / 2)
			break;
		app_due(client, now_ns);
		app_clock_set(client);
	}
	show_first(crew);
	app_crew_leave(crew);
}

static void *run(void *argument)
{
	struct app *app = argument;
	pthread_mutex_lock(&app->clock_lock);
	while (!app->clock_ends) {
		uint64_t next_ns = APP_NEVER, now_ns = clock_now();
		for (unsigned i = 0; i < app->crew_count; i++) {
			struct app_crew *crew = &app->crews[i];
			uint64_t due_ns = atomic_load(&crew->next_ns);
			/* Asked once: the look itself tells the next deadline. */
			if (due_ns <= now_ns && atomic_compare_exchange_strong(&crew->next_ns, &due_ns, APP_NEVER) &&
			    rc_post(app->server, i, look, crew))
				atomic_store(&crew->next_ns, due_ns = now_ns + GRAIN_NS);
			due_ns = atomic_load(&crew->next_ns);
			next_ns = due_ns < next_ns ? due_ns : next_ns;
		}
		app->clock_until_ns = next_ns;
		if (next_ns == APP_NEVER) {
			pthread_cond_wait(&app->clock_wake, &app->clock_lock);
			continue;
		}
		const struct timespec until = { .tv_sec = (time_t)(next_ns / NS_PER_SECOND),
			                        .tv_nsec = (long)(next_ns % NS_PER_SECOND) };
		pthread_cond_timedwait(&app->clock_wake, &app->clock_lock, &until);
	}
	pthread_mutex_unlock(&app->clock_lock);
	return NULL;
}

int app_clock_start(struct app *app)
{
	pthread_condattr_t attributes;
	pthread_mutex_init(&app->clock_lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&app->clock_wake, &attributes);
	pthread_condattr_destroy(&attributes);
	app->clock_until_ns = APP_NEVER;
	return -pthread_create(&app->clock, NULL, run, app);
}

void app_clock_stop(struct app *app)
{
	pthread_mutex_lock(&app->clock_lock);
	app->clock_ends = true;
	pthread_cond_signal(&app->clock_wake);
	pthread_mutex_unlock(&app->clock_lock);
	pthread_join(app->clock, NULL);
	pthread_cond_destroy(&app->clock_wake);
	pthread_mutex_destroy(&app->clock_lock);
}

/* ---- time, as it is written ---- */

uint64_t app_time_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void app_out_time_iso(struct app_out *out)
{
	uint64_t ms = app_time_ms();
	time_t seconds = (time_t)(ms / 1000);
	struct tm parts;
	char text[32];
	gmtime_r(&seconds, &parts);
	strftime(text, sizeof text, "%FT%T", &parts);
	app_out_format(out, "\"%s.%03uZ\"", text, (unsigned)(ms % 1000));
}
