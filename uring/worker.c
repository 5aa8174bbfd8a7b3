/* SPDX-License-Identifier: MIT
 *
 * worker.c - the tick: reap, process, flush, one submission. It must not know a frame or a topic.
 *
 *      posted commands, timers -> fan-out prepares sends -> [ submit and wait ] -> completions -> again
 *
 * Nothing is sent from inside an event; what an event wants sent is queued and leaves with the next submission.
 */
#include "compress.h"
#include "fanout.h"
#include "hold.h"
#include "pump.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define ACCEPT_PAUSE_NS 100000000 /* before trying again when the table was full or memory out */
#define STOP_TICK_NS 5000000
#define STOP_SLICE 1024 /* connections told to go away in a tick */

_Thread_local struct worker *rc_worker_here;

/* ---- opening and closing ---- */

static void *map(size_t size)
{
	/* Zeroed, and only what is touched costs memory: a slot nobody used takes none. */
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static int open_tables(struct worker *worker)
{
	unsigned count = worker->slot_count;
	worker->connections = map(count * sizeof *worker->connections);
	worker->wheel.links = map(count * sizeof *worker->wheel.links);
	worker->queue = map(count * sizeof *worker->queue);
	worker->behind = map(count * sizeof *worker->behind);
	worker->inflaters = map(count * sizeof(struct rc_inflater *));
	if (worker->server->addresses)
		worker->address_places = map(count * sizeof *worker->address_places);
	if (!worker->connections || !worker->inflaters || !worker->wheel.links || !worker->queue || !worker->behind ||
	    (worker->server->addresses && !worker->address_places))
		return -ENOMEM;
	rc_wheel_init(&worker->wheel, worker->wheel.links, worker->now_ns / TICK_NS);
	rc_pool_init(&worker->pool, RC_POOL_CACHE_SIZE, RC_POOL_SIZE_MAX);
	int result = rc_subscribers_init(&worker->subscribers);
	if (result == 0)
		result = rc_fanout_open(worker);
	return result < 0 ? result : rc_secure_open(worker);
}

static unsigned slots_wanted(const struct rc_config *config)
{
	if (!config->connections_max)
		return RC_SLOTS_MAX;
	return RC_MIN(config->connections_max + 2 * RC_REFUSALS_MAX, RC_SLOTS_MAX);
}

static void arm_accept(struct worker *worker, unsigned listener)
{
	worker->accept_armed |= 1u << listener;
	rc_ring_accept(worker->ring, worker->listener_fds[listener], (uint64_t)TAG_ACCEPTED << 56 | listener);
}

int rc_worker_open(struct worker *worker, struct rc_error *error)
{
	const struct rc_config *config = &worker->server->config;
	struct rc_ring_config ring = {
		.slot_count = slots_wanted(config),
		.entry_count = RC_RING_ENTRIES,
		.buffer_count = RC_RECEIVE_BUFFERS,
		.buffer_size = RC_RECEIVE_BUFFER_SIZE,
		.ring_count = worker->server->worker_count,
		.old_kernel = worker->server->old_kernel,
	};
	int result = rc_ring_open(&worker->ring, &ring, error);
	if (result < 0)
		return result;
	worker->slot_count = ring.slot_count;
	worker->now_ns = rc_ring_now(worker->ring);
	uint64_t places = (uint64_t)ring.slot_count * worker->server->worker_count;
	result = places < config->connections_max ? -EMFILE : open_tables(worker);
	if (result < 0) {
		if (result == -EMFILE)
			rc_fail(error, result,
			        "the descriptor limit allows %u connections a worker, %u were asked for: raise "
			        "'ulimit -n', or use more workers",
			        ring.slot_count, config->connections_max);
		else
			rc_fail(error, result, "no memory for the tables of a worker");
		rc_worker_close(worker);
		return result;
	}
	rc_ring_watch(worker->ring, worker->wake_fd, (uint64_t)TAG_WOKEN << 56);
	for (unsigned i = 0; i < worker->server->listener_count; i++)
		arm_accept(worker, i);
	return 0;
}

static void run_commands(struct worker *worker);

/* From now on nothing is taken; what was posted before is refused where it needs a connection, but freed. */
static void end_commands(struct worker *worker)
{
	pthread_mutex_lock(&worker->command_lock);
	worker->commands_ended = true;
	pthread_mutex_unlock(&worker->command_lock);
	run_commands(worker);
}

void rc_worker_close(struct worker *worker)
{
	end_commands(worker);
	for (uint32_t slot = 0; slot < worker->slot_high; slot++)
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
	rc_dial_close(worker);
	rc_ring_close(worker->ring);
	worker->ring = NULL;
	for (uint32_t slot = 0; slot < worker->slot_high; slot++) {
		rc_outbox_free(worker->connections[slot].outbox, &worker->pool);
		rc_compress_end(worker, slot);
	}
	rc_compress_close(worker);
	rc_secure_close(worker);
	rc_fanout_close(worker);
	rc_session_reset(&worker->scratch, &worker->pool);
	rc_pool_destroy(&worker->pool);
	unsigned count = worker->slot_count;
	munmap(worker->wheel.links, count * sizeof *worker->wheel.links);
	munmap(worker->queue, count * sizeof *worker->queue);
	munmap(worker->behind, count * sizeof *worker->behind);
	munmap(worker->inflaters, count * sizeof *worker->inflaters);
	if (worker->address_places)
		munmap(worker->address_places, count * sizeof *worker->address_places);
	worker->address_places = NULL;
	/* A worker that has gone holds no publisher back. */
	atomic_store_explicit(&worker->server->floors[worker->index], UINT64_MAX, memory_order_release);
}

void rc_worker_free(struct worker *worker)
{
	end_commands(worker); /* of a worker that never ran */
	rc_dial_close(worker);
	if (worker->connections)
		munmap(worker->connections, worker->slot_count * sizeof *worker->connections);
	rc_subscribers_destroy(&worker->subscribers);
}

/* ---- services to the other files of this room ---- */

void rc_worker_queue(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->queued)
		return;
	conn->queued = true;
	uint64_t place = (uint64_t)worker->queue_at + worker->queue_count++;
	worker->queue[place < worker->slot_count ? place : place - worker->slot_count] = slot;
}

void rc_worker_set_timer(struct worker *worker, uint32_t slot, uint64_t ms)
{
	/* Rounded up, and one more for the part of a tick that has passed: never early. */
	uint64_t ticks = (ms * 1000000 + TICK_NS - 1) / TICK_NS + 1;
	rc_wheel_set(&worker->wheel, slot, worker->now_ns / TICK_NS + ticks);
}

void rc_worker_report(struct worker *worker, unsigned kind, const char *format, ...)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	if (!handlers->report || (worker->reported_ns[kind] && worker->now_ns - worker->reported_ns[kind] < 1000000000))
		return;
	worker->reported_ns[kind] = worker->now_ns;
	char text[256];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	handlers->report(handlers->context, text);
}

uint32_t rc_worker_random(struct worker *worker)
{
	if (!worker->random_left) {
		rc_ring_random(worker->ring, worker->random, sizeof worker->random);
		worker->random_left = sizeof worker->random / sizeof worker->random[0];
	}
	return worker->random[--worker->random_left];
}

void rc_worker_wake(struct worker *worker)
{
	/* seq_cst: with the store of the log's head or of the command before it, and see prepare_to_sleep() */
	if (!atomic_load(&worker->sleeping) || !atomic_exchange(&worker->sleeping, false))
		return;
	const uint64_t one = 1;
	ssize_t written = write(worker->wake_fd, &one, sizeof one);
	(void)written; /* it fails only when the counter is full, and then the worker is awake */
}

/* ---- commands from other threads ---- */

int rc_worker_post(struct worker *worker, struct command *command)
{
	command->next = NULL;
	if (atomic_fetch_add(&worker->command_count, 1) >= RC_COMMANDS_MAX) {
		atomic_fetch_sub(&worker->command_count, 1);
		return -EAGAIN;
	}
	pthread_mutex_lock(&worker->command_lock);
	bool ended = worker->commands_ended;
	if (!ended) {
		*worker->commands_end = command;
		worker->commands_end = &command->next;
	}
	pthread_mutex_unlock(&worker->command_lock);
	if (ended) {
		atomic_fetch_sub(&worker->command_count, 1);
		return -ENOTCONN;
	}
	rc_worker_wake(worker);
	return 0;
}

static void run_commands(struct worker *worker)
{
	if (!atomic_load(&worker->command_count))
		return;
	pthread_mutex_lock(&worker->command_lock);
	struct command *command = worker->commands;
	worker->commands = NULL;
	worker->commands_end = &worker->commands;
	pthread_mutex_unlock(&worker->command_lock);
	while (command) {
		struct command *next = command->next;
		command->run(worker, command); /* which frees it */
		atomic_fetch_sub(&worker->command_count, 1);
		command = next;
	}
}

/* ---- completions ---- */

static void accepted(struct worker *worker, const struct rc_completion *completion)
{
	unsigned listener = (unsigned)(completion->tag & 0xFF);
	if (completion->result >= 0) {
		rc_connection_accept(worker, (uint32_t)completion->result, listener, completion->peer);
	} else if (completion->result == -ENFILE || completion->result == -EMFILE || completion->result == -ENOMEM ||
	           completion->result == -ENOBUFS) {
		rc_count(&worker->stats.refused, 1);
		rc_worker_report(worker, 1,
		                 "worker %u: a connection was refused (%s): %u are open; raise 'ulimit -n' or the "
		                 "number of workers",
		                 worker->index, strerror(-completion->result), worker->used_count);
	}
	if (completion->flags & RC_RING_MORE)
		return;
	worker->accept_armed &= ~(1u << listener);
	worker->accept_ended |= 1u << listener;
	/* At once when it only ended; after a pause when there is no room, so that it does not spin. */
	bool pause = completion->result < 0 && completion->result != -ECONNABORTED;
	worker->accept_again_ns = worker->now_ns + (pause ? ACCEPT_PAUSE_NS : 0);
}

static void accept_again(struct worker *worker)
{
	worker->accept_again_ns = 0;
	for (unsigned i = 0; i < worker->server->listener_count; i++)
		if (worker->accept_ended & 1u << i)
			arm_accept(worker, i);
	worker->accept_ended = 0;
}

/* True when the slot is still the connection the operation was begun for. */
static bool is_current(const struct worker *worker, uint32_t slot, uint64_t tag)
{
	uint32_t generation = atomic_load_explicit(&worker->connections[slot].generation, memory_order_relaxed);
	return worker->connections[slot].state != CONNECTION_FREE &&
	       (generation & TAG_GENERATION_MASK) == (tag >> 22 & TAG_GENERATION_MASK);
}

static void take_completion(struct worker *worker, const struct rc_completion *completion)
{
	uint64_t tag = completion->tag;
	uint32_t slot = (uint32_t)(tag & (RC_SLOTS_MAX - 1));
	enum tag_kind kind = (enum tag_kind)(tag >> 56);
	switch (kind) {
	case TAG_ACCEPTED:
		accepted(worker, completion);
		return;
	case TAG_WOKEN:
		if (!(completion->flags & RC_RING_MORE))
			rc_ring_watch(worker->ring, worker->wake_fd, (uint64_t)TAG_WOKEN << 56);
		return;
	case TAG_DIALLED:
		rc_dial_done(worker, (unsigned)slot, completion->result);
		return;
	default:
		break;
	}
	/* Only the outcome of a cancel may come after its slot was closed: the others are waited for before. */
	if (kind == TAG_CANCELLED)
		return;
	RC_ASSERT(is_current(worker, slot, tag));
	switch (kind) {
	case TAG_RECEIVED:
		rc_connection_received(worker, slot, completion);
		break;
	case TAG_SENT_PLAN:
		if (completion->flags & RC_RING_RELEASED)
			rc_hold_end(worker, slot, completion->result);
		else
			rc_pump_sent_plan(worker, slot, (unsigned)(tag >> 46 & 1023), completion->result,
			                  completion->flags & RC_RING_MORE);
		break;
	case TAG_SENT_OUTBOX:
		rc_pump_sent_outbox(worker, slot, completion->result);
		break;
	case TAG_SENT_SECURE:
		rc_pump_sent_secure(worker, slot, (unsigned)(tag >> 46 & 1023), completion->result);
		break;
	case TAG_WRITABLE:
		if (worker->connections[slot].form == FORM_EVENTS)
			worker->connections[slot].pinged = false; /* all that is ever heard of it */
		rc_worker_queue(worker, slot);
		worker->connections[slot].polling = false;
		rc_connection_try_close_slot(worker, slot);
		break;
	case TAG_SHUT:
		worker->connections[slot].shutting = false;
		rc_connection_try_close_slot(worker, slot);
		break;
	default:
		rc_connection_slot_closed(worker, slot);
		break;
	}
}

/* ---- stopping ---- */

static void begin_stop(struct worker *worker)
{
	worker->stop_began_ns = worker->now_ns;
	for (unsigned i = 0; i < worker->server->listener_count; i++)
		rc_ring_accept_cancel(worker->ring, worker->listener_fds[i], (uint64_t)TAG_CANCELLED << 56);
}

static void stop_connection(struct worker *worker, uint32_t slot, bool half_time)
{
	static const char reason[] = "the server is going away";
	struct connection *conn = &worker->connections[slot];
	switch (conn->state) {
	case CONNECTION_HANDSHAKE:
		rc_connection_end(worker, slot, RC_CLOSE_GOING_AWAY, NULL, 0);
		break;
	case CONNECTION_OPEN:
		/* Who is still being sent what was published before gets it first. */
		if (!conn->behind || half_time)
			rc_connection_close(worker, slot, RC_CLOSE_GOING_AWAY, reason, sizeof reason - 1);
		break;
	default:
		break;
	}
}

/* Tells a number of connections to go away. Returns true when all have gone or the time is up. */
static bool stop_slice(struct worker *worker, uint64_t stop_at_ns)
{
	if (!worker->stop_began_ns)
		begin_stop(worker);
	bool half_time = worker->now_ns > worker->stop_began_ns + (stop_at_ns - worker->stop_began_ns) / 2;
	if (rc_fanout_idle(worker) || half_time) {
		for (unsigned i = 0; i < STOP_SLICE && i < worker->slot_high; i++) {
			if (worker->stop_slot >= worker->slot_high)
				worker->stop_slot = 0;
			stop_connection(worker, worker->stop_slot++, half_time);
		}
	}
	/* The kernel lets go of a listening socket only when its accept has ended, and then the address is free again.
	 */
	return (!worker->used_count && !worker->accept_armed) || worker->now_ns >= stop_at_ns;
}

/* ---- the tick ---- */

static int64_t time_to_wait(const struct worker *worker, bool stopping, uint64_t until)
{
	uint64_t tick = rc_wheel_first(&worker->wheel);
	if (tick != UINT64_MAX)
		until = RC_MIN(until, tick * TICK_NS);
	if (worker->accept_again_ns && !stopping)
		until = RC_MIN(until, worker->accept_again_ns);
	if (worker->behind_count)
		until = RC_MIN(until, worker->behind_ns + 10000000);
	if (stopping)
		until = RC_MIN(until, worker->now_ns + STOP_TICK_NS);
	if (until == UINT64_MAX)
		return -1;
	return until > worker->now_ns ? (int64_t)(until - worker->now_ns) : 0;
}

/* Says that this worker must be woken, unless there is something to do already. Whoever adds something stores it first
 * and looks at `sleeping` then; both are seq_cst, so one of the two sees the other. */
static bool prepare_to_sleep(struct worker *worker)
{
	atomic_store(&worker->sleeping, true);
	if (atomic_load(&worker->server->log.head) == worker->round_end && !atomic_load(&worker->command_count))
		return true;
	atomic_store(&worker->sleeping, false);
	return false;
}

static void run_timers(struct worker *worker)
{
	uint32_t slot;
	while (rc_wheel_next(&worker->wheel, worker->now_ns / TICK_NS, &slot))
		rc_connection_expired(worker, slot);
}

void rc_worker_run(struct worker *worker)
{
	struct rc_server *server = worker->server;
	struct rc_completion *completions = worker->completions;
	rc_worker_here = worker;
	for (;;) {
		uint64_t stop_at_ns = atomic_load(&server->stop_at_ns);
		run_commands(worker);
		rc_dial_more(worker);
		run_timers(worker);
		if (worker->accept_again_ns && worker->accept_again_ns <= worker->now_ns && !stop_at_ns)
			accept_again(worker);
		if (stop_at_ns && stop_slice(worker, stop_at_ns))
			break;
		bool handshakes_wait = rc_secure_tick(worker);
		uint64_t more_at_ns = rc_fanout_slice(worker);
		if (handshakes_wait)
			more_at_ns = 0;
		rc_fanout_settle(worker);
		int64_t wait_ns = server->config.busy_poll ? 0 : time_to_wait(worker, stop_at_ns != 0, more_at_ns);
		/* Between two rounds it waits for the time alone: publishers need not wake it. */
		if (wait_ns && more_at_ns == UINT64_MAX && !prepare_to_sleep(worker))
			wait_ns = 0;
		unsigned count = rc_ring_wait(worker->ring, completions, BATCH_MAX, wait_ns);
		atomic_store_explicit(&worker->sleeping, false, memory_order_relaxed);
		worker->now_ns = rc_ring_now(worker->ring);
		rc_count(&worker->stats.ticks, 1);
		for (unsigned i = 0; i < count; i++)
			take_completion(worker, &completions[i]);
	}
	rc_worker_close(worker);
	rc_worker_here = NULL;
}
