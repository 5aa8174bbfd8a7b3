/* SPDX-License-Identifier: MIT
 *
 * subscriber.c - see subscriber.h. Invariant: audience.members[record.member_index] is that record, for every record
 * in use.
 */
#include "subscriber.h"

#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define TABLE_FIRST 64

/* A bucket is 0, or has a record's number + 1 and above it bits of its hash: most records that are not the one looked
 * for are told by those, and a search that finds nothing reads no record. */
#define BUCKET_NUMBER 0x07FFFFFFu
#define BUCKET_HASH 0xF8000000u
static_assert(RC_SUBSCRIPTION_CHUNKS_MAX * RC_SUBSCRIPTION_CHUNK <= BUCKET_NUMBER, "a bucket holds any number");

int rc_subscribers_init(struct rc_subscribers *set, uint64_t seed)
{
	set->seed = seed;
	set->chunks = calloc(RC_SUBSCRIPTION_CHUNKS_MAX, sizeof *set->chunks);
	set->table = calloc(TABLE_FIRST, sizeof *set->table);
	set->table_size = TABLE_FIRST;
	if (set->chunks && set->table)
		return 0;
	rc_subscribers_destroy(set);
	return -ENOMEM;
}

void rc_subscribers_destroy(struct rc_subscribers *set)
{
	for (size_t i = 0; i < RC_TOPICS_MAX / RC_AUDIENCE_CHUNK; i++) {
		struct rc_audience *chunk = atomic_load(&set->audiences[i]);
		for (size_t j = 0; chunk && j < RC_AUDIENCE_CHUNK; j++)
			free(chunk[j].members);
		free(chunk);
	}
	for (size_t i = 0; set->chunks && i < RC_SUBSCRIPTION_CHUNKS_MAX && set->chunks[i]; i++) {
		free(set->chunks[i]);
		if (set->feeds)
			free(set->feeds[i]);
	}
	free(set->feeds);
	free(set->chunks);
	free(set->table);
	memset(set, 0, sizeof *set);
}

/* ---- the table ---- */

/* Peers choose the topics, and so their numbers: without a seed they could fill one place. */
static uint64_t hash_of(const struct rc_subscribers *set, uint32_t slot, uint32_t topic)
{
	uint64_t key = (uint64_t)topic << 32 | slot;
	return XXH3_64bits_withSeed(&key, sizeof key, set->seed);
}

static struct rc_subscription *record_of(const struct rc_subscribers *set, uint32_t bucket)
{
	return rc_subscription_at(set, (bucket & BUCKET_NUMBER) - 1);
}

static uint32_t bucket_for(uint32_t number, uint64_t hash)
{
	return (number + 1) | ((uint32_t)(hash >> 32) & BUCKET_HASH);
}

static uint32_t *table_bucket(const struct rc_subscribers *set, uint32_t slot, uint32_t topic, uint64_t hash)
{
	uint32_t mask = set->table_size - 1, bits = (uint32_t)(hash >> 32) & BUCKET_HASH;
	for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
		uint32_t *bucket = &set->table[i];
		if (!*bucket)
			return bucket;
		if ((*bucket & BUCKET_HASH) != bits)
			continue;
		const struct rc_subscription *record = record_of(set, *bucket);
		if (record->slot == slot && record->topic == topic)
			return bucket;
	}
}

static bool table_grow(struct rc_subscribers *set)
{
	uint32_t size = set->table_size * 2;
	uint32_t *old = set->table, *table = calloc(size, sizeof *table);
	if (!table)
		return false;
	uint32_t old_size = set->table_size;
	set->table = table;
	set->table_size = size;
	for (uint32_t i = 0; i < old_size; i++) {
		if (!old[i])
			continue;
		const struct rc_subscription *record = record_of(set, old[i]);
		uint64_t hash = hash_of(set, record->slot, record->topic);
		*table_bucket(set, record->slot, record->topic, hash) = old[i];
	}
	free(old);
	return true;
}

static void table_remove(struct rc_subscribers *set, uint32_t *bucket)
{
	uint32_t mask = set->table_size - 1;
	uint32_t hole = (uint32_t)(bucket - set->table);
	for (uint32_t i = (hole + 1) & mask; set->table[i]; i = (i + 1) & mask) {
		const struct rc_subscription *record = record_of(set, set->table[i]);
		uint32_t home = (uint32_t)hash_of(set, record->slot, record->topic) & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			set->table[hole] = set->table[i];
			hole = i;
		}
	}
	set->table[hole] = 0;
}

struct rc_subscription *rc_subscribers_find(const struct rc_subscribers *set, uint32_t slot, uint32_t topic)
{
	uint32_t bucket = *table_bucket(set, slot, topic, hash_of(set, slot, topic));
	return bucket ? record_of(set, bucket) : NULL;
}

/* ---- feeds ---- */

uint32_t rc_subscription_number(const struct rc_subscribers *set, const struct rc_subscription *record)
{
	return rc_audience_at(set, record->topic)->members[record->member_index].subscription;
}

struct rc_feed *rc_feed_make(struct rc_subscribers *set, struct rc_subscription *record)
{
	uint32_t number = rc_subscription_number(set, record);
	if (record->fed)
		return rc_feed_at(set, number);
	if (!set->feeds && !(set->feeds = calloc(RC_SUBSCRIPTION_CHUNKS_MAX, sizeof *set->feeds)))
		return NULL;
	struct rc_feed ***chunk = &set->feeds[number / RC_SUBSCRIPTION_CHUNK];
	if (!*chunk && !(*chunk = calloc(RC_SUBSCRIPTION_CHUNK, sizeof **chunk)))
		return NULL;
	struct rc_feed *feed = calloc(1, sizeof *feed);
	(*chunk)[number % RC_SUBSCRIPTION_CHUNK] = feed;
	record->fed = feed != NULL;
	return feed;
}

void rc_feed_free(struct rc_subscribers *set, struct rc_subscription *record)
{
	free(rc_feed_of(set, record));
	record->fed = false;
}

/* ---- records and members ---- */

static bool take_record(struct rc_subscribers *set, uint32_t *number)
{
	if (set->free_first) {
		*number = set->free_first - 1;
		set->free_first = rc_subscription_at(set, *number)->next;
		return true;
	}
	uint32_t chunk = set->made_count / RC_SUBSCRIPTION_CHUNK;
	if (chunk == RC_SUBSCRIPTION_CHUNKS_MAX)
		return false;
	if (!set->chunks[chunk] && !(set->chunks[chunk] = calloc(RC_SUBSCRIPTION_CHUNK, sizeof **set->chunks)))
		return false;
	*number = set->made_count++;
	return true;
}

static struct rc_audience *audience_for(struct rc_subscribers *set, uint32_t topic)
{
	struct rc_audience *audience = rc_audience_at(set, topic);
	if (audience)
		return audience;
	struct rc_audience *chunk = calloc(RC_AUDIENCE_CHUNK, sizeof *chunk);
	if (!chunk)
		return NULL;
	/* release: another thread that reads the counters finds them zeroed */
	atomic_store_explicit(&set->audiences[topic / RC_AUDIENCE_CHUNK], chunk, memory_order_release);
	set->audiences_high = RC_MAX(set->audiences_high, topic / RC_AUDIENCE_CHUNK + 1);
	return rc_audience_at(set, topic);
}

void rc_subscribers_trim(struct rc_subscribers *set, const struct rc_topics *topics)
{
	if (!set->audiences_high)
		return;
	uint32_t number = set->trim_next++ % set->audiences_high;
	struct rc_audience *chunk = atomic_load_explicit(&set->audiences[number], memory_order_relaxed);
	if (!chunk || topics->chunks[number])
		return;
	/* Who subscribes to a topic keeps it: nobody is in these audiences. */
	atomic_store_explicit(&set->audiences[number], NULL, memory_order_relaxed);
	free(chunk);
}

static bool room_for_member(struct rc_audience *audience)
{
	uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
	if (count < audience->member_capacity)
		return true;
	uint32_t capacity = audience->member_capacity ? audience->member_capacity + audience->member_capacity / 2 + 1
	                                              : 4;
	struct rc_member *members = realloc(audience->members, capacity * sizeof *members);
	if (!members)
		return false;
	audience->members = members;
	audience->member_capacity = capacity;
	return true;
}

static void start_counters(struct rc_audience *audience, uint64_t birth)
{
	if (atomic_load_explicit(&audience->birth, memory_order_relaxed) == birth)
		return;
	atomic_store_explicit(&audience->birth, birth, memory_order_relaxed);
	atomic_store_explicit(&audience->deliveries, 0, memory_order_relaxed);
	atomic_store_explicit(&audience->dropped, 0, memory_order_relaxed);
	atomic_store_explicit(&audience->conflated, 0, memory_order_relaxed);
	atomic_store_explicit(&audience->slow_closed, 0, memory_order_relaxed);
}

struct rc_subscription *rc_subscribers_add(struct rc_subscribers *set, uint32_t slot, uint32_t *first, uint32_t topic,
                                           uint64_t topic_birth, uint64_t from)
{
	struct rc_audience *audience = audience_for(set, topic);
	uint32_t number;
	if (!audience || !room_for_member(audience))
		return NULL;
	if ((set->count + 1) * 2 > set->table_size && !table_grow(set))
		return NULL;
	if (!take_record(set, &number))
		return NULL;
	start_counters(audience, topic_birth);
	uint32_t index = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
	struct rc_subscription *record = rc_subscription_at(set, number);
	*record = (struct rc_subscription){
		.from = from, .topic = topic, .slot = slot, .next = *first, .member_index = index
	};
	*first = number + 1;
	audience->members[index] = (struct rc_member){ slot, number };
	atomic_store_explicit(&audience->member_count, index + 1, memory_order_relaxed);
	/* A walk that has not come around yet meets the new member too, and must not stop one short of where it
	 * began. */
	audience->walk_left += audience->walked;
	uint64_t hash = hash_of(set, slot, topic);
	*table_bucket(set, slot, topic, hash) = bucket_for(number, hash);
	set->count++;
	return record;
}

uint32_t rc_subscribers_remove(struct rc_subscribers *set, struct rc_subscription *record, uint32_t *first)
{
	uint32_t *bucket = table_bucket(set, record->slot, record->topic, hash_of(set, record->slot, record->topic));
	RC_ASSERT(*bucket && !record->fed);
	uint32_t number = (*bucket & BUCKET_NUMBER) - 1;
	table_remove(set, bucket);

	/* A connection's list is short, and a connection that ends removes its first record again and again. */
	uint32_t *link = first;
	while (*link != number + 1)
		link = &rc_subscription_at(set, *link - 1)->next;
	*link = record->next;

	struct rc_audience *audience = rc_audience_at(set, record->topic);
	uint32_t last = atomic_load_explicit(&audience->member_count, memory_order_relaxed) - 1;
	uint32_t moved = UINT32_MAX;
	RC_ASSERT(audience->members[record->member_index].subscription == number);
	if (record->member_index != last) {
		audience->members[record->member_index] = audience->members[last];
		rc_subscription_at(set, audience->members[last].subscription)->member_index = record->member_index;
		moved = audience->members[last].slot;
	}
	atomic_store_explicit(&audience->member_count, last, memory_order_relaxed);
	if (!last) {
		free(audience->members);
		audience->members = NULL;
		audience->member_capacity = 0;
	}
	record->next = set->free_first;
	set->free_first = number + 1;
	set->count--;
	return moved;
}
