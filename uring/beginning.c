/* SPDX-License-Identifier: MIT
 *
 * beginning.c - see beginning.h.
 */
#include "beginning.h"

#include "form.h"
#include "worker.h"

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
	cursor->own_ahead = true; /* there may be some further back */
	rc_lag_follow(worker, slot, was_behind);
	worker->laggards.floor = RC_MIN(worker->laggards.floor, from);
	RC_ASSERT(worker->laggards.floor >= server->log.granted);
	pthread_mutex_lock(&server->encodings_lock);
	if (atomic_load_explicit(&server->floors[worker->index], memory_order_relaxed) > from)
		atomic_store_explicit(&server->floors[worker->index], from, memory_order_release);
	pthread_mutex_unlock(&server->encodings_lock);
}

void rc_beginning_go_to(struct worker *worker, uint32_t slot, struct rc_subscription *record, uint64_t from)
{
	record->from = from;
	record->resumes = from < rc_log_head(&worker->server->log);
	if (record->resumes)
		begin_further_back(worker, slot, from);
}

uint64_t rc_beginning_base(const struct worker *worker, const struct rc_topic *topic)
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

bool rc_beginning_is_ahead(const struct rc_topic *topic, const struct rc_start *start)
{
	return start && start->resume && !start->after.epoch && topic->given && start->epoch == topic->epoch &&
	       start->since > atomic_load_explicit(&topic->sequence, memory_order_relaxed);
}

int rc_beginning_find(struct worker *worker, struct connection *conn, const struct rc_topic *topic,
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
	uint64_t base = start->snapshot ? rc_beginning_base(worker, topic) : RC_NONE;
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
