/* SPDX-License-Identifier: MIT
 *
 * history.c - reading the log without subscribing: what has been said in a topic, and which topics there are. All of it
 * happens under the log's lock, so that nothing is recycled meanwhile; whoever asks for much makes publishers wait.
 */
#include "worker.h"

#include <string.h>

#define MATCHES_MAX 1000

/* Entries of a topic are linked backwards only, and are wanted forwards: each is looked for by its sequence, which the
 * jumps make O(log n). */
static int read_locked(rc_server *server, const struct rc_topic *topic, uint64_t since, unsigned max,
                       bool (*visit)(void *, const struct rc_past *), void *context)
{
	const struct rc_log *log = &server->log;
	uint64_t now_ns = rc_server_now();
	unsigned count = 0;
	for (uint64_t sequence = since; count < max; count++) {
		uint64_t number = sequence == UINT64_MAX ? RC_NONE : rc_log_first_sequence(log, topic, sequence + 1, 0);
		if (number == RC_NONE)
			break;
		const struct rc_entry *entry = rc_log_entry(log, number);
		const uint8_t *frame = rc_log_at(log, entry->position);
		uint32_t header_size = frame[1] < 126 ? 2 : frame[1] == 126 ? 4 : 10; /* ours are never masked */
		sequence = entry->sequence;
		const struct rc_past past = {
			.epoch = topic->epoch,
			.sequence = entry->sequence,
			.age_ns = now_ns > entry->time_ns ? now_ns - entry->time_ns : 0,
			.except = atomic_load_explicit(&entry->except, memory_order_relaxed),
			.opcode = (enum rc_opcode)(frame[0] & 15),
			.data = frame + header_size,
			.size = entry->size - header_size,
		};
		if (!visit(context, &past))
			return (int)count + 1;
	}
	return (int)count;
}

int rc_topic_read(rc_server *server, const char *name, size_t name_size, uint64_t since, unsigned max,
                  bool (*visit)(void *context, const struct rc_past *past), void *context)
{
	if (!name_size || name_size > RC_TOPIC_NAME_MAX || max > INT32_MAX)
		return -EINVAL;
	uint64_t hash = rc_topic_hash(&server->topics, name, name_size);
	pthread_mutex_lock(&server->log_lock);
	const struct rc_topic *topic = rc_topics_find(&server->topics, name, name_size, hash);
	int count = topic ? read_locked(server, topic, since, max, visit, context) : 0;
	pthread_mutex_unlock(&server->log_lock);
	return count;
}

static bool matches(const struct rc_topic *topic, const char *pattern, size_t size)
{
	bool prefix = size && pattern[size - 1] == '*';
	size -= prefix;
	return (prefix ? topic->name_size >= size : topic->name_size == size) &&
	       memcmp(topic->name, pattern, size) == 0;
}

size_t rc_topics_match(rc_server *server, const char *pattern, size_t pattern_size, struct rc_topic_stats *out,
                       size_t max)
{
	size_t count = 0;
	max = RC_MIN(max, MATCHES_MAX);
	pthread_mutex_lock(&server->log_lock);
	for (uint32_t id = 0; id < server->topics.made_count; id++) {
		const struct rc_topic *topic = rc_topic_if_made(&server->topics, id);
		if (!topic || !matches(topic, pattern, pattern_size))
			continue;
		if (count < max)
			rc_topic_describe(server, topic, &out[count]);
		count++;
	}
	pthread_mutex_unlock(&server->log_lock);
	return count;
}
