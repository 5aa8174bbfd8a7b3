/* SPDX-License-Identifier: MIT
 *
 * jobs.c - see node.h: what clients send goes to a queue of the engine, for services to work on. It has a thread and a
 * connection of its own, so a queue that is full or slow holds up nothing else of the node. It must not know any
 * engine.
 *
 * Invariant: each job that was taken is told once what became of it, never under the lock; and it is told that the
 * queue has it only when the engine has said so. A job whose answer was lost is sent again: services may see it twice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/log.h"
#include "node.h"

#define TICK_NS UINT64_C(200000000)
#define NAME_MAX_SIZE 200

struct job {
	struct job *next;
	struct engine_job job;
	backplane_done *done;
	void *context;
	uint64_t added_ns;
	size_t size;
	/* The thread's. */
	bool sent; /* the engine may have it */
	bool over; /* and `code` says how it ended */
	int code;
	char bytes[];
};

struct jobs {
	struct backplane *backplane;
	const struct engine_out *engine;
	void *state; /* the thread's */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* by CLOCK_MONOTONIC */
	/* Under the lock. Only the thread takes jobs out. */
	struct job *first, **end;
	size_t count, size;
	bool closed, ending;
	bool full;              /* it is there, and takes no more */
	uint64_t away_since_ns; /* 0: it takes jobs */
	char why[ENGINE_WHY_SIZE];
	_Atomic uint64_t sent, refused;
};

/* ---- the name ---- */

bool jobs_check(const struct backplane_settings *settings, const struct backplane_url *url, const struct engine *engine,
                char wrong[static ENGINE_WHY_SIZE])
{
	static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	const char *name = settings->out, *prefix = backplane_url_value(url, "prefix", "ringcast");
	const size_t size = name ? strlen(name) : 0;
	if (!name)
		return true;
	size_t good = 0;
	while (good < size && engine->out && (strchr(letters, name[good]) || strchr(engine->out->signs, name[good])))
		good++;
	if (!engine->out)
		snprintf(wrong, ENGINE_WHY_SIZE, "backplane-out: %s has no queues for services", engine->name);
	else if (!size || size > NAME_MAX_SIZE || good < size || *name == '.' || name[size - 1] == '.' ||
	         strstr(name, ".."))
		snprintf(
		    wrong, ENGINE_WHY_SIZE,
		    "backplane-out=%.60s: a queue of %s is 1 to 200 letters, digits or %s, with single dots inside",
		    name, engine->name, engine->out->signs);
	else if (strncmp(name, prefix, strlen(prefix)) == 0 &&
	         (!name[strlen(prefix)] || strchr(":.", name[strlen(prefix)])))
		snprintf(wrong, ENGINE_WHY_SIZE,
		         "backplane-out=%.60s: what begins with the prefix is the nodes' own: choose another name",
		         name);
	else if (strncmp(name, "amq.", 4) == 0)
		snprintf(wrong, ENGINE_WHY_SIZE, "backplane-out=%.60s: amq. is RabbitMQ's own: choose another name",
		         name);
	else
		return true;
	return false;
}

/* ---- handing over ---- */

bool backplane_hands_out(const struct backplane *backplane)
{
	return backplane->jobs;
}

static const void *keep(char **at, const void *bytes, size_t size)
{
	const char *kept = *at;
	if (size)
		memcpy(*at, bytes, size);
	*at += size;
	return kept;
}

static struct job *make_job(const struct backplane_job *job, backplane_done *done, void *context)
{
	const size_t size = sizeof(struct job) + job->user_size + job->id_size + job->size;
	struct job *made = malloc(size);
	if (!made)
		return NULL;
	*made = (struct job){ .done = done, .context = context, .added_ns = state_clock_ns(), .size = size };
	char *at = made->bytes;
	made->job = (struct engine_job){
		.user_size = job->user_size, .id_size = job->id_size, .size = job->size, .time_ms = job->time_ms
	};
	made->job.user = keep(&at, job->user, job->user_size);
	made->job.id = keep(&at, job->id, job->id_size);
	made->job.data = keep(&at, job->data, job->size);
	return made;
}

int backplane_hand_out(struct backplane *backplane, const struct backplane_job *job, backplane_done *done,
                       void *context)
{
	struct jobs *jobs = backplane->jobs;
	const struct backplane_settings *settings = &backplane->settings;
	if (settings->message_max && job->size > settings->message_max)
		return -EMSGSIZE;
	struct job *made = make_job(job, done, context);
	if (!made)
		return -ENOMEM;
	pthread_mutex_lock(&jobs->lock);
	bool away = settings->away == BACKPLANE_REFUSE && jobs->away_since_ns && !jobs->full &&
	            made->added_ns - jobs->away_since_ns > PATIENCE_NS;
	bool taken = !away && !jobs->closed && jobs->size + made->size <= settings->queue_max;
	if (taken) {
		*jobs->end = made;
		jobs->end = &made->next;
		jobs->count++;
		jobs->size += made->size;
		pthread_cond_signal(&jobs->changed);
	}
	pthread_mutex_unlock(&jobs->lock);
	if (taken)
		return 0;
	atomic_fetch_add(&jobs->refused, 1);
	free(made);
	return -EAGAIN;
}

/* ---- the thread ---- */

static void end_one(struct job *job, int code)
{
	job->over = true;
	job->code = code;
}

/* Sleeps until there is a job, or the time is over. Returns whether the engine is to be asked. */
static bool wait_for_one(struct jobs *jobs, bool *ending)
{
	const uint64_t until_ns = state_clock_ns() + TICK_NS;
	const struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000),
		                        .tv_nsec = (long)(until_ns % 1000000000) };
	pthread_mutex_lock(&jobs->lock);
	while (!jobs->first && !jobs->ending)
		if (pthread_cond_timedwait(&jobs->changed, &jobs->lock, &until))
			break;
	*ending = jobs->ending;
	bool tries = !jobs->ending && (jobs->first || (jobs->away_since_ns && !jobs->full));
	pthread_mutex_unlock(&jobs->lock);
	return tries;
}

/* Takes out those that are over, and tells them. Who has waited for too long is; with a queue, waiting is what was
 * asked for. */
static void settle(struct jobs *jobs)
{
	const struct backplane_settings *settings = &jobs->backplane->settings;
	const uint64_t limit_ns = (uint64_t)settings->confirm_ms * 1000000, now_ns = state_clock_ns();
	struct job *over = NULL, **over_end = &over;
	pthread_mutex_lock(&jobs->lock);
	struct job **link = &jobs->first;
	while (*link) {
		struct job *job = *link;
		if (!job->over && settings->away == BACKPLANE_REFUSE && now_ns - job->added_ns > limit_ns)
			end_one(job, job->sent ? -ETIMEDOUT : -EAGAIN);
		if (!job->over) {
			link = &job->next;
			continue;
		}
		*link = job->next;
		jobs->count--;
		jobs->size -= job->size;
		*over_end = job;
		over_end = &job->next;
		*over_end = NULL;
	}
	jobs->end = link;
	pthread_mutex_unlock(&jobs->lock);
	for (struct job *job = over, *next; job; job = next) {
		next = job->next;
		atomic_fetch_add(job->code ? &jobs->refused : &jobs->sent, 1);
		if (job->done)
			job->done(job->context, job->code, NULL, 0);
		free(job);
	}
}

/* A queue that is full is asked for each job, and one that is away is not. */
static void set_away(struct jobs *jobs, int code, const char *why)
{
	pthread_mutex_lock(&jobs->lock);
	bool changed = !code == (jobs->away_since_ns != 0);
	if (changed)
		jobs->away_since_ns = code ? state_clock_ns() : 0;
	jobs->full = code == -ENOSPC;
	snprintf(jobs->why, sizeof jobs->why, "%s", code ? why : "");
	pthread_mutex_unlock(&jobs->lock);
	if (changed && code)
		log_say(LEVEL_WARNING, "backplane", NULL, "what clients send does not reach services: %s", why);
	else if (changed)
		log_say(LEVEL_INFO, "backplane", NULL, "what clients send reaches services");
}

/* Sends the oldest, which stay in the line until they are told. Without any it looks whether the queue is there. */
static int send_some(struct jobs *jobs, char why[static ENGINE_WHY_SIZE])
{
	struct engine_job sent[ENGINE_JOBS_MAX];
	struct job *of[ENGINE_JOBS_MAX];
	size_t count = 0;
	pthread_mutex_lock(&jobs->lock);
	for (struct job *job = jobs->first; job && count < ENGINE_JOBS_MAX; job = job->next) {
		job->sent = true;
		of[count] = job;
		sent[count++] = job->job;
	}
	pthread_mutex_unlock(&jobs->lock);
	int code = jobs->engine->hand_out(jobs->state, sent, count, why);
	bool refuses = code == -ENOSPC && jobs->backplane->settings.away == BACKPLANE_REFUSE, never = code == -EMSGSIZE;
	for (size_t i = 0; i < count; i++) {
		if (sent[i].appended)
			end_one(of[i], 0);
		else if (refuses || never)
			end_one(of[i], refuses ? -EAGAIN : -EMSGSIZE), never = false;
	}
	return code == -EMSGSIZE ? 0 : code;
}

static void *run(void *argument)
{
	struct jobs *jobs = argument;
	unsigned rest_ms = 0;
	state_thread();
	for (bool ending = false; !ending;) {
		char why[ENGINE_WHY_SIZE] = "";
		bool tries = wait_for_one(jobs, &ending);
		int code = tries ? send_some(jobs, why) : 0;
		settle(jobs);
		if (tries)
			set_away(jobs, code, why);
		if (code)
			state_rest(jobs->backplane, rest_ms);
		rest_ms = code ? state_next_rest(rest_ms) : 0;
	}
	return NULL;
}

/* ---- life ---- */

struct jobs *jobs_new(struct backplane *backplane, const struct engine_setup *setup)
{
	struct jobs *jobs = calloc(1, sizeof *jobs);
	pthread_condattr_t clock;
	if (!jobs)
		return NULL;
	jobs->backplane = backplane;
	jobs->engine = backplane->engine->out;
	jobs->end = &jobs->first;
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&jobs->changed, &clock);
	pthread_condattr_destroy(&clock);
	jobs->state = jobs->engine->open(setup, backplane->settings.out);
	if (!jobs->state) {
		jobs_free(jobs);
		return NULL;
	}
	return jobs;
}

/* Without the thread. */
static void cancel(struct jobs *jobs)
{
	for (struct job *job = jobs->first; job; job = job->next)
		end_one(job, -ECANCELED);
	settle(jobs);
}

int jobs_start(struct jobs *jobs)
{
	int code = pthread_create(&jobs->thread, NULL, run, jobs);
	jobs->started = !code;
	return -code;
}

void jobs_stop(struct jobs *jobs, uint64_t until_ns)
{
	if (!jobs || !jobs->started)
		return;
	jobs->started = false;
	bool rest = true;
	while (rest) {
		pthread_mutex_lock(&jobs->lock);
		jobs->closed = true;
		rest = jobs->first && !jobs->away_since_ns && state_clock_ns() < until_ns;
		jobs->ending = !rest;
		pthread_cond_signal(&jobs->changed);
		pthread_mutex_unlock(&jobs->lock);
		if (rest)
			nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	pthread_join(jobs->thread, NULL);
	cancel(jobs);
}

void jobs_free(struct jobs *jobs)
{
	if (!jobs)
		return;
	cancel(jobs);
	if (jobs->state)
		jobs->engine->close(jobs->state);
	pthread_cond_destroy(&jobs->changed);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

void jobs_stats(struct jobs *jobs, struct backplane_stats *stats, char *why)
{
	pthread_mutex_lock(&jobs->lock);
	stats->out = true;
	stats->out_up = !jobs->away_since_ns;
	stats->out_queue = jobs->count;
	stats->out_queue_bytes = jobs->size;
	snprintf(why, ENGINE_WHY_SIZE, "%s", jobs->why);
	pthread_mutex_unlock(&jobs->lock);
	stats->out_sent = atomic_load(&jobs->sent);
	stats->out_refused = atomic_load(&jobs->refused);
}
