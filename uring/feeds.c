/* SPDX-License-Identifier: MIT
 *
 * feeds.c - see feeds.h. It must not know how anything is sent, nor what a form's bytes are.
 *
 * Whatever is left out for a subscriber whose form tells numbers, a mark that says so has left before. Invariant: while
 * a feed owes something, its connection's cursor says so.
 */
#include "feeds.h"

#include "beginning.h"
#include "form.h"
#include "subscription.h"
#include "worker.h"

#include <string.h>

int rc_feeds_open(struct worker *worker)
{
	struct rc_wheel_link *links = rc_map(worker->slot_count * sizeof *links);
	rc_wheel_init(&worker->feeds.paces, links, worker->now_ns / RC_PACE_TICK_NS);
	return links ? rc_shows_open(worker) : -ENOMEM;
}

void rc_feeds_close(struct worker *worker)
{
	rc_shows_close(worker);
	rc_unmap(worker->feeds.paces.links, worker->slot_count * sizeof *worker->feeds.paces.links);
	worker->feeds.paces.links = NULL;
}

static struct rc_topic *topic_of(const struct worker *worker, const struct rc_subscription *record)
{
	return rc_topic_at(&worker->server->topics, record->topic);
}

static const struct form *form_of(const struct worker *worker, uint32_t slot)
{
	return rc_form_of(&worker->connections[slot]);
}

/* ---- marks ---- */

bool rc_feeds_say(struct worker *worker, uint32_t slot, const struct rc_mark *mark)
{
	uint8_t bytes[RC_MARK_SIZE_MAX];
	size_t size = form_of(worker, slot)->mark(bytes, mark);
	RC_ASSERT(size <= sizeof bytes);
	return rc_connection_put(worker, slot, bytes, size);
}

static void owe(struct worker *worker, uint32_t slot, struct rc_feed *feed, enum rc_mark_kind kind)
{
	struct rc_cursor *cursor = &worker->connections[slot].cursor;
	feed->mark = form_of(worker, slot)->mark ? (uint8_t)(kind + 1) : 0;
	cursor->owed |= feed->mark || feed->picture || feed->tells;
}

/* ---- beginning and ending ---- */

/* What was owed of an earlier beginning is void. */
static void forget_state(struct worker *worker, uint32_t slot, uint32_t number, struct rc_feed *feed)
{
	rc_picture_drop(worker->server, feed->picture);
	feed->picture = NULL;
	feed->mark = 0;
	feed->had = 0;
	feed->tells = feed->wants_state = false;
	rc_show_abandon(worker, slot, number);
}

bool rc_feeds_begin_state(struct worker *worker, uint32_t slot, struct rc_subscription *record, struct picture *picture,
                          uint64_t until, enum rc_mark_kind kind)
{
	const struct rc_topic *topic = topic_of(worker, record);
	struct rc_feed *feed = rc_feed_make(&worker->subscribers, record);
	if (!feed)
		return false;
	forget_state(worker, slot, rc_subscription_number(&worker->subscribers, record), feed);
	feed->picture = picture;
	feed->until = until;
	feed->until_sequence = rc_log_sequence_before(&worker->server->log, topic, until);
	feed->began_ns = worker->now_ns;
	feed->state = true;
	feed->incomplete = topic->state && topic->state->lost;
	feed->tells = kind == RC_MARK_RESYNC && worker->server->config.handlers.resync;
	owe(worker, slot, feed, kind);
	return true;
}

static void set_look(struct worker *worker, uint32_t slot, uint64_t due_ns)
{
	rc_wheel_set(&worker->feeds.paces, slot, (due_ns + RC_PACE_TICK_NS - 1) / RC_PACE_TICK_NS);
}

bool rc_feeds_begin_pace(struct worker *worker, uint32_t slot, struct rc_subscription *record, unsigned rate)
{
	struct rc_feed *feed = rc_feed_make(&worker->subscribers, record);
	if (!feed)
		return false;
	feed->rate = rate;
	if (!feed->until) {
		feed->until = record->from;
		feed->until_sequence = rc_log_sequence_before(&worker->server->log, topic_of(worker, record),
		                                              record->from);
	}
	/* Others of the connection may be due later: looking too early does no harm. */
	set_look(worker, slot, worker->now_ns);
	return true;
}

bool rc_feeds_begin_had(struct worker *worker, struct rc_subscription *record, uint64_t sequence)
{
	struct rc_feed *feed = rc_feed_make(&worker->subscribers, record);
	if (!feed)
		return false;
	feed->had = sequence;
	feed->until_sequence = RC_MAX(feed->until_sequence, sequence);
	return true;
}

void rc_feeds_end(struct worker *worker, uint32_t slot, struct rc_subscription *record)
{
	struct rc_feed *feed = rc_feed_of(&worker->subscribers, record);
	if (!feed)
		return;
	forget_state(worker, slot, rc_subscription_number(&worker->subscribers, record), feed);
	rc_feed_free(&worker->subscribers, record);
}

/* ---- overrun ---- */

static bool has_keys(const struct worker *worker, const struct rc_subscription *record)
{
	pthread_mutex_lock(&worker->server->log_lock);
	const struct rc_state *state = topic_of(worker, record)->state;
	bool has = state && state->key_count;
	pthread_mutex_unlock(&worker->server->log_lock);
	return has;
}

bool rc_feeds_resyncs(const struct worker *worker, const struct rc_subscription *record)
{
	const struct rc_topic *topic = topic_of(worker, record);
	if (topic->options.policy == RC_POLICY_RESYNC && !record->conflate)
		return true;
	return (record->conflate || rc_topic_conflates(topic)) && has_keys(worker, record);
}

/* With the log's lock. Returns 0, -ENOMEM, or -EAGAIN when the log has left the picture behind. */
static int resync_locked(struct worker *worker, uint32_t slot, struct rc_subscription *record, struct picture *picture)
{
	struct rc_log *log = &worker->server->log;
	const struct rc_feed *feed = rc_feed_of(&worker->subscribers, record);
	uint64_t until = rc_log_head(log), from = picture ? picture->begin : until, base = RC_NONE;
	if (feed && feed->snapshot)
		base = rc_beginning_base(worker, topic_of(worker, record));
	if (base != RC_NONE) {
		from = base;
		until = base + 1;
	} else if (picture && from < rc_log_readable(log)) {
		return -EAGAIN;
	}
	if (!rc_feeds_begin_state(worker, slot, record, base == RC_NONE ? picture : NULL, until, RC_MARK_RESYNC))
		return -ENOMEM;
	if (base != RC_NONE)
		rc_picture_drop(worker->server, picture);
	rc_beginning_go_to(worker, slot, record, from);
	return 0;
}

bool rc_feeds_resync(struct worker *worker, uint32_t slot, struct rc_subscription *record)
{
	struct rc_server *server = worker->server;
	const struct rc_topic *topic = topic_of(worker, record);
	struct rc_feed *feed = rc_feed_of(&worker->subscribers, record);
	int result = -EAGAIN;
	if (feed) /* what it has of an older picture makes room for the new one */
		forget_state(worker, slot, rc_subscription_number(&worker->subscribers, record), feed);
	for (unsigned i = 0; result == -EAGAIN && i < RC_PICTURE_TRIES; i++) {
		struct picture *picture = NULL;
		result = rc_picture_get(server, topic->name, topic->name_size, form_of(worker, slot), &picture);
		if (result < 0)
			break;
		if (picture && picture->topic != record->topic) { /* of its successor, where it is to go soon */
			rc_picture_drop(server, picture);
			picture = NULL;
		}
		pthread_mutex_lock(&server->log_lock);
		result = resync_locked(worker, slot, record, picture);
		pthread_mutex_unlock(&server->log_lock);
		if (result < 0)
			rc_picture_drop(server, picture);
	}
	if (result == 0)
		rc_count(&worker->stats.resyncs, 1);
	return result == 0;
}

/* ---- the newest alone, of one that is behind ---- */

static void begin_run(struct worker *worker, uint32_t slot, struct rc_subscription *record)
{
	const struct rc_log *log = &worker->server->log;
	const struct rc_topic *topic = topic_of(worker, record);
	struct rc_feed *feed = rc_feed_of(&worker->subscribers, record);
	uint64_t from = RC_MAX(record->from, worker->connections[slot].cursor.at), end = worker->encoder.end;
	uint64_t newest = atomic_load_explicit(&topic->newest, memory_order_acquire);
	if ((feed && (feed->rate || feed->until > from)) || newest == RC_NONE || newest < from)
		return;
	uint64_t first = rc_log_first_from(log, topic, from);
	/* A single message is not told that it is one. */
	if (first >= end || rc_log_next(log, first, end) == end || !(feed = rc_feed_make(&worker->subscribers, record)))
		return;
	feed->until = end;
	feed->until_sequence = rc_log_sequence_before(log, topic, end);
	feed->state = false;
	owe(worker, slot, feed, RC_MARK_CONFLATED);
}

void rc_feeds_begin_runs(struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	if (!form_of(worker, slot)->mark)
		return;
	for (uint32_t at = conn->first_subscription; at;) {
		struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		at = record->next;
		if (!record->resumes && (record->conflate || rc_topic_conflates(topic_of(worker, record))))
			begin_run(worker, slot, record);
	}
}

/* ---- what is owed ---- */

static void tell_resync(struct worker *worker, uint32_t slot, const struct rc_topic *topic, struct rc_feed *feed)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	char name[RC_TOPIC_NAME_MAX + 1];
	memcpy(name, topic->name, topic->name_size + 1); /* it may end the last subscription */
	feed->tells = false;
	rc_worker_queue(worker, slot);
	handlers->resync(handlers->context, rc_handle(worker, slot), worker->connections[slot].user, name, topic->epoch,
	                 feed->until_sequence);
}

/* What it was to begin with is not in the log any more. */
static void find_state(struct worker *worker, uint32_t slot, struct rc_subscription *record, struct rc_feed *feed)
{
	feed->wants_state = false;
	if (!rc_feeds_resync(worker, slot, record))
		rc_lag_close_slow(worker, slot, record->topic);
	rc_worker_queue(worker, slot);
}

void rc_feeds_want_state(struct worker *worker, uint32_t slot, struct rc_subscription *record)
{
	rc_feed_of(&worker->subscribers, record)->wants_state = true;
	worker->connections[slot].cursor.owed = true;
}

static bool say_mark(struct worker *worker, uint32_t slot, const struct rc_topic *topic, struct rc_feed *feed)
{
	const struct rc_mark mark = { .kind = (enum rc_mark_kind)(feed->mark - 1),
		                      .incomplete = feed->state && feed->incomplete,
		                      .topic = topic->name,
		                      .topic_size = topic->name_size,
		                      .epoch = topic->epoch,
		                      .sequence = feed->until_sequence };
	rc_worker_queue(worker, slot);
	if (rc_feeds_say(worker, slot, &mark))
		feed->mark = 0;
	else if (!rc_pool_allows(&worker->pool, RC_MARK_SIZE_MAX)) /* the budget does not grow by trying again */
		rc_budget_refuse(worker, slot);
	return false;
}

bool rc_feeds_next(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (rc_show_is_on(worker, slot))
		return true;
	for (uint32_t at = conn->first_subscription; at;) {
		uint32_t number = at - 1;
		struct rc_subscription *record = rc_subscription_at(&worker->subscribers, number);
		const struct rc_topic *topic = topic_of(worker, record);
		struct rc_feed *feed = rc_feed_at(&worker->subscribers, number);
		at = record->next;
		if (!feed)
			continue;
		if (feed->wants_state) {
			find_state(worker, slot, record, feed);
			return false;
		}
		if (feed->tells) {
			tell_resync(worker, slot, topic, feed);
			return false;
		}
		if (feed->mark)
			return say_mark(worker, slot, topic, feed);
		if (feed->picture) {
			rc_show_begin(worker, slot, feed->picture, number);
			feed->picture = NULL;
			return true;
		}
	}
	conn->cursor.owed = false;
	rc_worker_queue(worker, slot);
	return false;
}

/* ---- a look now and then ---- */

/* Whether all that it was given at its last look has been planned. */
static bool has_read_up(const struct worker *worker, uint32_t slot, const struct rc_subscription *record,
                        const struct rc_feed *feed)
{
	const struct rc_cursor *cursor = &worker->connections[slot].cursor;
	if (record->resumes || cursor->on_its_way || cursor->owed)
		return false;
	/* One that has caught up with the round may not have reached what came since. */
	uint64_t place = rc_lag_place(worker, slot);
	return place >= feed->until || rc_log_first_from(&worker->server->log, topic_of(worker, record),
	                                                 RC_MAX(record->from, place)) >= feed->until;
}

/* With the log's lock. Returns false when messages that it needs are no more to be had from the log. */
static bool look_further(struct worker *worker, uint32_t slot, struct rc_subscription *record, struct rc_feed *feed)
{
	const struct rc_log *log = &worker->server->log;
	const struct rc_topic *topic = topic_of(worker, record);
	uint64_t readable = rc_log_readable(log), head = rc_log_head(log);
	uint64_t first = rc_log_first_sequence(log, topic, feed->until_sequence + 1, readable);
	if (first == RC_NONE)
		first = head;
	bool lost = first == head ? rc_log_sequence_before(log, topic, head) > feed->until_sequence
	                          : rc_log_entry(log, first)->before > feed->until_sequence;
	if (lost && topic->state && topic->state->key_count)
		return false;
	feed->until = head;
	feed->until_sequence = RC_MAX(feed->until_sequence, rc_log_sequence_before(log, topic, head));
	feed->state = false;
	if (first < head && (lost || rc_log_next(log, first, head) < head))
		owe(worker, slot, feed, RC_MARK_CONFLATED);
	rc_beginning_go_to(worker, slot, record, first);
	return true;
}

/* Returns when it is due next. */
static uint64_t look(struct worker *worker, uint32_t slot, struct rc_subscription *record, struct rc_feed *feed)
{
	const struct rc_topic *topic = topic_of(worker, record);
	uint64_t period_ns = UINT64_C(1000000000) / feed->rate;
	if (feed->due_ns > worker->now_ns)
		return feed->due_ns;
	feed->due_ns = worker->now_ns + period_ns;
	if (!has_read_up(worker, slot, record, feed))
		return feed->due_ns;
	if (atomic_load_explicit(&topic->sequence, memory_order_relaxed) == feed->until_sequence)
		return feed->due_ns;
	pthread_mutex_lock(&worker->server->log_lock);
	bool had = look_further(worker, slot, record, feed);
	pthread_mutex_unlock(&worker->server->log_lock);
	if (!had && !rc_feeds_resync(worker, slot, record))
		rc_lag_close_slow(worker, slot, record->topic);
	rc_worker_queue(worker, slot);
	return feed->due_ns;
}

static void look_at(struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	uint64_t next_ns = UINT64_MAX;
	if (conn->state == CONNECTION_HANDSHAKE)
		set_look(worker, slot, worker->now_ns + RC_TICK_NS);
	if (!rc_connection_is_open(conn))
		return;
	for (uint32_t at = conn->first_subscription; at && !conn->ends;) {
		uint32_t number = at - 1;
		struct rc_subscription *record = rc_subscription_at(&worker->subscribers, number);
		struct rc_feed *feed = rc_feed_at(&worker->subscribers, number);
		at = record->next;
		if (feed && feed->rate)
			next_ns = RC_MIN(next_ns, look(worker, slot, record, feed));
	}
	if (next_ns != UINT64_MAX)
		set_look(worker, slot, next_ns);
}

void rc_feeds_look(struct worker *worker)
{
	uint32_t slot;
	while (rc_wheel_next(&worker->feeds.paces, worker->now_ns / RC_PACE_TICK_NS, &slot))
		look_at(worker, slot);
}

uint64_t rc_feeds_next_look_ns(const struct worker *worker)
{
	uint64_t tick = rc_wheel_first(&worker->feeds.paces);
	return tick == UINT64_MAX ? UINT64_MAX : tick * RC_PACE_TICK_NS;
}
