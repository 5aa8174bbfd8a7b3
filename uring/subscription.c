/* SPDX-License-Identifier: MIT
 *
 * subscription.c - see subscription.h. It must not know how anything is sent.
 */
#include "subscription.h"

#include "beginning.h"
#include "feeds.h"
#include "form.h"
#include "renew.h"
#include "worker.h"

#include <string.h>

/* What it has beyond a place to begin. With the lock. False when memory is out. */
static bool begin_feed(struct worker *worker, uint32_t slot, struct rc_subscription *record,
                       const struct beginning *beginning, const struct rc_start *start, struct picture *picture)
{
	if (start && beginning->until != RC_NONE) {
		if (!rc_feeds_begin_state(worker, slot, record, beginning->takes_picture ? picture : NULL,
		                          beginning->until, RC_MARK_STATE))
			return false;
		rc_feed_of(&worker->subscribers, record)->snapshot = start->snapshot;
	}
	if (start && start->rate && !rc_feeds_begin_pace(worker, slot, record, start->rate))
		return false;
	const struct rc_topic *topic = rc_topic_at(&worker->server->topics, record->topic);
	return !rc_beginning_is_ahead(topic, start) || rc_feeds_begin_had(worker, record, start->since);
}

/* *picture, which may be null, is taken where it is needed. */
static int subscribe_locked(struct worker *worker, uint32_t slot, const char *name, size_t size, uint64_t hash,
                            struct rc_start *start, struct picture **picture)
{
	struct rc_server *server = worker->server;
	struct connection *conn = &worker->connections[slot];
	int error = 0;
	struct rc_topic *topic = rc_topics_get(&server->topics, name, size, hash, &error);
	if (!topic)
		return error;
	struct beginning beginning;
	struct rc_subscription *record = NULL;
	if (rc_subscribers_find(&worker->subscribers, slot, topic->id)) {
		error = -EEXIST;
	} else if (conn->subscription_count >= server->config.subscriptions_max) {
		error = -ENOSPC;
	} else if ((error = rc_beginning_find(worker, conn, topic, start, *picture, &beginning)) == 0) {
		record = rc_subscribers_add(&worker->subscribers, slot, &conn->first_subscription, topic->id,
		                            topic->birth, beginning.from);
		error = record ? 0 : -ENOMEM;
	}
	if (record && !begin_feed(worker, slot, record, &beginning, start, *picture)) {
		rc_feed_free(&worker->subscribers, record);
		rc_subscribers_remove(&worker->subscribers, record, &conn->first_subscription);
		record = NULL;
		error = -ENOMEM;
	}
	if (!record) {
		rc_topics_release(&server->topics, topic);
		return error;
	}
	topic->subscription_count++;
	topic->worker_mask |= UINT64_C(1) << (worker->index % 64);
	conn->subscription_count++;
	rc_cursor_out_of_step(&conn->cursor);
	rc_encode_join(worker, conn, topic->id);
	if (rc_form_of(conn)->mark)
		rc_beats_add(worker, topic);
	rc_count(&worker->stats.subscriptions, 1);
	if (start) {
		start->first = beginning.first;
		record->conflate = start->conflate;
	}
	if (beginning.takes_picture)
		*picture = NULL;
	rc_beginning_go_to(worker, slot, record, beginning.from);
	return 0;
}

/* A cursor without subscriptions means nothing, and may have stood still while the log went on. With the lock. */
static void begin_cursor(const struct worker *worker, struct connection *conn)
{
	if (!conn->subscription_count && !conn->sending && !conn->cursor.behind)
		rc_cursor_begin(&conn->cursor, rc_log_head(&worker->server->log));
}

int rc_subscription_begin(struct worker *worker, uint32_t slot, const char *name, size_t size, struct rc_start *start)
{
	struct rc_server *server = worker->server;
	struct connection *conn = &worker->connections[slot];
	if (!size || size > RC_TOPIC_NAME_MAX || conn->client || (start && start->rate > RC_RATE_MAX))
		return -EINVAL;
	struct picture *picture = NULL;
	uint64_t hash = rc_topic_hash(&server->topics, name, size);
	int result = -EAGAIN;
	for (unsigned i = 0; i < RC_PICTURE_TRIES && result == -EAGAIN; i++) {
		if (i && (result = rc_picture_get(server, name, size, rc_form_of(conn), &picture)) < 0)
			break;
		pthread_mutex_lock(&server->log_lock);
		rc_renewals_of(worker, slot);
		if (worker->round.walk_index == worker->round.walk_count)
			rc_subscribers_trim(&worker->subscribers, &server->topics);
		begin_cursor(worker, conn);
		result = subscribe_locked(worker, slot, name, size, hash, start, &picture);
		pthread_mutex_unlock(&server->log_lock);
		rc_picture_drop(server, picture);
		picture = NULL;
	}
	if (result == 0 && (conn->cursor.behind || conn->cursor.owed || conn->outbox))
		rc_worker_queue(worker, slot);
	return result;
}

/* What comes before it, a subscription that does not resume has had: all that its connection has read, but of one that
 * is paced no more than its last look gave it. */
static uint64_t seen_by(const struct worker *worker, uint32_t number)
{
	const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, number);
	const struct rc_feed *feed = rc_feed_at(&worker->subscribers, number);
	uint64_t at = worker->connections[record->slot].cursor.at;
	return feed && feed->rate ? RC_MIN(at, feed->until) : at;
}

void rc_subscription_resume(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_cursor *cursor = &conn->cursor;
	if (!cursor->resuming || cursor->partial)
		return;
	uint64_t lowest = cursor->at;
	for (uint32_t at = conn->first_subscription; at;) {
		struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		/* What the others have had, they must not get again. */
		if (record->resumes)
			lowest = RC_MIN(lowest, record->from);
		else
			record->from = RC_MAX(record->from, seen_by(worker, at - 1));
		record->resumes = false;
		at = record->next;
	}
	rc_cursor_resumed(cursor, lowest);
}

static void remove_locked(struct worker *worker, uint32_t slot, struct rc_subscription *record)
{
	struct rc_server *server = worker->server;
	struct connection *conn = &worker->connections[slot];
	struct rc_topic *topic = rc_topic_at(&server->topics, record->topic);
	struct rc_audience *audience = rc_audience_at(&worker->subscribers, record->topic);
	rc_encode_leave(worker, conn, record->topic);
	rc_touched_spoil(worker);
	rc_feeds_end(worker, slot, record);
	uint32_t moved = rc_subscribers_remove(&worker->subscribers, record, &conn->first_subscription);
	conn->subscription_count--;
	rc_count(&worker->stats.subscriptions, (uint64_t)-1);
	if (!conn->subscription_count) {
		bool was_behind = conn->cursor.behind;
		rc_cursor_unsubscribed(&conn->cursor); /* it waits for nothing, and holds nothing of the log */
		rc_lag_follow(worker, slot, was_behind);
	}
	/* A round that walks this audience may have passed the gap without visiting the member that moved into it. */
	if (moved != UINT32_MAX && audience->walked) {
		const struct connection *other = &worker->connections[moved];
		uint64_t stands = rc_lag_place(worker, moved);
		if (other->state == CONNECTION_OPEN && !other->cursor.behind && stands < worker->round.end) {
			rc_lag_fall_behind(worker, moved, stands);
			rc_worker_queue(worker, moved);
		}
	}
	if (!atomic_load_explicit(&audience->member_count, memory_order_relaxed) && server->worker_count <= 64)
		topic->worker_mask &= ~(UINT64_C(1) << worker->index);
	topic->subscription_count--;
	rc_topics_release(&server->topics, topic);
	if (worker->round.walk_index == worker->round.walk_count)
		rc_subscribers_trim(&worker->subscribers, &server->topics);
}

int rc_subscription_end(struct worker *worker, uint32_t slot, const char *name, size_t size)
{
	struct rc_server *server = worker->server;
	uint64_t hash = rc_topic_hash(&server->topics, name, size);
	struct rc_subscription *record = NULL;
	pthread_mutex_lock(&server->log_lock);
	rc_renewals_of(worker, slot);
	struct rc_topic *topic = rc_topics_find(&server->topics, name, size, hash);
	if (topic && (record = rc_subscribers_find(&worker->subscribers, slot, topic->id)))
		remove_locked(worker, slot, record);
	pthread_mutex_unlock(&server->log_lock);
	return record ? 0 : -ENOENT;
}

void rc_subscription_end_all(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (!conn->subscription_count)
		return;
	pthread_mutex_lock(&worker->server->log_lock);
	while (conn->first_subscription)
		remove_locked(worker, slot, rc_subscription_at(&worker->subscribers, conn->first_subscription - 1));
	pthread_mutex_unlock(&worker->server->log_lock);
}

/* Whether the log has all messages that the topic ever had, from this entry on. */
static bool is_whole(const struct rc_log *log, const struct rc_topic *topic, uint64_t from)
{
	return from < rc_log_head(log) ? rc_log_entry(log, from)->count == 1 : !topic->message_count;
}

int rc_subscription_move(struct worker *worker, uint32_t slot, struct rc_subscription *record)
{
	const struct rc_log *log = &worker->server->log;
	struct connection *conn = &worker->connections[slot];
	const struct rc_topic *topic = rc_topic_at(&worker->server->topics, record->topic);
	const struct rc_feed *feed = rc_feed_of(&worker->subscribers, record);
	struct rc_start start = { .resume = true, .conflate = record->conflate, .rate = feed ? feed->rate : 0 };
	bool snapshot = feed && feed->snapshot;
	struct picture *none = NULL;
	/* One that closes reads no more, and the log may have left the place where it stands: it goes nowhere. */
	if (conn->state == CONNECTION_CLOSING) {
		remove_locked(worker, slot, record);
		return 0;
	}
	uint64_t hash = topic->hash;
	size_t size = topic->name_size;
	char name[RC_TOPIC_NAME_MAX + 1];
	memcpy(name, topic->name, size); /* it goes with its last subscriber, and so would its successor */
	struct rc_topic *next = rc_topics_find(&worker->server->topics, name, size, hash);
	next->open_count++;
	remove_locked(worker, slot, record);
	begin_cursor(worker, conn);
	int result = subscribe_locked(worker, slot, name, size, hash, &start, &none);
	rc_topics_close(&worker->server->topics, next);
	if (result < 0) /* it is there already: somebody asked for that in its name meanwhile */
		return result == -EEXIST ? 0 : result;
	topic = rc_topics_find(&worker->server->topics, name, size, hash);
	record = rc_subscribers_find(&worker->subscribers, slot, topic->id);
	if (!rc_form_of(conn)->follows) { /* the application finds out what there is */
		bool was_behind = conn->cursor.behind;
		rc_cursor_fell_behind(&conn->cursor, rc_lag_place(worker, slot));
		rc_lag_follow(worker, slot, was_behind);
	} else if (!rc_feeds_begin_state(worker, slot, record, NULL, record->from, RC_MARK_RESYNC)) {
		return -ENOMEM;
	} else {
		rc_feed_of(&worker->subscribers, record)->snapshot = snapshot;
		if (topic->state && topic->state->key_count && !is_whole(log, topic, record->from))
			rc_feeds_want_state(worker, slot, record);
	}
	rc_count(&worker->stats.resyncs, 1);
	rc_worker_queue(worker, slot);
	return 0;
}
