/* SPDX-License-Identifier: MIT
 *
 * subscriber.h - who wants what, on one worker. A subscription is one record that is reached in three ways:
 *
 *      the connection's list        connection.first -> record <-> record <-> record
 *      the topic's audience         audience[topic].members: dense, so that a fan-out reads it straight through
 *      the table (slot, topic)      so that "is it subscribed" costs the same with 1 topic and with 10,000
 *
 * Adding and removing are O(1): the last member of an audience moves into the hole that another one left.
 */
#ifndef RC_SUBSCRIBER_H
#define RC_SUBSCRIBER_H

#include "encoding.h"
#include "feed.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rc_subscription {
	uint64_t from; /* entries of the log before it are not for this subscriber */
	uint32_t topic;
	uint32_t slot : 31;
	uint32_t fed : 1;           /* it has a feed */
	uint32_t next;              /* in the connection's list, number + 1 */
	uint32_t member_index : 30; /* in the audience's members */
	uint32_t conflate : 1;      /* it asked for the newest message only, whatever the topic's policy */
	uint32_t resumes : 1;       /* it begins before its connection's cursor, which is to be moved back */
};
static_assert(sizeof(struct rc_subscription) == 24 && RC_SLOT_BITS < 30,
              "a subscription is small, and holds the index of any member");

struct rc_member {
	uint32_t slot, subscription;
};

/* One topic, as this worker sees it. Counters are read by other threads. */
struct rc_audience {
	struct rc_member *members;
	_Atomic uint32_t member_count;
	uint32_t member_capacity;
	/* for the round of fan-out that walks it: the next member, and how many are to be visited at least */
	uint32_t walk_at, walk_left;
	bool walked;
	bool beats;                         /* its heartbeats have a time-out: beat.h */
	uint32_t wanted[RC_ENCODING_COUNT]; /* members by the encoding they want; whoever fans out counts them */
	_Atomic uint64_t birth;             /* of the topic that the counters are about */
	_Atomic uint64_t deliveries, dropped, conflated, slow_closed;
};

#define RC_AUDIENCE_CHUNK RC_TOPIC_CHUNK
#define RC_SUBSCRIPTION_CHUNK 4096
#define RC_SUBSCRIPTION_CHUNKS_MAX 16384

struct rc_subscribers {
	/* A chunk goes after the topics of its numbers (rc_subscribers_trim). */
	_Atomic(struct rc_audience *) audiences[RC_TOPICS_MAX / RC_AUDIENCE_CHUNK];
	uint32_t audiences_high, trim_next; /* chunks ever made, from the first on; the next to look at */
	struct rc_subscription **chunks;
	struct rc_feed ***feeds;         /* as the chunks; null, and parts of it, while no subscription there has one */
	uint32_t made_count, free_first; /* records: numbers ever used; free list, number + 1 */
	uint32_t count;
	uint32_t *table; /* number + 1 and some bits of the hash; linear probing */
	uint32_t table_size;
	uint64_t seed; /* of the table */
};

/* The set must be zeroed: other threads may look for audiences in it already. `seed` is a number that nobody can guess.
 */
int rc_subscribers_init(struct rc_subscribers *set, uint64_t seed);
void rc_subscribers_destroy(struct rc_subscribers *set);

static inline struct rc_subscription *rc_subscription_at(const struct rc_subscribers *set, uint32_t number)
{
	return &set->chunks[number / RC_SUBSCRIPTION_CHUNK][number % RC_SUBSCRIPTION_CHUNK];
}

/* What it has beyond that, or null. */
static inline struct rc_feed *rc_feed_at(const struct rc_subscribers *set, uint32_t number)
{
	return rc_subscription_at(set, number)->fed
	           ? set->feeds[number / RC_SUBSCRIPTION_CHUNK][number % RC_SUBSCRIPTION_CHUNK]
	           : NULL;
}

/* The audience of a topic, or null when nobody here subscribed to that number. The worker itself, for a topic that is
 * there, or any thread with the log's lock. */
static inline struct rc_audience *rc_audience_at(const struct rc_subscribers *set, uint32_t topic)
{
	struct rc_audience *chunk = atomic_load_explicit(&set->audiences[topic / RC_AUDIENCE_CHUNK],
	                                                 memory_order_acquire);
	return chunk ? &chunk[topic % RC_AUDIENCE_CHUNK] : NULL;
}

/* The record, or null. */
struct rc_subscription *rc_subscribers_find(const struct rc_subscribers *set, uint32_t slot, uint32_t topic);

/* The number of a record. */
uint32_t rc_subscription_number(const struct rc_subscribers *set, const struct rc_subscription *record);

static inline struct rc_feed *rc_feed_of(const struct rc_subscribers *set, const struct rc_subscription *record)
{
	return record->fed ? rc_feed_at(set, rc_subscription_number(set, record)) : NULL;
}

/* Its feed, made if it has none; null when memory is out. */
struct rc_feed *rc_feed_make(struct rc_subscribers *set, struct rc_subscription *record);
void rc_feed_free(struct rc_subscribers *set, struct rc_subscription *record);

/* Adds a subscription that is not there yet. `first` is the connection's list. Null when memory is out. */
struct rc_subscription *rc_subscribers_add(struct rc_subscribers *set, uint32_t slot, uint32_t *first, uint32_t topic,
                                           uint64_t topic_birth, uint64_t from);

/* Frees the audiences of a chunk of numbers that no topic has any more, if the next in turn is such a one: called again
 * and again, it follows a number of topics that falls. With the log's lock; afterwards no audience of a topic that has
 * gone may be looked at. */
void rc_subscribers_trim(struct rc_subscribers *set, const struct rc_topics *topics);

/* Removes it, which has no feed. Returns the slot of the member that moved to its index in the audience, or UINT32_MAX
 * when none did. */
uint32_t rc_subscribers_remove(struct rc_subscribers *set, struct rc_subscription *subscription, uint32_t *first);

#endif
