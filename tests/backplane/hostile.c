/* SPDX-License-Identifier: MIT
 *
 * hostile.c [--seeds N] [--calm SECONDS] [--quiet]: several nodes of tools/backplane/ as they are, threads and all, on
 * an engine that is hostile on purpose (hub.h), and a model of what each node's log was told. It takes the place of the
 * library: a node's rc_server is a model. Each run prints its seed; RC_SEED=number begins with that one. Threads make a
 * seed a hint and no promise: what was found with one is found with it again nearly always.
 *
 * What must hold, with everything that may happen to an engine:
 *   - a node's numbers rise, within an epoch, behind where the library was told that the epoch begins;
 *   - nothing is delivered twice to a node;
 *   - all nodes have the same at the same place, without holes, from where they were told to begin;
 *   - what was acknowledged had been delivered to its own node; each publish is told once what became of it;
 *   - what was refused as never sent is nowhere;
 *   - where the engine lost nothing, everything that was acknowledged is everywhere.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../unit/seed.h"
#include "backplane/node.h"
#include "hub.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/quote.h"
#include "ringcast_publish.h"
#include "ringcast_replica.h"

#define NODES 3
#define MESSAGES_MAX 60000 /* of a run, all nodes together */
#define AT_ONCE 24
#define ROUNDS 3 /* of malice and calm */

struct place {
	uint64_t epoch, sequence;
	uint32_t message;
};

enum outcome { NONE, WAITS, ACKNOWLEDGED, NEVER_SENT, UNSURE };

static struct message {
	_Atomic unsigned char outcome;
	unsigned char node;
} messages[MESSAGES_MAX];
static _Atomic uint32_t message_count;
static _Atomic unsigned waiting;

/* What a node's log was told. */
static struct model {
	struct backplane *backplane;
	unsigned index;
	pthread_mutex_t running; /* whoever publishes to it, or ends it */
	pthread_mutex_t lock;
	uint64_t epoch, before;
	struct place *places; /* since it was told to begin */
	size_t count, room;
	unsigned char had[MESSAGES_MAX];
	pthread_t publisher;
} models[NODES];

static uint64_t seed;
static _Atomic bool ends, talks;
static bool lossless, quiet;
static unsigned long calm_s = 20; /* in which all must be whole again */

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void nap(uint64_t ns)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) }, NULL);
}

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	printf("seed %llu: ", (unsigned long long)seed);
	vprintf(format, list);
	printf("\n");
	fflush(stdout);
	_Exit(1);
}

/* ---- the library ---- */

int rc_server_begin(rc_server *server, uint64_t epoch, uint64_t sequence)
{
	struct model *model = (struct model *)server;
	pthread_mutex_lock(&model->lock);
	if (epoch < model->epoch)
		fail("node %u: epoch %llu after %llu", model->index, (unsigned long long)epoch,
		     (unsigned long long)model->epoch);
	model->epoch = epoch;
	model->before = sequence;
	model->count = 0;
	pthread_mutex_unlock(&model->lock);
	return 0;
}

bool rc_text_valid(const void *text, size_t size)
{
	(void)text, (void)size;
	return true;
}

const char *rc_strerror(int code)
{
	return strerror(-code);
}

int64_t(rc_publish_many)(rc_server *server, struct rc_batch_message *batch, size_t count, unsigned flags,
                         size_t struct_size)
{
	(void)server, (void)batch, (void)count, (void)flags, (void)struct_size;
	abort();
}

void log_say(enum log_level level, const char *event, const char *who, const char *format, ...)
{
	(void)level, (void)event, (void)who, (void)format;
}

void metrics_value(FILE *to, const char *name, const char *type, const char *help, uint64_t value)
{
	(void)to, (void)name, (void)type, (void)help, (void)value;
}

void metrics_head(FILE *to, const char *name, const char *type, const char *help)
{
	(void)to, (void)name, (void)type, (void)help;
}

void quote_json(FILE *to, const char *text)
{
	(void)to, (void)text;
}

/* ---- a node's log ---- */

static void deliver_one(struct model *model, struct backplane_message *message)
{
	uint32_t number;
	if (message->size != sizeof number)
		fail("node %u: a message of %zu bytes", model->index, message->size);
	memcpy(&number, message->data, sizeof number);
	const struct place *last = model->count ? &model->places[model->count - 1] : NULL;
	if (message->epoch != model->epoch)
		fail("node %u: message %u is of epoch %llu, the log of %llu", model->index, number,
		     (unsigned long long)message->epoch, (unsigned long long)model->epoch);
	bool again = message->sequence <= (last ? last->sequence : model->before);
	if (again && lossless)
		fail("node %u: number %llu is not above %llu", model->index, (unsigned long long)message->sequence,
		     (unsigned long long)(last ? last->sequence : model->before));
	if (model->had[number]++)
		fail("node %u: message %u came twice", model->index, number);
	/* The log refuses it (-EEXIST): it was written behind what was lost, and the next epoch is about to begin. */
	if (again)
		return;
	if (model->count == model->room) {
		model->room = model->room ? model->room * 2 : 1024;
		model->places = realloc(model->places, model->room * sizeof *model->places);
	}
	model->places[model->count++] = (struct place){ message->epoch, message->sequence, number };
}

static void deliver(void *context, struct backplane_message *list, size_t count)
{
	struct model *model = context;
	pthread_mutex_lock(&model->lock);
	for (size_t i = 0; i < count; i++)
		deliver_one(model, &list[i]);
	pthread_mutex_unlock(&model->lock);
}

/* Half of the messages are control, so that both kinds are in one order. */
static void control(void *context, struct backplane_message *message, bool own, bool again)
{
	(void)own, (void)again;
	deliver(context, message, 1);
}

/* ---- publishing ---- */

struct call {
	uint32_t first, count;
	struct model *model;
};

static void settle(uint32_t number, enum outcome outcome)
{
	enum outcome before = atomic_exchange(&messages[number].outcome, (unsigned char)outcome);
	if (before != WAITS)
		fail("message %u was told twice what became of it", number);
	atomic_fetch_sub(&waiting, 1);
}

static void is_done(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct call *call = context;
	if (!code && (count != call->count || !numbers))
		fail("%zu numbers of %u messages", count, call->count);
	for (uint32_t i = 0; i < call->count; i++) {
		if (!code && !call->model->had[call->first + i])
			fail("message %u was acknowledged before it came", call->first + i);
		settle(call->first + i, code == 0 ? ACKNOWLEDGED : code == -EAGAIN ? NEVER_SENT : UNSURE);
	}
	free(call);
}

static bool publish(struct model *model, uint64_t *chances)
{
	struct backplane_message list[4];
	uint32_t values[4], count = 1 + (uint32_t)below(chances, 4);
	struct call *call = malloc(sizeof *call);
	uint32_t first = atomic_fetch_add(&message_count, count);
	if (first + count > MESSAGES_MAX)
		fail("too many messages");
	*call = (struct call){ first, count, model };
	for (uint32_t i = 0; i < count; i++) {
		values[i] = first + i;
		messages[first + i].node = (unsigned char)model->index;
		atomic_store(&messages[first + i].outcome, WAITS);
		list[i] = (struct backplane_message){ .kind = below(chances, 2) ? BACKPLANE_TOPIC : BACKPLANE_CONTROL,
			                              .channel = "topic",
			                              .channel_size = 5,
			                              .flags = RC_PUBLISH_BINARY,
			                              .data = &values[i],
			                              .size = sizeof values[i] };
	}
	atomic_fetch_add(&waiting, count);
	if (!backplane_publish(model->backplane, list, count, is_done, call))
		return true;
	for (uint32_t i = 0; i < count; i++)
		settle(first + i, NEVER_SENT);
	free(call);
	return false;
}

static void *talk(void *argument)
{
	struct model *model = argument;
	uint64_t chances = seed + model->index + 1;
	while (!atomic_load(&ends)) {
		pthread_mutex_lock(&model->running);
		if (atomic_load(&talks))
			publish(model, &chances);
		pthread_mutex_unlock(&model->running);
		nap(below(&chances, 3000000));
	}
	return NULL;
}

/* ---- nodes ---- */

static void start_node(struct model *model)
{
	const struct backplane_handlers handlers = { .context = model, .deliver = deliver, .control = control };
	const struct backplane_settings settings = { .url = "hub://here",
		                                     .away = BACKPLANE_REFUSE,
		                                     .queue_max = 1 << 20,
		                                     .confirm_ms = 20000,
		                                     .message_max = 1 << 20 };
	struct rc_error error;
	model->backplane = backplane_new(&settings, (rc_server *)model, &handlers, &error);
	if (!model->backplane)
		fail("no node: %s", error.text);
	backplane_start(model->backplane);
}

/* Its log begins empty: what it has had before, it gets again. */
static void restart_node(struct model *model)
{
	pthread_mutex_lock(&model->running);
	backplane_stop(model->backplane);
	backplane_free(model->backplane);
	memset(model->had, 0, sizeof model->had);
	model->epoch = model->before = 0;
	model->count = 0;
	start_node(model);
	pthread_mutex_unlock(&model->running);
}

/* ---- calm ---- */

static size_t count_of(struct model *model)
{
	pthread_mutex_lock(&model->lock);
	size_t count = model->count;
	pthread_mutex_unlock(&model->lock);
	return count;
}

static bool has(struct model *model, uint32_t number)
{
	pthread_mutex_lock(&model->lock);
	bool had = model->had[number];
	pthread_mutex_unlock(&model->lock);
	return had;
}

static void wait_until_whole(uint64_t until_ns)
{
	for (unsigned i = 0; i < NODES; i++) {
		struct backplane_stats stats = { 0 };
		while (backplane_stats(models[i].backplane, &stats), !stats.up || stats.queue) {
			if (now_ns() > until_ns)
				fail("node %u is not whole again: %s, %llu in its queue, %lu packets", i,
				     stats.up ? "up" : models[i].backplane->why, (unsigned long long)stats.queue,
				     hub_packets());
			nap(1000000);
		}
	}
	while (atomic_load(&waiting)) {
		if (now_ns() > until_ns)
			fail("%u messages were never told what became of them", atomic_load(&waiting));
		nap(1000000);
	}
}

/* In peace all that is published arrives everywhere. */
static void prove_peace(uint64_t *chances, uint64_t until_ns)
{
	uint32_t from = atomic_load(&message_count);
	for (unsigned i = 0; i < NODES * 4; i++)
		if (!publish(&models[i % NODES], chances))
			fail("node %u refuses a message in peace", i % NODES);
	uint32_t to = atomic_load(&message_count);
	for (uint32_t number = from; number < to; number++)
		for (unsigned i = 0; i < NODES; i++)
			while (!has(&models[i], number)) {
				if (now_ns() > until_ns)
					fail("node %u never had message %u, published in peace by node %u", i, number,
					     messages[number].node);
				nap(1000000);
			}
	while (atomic_load(&waiting) && now_ns() < until_ns)
		nap(1000000);
}

/* Where both were told to have everything, both have the same. */
static void compare(const struct model *one, const struct model *other)
{
	uint64_t from = one->before > other->before ? one->before : other->before;
	size_t i = 0, j = 0;
	if (one->epoch != other->epoch)
		fail("node %u has epoch %llu, node %u %llu", one->index, (unsigned long long)one->epoch, other->index,
		     (unsigned long long)other->epoch);
	while (i < one->count && one->places[i].sequence <= from)
		i++;
	while (j < other->count && other->places[j].sequence <= from)
		j++;
	while (i < one->count || j < other->count) {
		const struct place *a = i < one->count ? &one->places[i] : NULL;
		const struct place *b = j < other->count ? &other->places[j] : NULL;
		if (a && b && a->sequence == b->sequence && a->message == b->message) {
			i++, j++;
			continue;
		}
		bool first = a && (!b || a->sequence <= b->sequence);
		const struct model *missing = first ? other : one;
		const struct place *place = first ? a : b;
		/* What a node had in the epoch before, it does not take once more. */
		if (lossless || !missing->had[place->message])
			fail("node %u has no message %u at %llu of epoch %llu", missing->index, place->message,
			     (unsigned long long)place->sequence, (unsigned long long)place->epoch);
		first ? i++ : j++;
	}
}

static void check_outcomes(const bool restarted[NODES])
{
	uint32_t count = atomic_load(&message_count);
	for (uint32_t number = 0; number < count; number++)
		for (unsigned i = 0; i < NODES; i++) {
			enum outcome outcome = atomic_load(&messages[number].outcome);
			if (outcome == NEVER_SENT && models[i].had[number])
				fail("message %u was refused as never sent, and came to node %u", number, i);
			if (outcome == ACKNOWLEDGED && lossless && !restarted[i] && !models[i].had[number])
				fail("message %u was acknowledged, and never came to node %u", number, i);
		}
}

/* ---- a run ---- */

static void be_hostile(uint64_t *chances, bool restarted[NODES])
{
	const struct hub_malice malice = {
		.cut = below(chances, 3) ? 40 + (unsigned)below(chances, 200) : 0,
		.unsaid = below(chances, 3) ? 20 + (unsigned)below(chances, 100) : 0,
		.late = below(chances, 3) ? 20 + (unsigned)below(chances, 100) : 0,
		.slow = below(chances, 2) ? 5 + (unsigned)below(chances, 50) : 0,
		.blind = below(chances, 2) ? 2 + (unsigned)below(chances, 8) : 0,
	};
	hub_set(&malice);
	for (unsigned event = 0; event < 4; event++) {
		nap(20000000 + below(chances, 60000000));
		unsigned what = (unsigned)below(chances, lossless ? 2 : 6);
		if (what == 0) {
			hub_cut_all();
		} else if (what == 1 && below(chances, 3) == 0) {
			unsigned which = (unsigned)below(chances, NODES);
			restarted[which] = true;
			restart_node(&models[which]);
		} else if (what == 2) {
			hub_restart(1 + (unsigned)below(chances, 20));
		} else if (what == 3) {
			hub_flush();
		} else if (what == 4) {
			hub_trim((unsigned)below(chances, 30));
		} else if (what == 5) {
			hub_cut_all();
			hub_trim(below(chances, 2) ? 0 : 1 + (unsigned)below(chances, 10));
		}
	}
}

/* A node that says nothing falls behind, and the engine lets go of all that it had to read. */
static void fall_behind(unsigned which)
{
	struct backplane_stats stats;
	pthread_mutex_lock(&models[which].running);
	for (unsigned tries = 0; tries < 100; tries++) {
		backplane_stats(models[which].backplane, &stats);
		if (stats.up && !stats.queue)
			break;
		nap(1000000);
	}
	hub_deafen(which, 150000000);
	nap(60000000);
	atomic_store(&talks, false);
	nap(20000000);
	hub_trim(0);
	pthread_mutex_unlock(&models[which].running);
}

static void run_seed(void)
{
	uint64_t chances = seed;
	bool restarted[NODES] = { false };
	const struct hub_malice none = { 0 };
	pthread_t talkers[NODES];
	lossless = below(&chances, 2);
	hub_begin(chance(&chances), below(&chances, 2));
	for (unsigned i = 0; i < NODES; i++) {
		models[i].index = i;
		pthread_mutex_init(&models[i].lock, NULL);
		pthread_mutex_init(&models[i].running, NULL);
		start_node(&models[i]);
	}
	atomic_store(&talks, true);
	for (unsigned i = 0; i < NODES; i++)
		pthread_create(&talkers[i], NULL, talk, &models[i]);
	for (unsigned round = 0; round < ROUNDS; round++) {
		be_hostile(&chances, restarted);
		if (!lossless && below(&chances, 2))
			fall_behind((unsigned)below(&chances, NODES));
		atomic_store(&talks, false);
		hub_set(&none);
		uint64_t until_ns = now_ns() + calm_s * 1000000000;
		nap(5000000);
		wait_until_whole(until_ns);
		prove_peace(&chances, until_ns);
		for (unsigned i = 0; i < NODES; i++)
			pthread_mutex_lock(&models[i].lock);
		for (unsigned i = 1; i < NODES; i++)
			compare(&models[0], &models[i]);
		check_outcomes(restarted);
		for (unsigned i = 0; i < NODES; i++)
			pthread_mutex_unlock(&models[i].lock);
		atomic_store(&talks, true);
	}
	atomic_store(&ends, true);
	for (unsigned i = 0; i < NODES; i++)
		pthread_join(talkers[i], NULL);
	for (unsigned i = 0; i < NODES; i++) {
		backplane_stop(models[i].backplane);
		backplane_free(models[i].backplane);
		free(models[i].places);
	}
	if (!quiet)
		printf("seed %llu: %u messages in %lu packets, %zu at node 0%s\n", (unsigned long long)seed,
		       atomic_load(&message_count), hub_packets(), count_of(&models[0]),
		       lossless ? "; the engine lost nothing" : "");
	if (atomic_load(&waiting))
		fail("%u messages were never told what became of them", atomic_load(&waiting));
	hub_end();
}

/* Each seed in a process of its own: most of its time it sleeps, so several run at once. */
static bool run_all(unsigned long count)
{
	const uint64_t first = seed;
	unsigned running = 0;
	bool good = true;
	for (unsigned long i = 0; i < count || running;) {
		if (i < count && running < AT_ONCE && good) {
			seed = first + i++;
			if (!fork()) {
				run_seed();
				exit(0);
			}
			running++;
			continue;
		}
		int status;
		if (wait(&status) < 0)
			break;
		running--;
		good = good && WIFEXITED(status) && !WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			printf("a run was ended by signal %d\n", WTERMSIG(status));
		i = good ? i : count;
	}
	return good;
}

int main(int argc, char **argv)
{
	unsigned long count = 8;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quiet") == 0)
			quiet = true;
		else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			count = strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--calm") == 0 && i + 1 < argc)
			calm_s = strtoul(argv[++i], NULL, 10);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	seed = seed_of("hostile");
	return run_all(count) ? 0 : 1;
}
