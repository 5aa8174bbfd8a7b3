/* SPDX-License-Identifier: MIT
 *
 * number.c - topics that are numbered elsewhere, for publishers: which numbers a topic takes, and where it is said to
 * begin (ringcast_replica.h). It must not know who is subscribed: those who are left behind by a topic that begins anew
 * are moved by their workers (renew.c), which are woken for that.
 */
#include "publish.h"

#define BEGUN_AT_ONCE 64 /* topics looked at before the lock is given back */

/* The topic begins anew. With the lock. Returns who has its name then, or null with *error. */
static struct rc_topic *renew(struct rc_server *server, struct appending *appending, struct rc_topic *topic,
                              uint64_t epoch, uint64_t sequence, int *error)
{
	uint64_t mask = topic->worker_mask;
	struct rc_topic *next = rc_topics_renew(&server->topics, topic, epoch, sequence, rc_log_head(&server->log),
	                                        error);
	if (next && next != topic) {
		appending->left |= mask;
		rc_keys_void(&server->keys, topic);
		rc_topics_release(&server->topics, topic);
	}
	return next;
}

int rc_appending_number_given(struct rc_server *server, struct appending *appending, struct rc_topic **topic,
                              uint64_t epoch, uint64_t sequence)
{
	int error = 0;
	if (!rc_topic_takes(*topic, epoch)) {
		uint64_t behind = rc_topics_begin_of(&server->topics, *topic, epoch, sequence);
		struct rc_topic *next = renew(server, appending, *topic, epoch, behind, &error);
		if (!next)
			return error;
		*topic = next;
	}
	uint64_t newest = atomic_load_explicit(&(*topic)->sequence, memory_order_relaxed);
	return epoch && sequence <= RC_MAX(newest, (*topic)->claimed) ? -EEXIST : 0;
}

/* ---- where topics begin ---- */

/* With the lock. */
static int begin_one(struct rc_server *server, struct appending *appending, struct rc_topic *topic, uint64_t epoch,
                     uint64_t sequence)
{
	int error = 0;
	bool has = rc_topic_takes(topic, epoch) &&
	           atomic_load_explicit(&topic->sequence, memory_order_relaxed) >= sequence;
	topic = has ? topic : renew(server, appending, topic, epoch, sequence, &error);
	if (topic)
		rc_topic_hold_begun(&server->topics, topic);
	return error;
}

int rc_topic_begin(rc_server *server, const char *name, size_t size, uint64_t epoch, uint64_t sequence)
{
	struct appending appending;
	int error = 0;
	if (!size || size > RC_TOPIC_NAME_MAX || !epoch || epoch > INT64_MAX || sequence > INT64_MAX)
		return -EINVAL;
	uint64_t hash = rc_topic_hash(&server->topics, name, size);
	rc_appending_begin(server, &appending);
	struct rc_topic *topic = rc_topics_get(&server->topics, name, size, hash, &error);
	if (topic)
		error = begin_one(server, &appending, topic, epoch, sequence);
	rc_appending_end(server, &appending, error, 0);
	return error;
}

/* A piece of the topics from `id` on, which must not wait for their next message to be what they should be. Returns
 * where to go on; past all: UINT32_MAX. */
static uint32_t begin_some(struct rc_server *server, uint32_t id, int *error)
{
	struct rc_topics *topics = &server->topics;
	struct appending appending;
	rc_appending_begin(server, &appending);
	uint32_t end = RC_MIN(id + BEGUN_AT_ONCE, topics->made_count);
	for (; id < end && !*error; id++) {
		struct rc_topic *topic = rc_topic_if_current(topics, id);
		if (topic && rc_topic_is_behind(topics, topic))
			*error = begin_one(server, &appending, topic, topics->begin_epoch, topics->begin_sequence);
	}
	bool over = *error || id >= topics->made_count;
	rc_appending_end(server, &appending, *error, 0);
	return over ? UINT32_MAX : id;
}

uint64_t rc_topic_since(rc_server *server, const char *name, size_t size, unsigned count)
{
	uint64_t since = 0;
	if (!size || size > RC_TOPIC_NAME_MAX)
		return 0;
	uint64_t hash = rc_topic_hash(&server->topics, name, size);
	pthread_mutex_lock(&server->log_lock);
	const struct rc_topic *topic = rc_topics_find(&server->topics, name, size, hash);
	uint64_t first = topic ? rc_log_first_of(&server->log, topic, count) : RC_NONE;
	if (first != RC_NONE)
		since = rc_log_entry(&server->log, first)->before;
	else if (topic)
		since = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	pthread_mutex_unlock(&server->log_lock);
	return since;
}

int rc_server_begin(rc_server *server, uint64_t epoch, uint64_t sequence)
{
	int error = 0;
	if (epoch > INT64_MAX || sequence > INT64_MAX)
		return -EINVAL;
	pthread_mutex_lock(&server->log_lock);
	rc_topics_begin_all(&server->topics, epoch, sequence);
	pthread_mutex_unlock(&server->log_lock);
	for (uint32_t id = epoch ? 0 : UINT32_MAX; id != UINT32_MAX;) {
		id = begin_some(server, id, &error);
		rc_appending_pass(server);
	}
	return error;
}
