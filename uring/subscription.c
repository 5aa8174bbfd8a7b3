/* SPDX-License-Identifier: MIT
 *
 * subscription.c - see subscription.h. It must not know how anything is sent.
 *
 * Where a subscription begins is decided under the log's lock, so that no message can fall between.
 */
#include "subscription.h"

#include "feeds.h"
#include "form.h"
#include "renew.h"
#include "worker.h"

#include <string.h>

/* Puts a copy of the last frame into the outbox, in the connection's form: it may leave the log at any time, or has
 * left it. With the lock. False when there is no room for it or memory is out. */
static bool copy_last(struct worker *worker, struct connection *conn, const struct rc_value *value)
{
	const struct form *form = rc_form_of(conn);
	size_t size = form->write(worker->server, NULL, value);
	struct rc_outbox *outbox = size ? rc_connection_outbox(worker, conn) : NULL;
	bool full;
	uint8_t *at = outbox ? rc_outbox_add(outbox, &worker->pool, size, worker->server->config.send_size_max, &full)
	                     : NULL;
	if (at)
		form->write(worker->server, at, value);
	return at;
}

/* Up to where something is missing for who has everything up to `since`, and goes on from an entry; 0: nothing is. */
static uint64_t lost_of(const struct rc_log *log, uint64_t at, uint64_t since, uint64_t newest)
{
	uint64_t before = at == RC_NONE ? newest : rc_log_entry(log, at)->before;
	return before > since ? before : 0;
}

/* Where the subscription begins; *first is the sequence number that comes first. With the lock. */
static uint64_t begin_at(struct worker *worker, struct connection *conn, const struct rc_topic *topic,
                         struct rc_start *start, uint64_t *first)
{
	struct rc_log *log = &worker->server->log;
	uint64_t newest = atomic_load_explicit(&topic->newest, memory_order_relaxed);
	uint64_t sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	uint64_t readable = rc_log_readable(log), at = RC_NONE;
	/* The state has the newest of each key. */
	bool last = start && start->last && !start->resume && !start->after.epoch && !start->state && !start->snapshot;
	*first = sequence + 1;
	if (start)
		start->lost = 0;
	if (start && start->after.epoch) {
		uint64_t next = start->after.number + 1;
		start->resumed = start->after.epoch == worker->server->epoch && next && next >= readable &&
		                 next >= topic->began && next <= rc_log_head(log);
		if (start->resumed || !start->resume)
			at = rc_log_first_sequence(log, topic, 1, start->resumed ? next : readable);
		if (!start->resumed && !start->resume)
			start->lost = lost_of(log, at, 0, sequence);
	}
	if (start && start->resume && !start->resumed && start->since < sequence) {
		at = rc_log_first_sequence(log, topic, start->since + 1, readable);
		start->lost = lost_of(log, at, start->since, sequence);
	} else if (last && newest != RC_NONE && newest >= readable) {
		at = newest;
	}
	if (at != RC_NONE) {
		*first = rc_log_entry(log, at)->sequence;
		return at;
	}
	if (last && (newest != RC_NONE || topic->kept)) {
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

void rc_subscription_go_to(struct worker *worker, uint32_t slot, struct rc_subscription *record, uint64_t from)
{
	record->from = from;
	record->resumes = from < rc_log_head(&worker->server->log);
	if (record->resumes)
		begin_further_back(worker, slot, from);
}

uint64_t rc_subscription_base(const struct worker *worker, const struct rc_topic *topic)
{
	const struct rc_server *server = worker->server;
	const struct rc_state *state = topic->state;
	const struct rc_key *key = state && state->base ? rc_key_at(&server->keys, state->base - 1) : NULL;
	return key && key->newest != RC_NONE && key->newest >= rc_log_readable(&server->log) ? key->newest : RC_NONE;
}

/* Whether what comes first is the topic's state, and not what it asked to resume, of which nothing is missing. */
static bool begins_with_state(const struct worker *worker, const struct connection *conn, const struct rc_topic *topic,
                              const struct rc_start *start, uint64_t from)
{
	if (!(start->state || start->snapshot) || !rc_form_of(conn)->follows)
		return false;
	if (start->after.epoch && start->resumed)
		return false;
	uint64_t sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	bool has_all = topic->given ? start->since >= sequence : start->since == sequence;
	has_all |= start->since < sequence && !start->lost && from < rc_log_head(&worker->server->log);
	return !start->resume || !has_all;
}

/* What it asks to resume was of another beginning of the topic. Then all that the log has is new to it, and its form
 * says so; or the state comes, where that is asked for. Of a stream it may have had elsewhere what has not come here
 * yet. */
static bool begins_anew(const struct rc_topic *topic, const struct rc_start *start)
{
	if (!start || !start->resume || !start->since || !start->epoch || start->after.epoch)
		return false;
	return start->epoch != topic->epoch ||
	       (!topic->given && start->since > atomic_load_explicit(&topic->sequence, memory_order_relaxed));
}

/* Whether it asks to resume in this epoch from where the topic has not come yet. Not with another beginning. */
static bool is_ahead(const struct rc_topic *topic, const struct rc_start *start)
{
	return start && start->resume && !start->after.epoch && topic->given && start->epoch == topic->epoch &&
	       start->since > atomic_load_explicit(&topic->sequence, memory_order_relaxed);
}

/* Where a subscription is to begin. */
struct beginning {
	uint64_t from;  /* entry */
	uint64_t until; /* the entry behind the state; RC_NONE: it does not begin with one */
	uint64_t first; /* sequence of what comes first, or behind the state */
	bool takes_picture;
};

/* With the lock. Returns 0, or -EAGAIN when it takes a picture and this is none, or one that the log left behind. */
static int find_beginning(struct worker *worker, struct connection *conn, const struct rc_topic *topic,
                          struct rc_start *start, const struct picture *picture, struct beginning *beginning)
{
	const struct rc_log *log = &worker->server->log;
	*beginning = (struct beginning){ .until = RC_NONE };
	bool anew = begins_anew(topic, start);
	if (anew) {
		start->since = 0;
		start->resume = !start->state && !start->snapshot;
	}
	beginning->from = begin_at(worker, conn, topic, start, &beginning->first);
	if (anew && start->resume)
		beginning->until = beginning->from;
	if (!start || !begins_with_state(worker, conn, topic, start, beginning->from))
		return 0;
	uint64_t base = start->snapshot ? rc_subscription_base(worker, topic) : RC_NONE;
	beginning->from = base != RC_NONE ? base : rc_log_head(log);
	beginning->until = base != RC_NONE ? base + 1 : beginning->from;
	beginning->first = base != RC_NONE ? rc_log_entry(log, base)->sequence + 1
	                                   : atomic_load_explicit(&topic->sequence, memory_order_relaxed) + 1;
	if (base != RC_NONE || !topic->state || !topic->state->key_count)
		return 0;
	if (!picture || picture->topic != topic->id || picture->birth != topic->birth ||
	    picture->begin < rc_log_readable(log))
		return -EAGAIN;
	beginning->takes_picture = true;
	beginning->from = picture->begin;
	return 0;
}

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
	return !is_ahead(topic, start) || rc_feeds_begin_had(worker, record, start->since);
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
	} else if ((error = find_beginning(worker, conn, topic, start, *picture, &beginning)) == 0) {
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
	rc_subscription_go_to(worker, slot, record, beginning.from);
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
	uint64_t hash = topic->hash;
	size_t size = topic->name_size;
	char name[RC_TOPIC_NAME_MAX + 1];
	memcpy(name, topic->name, size); /* it goes with its last subscriber */
	remove_locked(worker, slot, record);
	begin_cursor(worker, conn);
	int result = subscribe_locked(worker, slot, name, size, hash, &start, &none);
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
