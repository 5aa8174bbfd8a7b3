/* SPDX-License-Identifier: MIT
 *
 * lag.c - who is behind, how far, and what their topics' policies say to that. It must not send anything.
 *
 * A topic's lag is that of the oldest message of it that waits: how much the log grew since, and how long ago it was
 * published. Invariant: the floor this worker shows to publishers is not above any entry that it may still read.
 */
#include "fanout.h"
#include "hold.h"
#include "trace.h"

#define CHECK_NS 10000000 /* ages are looked at this often */

void rc_fanout_fall_behind(struct worker *worker, uint32_t slot, uint64_t cursor)
{
	struct connection *conn = &worker->connections[slot];
	conn->cursor = cursor;
	worker->behind_floor = RC_MIN(worker->behind_floor, cursor);
	if (!conn->behind)
		rc_count(&worker->stats.behind, 1);
	conn->behind = true;
	if (!conn->listed) {
		conn->listed = true;
		worker->behind[worker->behind_count++] = slot;
	}
}

void rc_fanout_catch_up(struct worker *worker, struct connection *conn)
{
	if (conn->behind)
		rc_count(&worker->stats.behind, (uint64_t)-1);
	conn->behind = false;
}

/* Where a connection that is not behind stands. */
uint64_t rc_fanout_cursor(const struct worker *worker, const struct connection *conn)
{
	return conn->behind ? conn->cursor : RC_MAX(conn->cursor, worker->round_begin);
}

static uint64_t lag_size_max(const struct worker *worker, const struct rc_topic *topic)
{
	return topic->options.lag_size_max ? topic->options.lag_size_max : worker->server->config.lag_size_max;
}

static uint64_t lag_ns_max(const struct worker *worker, const struct rc_topic *topic)
{
	unsigned ms = topic->options.lag_ms_max ? topic->options.lag_ms_max : worker->server->config.lag_ms_max;
	return ms ? (uint64_t)ms * 1000000 : UINT64_MAX;
}

static bool too_far(const struct worker *worker, const struct rc_topic *topic, const struct rc_entry *entry,
                    uint64_t number, uint64_t head, uint64_t end)
{
	return rc_log_too_far(&worker->server->log, entry, number, head, end) ||
	       end - entry->position > lag_size_max(worker, topic) ||
	       (worker->now_ns > entry->time_ns && worker->now_ns - entry->time_ns > lag_ns_max(worker, topic));
}

static void close_slow(struct worker *worker, uint32_t slot, struct rc_audience *audience)
{
	static const char reason[] = "too slow";
	rc_count_shared(&audience->slow_closed, 1);
	rc_count(&worker->stats.slow_closed, 1);
	rc_connection_close(worker, slot, RC_CLOSE_POLICY, reason, sizeof reason - 1);
	/* What it waited for is given up, so that it holds nothing of the log while it closes. */
	if (worker->connections[slot].state == CONNECTION_CLOSING)
		rc_fanout_unsubscribe_all(worker, slot);
}

/* Moves one subscription on when its oldest waiting message is too far back. Returns where it stands: its first waiting
 * entry, or head. The connection may be closed. */
static uint64_t enforce_one(struct worker *worker, uint32_t slot, struct rc_subscription *record, uint64_t from)
{
	const struct rc_log *log = &worker->server->log;
	const struct rc_topic *topic = rc_topic_at(&worker->server->topics, record->topic);
	uint64_t newest = atomic_load_explicit(&topic->newest, memory_order_acquire);
	uint64_t head = rc_log_head(log), end = atomic_load_explicit(&log->end, memory_order_relaxed);
	if (newest == RC_NONE || newest < from)
		return RC_MAX(head, from);
	head = RC_MAX(head, newest + 1); /* a publisher shows the topic's newest entry before the log's */
	uint64_t first = rc_log_first_from(log, topic, from);
	const struct rc_entry *oldest = rc_log_entry(log, first);
	if (!too_far(worker, topic, oldest, first, head, end))
		return first;
	struct rc_audience *audience = rc_audience_at(&worker->subscribers, record->topic);
	enum rc_policy policy = record->conflate ? RC_POLICY_CONFLATE : topic->options.policy;
	RC_TRACE3(slow_consumer, slot, topic->name, policy);
	if (policy == RC_POLICY_CLOSE) {
		close_slow(worker, slot, audience);
		return head;
	}
	/* On with the newest, unless even that must make room for publishers. */
	const struct rc_entry *last = rc_log_entry(log, newest);
	bool none = rc_log_too_far(log, last, newest, head, end);
	uint64_t count = last->sequence - oldest->sequence + none;
	record->from = newest + none;
	worker->connections[slot].synced = false; /* what was left out, the cohort's next frames refer to */
	if (policy == RC_POLICY_SKIP) {
		rc_count_shared(&audience->dropped, count);
		rc_count(&worker->stats.dropped, count);
	} else {
		rc_count_shared(&audience->conflated, count);
		rc_count(&worker->stats.conflated, count);
	}
	return record->from;
}

/* A frame half sent cannot be skipped: who does not take its rest while the log comes around is cut off. */
static bool keeps_half_frame(struct worker *worker, uint32_t slot)
{
	const struct rc_log *log = &worker->server->log;
	const struct connection *conn = &worker->connections[slot];
	const struct rc_entry *entry = rc_log_entry(log, conn->cursor);
	uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
	if (!rc_log_too_far(log, entry, conn->cursor, rc_log_head(log), end))
		return true;
	if (conn->state == CONNECTION_OPEN) { /* else it has been closed for this, or for something else, before */
		rc_count_shared(&rc_audience_at(&worker->subscribers, entry->topic)->slow_closed, 1);
		rc_count(&worker->stats.slow_closed, 1);
	}
	rc_connection_end(worker, slot, RC_CLOSE_POLICY, NULL, 0);
	return false;
}

void rc_fanout_enforce(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->sending || (conn->partial && !keeps_half_frame(worker, slot)))
		return;
	uint64_t next = UINT64_MAX, begin = conn->partial ? conn->cursor + 1 : conn->cursor;
	for (uint32_t at = conn->first_subscription; at && conn->state == CONNECTION_OPEN;) {
		struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		at = record->next;
		uint64_t from = record->resumes ? record->from : RC_MAX(record->from, begin);
		uint64_t stands = enforce_one(worker, slot, record, from);
		if (!record->resumes)
			next = RC_MIN(next, stands);
	}
	if (conn->state == CONNECTION_OPEN && !conn->partial && next != UINT64_MAX)
		conn->cursor = RC_MAX(conn->cursor, next);
}

/* The lowest entry a connection of the list may still read; UINT64_MAX: it is not behind any more. */
static uint64_t lowest_of(const struct worker *worker, const struct connection *conn)
{
	bool open = conn->state == CONNECTION_OPEN;
	if (conn->state == CONNECTION_FREE || conn->state == CONNECTION_ENDING || (!open && !conn->partial) ||
	    !conn->behind)
		return UINT64_MAX;
	uint64_t lowest = conn->cursor;
	for (uint32_t at = conn->resuming ? conn->first_subscription : 0; at;) {
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		if (record->resumes)
			lowest = RC_MIN(lowest, record->from);
		at = record->next;
	}
	return lowest;
}

static void set(_Atomic uint64_t *place, uint64_t value)
{
	atomic_store_explicit(place, value, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *place)
{
	return atomic_load_explicit(place, memory_order_relaxed);
}

static void forget_lag(struct lag_book *book)
{
	for (unsigned i = 0; i < RC_LAG_AGES; i++)
		set(&book->ages[i], 0);
	for (unsigned i = 0; i < RC_LAG_SLOWEST; i++)
		set(&book->slowest[i].conn, 0);
}

/* Books one who is behind, for rc_lag_stats(). */
static void note_lag(struct worker *worker, uint32_t slot, uint64_t lowest)
{
	struct lag_book *book = &worker->lag;
	uint64_t head = rc_log_head(&worker->server->log);
	if (lowest >= head)
		return;
	const struct rc_entry *entry = rc_log_entry(&worker->server->log, lowest);
	uint64_t age_ms = worker->now_ns > entry->time_ns ? (worker->now_ns - entry->time_ns) / 1000000 : 0;
	unsigned age = age_ms ? RC_MIN(64u - (unsigned)__builtin_clzll(age_ms), RC_LAG_AGES - 1u) : 0;
	set(&book->ages[age], get(&book->ages[age]) + 1);
	unsigned place = RC_LAG_SLOWEST;
	while (place &&
	       (!get(&book->slowest[place - 1].conn) || get(&book->slowest[place - 1].since_ns) > entry->time_ns))
		place--;
	for (unsigned i = RC_LAG_SLOWEST - 1; i > place; i--) {
		set(&book->slowest[i].conn, get(&book->slowest[i - 1].conn));
		set(&book->slowest[i].since_ns, get(&book->slowest[i - 1].since_ns));
		set(&book->slowest[i].messages, get(&book->slowest[i - 1].messages));
		set(&book->slowest[i].topic, get(&book->slowest[i - 1].topic));
	}
	if (place == RC_LAG_SLOWEST)
		return;
	set(&book->slowest[place].conn, rc_handle(worker, slot));
	set(&book->slowest[place].since_ns, entry->time_ns);
	set(&book->slowest[place].messages, head - lowest);
	set(&book->slowest[place].topic, entry->topic);
}

static void look_at_all(struct worker *worker)
{
	uint32_t kept = 0;
	uint64_t floor = UINT64_MAX;
	forget_lag(&worker->lag);
	for (uint32_t i = 0; i < worker->behind_count; i++) {
		uint32_t slot = worker->behind[i];
		struct connection *conn = &worker->connections[slot];
		if (lowest_of(worker, conn) != UINT64_MAX)
			rc_fanout_enforce(worker, slot);
		uint64_t lowest = lowest_of(worker, conn);
		if (lowest == UINT64_MAX) {
			conn->listed = false;
			continue;
		}
		floor = RC_MIN(floor, lowest);
		note_lag(worker, slot, lowest);
		worker->behind[kept++] = slot;
	}
	worker->behind_count = kept;
	worker->behind_floor = floor;
}

void rc_fanout_settle(struct worker *worker)
{
	struct rc_log *log = &worker->server->log;
	uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
	if (worker->behind_count && (end - worker->behind_end >= worker->server->lag_step_size ||
	                             worker->now_ns - worker->behind_ns >= CHECK_NS)) {
		worker->behind_end = end;
		worker->behind_ns = worker->now_ns;
		look_at_all(worker);
	}
	uint64_t floor = RC_MIN(RC_MIN(worker->round_begin, worker->behind_floor), rc_hold_floor(worker));
	/* Sends on their way still need their plan's entries, to know what a short one left. */
	for (unsigned i = 0; worker->plan_free_count < PLANS_MAX && i < PLANS_MAX; i++)
		if (worker->plans[i].reference_count)
			floor = RC_MIN(floor, worker->plans[i].begin);
	/* release: what we read of the log happened before a publisher writes over it */
	atomic_store_explicit(&worker->server->floors[worker->index], floor, memory_order_release);
}
