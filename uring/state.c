/* SPDX-License-Identifier: MIT
 *
 * state.c - see state.h, and the public function that reads a state. It must not know who is subscribed.
 *
 * The keys are noted first, from the last to the first of the topic's: a key that goes meanwhile has the last one move
 * into its place, so none is passed over. Then they are sorted, and read. No publisher waits for longer than a piece
 * takes.
 */
#include "state.h"

#include "publish.h"
#include "ringcast_feed.h"

#include <stdlib.h>

#define NOTED_AT_ONCE 1024
#define READ_AT_ONCE 64
#define SIZE_AT_ONCE (64 * RC_KIB)

struct note {
	uint64_t sequence;
	uint32_t key;
};

/* The topic that is read, while it is the same. With the lock. */
static const struct rc_topic *topic_of(rc_server *server, const struct state_read *read)
{
	const struct rc_topic *topic = rc_topic_if_current(&server->topics, read->topic);
	return topic && topic->birth == read->birth && topic->epoch == read->epoch ? topic : NULL;
}

/* Begins to read. Returns how many keys there are to note. */
static uint32_t begin(rc_server *server, const char *name, size_t size, struct state_read *read)
{
	uint64_t hash = rc_topic_hash(&server->topics, name, size);
	uint32_t count = 0;
	*read = (struct state_read){ 0 };
	pthread_mutex_lock(&server->log_lock);
	const struct rc_topic *topic = rc_topics_find(&server->topics, name, size, hash);
	read->begin = rc_log_head(&server->log);
	if (topic) {
		read->topic = topic->id;
		read->count = topic->message_count;
		read->birth = topic->birth;
		read->epoch = topic->epoch;
		read->sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
		count = topic->state ? topic->state->key_count : 0;
	}
	pthread_mutex_unlock(&server->log_lock);
	return count;
}

/* Returns how many of `count` keys were noted. */
static uint32_t note_keys(rc_server *server, const struct state_read *read, uint32_t count, struct note *notes)
{
	uint32_t noted = 0;
	for (uint32_t left = count; left;) {
		pthread_mutex_lock(&server->log_lock);
		const struct rc_topic *topic = topic_of(server, read);
		const struct rc_state *state = topic ? topic->state : NULL;
		left = state ? RC_MIN(left, state->key_count) : 0;
		for (unsigned i = 0; i < NOTED_AT_ONCE && left; i++) {
			uint32_t number = state->keys[--left];
			const struct rc_key *key = rc_key_at(&server->keys, number);
			if (rc_key_counts(key, state) && (key->newest == RC_NONE || key->newest < read->begin))
				notes[noted++] = (struct note){ key->sequence, number };
		}
		pthread_mutex_unlock(&server->log_lock);
		rc_appending_pass(server);
	}
	return noted;
}

static int compare(const void *one, const void *other)
{
	uint64_t a = ((const struct note *)one)->sequence, b = ((const struct note *)other)->sequence;
	return (a > b) - (a < b);
}

/* Whether it has had no message since it was noted. */
static bool is_the_same(const struct rc_key *key, const struct note *note, const struct state_read *read)
{
	return key->topic == read->topic && key->sequence == note->sequence;
}

/* Reads some of the keys that were noted. Returns how many; 0: it is over. With the lock. */
static uint32_t read_piece(rc_server *server, struct state_read *read, const struct note *notes, uint32_t count,
                           bool (*visit)(void *context, const struct rc_value *value), void *context)
{
	const struct rc_topic *topic = topic_of(server, read);
	uint32_t done = 0;
	size_t size = 0;
	if (!topic)
		read->incomplete = true;
	for (; topic && done < count && done < READ_AT_ONCE && size < SIZE_AT_ONCE; done++) {
		const struct rc_key *key = rc_key_at(&server->keys, notes[done].key);
		struct rc_value value;
		if (!is_the_same(key, &notes[done], read) || !rc_key_counts(key, topic->state))
			continue;
		rc_value_of_key(&value, &server->log, key);
		size += value.size;
		if (!visit(context, &value))
			return 0;
	}
	return done;
}

int rc_state_read(rc_server *server, const char *name, size_t size, struct state_read *read,
                  bool (*visit)(void *context, const struct rc_value *value), void *context)
{
	uint32_t count = begin(server, name, size, read), done = 0;
	struct note *notes = count ? malloc(count * sizeof *notes) : NULL;
	if (count && !notes)
		return -ENOMEM;
	count = note_keys(server, read, count, notes);
	if (count)
		qsort(notes, count, sizeof *notes, compare);
	for (uint32_t piece = 1; done < count && piece; done += piece) {
		pthread_mutex_lock(&server->log_lock);
		piece = read_piece(server, read, notes + done, count - done, visit, context);
		pthread_mutex_unlock(&server->log_lock);
		rc_appending_pass(server);
	}
	free(notes);
	pthread_mutex_lock(&server->log_lock);
	const struct rc_topic *topic = topic_of(server, read);
	read->incomplete |= topic && topic->state && topic->state->lost;
	pthread_mutex_unlock(&server->log_lock);
	return done < count && !read->incomplete ? -ENOMEM : 0;
}

/* ---- the public function ---- */

struct visitor {
	bool (*visit)(void *context, const struct rc_past *past);
	void *context;
	int64_t count;
	bool over;
};

static bool show(void *context, const struct rc_value *value)
{
	struct visitor *visitor = context;
	const struct rc_past past = rc_history_past(value);
	visitor->count++;
	visitor->over = !visitor->visit(visitor->context, &past);
	return !visitor->over;
}

/* What came while the keys were read: of each key the newest. Returns whether there is more. With the lock. */
static bool show_newer(rc_server *server, struct state_read *read, struct visitor *visitor)
{
	const struct rc_log *log = &server->log;
	const struct rc_topic *topic = topic_of(server, read);
	uint64_t head = rc_log_head(log);
	uint64_t number = topic ? rc_log_first_sequence(log, topic, read->sequence + 1, 0) : RC_NONE;
	if (number == RC_NONE)
		return false;
	read->incomplete |= rc_log_entry(log, number)->before > read->sequence;
	for (unsigned i = 0; i < READ_AT_ONCE && number < head && !visitor->over; i++) {
		struct rc_value value;
		read->sequence = rc_log_entry(log, number)->sequence;
		if (!rc_log_is_superseded(log, number, head, true)) {
			rc_value_of_entry(&value, log, number);
			show(visitor, &value);
		}
		number = rc_log_next(log, number, head);
	}
	return number < head && !visitor->over;
}

int64_t rc_topic_state(rc_server *server, const char *name, size_t size, uint64_t *epoch, uint64_t *sequence,
                       bool *complete, bool (*visit)(void *context, const struct rc_past *past), void *context)
{
	struct visitor visitor = { .visit = visit, .context = context };
	struct state_read read;
	if (!size || size > RC_TOPIC_NAME_MAX)
		return -EINVAL;
	if (rc_state_read(server, name, size, &read, show, &visitor) < 0 && !visitor.over)
		return -ENOMEM;
	for (bool more = !visitor.over; more;) {
		pthread_mutex_lock(&server->log_lock);
		more = show_newer(server, &read, &visitor);
		pthread_mutex_unlock(&server->log_lock);
		rc_appending_pass(server);
	}
	if (epoch)
		*epoch = read.epoch;
	if (sequence)
		*sequence = read.sequence;
	if (complete)
		*complete = !read.incomplete;
	return visitor.count;
}
