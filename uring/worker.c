/* SPDX-License-Identifier: MIT
 *
 * worker.c - the tick: reap, process, flush, one submission. It must not know what a message or a topic is.
 *
 *      commands, timers, dials, producers -> fan-out prepares sends -> [ submit and wait ] -> completions -> again
 *
 * Nothing is sent from inside an event: what an event wants sent is queued and leaves with the next submission. Nothing
 * ends inside one either: what was noted is acted on after it (close.h).
 */
#include "worker.h"

#include "arrive.h"
#include "close.h"
#include "form.h"
#include "pump.h"
#include "timeout.h"

#include <string.h>
#include <unistd.h>

#define STOP_TICK_NS 5000000
#define STOP_SLICE 1024 /* connections told to go away in a tick */

_Thread_local struct worker *rc_worker_here;
_Thread_local unsigned rc_workers_stepped;

/* ---- opening and closing ---- */

static int open_parts(struct worker *worker)
{
	unsigned count = worker->slot_count;
	/* A slot that nobody has used takes no memory. */
	worker->connections = rc_map(count * sizeof *worker->connections);
	worker->wheel.links = rc_map(count * sizeof *worker->wheel.links);
	worker->dialled.of_slot = rc_map(count * sizeof *worker->dialled.of_slot);
	if (worker->server->addresses)
		worker->acceptor.address_indexes = rc_map(count * sizeof *worker->acceptor.address_indexes);
	if (worker->server->unopened)
		worker->acceptor.unopened = rc_map(count * sizeof *worker->acceptor.unopened);
	if (!worker->connections || !worker->wheel.links || !worker->dialled.of_slot ||
	    !rc_queue_open(&worker->to_pump, count) || !rc_endings_open(&worker->endings, count) ||
	    !rc_compress_open(worker) || (worker->server->addresses && !worker->acceptor.address_indexes) ||
	    (worker->server->unopened && !worker->acceptor.unopened))
		return -ENOMEM;
	rc_wheel_init(&worker->wheel, worker->wheel.links, worker->now_ns / RC_TICK_NS);
	rc_pool_init(&worker->pool, RC_POOL_CACHE_SIZE, RC_POOL_SIZE_MAX);
	rc_budget_open(worker);
	int result = rc_subscribers_init(&worker->subscribers, worker->server->seed ^ worker->index);
	if (result == 0)
		result = rc_lag_open(worker);
	if (result == 0)
		result = rc_fanout_open(worker);
	if (result == 0)
		result = rc_feeds_open(worker);
	if (result == 0)
		result = rc_producers_open(worker);
	return result < 0 ? result : rc_secure_open(worker);
}

static unsigned slots_wanted(const struct rc_config *config)
{
	if (!config->connections_max)
		return RC_SLOTS_MAX;
	return RC_MIN(config->connections_max + 2 * RC_REFUSALS_MAX, RC_SLOTS_MAX);
}

static int fail_to_open(const struct rc_config *config, unsigned slot_count, int result, struct rc_error *error)
{
	if (result == -EMFILE)
		return rc_fail(error, result,
		               "the descriptor limit allows %u connections a worker, %u were asked for: raise "
		               "'ulimit -n', or use more workers",
		               slot_count, config->connections_max);
	return rc_fail(error, result, "no memory for the tables of a worker");
}

/* A publisher's word must reach a loop of the program's own as it is: passed on through the ring, it would be late by
 * as long as the kernel takes to write to an eventfd from inside a write to another. */
static void watch_mailbox(struct worker *worker)
{
	if (worker->stepped.state == STEP_NONE)
		rc_ring_watch(worker->ring, worker->mailbox.wake_fd, rc_tag_make(TAG_WOKEN, 0, 0, 0));
}

/* Submits, so that the descriptor of the worker is readable after wait_ns at the latest. Returns 0 or a negative errno.
 */
static int arm(struct worker *worker, int64_t wait_ns)
{
	int result = rc_ring_arm(worker->ring, wait_ns);
	if (result == -EAGAIN)
		rc_mailbox_knock(&worker->mailbox);
	return result == -EAGAIN ? 0 : result;
}

/* Its first step submits what is prepared. */
static int begin_stepping(struct worker *worker, struct rc_error *error)
{
	int result = rc_ring_signal(worker->ring, worker->mailbox.wake_fd);
	if (result >= 0) {
		worker->stepped.fd = result;
		result = arm(worker, 0);
	}
	if (result < 0) {
		rc_fail(error, result, "the kernel gives a ring no eventfd: %s", strerror(-result));
		rc_worker_close(worker);
	}
	return result;
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
		.epoll = worker->server->epoll,
	};
	int result = rc_ring_open(&worker->ring, &ring, error);
	if (result < 0)
		return result;
	worker->slot_count = ring.slot_count;
	worker->now_ns = rc_ring_now(worker->ring);
	if (worker->server->epoll_why[0] && !atomic_exchange(&worker->server->epoll_told, true))
		rc_worker_report(worker, REPORT_RING, "epoll serves in place of io_uring: %s",
		                 worker->server->epoll_why);
	rc_dialler_open(worker);
	uint64_t slots = (uint64_t)ring.slot_count * worker->server->worker_count;
	result = slots < config->connections_max ? -EMFILE : open_parts(worker);
	if (result < 0) {
		fail_to_open(config, ring.slot_count, result, error);
		rc_worker_close(worker);
		return result;
	}
	watch_mailbox(worker);
	rc_accept_begin(worker);
	rc_producers_begin(worker);
	return worker->stepped.state == STEP_NONE ? 0 : begin_stepping(worker, error);
}

/* Runs what was posted. A command whose connection is gone does nothing but free itself. */
static void run_commands(struct worker *worker)
{
	struct command *command = rc_mailbox_take(&worker->mailbox);
	while (command) {
		struct command *next = command->next;
		command->run(worker, command); /* which frees it */
		rc_mailbox_done(&worker->mailbox);
		rc_close_noted(worker);
		command = next;
	}
}

static void end_commands(struct worker *worker)
{
	rc_mailbox_end(&worker->mailbox);
	run_commands(worker);
}

void rc_worker_close(struct worker *worker)
{
	end_commands(worker);
	for (uint32_t slot = 0; slot < worker->slot_high; slot++)
		rc_ending_cut(worker, slot, RC_CLOSE_ABNORMAL);
	rc_close_noted(worker);
	rc_dial_close(worker);
	rc_ring_close(worker->ring);
	worker->ring = NULL;
	rc_producers_close(worker);
	for (uint32_t slot = 0; slot < worker->slot_high; slot++) {
		worker->connections[slot].receiving = false; /* the ring is closed: nothing is on its way */
		rc_connection_free_parts(worker, &worker->connections[slot], CONNECTION_ENDING);
		rc_connection_drop_outbox(worker, &worker->connections[slot]);
		rc_compress_end(worker, slot);
	}
	rc_compress_close(worker);
	rc_secure_close(worker);
	rc_fanout_close(worker);
	rc_beats_close(worker);
	rc_feeds_close(worker);
	rc_lag_close(worker);
	rc_session_reset(&worker->scratch, &worker->pool);
	rc_pool_destroy(&worker->pool);
	rc_endings_close(&worker->endings);
	rc_queue_close(&worker->to_pump);
	rc_unmap(worker->wheel.links, worker->slot_count * sizeof *worker->wheel.links);
	rc_unmap(worker->dialled.of_slot, worker->slot_count * sizeof *worker->dialled.of_slot);
	worker->dialled.of_slot = NULL;
	rc_unmap(worker->acceptor.address_indexes, worker->slot_count * sizeof *worker->acceptor.address_indexes);
	rc_unmap(worker->acceptor.unopened, worker->slot_count * sizeof *worker->acceptor.unopened);
	worker->acceptor.address_indexes = worker->acceptor.unopened = NULL;
	/* A worker that has gone holds no publisher back. */
	atomic_store_explicit(&worker->server->floors[worker->index], UINT64_MAX, memory_order_release);
}

void rc_worker_free(struct worker *worker)
{
	end_commands(worker); /* of a worker that never ran */
	if (worker->stepped.state != STEP_NONE && worker->stepped.fd != worker->mailbox.wake_fd)
		close(worker->stepped.fd);
	rc_dial_close(worker);
	rc_dialled_close(&worker->dialled);
	rc_unmap(worker->connections, worker->slot_count * sizeof *worker->connections);
	rc_subscribers_destroy(&worker->subscribers);
}

/* ---- completions ---- */

/* Whether the slot still has the connection that the operation was begun for. */
static bool is_current(const struct worker *worker, const struct tag *tag)
{
	const struct connection *conn = &worker->connections[tag->slot];
	uint32_t generation = atomic_load_explicit(&conn->generation, memory_order_relaxed);
	return conn->state != CONNECTION_FREE && (generation & RC_TAG_GENERATION_MASK) == tag->generation;
}

static void take_of_connection(struct worker *worker, const struct tag *tag, const struct rc_completion *completion)
{
	struct connection *conn = &worker->connections[tag->slot];
	RC_ASSERT(is_current(worker, tag));
	switch (tag->kind) {
	case TAG_RECEIVED:
		rc_arrive(worker, tag->slot, completion);
		break;
	case TAG_SENT_PLAN:
		if (completion->flags & RC_RING_RELEASED)
			rc_hold_end(worker, tag->slot, completion->result);
		else
			rc_pump_completed(worker, tag, completion->result, completion->flags & RC_RING_MORE);
		break;
	case TAG_WRITABLE:
		conn->polling = false;
		if (rc_form_of(conn)->silence == SILENCE_STREAM)
			conn->pinged = false; /* that is all that is ever heard of it */
		rc_worker_queue(worker, tag->slot);
		break;
	case TAG_SHUT:
		conn->shutting = false;
		break;
	case TAG_SLOT_CLOSED:
		rc_close_done(worker, tag->slot);
		return;
	default:
		rc_pump_completed(worker, tag, completion->result, false);
		break;
	}
	rc_close_noted(worker);
	rc_close_try_slot(worker, tag->slot);
	rc_connection_check(worker, tag->slot);
}

static void take_completion(struct worker *worker, const struct rc_completion *completion)
{
	const struct tag tag = rc_tag_split(completion->tag);
	switch (tag.kind) {
	case TAG_ACCEPTED:
		rc_accept_completed(worker, tag.slot, completion);
		break;
	case TAG_WOKEN:
		if (!(completion->flags & RC_RING_MORE))
			watch_mailbox(worker);
		break;
	case TAG_DIALLED:
		rc_dial_done(worker, &tag, completion->result);
		rc_close_noted(worker);
		break;
	case TAG_PRODUCER:
		rc_producers_completed(worker, &tag, completion);
		break;
	case TAG_CANCELLED:
		break; /* it may come after its slot was closed; all others are waited for before */
	default:
		take_of_connection(worker, &tag, completion);
		break;
	}
}

/* ---- stopping ---- */

static void stop_connection(struct worker *worker, uint32_t slot, bool half_time)
{
	static const char reason[] = "the server is going away";
	struct connection *conn = &worker->connections[slot];
	const struct ending ending = { .kind = ENDING_CLOSE,
		                       .slot = slot,
		                       .code = RC_CLOSE_GOING_AWAY,
		                       .reason = reason,
		                       .reason_size = sizeof reason - 1 };
	/* What was answered is still sent. */
	if (conn->state == CONNECTION_HANDSHAKE && conn->handshake->answered)
		rc_ending_note(worker, &(struct ending){ .kind = ENDING_ANSWERED, .slot = slot });
	else if (conn->state == CONNECTION_HANDSHAKE)
		rc_ending_cut(worker, slot, RC_CLOSE_GOING_AWAY);
	/* A connection that is still being sent what was published before gets that first. */
	else if (conn->state == CONNECTION_OPEN && ((!conn->cursor.behind && !conn->cursor.owed) || half_time))
		rc_ending_note(worker, &ending);
}

/* Tells a number of connections to go away. Returns true when all have gone or the time is up. */
static bool stop_slice(struct worker *worker, uint64_t stop_at_ns)
{
	struct stopping *stopping = &worker->stopping;
	if (!stopping->began_ns) {
		stopping->began_ns = worker->now_ns;
		rc_accept_stop(worker);
		rc_producers_stop(worker);
	}
	bool half_time = worker->now_ns > stopping->began_ns + (stop_at_ns - stopping->began_ns) / 2;
	/* What producers had written by the end comes before the Close, whichever worker reads them. */
	if ((rc_producers_have_stopped(worker) && rc_fanout_idle(worker)) || half_time) {
		for (unsigned i = 0; i < STOP_SLICE && i < worker->slot_high; i++) {
			if (stopping->next_slot >= worker->slot_high)
				stopping->next_slot = 0;
			stop_connection(worker, stopping->next_slot++, half_time);
		}
		rc_close_noted(worker);
	}
	bool left = !worker->used_count && !worker->acceptor.armed && worker->producers.over;
	return left || worker->now_ns >= stop_at_ns;
}

/* ---- the tick ---- */

static int64_t time_to_wait(const struct worker *worker, bool stopping, uint64_t until)
{
	uint64_t tick = rc_wheel_first(&worker->wheel);
	if (tick != UINT64_MAX)
		until = RC_MIN(until, tick * RC_TICK_NS);
	if (worker->acceptor.again_ns && !stopping)
		until = RC_MIN(until, worker->acceptor.again_ns);
	until = RC_MIN(until, rc_lag_next_look_ns(worker));
	until = RC_MIN(until, rc_feeds_next_look_ns(worker));
	until = RC_MIN(until, rc_beats_next_ns(worker));
	until = RC_MIN(until, rc_budget_next_look_ns(worker));
	until = RC_MIN(until, rc_dial_next_ns(worker));
	until = RC_MIN(until, rc_producers_next_look_ns(worker));
	if (stopping)
		until = RC_MIN(until, worker->now_ns + STOP_TICK_NS);
	if (rc_renewals_wait(worker))
		until = worker->now_ns;
	if (until == UINT64_MAX)
		return -1;
	return until > worker->now_ns ? (int64_t)(until - worker->now_ns) : 0;
}

/* Says that this worker must be woken, unless there is something to do already: see mailbox.c. */
static bool prepare_to_sleep(struct worker *worker)
{
	atomic_store(&worker->mailbox.sleeping, true);
	if (atomic_load(&worker->server->log.head) == worker->round.end && !atomic_load(&worker->mailbox.count) &&
	    !rc_renewals_wait(worker))
		return true;
	atomic_store(&worker->mailbox.sleeping, false);
	return false;
}

/* Likewise for commands alone. */
static bool prepare_to_doze(struct worker *worker)
{
	atomic_store(&worker->mailbox.dozing, true);
	if (!atomic_load(&worker->mailbox.count))
		return true;
	atomic_store(&worker->mailbox.dozing, false);
	return false;
}

static void run_timers(struct worker *worker)
{
	uint32_t slot;
	while (rc_wheel_next(&worker->wheel, worker->now_ns / RC_TICK_NS, &slot))
		rc_timeout(worker, slot);
	rc_feeds_look(worker);
	rc_beats_look(worker);
	rc_dial_timers(worker);
	rc_close_noted(worker);
}

/* Prepares what is to be sent. Returns when there is more to do, as rc_fanout_slice(). */
static uint64_t flush(struct worker *worker)
{
	bool handshakes_wait = rc_arrive_waiting(worker);
	uint64_t more_at_ns = rc_fanout_slice(worker);
	rc_lag_look(worker);
	rc_lag_show_floor(worker);
	rc_budget_look(worker);
	rc_close_noted(worker);
	/* A connection that ends may have last words to send. */
	return handshakes_wait || worker->to_pump.count ? 0 : more_at_ns;
}

/* Returns 0, or a negative errno when the ring is over. */
static int reap(struct worker *worker, int64_t wait_ns)
{
	int count = rc_ring_wait(worker->ring, worker->completions, RC_BATCH_MAX, wait_ns);
	atomic_store_explicit(&worker->mailbox.sleeping, false, memory_order_relaxed);
	atomic_store_explicit(&worker->mailbox.dozing, false, memory_order_relaxed);
	rc_producers_wake(worker);
	worker->now_ns = rc_ring_now(worker->ring);
	rc_count(&worker->stats.ticks, 1);
	if (count > 0)
		worker->active_ns = worker->now_ns;
	for (int i = 0; i < count; i++)
		take_completion(worker, &worker->completions[i]);
	return RC_MIN(count, 0);
}

/* Lets publishers know that they must wake this worker, unless there is something to do already. Between two rounds it
 * waits for the time alone: publishers need not wake it, and commands only where that is long. Its producers must,
 * where other workers may begin a round of their own before. */
static bool may_sleep(struct worker *worker, int64_t wait_ns, uint64_t more_at_ns)
{
	bool between_rounds = more_at_ns != UINT64_MAX;
	if (!between_rounds && !prepare_to_sleep(worker))
		return false;
	if (between_rounds && wait_ns > RC_DOZE_NS && !prepare_to_doze(worker))
		return false;
	return (between_rounds && worker->server->worker_count == 1) || rc_producers_sleep(worker);
}

/* Likewise. */
static int wait(struct worker *worker, bool stopping, uint64_t more_at_ns)
{
	const struct rc_config *config = &worker->server->config;
	uint64_t spin_ns = (uint64_t)config->spin_us * 1000;
	/* While it spins it does not count as asleep: to publish then is no system call. */
	bool spins = config->busy_poll || worker->now_ns - worker->active_ns < spin_ns;
	int64_t wait_ns = spins ? 0 : time_to_wait(worker, stopping, more_at_ns);
	if (wait_ns && !may_sleep(worker, wait_ns, more_at_ns))
		wait_ns = 0;
	return reap(worker, wait_ns);
}

/* Its ring is over. Whoever connects would still be given to it, so the whole server ends. */
static void fail(struct worker *worker, int code)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	struct rc_error error;
	rc_ring_explain(worker->ring, code, &error);
	rc_worker_report(worker, REPORT_RING, "worker %u ends: %s", worker->index, error.text);
	rc_server_stop(worker->server, 0);
	if (handlers->failed)
		handlers->failed(handlers->context, &error);
}

/* All of a tick but its wait. Returns false when the worker has drained. */
static bool work(struct worker *worker, bool *stopping, uint64_t *more_at_ns)
{
	uint64_t stop_at_ns = atomic_load(&worker->server->stop_at_ns);
	run_commands(worker);
	rc_renewals_look(worker);
	rc_secure_recheck(worker);
	run_timers(worker);
	rc_dial_more(worker);
	if (!stop_at_ns)
		rc_accept_again(worker);
	else if (stop_slice(worker, stop_at_ns))
		return false;
	rc_producer_door_look(worker);
	rc_producers_read(worker);
	*stopping = stop_at_ns != 0;
	*more_at_ns = flush(worker);
	return true;
}

int rc_worker_run(struct worker *worker)
{
	int result = 0;
	bool stopping;
	uint64_t more_at_ns;
	rc_worker_here = worker;
	while (result == 0 && work(worker, &stopping, &more_at_ns))
		result = wait(worker, stopping, more_at_ns);
	if (result < 0)
		fail(worker, result);
	rc_worker_close(worker);
	rc_worker_here = NULL;
	return result;
}

int rc_worker_tick(struct worker *worker)
{
	bool stopping, goes_on = false;
	uint64_t more_at_ns;
	rc_worker_here = worker;
	int result = reap(worker, 0);
	if (result == 0 && (goes_on = work(worker, &stopping, &more_at_ns))) {
		int64_t wait_ns = time_to_wait(worker, stopping, more_at_ns);
		/* One that is stepped without a pause needs nobody to wake it. */
		if (wait_ns && !worker->server->config.busy_poll && !may_sleep(worker, wait_ns, more_at_ns))
			wait_ns = 0;
		result = arm(worker, wait_ns);
	}
	if (result < 0)
		fail(worker, result);
	if (result < 0 || !goes_on)
		rc_worker_close(worker);
	rc_worker_here = NULL;
	return result < 0 ? result : goes_on;
}
