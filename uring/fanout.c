/* SPDX-License-Identifier: MIT
 *
 * fanout.c - from the log to its subscribers, in rounds. It must not know how bytes are sent or received.
 *
 *      log      ....... round_begin ---------- round_end ........ head
 *      walk     the topics of that window; for each its audience, from a different member each round
 *
 * Who is not BEHIND has everything before round_begin; a visit plans from there (or from where an earlier visit in the
 * same round left it) to the head, so who comes late in a large round simply has more to send. A send that comes back
 * short, or a subscriber that cannot be sent to right now, makes it BEHIND: from then on its own cursor counts, it is
 * pumped when it can take more, and the topics' policies watch how far back it is. The kernel holds no byte of the log
 * after a send has completed, so a worker's floor is the lowest of these places; but for zero-copy sends, see hold.h.
 */
#include "fanout.h"
#include "encode.h"
#include "plans.h"
#include "pump.h"
#include "secure.h"
#include "trace.h"

#include <stdlib.h>

int rc_fanout_open(struct worker *worker)
{
	worker->walk = malloc(RC_PLAN_WINDOW * sizeof *worker->walk);
	worker->behind_floor = UINT64_MAX;
	worker->round_begin = worker->round_end = worker->encoded_end = rc_log_head(&worker->server->log);
	return worker->walk ? rc_plans_open(worker) : -ENOMEM;
}

void rc_fanout_close(struct worker *worker)
{
	rc_plans_close(worker);
	free(worker->walk);
}

/* One member of a topic that the round touched. Returns whether a send was prepared. */
static bool visit(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	uint64_t begin = rc_fanout_cursor(worker, conn);
	if (conn->state != CONNECTION_OPEN || conn->behind || begin >= worker->round_end)
		return false;
	if (rc_pump_busy(worker, slot)) {
		rc_fanout_fall_behind(worker, slot, begin);
		rc_worker_queue(worker, slot);
		return false;
	}
	struct rc_plan *plan = rc_plans_for(worker, slot, begin, worker->head);
	if (!plan) {
		rc_fanout_fall_behind(worker, slot, begin);
		rc_worker_queue(worker, slot);
		return false;
	}
	if (!plan->size) {
		rc_pump_past(worker, conn, plan);
		if (conn->cursor < worker->round_end) { /* cut short by a bound, or before what has no event yet */
			rc_fanout_fall_behind(worker, slot, conn->cursor);
			rc_worker_queue(worker, slot);
		}
		return false;
	}
	return rc_pump_plan(worker, slot, plan);
}

static void touch(struct worker *worker, uint64_t number)
{
	uint32_t topic = rc_log_entry(&worker->server->log, number)->topic;
	struct rc_audience *audience = rc_audience_at(&worker->subscribers, topic);
	uint32_t count = audience ? atomic_load_explicit(&audience->member_count, memory_order_relaxed) : 0;
	if (!count || audience->walked)
		return;
	audience->walked = true;
	audience->walk_left = count;
	audience->walk_at = (uint32_t)(worker->round_number * 2654435761u % count); /* nobody is always last */
	worker->walk[worker->walk_count++] = topic;
}

/* Begins the next round if there is something new. */
static void begin_round(struct worker *worker)
{
	worker->walk_count = worker->walk_index = 0;
	worker->round_began_ns = worker->now_ns;
	worker->round_sends = 0;
	worker->round_number++;
	while (!worker->walk_count && worker->round_end < worker->head) {
		worker->round_begin = worker->round_end;
		worker->round_end = RC_MIN(worker->head, worker->round_begin + RC_PLAN_WINDOW);
		for (uint64_t number = worker->round_begin; number < worker->round_end; number++)
			touch(worker, number);
	}
}

/* All of a topic's audience was visited. */
static void trace_fanout(const struct worker *worker, uint32_t topic)
{
	const struct rc_audience *audience = rc_audience_at(&worker->subscribers, topic);
	const struct rc_plan *shared = worker->shared && worker->shared->topic == topic ? worker->shared : NULL;
	uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
	const char *name = count ? rc_topic_at(&worker->server->topics, topic)->name : NULL; /* members keep a topic */
	RC_TRACE3(fanout, name, count, shared ? shared->size : 0);
}

static unsigned walk(struct worker *worker, unsigned budget)
{
	unsigned sends = 0;
	bool full = false;
	while (worker->walk_index < worker->walk_count) {
		struct rc_audience *audience = rc_audience_at(&worker->subscribers, worker->walk[worker->walk_index]);
		for (; audience->walk_left; audience->walk_left--) {
			uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
			if (!count || sends == budget || (full = !rc_secure_can_stage(worker)))
				break;
			if (audience->walk_at >= count)
				audience->walk_at = 0;
			sends += visit(worker, audience->members[audience->walk_at++].slot);
		}
		if ((sends == budget || full) && audience->walk_left)
			break;
		audience->walk_left = 0;
		audience->walked = false;
		trace_fanout(worker, worker->walk[worker->walk_index++]);
	}
	return sends;
}

bool rc_fanout_idle(const struct worker *worker)
{
	return worker->walk_index == worker->walk_count && worker->round_end == rc_log_head(&worker->server->log);
}

/* The first message after a pause leaves at once; while messages keep coming, rounds keep a distance, so that one
 * send carries what would have been several. */
static uint64_t next_round_ns(const struct worker *worker)
{
	uint64_t longest_ns = (uint64_t)worker->server->config.round_interval_us * 1000;
	return worker->round_began_ns + RC_MIN(longest_ns, worker->round_sends * RC_ROUND_SEND_NS);
}

/* What is new gets its encodings before anybody plans it, in slices as well: planned is only what has them. */
static void encode_new(struct worker *worker)
{
	uint64_t head = rc_log_head(&worker->server->log);
	if (!worker->encoded_count)
		worker->encoded_end = head;
	for (size_t taken = 0; worker->encoded_end < head && taken < RC_SLICE_ENCODE_SIZE; worker->encoded_end++)
		taken += rc_encode_entry(worker, worker->encoded_end);
	worker->head = worker->encoded_end;
}

uint64_t rc_fanout_slice(struct worker *worker)
{
	unsigned sends = 0;
	encode_new(worker);
	/* Each who waits now is pumped once; who asks again meanwhile waits for the next slice. */
	for (uint32_t left = worker->queue_count; left && sends < RC_SLICE_SENDS && rc_secure_can_stage(worker);
	     left--) {
		uint32_t slot = worker->queue[worker->queue_at];
		worker->queue_at = worker->queue_at + 1 == worker->slot_count ? 0 : worker->queue_at + 1;
		worker->queue_count--;
		worker->connections[slot].queued = false;
		sends += rc_pump(worker, slot);
	}
	bool may_begin = worker->walk_index == worker->walk_count && worker->now_ns >= next_round_ns(worker);
	if (may_begin && worker->round_end < worker->head)
		begin_round(worker);
	worker->round_sends += walk(worker, RC_SLICE_SENDS - sends);
	if (worker->walk_index == worker->walk_count)
		worker->round_begin = worker->round_end; /* now everyone who is not behind has it */
	rc_plans_forget(worker);
	if (worker->queue_count || worker->walk_index < worker->walk_count ||
	    worker->head < rc_log_head(&worker->server->log))
		return 0;
	return worker->round_end < worker->head ? next_round_ns(worker) : UINT64_MAX;
}
