/* SPDX-License-Identifier: MIT
 *
 * fanout.c - from the log to its subscribers, in rounds. It must not know how bytes are sent or received.
 *
 *      log      ....... round.begin ---------- round.end ........ head
 *      walk     the topics of that window; for each its audience, from a different member each round
 *
 * Invariant: a subscriber that is not behind has everything before round.begin.
 *
 * A visit plans from there (or from where an earlier visit in the same round left it) to the head, so a subscriber that
 * comes late in a large round simply has more to send. A subscriber falls behind when a send to it comes back short, or
 * when it cannot be sent to right now. From then on its own cursor counts, it is pumped when it can take more, and the
 * topics' policies watch how far back it is. The kernel holds no byte of the log after a send has completed, zero-copy
 * sends aside (hold.h), so a worker's floor is the lowest of these places.
 */
#include "fanout.h"

#include "form.h"
#include "pump.h"
#include "trace.h"
#include "worker.h"

#include <stdlib.h>

int rc_fanout_open(struct worker *worker)
{
	worker->round.walk = malloc(RC_PLAN_WINDOW * sizeof *worker->round.walk);
	worker->round.begin = worker->round.end = worker->encoder.end = rc_log_head(&worker->server->log);
	int result = worker->round.walk ? rc_touched_open(worker) : -ENOMEM;
	return result < 0 ? result : rc_plans_open(&worker->plans);
}

void rc_fanout_close(struct worker *worker)
{
	rc_plans_close(&worker->plans);
	rc_touched_close(worker);
	free(worker->round.walk);
}

/* One member of a topic that the round touched. Returns whether a send was prepared. */
static bool visit(struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	uint64_t begin = rc_lag_place(worker, slot);
	if (!rc_connection_is_open(conn) || conn->cursor.behind || begin >= worker->round.end)
		return false;
	struct rc_plan *plan = rc_form_is_busy(worker, slot) ? NULL
	                                                     : rc_plans_for(worker, slot, begin, worker->encoder.end);
	if (plan && plan->size)
		return rc_pump_plan(worker, slot, plan);
	if (plan)
		begin = rc_pump_past(worker, slot, plan);
	if (begin < worker->round.end) { /* a bound cut the plan short, or an entry that has no event yet */
		rc_lag_fall_behind(worker, slot, begin);
		rc_worker_queue(worker, slot);
	}
	return false;
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
	audience->walk_at = (uint32_t)(worker->round.number * 2654435761u % count); /* nobody is always last */
	worker->round.walk[worker->round.walk_count++] = topic;
}

/* Where a round ends that begins there: never between messages that were published as one. They fit the window. */
static uint64_t round_end(const struct worker *worker, uint64_t begin)
{
	const struct rc_log *log = &worker->server->log;
	uint64_t end = RC_MIN(worker->encoder.end, begin + RC_PLAN_WINDOW);
	while (rc_log_entry(log, end - 1)->more)
		end--;
	RC_ASSERT(end > begin);
	return end;
}

/* Begins the next round if there is something new. */
static void begin_round(struct worker *worker)
{
	worker->round.walk_count = worker->round.walk_index = 0;
	worker->round.began_ns = worker->now_ns;
	worker->round.sends = worker->round.took_ns = 0;
	worker->round.number++;
	while (!worker->round.walk_count && worker->round.end < worker->encoder.end) {
		worker->round.begin = worker->round.end;
		worker->round.end = round_end(worker, worker->round.begin);
		for (uint64_t number = worker->round.begin; number < worker->round.end; number++)
			touch(worker, number);
	}
	rc_touched_begin(worker);
}

/* All of a topic's audience was visited. */
static void trace_fanout(const struct worker *worker, uint32_t topic)
{
	const struct rc_audience *audience = rc_audience_at(&worker->subscribers, topic);
	const struct rc_plan *shared = worker->plans.shared && worker->plans.shared->topic == topic
	                                   ? worker->plans.shared
	                                   : NULL;
	uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
	const char *name = count ? rc_topic_at(&worker->server->topics, topic)->name : NULL; /* members keep a topic */
	RC_TRACE3(fanout, name, count, shared ? shared->size : 0);
}

/* The member of a coming topic that is visited first, or null. */
static const struct rc_member *coming(const struct worker *worker, uint32_t index)
{
	if (index >= worker->round.walk_count)
		return NULL;
	const struct rc_audience *audience = rc_audience_at(&worker->subscribers, worker->round.walk[index]);
	uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
	return audience->walk_at < count ? &audience->members[audience->walk_at] : NULL;
}

/* Asks early for the memory that the next visits need, one step after the other: where each topic has few members, a
 * visit would wait for all of it. */
static void look_ahead(const struct worker *worker)
{
	const struct rc_topics *topics = &worker->server->topics;
	uint32_t index = worker->round.walk_index;
	const struct rc_member *member = coming(worker, index + 6);
	if (member) {
		__builtin_prefetch(member);
		__builtin_prefetch(rc_topic_at(topics, worker->round.walk[index + 6]));
	}
	member = coming(worker, index + 3);
	if (!member)
		return;
	uint64_t newest = atomic_load_explicit(&rc_topic_at(topics, worker->round.walk[index + 3])->newest,
	                                       memory_order_relaxed);
	__builtin_prefetch(&worker->connections[member->slot]);
	__builtin_prefetch(rc_subscription_at(&worker->subscribers, member->subscription));
	__builtin_prefetch(rc_log_entry(&worker->server->log, newest));
}

static unsigned walk(struct worker *worker, unsigned budget)
{
	unsigned sends = 0;
	bool full = false;
	while (worker->round.walk_index < worker->round.walk_count) {
		struct rc_audience *audience = rc_audience_at(&worker->subscribers,
		                                              worker->round.walk[worker->round.walk_index]);
		look_ahead(worker);
		for (; audience->walk_left; audience->walk_left--) {
			uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
			if (!count || sends == budget || (full = !rc_seal_can_stage(&worker->secure.staging)))
				break;
			if (audience->walk_at >= count)
				audience->walk_at = 0;
			sends += visit(worker, audience->members[audience->walk_at++].slot);
		}
		if ((sends == budget || full) && audience->walk_left)
			break;
		audience->walk_left = 0;
		audience->walked = false;
		trace_fanout(worker, worker->round.walk[worker->round.walk_index++]);
	}
	return sends;
}

bool rc_fanout_idle(const struct worker *worker)
{
	return worker->round.walk_index == worker->round.walk_count &&
	       worker->round.end == rc_log_head(&worker->server->log);
}

static uint64_t interval_ns(const struct worker *worker)
{
	return (uint64_t)worker->server->config.round_interval_us * 1000;
}

/* The first message after a pause leaves at once; while messages keep coming, rounds keep a distance, so that one
 * send carries what would have been several. */
static uint64_t next_round_ns(const struct worker *worker)
{
	const struct round *round = &worker->round;
	uint64_t longest_ns = interval_ns(worker);
	if (round->took_ns > longest_ns)
		return round->began_ns + RC_MIN(round->took_ns * 2, RC_MAX(longest_ns, RC_ROUND_STRETCHED_NS));
	return round->began_ns + RC_MIN(longest_ns, round->sends * RC_ROUND_SEND_NS);
}

/* Its sends have left with the tick before this one, which did not wait. Only where more has come meanwhile, round
 * after round, is there something to gain: who waits for an answer before publishing again shall not wait longer. */
static void note_time(struct worker *worker)
{
	struct round *round = &worker->round;
	if (!round->timed)
		return;
	round->timed = false;
	round->crowded = rc_log_head(&worker->server->log) > round->end ? round->crowded + 1 : 0;
	if (round->crowded >= RC_ROUNDS_CROWDED)
		round->took_ns = worker->now_ns - round->began_ns;
}

/* How old a round's oldest message was when its last send was prepared. */
static void note_lag(struct worker *worker)
{
	const struct round *round = &worker->round;
	if (!round->walk_count)
		return; /* nobody wanted what was in it */
	uint64_t now_ns = rc_ring_now(worker->ring);
	uint64_t published_ns = rc_log_entry(&worker->server->log, round->begin)->time_ns;
	rc_times_note(&worker->times.lag, now_ns > published_ns ? now_ns - published_ns : 0);
}

uint64_t rc_fanout_slice(struct worker *worker)
{
	unsigned sends = 0;
	bool walks = worker->round.walk_index < worker->round.walk_count;
	note_time(worker);
	rc_encode_new(worker);
	/* Each connection that waits now is pumped once; one that asks again meanwhile waits for the next slice. */
	for (uint32_t left = worker->to_pump.count;
	     left && sends < RC_SLICE_SENDS && rc_seal_can_stage(&worker->secure.staging); left--) {
		uint32_t slot = rc_queue_take(&worker->to_pump);
		worker->connections[slot].queued = false;
		sends += rc_pump(worker, slot);
	}
	bool may_begin = worker->round.walk_index == worker->round.walk_count &&
	                 worker->now_ns >= next_round_ns(worker);
	bool begins = may_begin && worker->round.end < worker->encoder.end;
	if (begins)
		begin_round(worker);
	worker->round.sends += walk(worker, RC_SLICE_SENDS - sends);
	if (worker->round.walk_index == worker->round.walk_count) {
		if (begins || walks)
			note_lag(worker);
		worker->round.begin = worker->round.end; /* now everyone who is not behind has it */
		/* One that fits into a slice is never long. */
		worker->round.timed = walks && interval_ns(worker);
		if (begins)
			worker->round.crowded = 0;
	}
	rc_plans_forget(&worker->plans);
	if (worker->round.timed || worker->to_pump.count || worker->round.walk_index < worker->round.walk_count ||
	    worker->encoder.end < rc_log_head(&worker->server->log))
		return 0;
	return worker->round.end < worker->encoder.end ? next_round_ns(worker) : UINT64_MAX;
}
