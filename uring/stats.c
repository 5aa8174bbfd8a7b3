/* SPDX-License-Identifier: MIT
 *
 * stats.c - the counters, added up. Each is written by its worker alone and read here without stopping anybody. It must
 * not change any.
 */
#include "growing.h"
#include "publish.h"
#include "ringcast_latency.h"
#include "ringcast_stats.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* struct rc_stats is counters only, so that it can be added up as an array; those of the server are 0 in a worker. */
#define COUNTERS (sizeof(struct rc_stats) / sizeof(uint64_t))

static void add_worker(const struct worker *worker, uint64_t *sums)
{
	const uint64_t *counters = (const uint64_t *)&worker->stats;
	for (size_t i = 0; i < COUNTERS; i++)
		sums[i] += __atomic_load_n(&counters[i], __ATOMIC_RELAXED);
}

int(rc_worker_stats)(rc_server *server, unsigned worker, struct rc_stats *given, size_t struct_size)
{
	struct rc_stats stats = { 0 };
	bool found = worker < server->worker_count;
	if (found)
		add_worker(&server->workers[worker], (uint64_t *)&stats);
	rc_growing_give(given, struct_size, &stats, sizeof stats);
	return found ? 0 : -EINVAL;
}

/* What belongs to no worker. */
static void add_server(rc_server *server, struct rc_stats *stats)
{
	uint64_t now_ns = rc_server_now(), floor = UINT64_MAX;
	for (unsigned i = 0; i < server->worker_count; i++)
		floor = RC_MIN(floor, atomic_load_explicit(&server->floors[i], memory_order_relaxed));

	pthread_mutex_lock(&server->log_lock);
	const struct rc_log *log = &server->log;
	stats->log_head = rc_log_head(log);
	stats->log_oldest = atomic_load_explicit(&log->tail, memory_order_relaxed);
	stats->published = stats->log_head;
	stats->published_size = log->published_size;
	stats->publish_refused = log->refused;
	stats->topics = server->topics.topic_count;
	stats->keys = server->keys.count;
	stats->state_size = server->keys.kept_size;
	stats->state_dropped = server->keys.dropped;
	stats->ring = server->epoll ? RC_RING_EPOLL : RC_RING_URING;
	stats->state_sent_size = rc_pictures_size(&server->pictures);
	if (floor < stats->log_head && floor >= stats->log_oldest && stats->subscriptions) {
		uint64_t published_ns = rc_log_entry(log, floor)->time_ns;
		stats->lag_ns = now_ns > published_ns ? now_ns - published_ns : 0;
	}
	pthread_mutex_unlock(&server->log_lock);
}

void(rc_server_stats)(rc_server *server, struct rc_stats *given, size_t struct_size)
{
	struct rc_stats stats = { 0 };
	static_assert(sizeof stats == COUNTERS * sizeof(uint64_t), "counters and nothing else");
	for (unsigned i = 0; i < server->worker_count; i++)
		add_worker(&server->workers[i], (uint64_t *)&stats);
	add_server(server, &stats);
	rc_growing_give(given, struct_size, &stats, sizeof stats);
}

static uint64_t get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* Puts one of a worker's slowest among those of all. */
static void insert_slowest(struct rc_lag_stats *stats, rc_conn conn, uint64_t lag_ns, uint64_t messages,
                           const char *topic)
{
	size_t at = stats->slowest_count;
	while (at && stats->slowest[at - 1].lag_ns < lag_ns)
		at--;
	if (at == RC_LAG_SLOWEST)
		return;
	stats->slowest_count = RC_MIN(stats->slowest_count + 1, RC_LAG_SLOWEST);
	memmove(&stats->slowest[at + 1], &stats->slowest[at],
	        (stats->slowest_count - at - 1) * sizeof stats->slowest[0]);
	stats->slowest[at].conn = conn;
	stats->slowest[at].lag_ns = lag_ns;
	stats->slowest[at].lag_messages = messages;
	snprintf(stats->slowest[at].topic, sizeof stats->slowest[at].topic, "%s", topic ? topic : "");
}

void(rc_lag_stats)(rc_server *server, struct rc_lag_stats *given, size_t struct_size)
{
	struct rc_lag_stats stats = { 0 };
	uint64_t now_ns = rc_server_now();
	pthread_mutex_lock(&server->log_lock); /* for the topics' names */
	for (unsigned i = 0; i < server->worker_count; i++) {
		const struct lag_book *book = &server->workers[i].laggards.book;
		for (unsigned age = 0; age < RC_LAG_AGES; age++)
			stats.ages[age] += get(&book->ages[age]);
		for (unsigned index = 0; index < RC_LAG_SLOWEST && get(&book->slowest[index].conn); index++) {
			uint64_t since_ns = get(&book->slowest[index].since_ns),
				 topic = get(&book->slowest[index].topic);
			const struct rc_topic *of = topic < RC_TOPICS_MAX
			                                ? rc_topic_if_made(&server->topics, (uint32_t)topic)
			                                : NULL;
			insert_slowest(&stats, get(&book->slowest[index].conn),
			               now_ns > since_ns ? now_ns - since_ns : 0, get(&book->slowest[index].messages),
			               of ? of->name : NULL);
		}
	}
	pthread_mutex_unlock(&server->log_lock);
	rc_growing_give(given, struct_size, &stats, sizeof stats);
}

static void fill_in(rc_server *server, const struct rc_topic *topic, struct rc_topic_stats *stats)
{
	memcpy(stats->name, topic->name, topic->name_size);
	stats->epoch = topic->epoch;
	stats->sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	uint64_t oldest = rc_log_first_sequence(&server->log, topic, 0, 0);
	stats->oldest = oldest == RC_NONE ? 0 : rc_log_entry(&server->log, oldest)->sequence;
	stats->lost = topic->lost;
	stats->elsewhere = topic->given;
	stats->subscribers = topic->subscription_count;
	for (unsigned i = 0; i < server->worker_count; i++) {
		const struct rc_audience *audience = rc_audience_at(&server->workers[i].subscribers, topic->id);
		if (!audience || atomic_load_explicit(&audience->birth, memory_order_relaxed) != topic->birth)
			continue;
		stats->deliveries += atomic_load_explicit(&audience->deliveries, memory_order_relaxed);
		stats->dropped += atomic_load_explicit(&audience->dropped, memory_order_relaxed);
		stats->conflated += atomic_load_explicit(&audience->conflated, memory_order_relaxed);
		stats->slow_closed += atomic_load_explicit(&audience->slow_closed, memory_order_relaxed);
	}
}

/* Describes a topic as element `index` of an array of the caller's structs. */
static void describe(rc_server *server, const struct rc_topic *topic, struct rc_topic_stats *given, size_t index,
                     size_t struct_size)
{
	struct rc_topic_stats stats = { 0 };
	fill_in(server, topic, &stats);
	rc_growing_give((uint8_t *)given + index * struct_size, struct_size, &stats, sizeof stats);
}

int(rc_topic_stats)(rc_server *server, const char *name, size_t name_size, struct rc_topic_stats *stats,
                    size_t struct_size)
{
	if (!name_size || name_size > RC_TOPIC_NAME_MAX)
		return -ENOENT;
	uint64_t hash = rc_topic_hash(&server->topics, name, name_size);
	pthread_mutex_lock(&server->log_lock);
	const struct rc_topic *topic = rc_topics_find(&server->topics, name, name_size, hash);
	if (topic)
		describe(server, topic, stats, 0, struct_size);
	pthread_mutex_unlock(&server->log_lock);
	return topic ? 0 : -ENOENT;
}

/* ---- all topics: in pieces, so that no publisher waits for longer than one takes ---- */

#define LOOKED_AT_ONCE 64
#define DESCRIBED_AT_ONCE 16

/* One of the best so far. It may be gone by the time that it is described, and its number another's. */
struct candidate {
	uint64_t birth;
	uint32_t id, subscription_count;
};

/* Puts a topic among the `count` best so far, sorted by subscribers. */
static size_t insert(struct candidate *best, size_t count, size_t max, const struct rc_topic *topic)
{
	size_t at = count < max ? count : max - 1;
	if (count == max && best[at].subscription_count >= topic->subscription_count)
		return count;
	for (; at && best[at - 1].subscription_count < topic->subscription_count; at--)
		best[at] = best[at - 1];
	best[at] = (struct candidate){ topic->birth, topic->id, topic->subscription_count };
	return count < max ? count + 1 : max;
}

static size_t find_best(rc_server *server, struct candidate *best, size_t max)
{
	size_t count = 0;
	bool more = true;
	for (uint32_t id = 0; more;) {
		pthread_mutex_lock(&server->log_lock);
		uint32_t end = RC_MIN(id + LOOKED_AT_ONCE, server->topics.made_count);
		more = end < server->topics.made_count;
		for (; id < end; id++) {
			const struct rc_topic *topic = rc_topic_if_current(&server->topics, id);
			if (topic)
				count = insert(best, count, max, topic);
		}
		pthread_mutex_unlock(&server->log_lock);
		rc_appending_pass(server);
	}
	return count;
}

size_t(rc_topics_top)(rc_server *server, struct rc_topic_stats *out, size_t max, size_t struct_size)
{
	max = RC_MIN(max, RC_TOPICS_LISTED_MAX);
	struct candidate *best = max ? malloc(max * sizeof *best) : NULL;
	if (!best)
		return 0;
	size_t found = find_best(server, best, max), count = 0;
	for (size_t i = 0; i < found;) {
		pthread_mutex_lock(&server->log_lock);
		for (size_t end = RC_MIN(i + DESCRIBED_AT_ONCE, found); i < end; i++) {
			const struct rc_topic *topic = rc_topic_if_current(&server->topics, best[i].id);
			if (topic && topic->birth == best[i].birth)
				describe(server, topic, out, count++, struct_size);
		}
		pthread_mutex_unlock(&server->log_lock);
	}
	free(best);
	return count;
}

static bool matches(const struct rc_topic *topic, const char *pattern, size_t size)
{
	bool prefix = size && pattern[size - 1] == '*';
	size -= prefix;
	return (prefix ? topic->name_size >= size : topic->name_size == size) &&
	       memcmp(topic->name, pattern, size) == 0;
}

size_t(rc_topics_match)(rc_server *server, const char *pattern, size_t pattern_size, struct rc_topic_stats *out,
                        size_t max, size_t struct_size)
{
	size_t count = 0;
	bool more = true;
	max = RC_MIN(max, RC_TOPICS_LISTED_MAX);
	for (uint32_t id = 0; more;) {
		pthread_mutex_lock(&server->log_lock);
		uint32_t end = RC_MIN(id + LOOKED_AT_ONCE, server->topics.made_count);
		more = end < server->topics.made_count;
		for (unsigned described = 0; id < end && described < DESCRIBED_AT_ONCE; id++) {
			const struct rc_topic *topic = rc_topic_if_current(&server->topics, id);
			if (!topic || !matches(topic, pattern, pattern_size))
				continue;
			if (count < max) {
				describe(server, topic, out, count, struct_size);
				described++;
			}
			count++;
		}
		more |= id < end;
		pthread_mutex_unlock(&server->log_lock);
		rc_appending_pass(server);
	}
	return count;
}
