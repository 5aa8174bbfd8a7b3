/* SPDX-License-Identifier: MIT
 *
 * lag.c - who is behind, how far, and what their topics' policies say to that. It must not send anything.
 *
 * A topic's lag is that of the oldest message of it that waits: how much the log grew since, and how long ago it was
 * published. Invariant: the floor this worker shows to publishers is not above any entry that it may still read.
 */
#include "lag.h"

#include "ringcast_stats.h"
#include "trace.h"
#include "worker.h"

#define CHECK_NS 10000000 /* ages are looked at this often */

int rc_lag_open(struct worker *worker)
{
	worker->laggards.slots = rc_map(worker->slot_count * sizeof *worker->laggards.slots);
	worker->laggards.floor = UINT64_MAX;
	return worker->laggards.slots ? 0 : -ENOMEM;
}

void rc_lag_close(struct worker *worker)
{
	rc_unmap(worker->laggards.slots, worker->slot_count * sizeof *worker->laggards.slots);
	worker->laggards.slots = NULL;
}

/* ---- the list ---- */

void rc_lag_follow(struct worker *worker, uint32_t slot, bool was_behind)
{
	struct laggards *laggards = &worker->laggards;
	struct connection *conn = &worker->connections[slot];
	if (!conn->cursor.behind) {
		if (was_behind)
			rc_count(&worker->stats.behind, (uint64_t)-1);
		return;
	}
	if (!was_behind)
		rc_count(&worker->stats.behind, 1);
	laggards->floor = RC_MIN(laggards->floor, conn->cursor.at);
	if (!conn->listed) {
		conn->listed = true;
		laggards->slots[laggards->count++] = slot;
	}
}

void rc_lag_fall_behind(struct worker *worker, uint32_t slot, uint64_t at)
{
	struct rc_cursor *cursor = &worker->connections[slot].cursor;
	bool was_behind = cursor->behind;
	rc_cursor_fell_behind(cursor, at);
	rc_lag_follow(worker, slot, was_behind);
}

void rc_lag_catch_up(struct worker *worker, uint32_t slot)
{
	struct rc_cursor *cursor = &worker->connections[slot].cursor;
	bool was_behind = cursor->behind;
	rc_cursor_caught_up(cursor);
	rc_lag_follow(worker, slot, was_behind);
}

void rc_lag_end(struct worker *worker, uint32_t slot)
{
	struct rc_cursor *cursor = &worker->connections[slot].cursor;
	bool was_behind = cursor->behind;
	rc_cursor_ended(cursor);
	rc_lag_follow(worker, slot, was_behind);
}

void rc_lag_forget(struct worker *worker, uint32_t slot)
{
	if (worker->connections[slot].cursor.behind)
		rc_count(&worker->stats.behind, (uint64_t)-1);
}

uint64_t rc_lag_place(const struct worker *worker, uint32_t slot)
{
	return rc_cursor_place(&worker->connections[slot].cursor, worker->round.begin);
}

/* ---- policies ---- */

static uint64_t lag_size_max(const struct worker *worker, const struct rc_topic *topic)
{
	return topic->options.lag_size_max ? topic->options.lag_size_max : worker->server->config.lag_size_max;
}

static uint64_t lag_ns_max(const struct worker *worker, const struct rc_topic *topic)
{
	unsigned ms = topic->options.lag_ms_max ? topic->options.lag_ms_max : worker->server->config.lag_ms_max;
	return ms ? (uint64_t)ms * 1000000 : UINT64_MAX;
}

/* Who began with a state has waited since then at most: else the messages behind an older picture would overrun it at
 * once, and again and again. */
static bool too_far(const struct worker *worker, const struct rc_topic *topic, const struct rc_feed *feed,
                    const struct rc_entry *entry, uint64_t number, uint64_t head, uint64_t end)
{
	uint64_t since_ns = feed ? RC_MAX(entry->time_ns, feed->began_ns) : entry->time_ns;
	return rc_log_too_far(&worker->server->log, entry, number, head, end) ||
	       end - entry->position > lag_size_max(worker, topic) ||
	       (worker->now_ns > since_ns && worker->now_ns - since_ns > lag_ns_max(worker, topic));
}

void rc_lag_close_slow(struct worker *worker, uint32_t slot, uint32_t topic)
{
	static const char reason[] = "too slow";
	const struct ending ending = { .kind = ENDING_OVERRUN,
		                       .slot = slot,
		                       .code = RC_CLOSE_POLICY,
		                       .reason = reason,
		                       .reason_size = sizeof reason - 1 };
	if (!rc_ending_note(worker, &ending))
		return;
	rc_count_shared(&rc_audience_at(&worker->subscribers, topic)->slow_closed, 1);
	rc_count(&worker->stats.slow_closed, 1);
}

/* Moves one subscription on when its oldest waiting message is too far back. Returns where it stands: its first waiting
 * entry, or head. */
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
	/* What comes after its next look does not wait. */
	const struct rc_feed *feed = rc_feed_of(&worker->subscribers, record);
	if (rc_feed_ends_before(feed, first))
		return head;
	const struct rc_entry *oldest = rc_log_entry(log, first);
	if (!too_far(worker, topic, feed, oldest, first, head, end))
		return first;
	struct rc_audience *audience = rc_audience_at(&worker->subscribers, record->topic);
	enum rc_policy policy = record->conflate ? RC_POLICY_CONFLATE : topic->options.policy;
	RC_TRACE3(slow_consumer, slot, topic->name, policy);
	bool resyncs = rc_feeds_resyncs(worker, record);
	if (resyncs && rc_feeds_resync(worker, slot, record))
		return record->from;
	if (resyncs || policy == RC_POLICY_CLOSE) {
		rc_lag_close_slow(worker, slot, record->topic);
		return head;
	}
	/* It goes on with the newest, unless even that must make room for publishers. */
	const struct rc_entry *last = rc_log_entry(log, newest);
	bool none = rc_log_too_far(log, last, newest, head, end);
	uint64_t count = (uint32_t)(last->count - oldest->count) + none;
	record->from = newest + none;
	/* The cohort's next frames refer to what was left out. */
	rc_cursor_out_of_step(&worker->connections[slot].cursor);
	if (policy == RC_POLICY_SKIP) {
		rc_count_shared(&audience->dropped, count);
		rc_count(&worker->stats.dropped, count);
	} else {
		rc_count_shared(&audience->conflated, count);
		rc_count(&worker->stats.conflated, count);
	}
	return record->from;
}

/* A frame that was sent in part cannot be skipped: a connection that does not take its rest before the log comes around
 * is cut. */
static bool keeps_half_frame(struct worker *worker, uint32_t slot)
{
	const struct rc_log *log = &worker->server->log;
	const struct connection *conn = &worker->connections[slot];
	const struct rc_entry *entry = rc_log_entry(log, conn->cursor.at);
	uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed);
	if (!rc_log_too_far(log, entry, conn->cursor.at, rc_log_head(log), end))
		return true;
	bool first = rc_ending_cut(worker, slot, RC_CLOSE_POLICY);
	if (first && conn->state == CONNECTION_OPEN) { /* else its end has begun before, for this or something else */
		rc_count_shared(&rc_audience_at(&worker->subscribers, entry->topic)->slow_closed, 1);
		rc_count(&worker->stats.slow_closed, 1);
	}
	return false;
}

/* Whether even the oldest entry that may wait is nearer than the strictest limit: then no topic's needs to be asked. */
static bool is_near(const struct worker *worker, const struct rc_cursor *cursor)
{
	const struct rc_server *server = worker->server;
	uint64_t head = rc_log_head(&server->log), end = atomic_load_explicit(&server->log.end, memory_order_relaxed);
	if (cursor->resuming || cursor->at >= head)
		return !cursor->resuming;
	const struct rc_entry *entry = rc_log_entry(&server->log, cursor->at);
	return !rc_log_too_far(&server->log, entry, cursor->at, head, end) &&
	       end - entry->position <= server->lag_size_least &&
	       (worker->now_ns <= entry->time_ns || worker->now_ns - entry->time_ns <= server->lag_ns_least);
}

bool rc_lag_allows(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_cursor *cursor = &conn->cursor;
	if (conn->sending || conn->ends)
		return !conn->ends;
	if (cursor->partial && !keeps_half_frame(worker, slot))
		return false;
	if (is_near(worker, cursor))
		return true;
	uint64_t next = UINT64_MAX, next_resumed = UINT64_MAX, begin = cursor->partial ? cursor->at + 1 : cursor->at;
	for (uint32_t at = conn->state == CONNECTION_OPEN ? conn->first_subscription : 0; at;) {
		struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		at = record->next;
		uint64_t from = record->resumes ? record->from : RC_MAX(record->from, begin);
		uint64_t stands = enforce_one(worker, slot, record, from);
		if (conn->ends)
			return false;
		if (record->resumes)
			next_resumed = RC_MIN(next_resumed, stands);
		else
			next = RC_MIN(next, stands);
	}
	/* Where all of them go elsewhere, it holds nothing of the log behind that. */
	if (next == UINT64_MAX)
		next = next_resumed;
	if (conn->state == CONNECTION_OPEN && !cursor->partial && next != UINT64_MAX)
		rc_cursor_skipped(cursor, next);
	return true;
}

/* ---- looking at all ---- */

/* The lowest entry a connection of the list may still read; UINT64_MAX: it is not behind any more. */
static uint64_t lowest_of(const struct worker *worker, const struct connection *conn)
{
	const struct rc_cursor *cursor = &conn->cursor;
	if (conn->state == CONNECTION_FREE || conn->state == CONNECTION_ENDING ||
	    (!rc_connection_is_open(conn) && !cursor->partial) || !cursor->behind)
		return UINT64_MAX;
	uint64_t lowest = cursor->at;
	for (uint32_t at = cursor->resuming ? conn->first_subscription : 0; at;) {
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		if (record->resumes)
			lowest = RC_MIN(lowest, record->from);
		at = record->next;
	}
	return lowest;
}

static void set(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

static uint64_t get(_Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void forget_lag(struct lag_book *book)
{
	for (unsigned i = 0; i < RC_LAG_AGES; i++)
		set(&book->ages[i], 0);
	for (unsigned i = 0; i < RC_LAG_SLOWEST; i++)
		set(&book->slowest[i].conn, 0);
}

/* The first entry that waits for a connection: its cursor may stand further back, before entries of others. */
static uint64_t first_waiting(const struct worker *worker, const struct connection *conn, uint64_t lowest)
{
	const struct rc_log *log = &worker->server->log;
	uint64_t first = UINT64_MAX;
	for (uint32_t at = conn->cursor.partial ? 0 : conn->first_subscription; at;) {
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		const struct rc_topic *topic = rc_topic_at(&worker->server->topics, record->topic);
		first = RC_MIN(first, rc_log_first_from(log, topic, RC_MAX(record->from, lowest)));
		at = record->next;
	}
	return first == UINT64_MAX ? lowest : first;
}

/* Books a connection that is behind, for rc_lag_stats(). */
static void note_lag(struct worker *worker, uint32_t slot, uint64_t lowest)
{
	struct lag_book *book = &worker->laggards.book;
	uint64_t head = rc_log_head(&worker->server->log);
	if (lowest >= head)
		return;
	const struct rc_entry *entry = rc_log_entry(&worker->server->log, lowest);
	uint64_t age_ms = worker->now_ns > entry->time_ns ? (worker->now_ns - entry->time_ns) / 1000000 : 0;
	unsigned age = age_ms ? RC_MIN(64u - (unsigned)__builtin_clzll(age_ms), RC_LAG_AGES - 1u) : 0;
	set(&book->ages[age], get(&book->ages[age]) + 1);
	unsigned index = RC_LAG_SLOWEST;
	while (index &&
	       (!get(&book->slowest[index - 1].conn) || get(&book->slowest[index - 1].since_ns) > entry->time_ns))
		index--;
	for (unsigned i = RC_LAG_SLOWEST - 1; i > index; i--) {
		set(&book->slowest[i].conn, get(&book->slowest[i - 1].conn));
		set(&book->slowest[i].since_ns, get(&book->slowest[i - 1].since_ns));
		set(&book->slowest[i].messages, get(&book->slowest[i - 1].messages));
		set(&book->slowest[i].topic, get(&book->slowest[i - 1].topic));
	}
	if (index == RC_LAG_SLOWEST)
		return;
	entry = rc_log_entry(&worker->server->log, first_waiting(worker, &worker->connections[slot], lowest));
	set(&book->slowest[index].conn, rc_handle(worker, slot));
	set(&book->slowest[index].since_ns, entry->time_ns);
	set(&book->slowest[index].messages, head - lowest);
	set(&book->slowest[index].topic, entry->topic);
}

static void look_at_all(struct worker *worker)
{
	struct laggards *laggards = &worker->laggards;
	uint32_t kept = 0;
	laggards->floor = UINT64_MAX;
	forget_lag(&laggards->book);
	for (uint32_t i = 0; i < laggards->count; i++) {
		uint32_t slot = laggards->slots[i];
		struct connection *conn = &worker->connections[slot];
		if (lowest_of(worker, conn) != UINT64_MAX)
			rc_lag_allows(worker, slot);
		uint64_t lowest = lowest_of(worker, conn);
		if (lowest == UINT64_MAX) {
			conn->listed = false;
			continue;
		}
		laggards->floor = RC_MIN(laggards->floor, lowest);
		note_lag(worker, slot, lowest);
		laggards->slots[kept++] = slot;
	}
	laggards->count = kept;
}

void rc_lag_look(struct worker *worker)
{
	struct laggards *laggards = &worker->laggards;
	uint64_t end = atomic_load_explicit(&worker->server->log.end, memory_order_relaxed);
	if (!laggards->count || (end - laggards->looked_end < worker->server->lag_step_size &&
	                         worker->now_ns - laggards->looked_ns < CHECK_NS))
		return;
	laggards->looked_end = end;
	laggards->looked_ns = worker->now_ns;
	look_at_all(worker);
}

uint64_t rc_lag_next_look_ns(const struct worker *worker)
{
	return worker->laggards.count ? worker->laggards.looked_ns + CHECK_NS : UINT64_MAX;
}

void rc_lag_show_floor(struct worker *worker)
{
	uint64_t floor = RC_MIN(RC_MIN(worker->round.begin, worker->laggards.floor), rc_hold_floor(worker));
	floor = RC_MIN(floor, rc_plans_floor(&worker->plans));
	/* release: what we read of the log happened before a publisher writes over it */
	atomic_store_explicit(&worker->server->floors[worker->index], floor, memory_order_release);
}
