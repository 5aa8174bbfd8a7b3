/* SPDX-License-Identifier: MIT
 *
 * subscription.c - see subscription.h. It must not know how anything is sent.
 *
 * Where a subscription begins is decided under the log's lock, so that no message can fall between.
 */
#include "subscription.h"

#include "form.h"
#include "worker.h"

#include <string.h>

/* Puts a copy of the last frame into the outbox, in the connection's form: it may leave the log at any time, or has
 * left it. With the lock. False when there is no room for it or memory is out. */
static bool copy_last(struct worker *worker, struct connection *conn, const struct rc_value *value)
{
	const struct form *form = rc_form_of(conn);
	size_t size = form->write(NULL, value);
	struct rc_outbox *outbox = size ? rc_connection_outbox(worker, conn) : NULL;
	bool full;
	uint8_t *at = outbox ? rc_outbox_add(outbox, &worker->pool, size, worker->server->config.send_size_max, &full)
	                     : NULL;
	if (at)
		form->write(at, value);
	return at;
}

/* Where the subscription begins; *first is the sequence number that comes first. With the lock. */
static uint64_t begin_at(struct worker *worker, struct connection *conn, const struct rc_topic *topic,
                         struct rc_start *start, uint64_t *first)
{
	struct rc_log *log = &worker->server->log;
	uint64_t newest = atomic_load_explicit(&topic->newest, memory_order_relaxed);
	uint64_t sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	uint64_t readable = rc_log_readable(log), at = RC_NONE;
	*first = sequence + 1;
	if (start && start->after.epoch) {
		uint64_t next = start->after.number + 1;
		start->resumed = start->after.epoch == worker->server->epoch && next && next >= readable &&
		                 next <= rc_log_head(log);
		if (start->resumed || !start->resume)
			at = rc_log_first_sequence(log, topic, 1, start->resumed ? next : readable);
	}
	if (start && start->resume && !start->resumed && start->since < sequence)
		at = rc_log_first_sequence(log, topic, start->since + 1, readable);
	else if (start && start->last && !start->resume && !start->after.epoch && newest != RC_NONE &&
	         newest >= readable)
		at = newest;
	if (at != RC_NONE) {
		*first = rc_log_entry(log, at)->sequence;
		return at;
	}
	if (start && start->last && !start->resume && !start->after.epoch && (newest != RC_NONE || topic->kept)) {
		struct rc_value value;
		if (newest != RC_NONE)
			rc_value_of_entry(&value, log, newest);
		else
			rc_value_of_kept(&value, topic);
		if (copy_last(worker, conn, &value))
			*first = sequence;
	}
	return rc_log_head(log);
}

/* With both locks: neither the log nor an encoding is recycled meanwhile, so the floor may come down. */
static void begin_further_back(struct worker *worker, uint32_t slot, uint64_t from)
{
	struct rc_server *server = worker->server;
	struct rc_cursor *cursor = &worker->connections[slot].cursor;
	bool was_behind = cursor->behind;
	rc_cursor_wants_back(cursor, rc_lag_place(worker, slot));
	rc_lag_follow(worker, slot, was_behind);
	worker->laggards.floor = RC_MIN(worker->laggards.floor, from);
	pthread_mutex_lock(&server->encodings_lock);
	if (atomic_load_explicit(&server->floors[worker->index], memory_order_relaxed) > from)
		atomic_store_explicit(&server->floors[worker->index], from, memory_order_release);
	pthread_mutex_unlock(&server->encodings_lock);
}

static int subscribe_locked(struct worker *worker, uint32_t slot, const char *name, size_t size, uint64_t hash,
                            struct rc_start *start)
{
	struct rc_server *server = worker->server;
	struct connection *conn = &worker->connections[slot];
	int error = 0;
	struct rc_topic *topic = rc_topics_get(&server->topics, name, size, hash, &error);
	if (!topic)
		return error;
	uint64_t first = 0, from = 0;
	struct rc_subscription *record = NULL;
	if (rc_subscribers_find(&worker->subscribers, slot, topic->id)) {
		error = -EEXIST;
	} else if (conn->subscription_count >= server->config.subscriptions_max) {
		error = -ENOSPC;
	} else {
		from = begin_at(worker, conn, topic, start, &first);
		record = rc_subscribers_add(&worker->subscribers, slot, &conn->first_subscription, topic->id,
		                            topic->epoch, from);
		error = record ? 0 : -ENOMEM;
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
	rc_count(&worker->stats.subscriptions, 1);
	if (start) {
		start->first = first;
		record->conflate = start->conflate;
	}
	if (from < rc_log_head(&server->log)) {
		record->resumes = true;
		begin_further_back(worker, slot, from);
	}
	return 0;
}

int rc_subscription_begin(struct worker *worker, uint32_t slot, const char *name, size_t size, struct rc_start *start)
{
	struct rc_server *server = worker->server;
	struct connection *conn = &worker->connections[slot];
	if (!size || size > RC_TOPIC_NAME_MAX || conn->client)
		return -EINVAL;
	uint64_t hash = rc_topic_hash(&server->topics, name, size);
	pthread_mutex_lock(&server->log_lock);
	if (worker->round.walk_index == worker->round.walk_count)
		rc_subscribers_trim(&worker->subscribers, &server->topics);
	/* A cursor without subscriptions means nothing, and may have stood still while the log went on. */
	if (!conn->subscription_count && !conn->sending && !conn->cursor.behind)
		rc_cursor_begin(&conn->cursor, rc_log_head(&server->log));
	int result = subscribe_locked(worker, slot, name, size, hash, start);
	pthread_mutex_unlock(&server->log_lock);
	if (result == 0 && (conn->cursor.behind || conn->outbox))
		rc_worker_queue(worker, slot);
	return result;
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
		if (!record->resumes)
			record->from = RC_MAX(record->from, cursor->at);
		record->resumes = false;
		lowest = RC_MIN(lowest, record->from);
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
