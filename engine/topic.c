/* SPDX-License-Identifier: MIT
 *
 * topic.c - see topic.h. Invariant: in the hash table, every bucket from a topic's home to the one that holds it is
 * taken, so a search ends at the first free one.
 */
#include "topic.h"

#include "check.h"
#include "cohort.h"
#include "key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUCKETS_FIRST 64

int rc_topics_init(struct rc_topics *topics, const struct rc_topic_options *defaults, size_t kept_size_max,
                   uint64_t epoch, uint64_t seed)
{
	memset(topics, 0, sizeof *topics);
	topics->buckets = calloc(BUCKETS_FIRST, sizeof *topics->buckets);
	if (!topics->buckets)
		return -ENOMEM;
	topics->bucket_count = BUCKETS_FIRST;
	topics->defaults = *defaults;
	topics->kept_size_max = kept_size_max;
	topics->birth_next = epoch;
	static_assert(XXH_SECRET_DEFAULT_SIZE == RC_TOPIC_SECRET_SIZE, "the size of its secret");
	XXH3_generateSecret_fromSeed(topics->secret, seed);
	return 0;
}

static void free_state(struct rc_topic *topic)
{
	if (topic->state)
		free(topic->state->keys);
	free(topic->state);
	topic->state = NULL;
}

void rc_topics_destroy(struct rc_topics *topics)
{
	for (uint32_t id = 0; id < topics->made_count; id++) {
		struct rc_topic *topic = rc_topic_if_made(topics, id);
		if (!topic)
			continue;
		free(topic->name);
		free(topic->kept);
		rc_cohort_free(topic->cohort);
		free_state(topic);
	}
	for (size_t i = 0; i < RC_TOPIC_CHUNKS_MAX; i++)
		free(topics->chunks[i]);
	free(topics->buckets);
	free(topics->forgotten);
	memset(topics, 0, sizeof *topics);
}

int rc_topics_add_rule(struct rc_topics *topics, const char *pattern, const struct rc_topic_options *options)
{
	size_t size = strlen(pattern);
	const char *star = strchr(pattern, '*');
	if (!size || size > RC_TOPIC_NAME_MAX || (star && star[1]) || options->policy > RC_POLICY_LAST)
		return -EINVAL;
	if (topics->rule_count == RC_TOPIC_RULES_MAX)
		return -ENOSPC;
	struct rc_topic_rule *rule = &topics->rules[topics->rule_count++];
	memcpy(rule->pattern, pattern, size + 1);
	rule->options = *options;
	return 0;
}

static const struct rc_topic_options *options_for(const struct rc_topics *topics, const char *name, size_t name_size)
{
	const struct rc_topic_options *best = &topics->defaults;
	size_t best_size = 0;
	for (unsigned i = 0; i < topics->rule_count; i++) {
		const struct rc_topic_rule *rule = &topics->rules[i];
		size_t size = strlen(rule->pattern);
		bool prefix = rule->pattern[size - 1] == '*';
		size_t compared = prefix ? size - 1 : size;
		if (prefix ? name_size < compared : name_size != compared)
			continue;
		/* A whole name counts more than a prefix of the same length. */
		if (memcmp(rule->pattern, name, compared) == 0 && compared * 2 + !prefix + 1 > best_size) {
			best = &rule->options;
			best_size = compared * 2 + !prefix + 1;
		}
	}
	return best;
}

uint64_t rc_topic_hash(const struct rc_topics *topics, const char *name, size_t size)
{
	return XXH3_64bits_withSecret(name, size, topics->secret, sizeof topics->secret);
}

static uint32_t *bucket_of(const struct rc_topics *topics, const char *name, size_t size, uint64_t hash)
{
	uint32_t mask = topics->bucket_count - 1;
	for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
		uint32_t *bucket = &topics->buckets[i];
		if (!*bucket)
			return bucket;
		const struct rc_topic *topic = rc_topic_at(topics, *bucket - 1);
		if (topic->hash == hash && topic->name_size == size && memcmp(topic->name, name, size) == 0)
			return bucket;
	}
}

struct rc_topic *rc_topics_find(const struct rc_topics *topics, const char *name, size_t size, uint64_t hash)
{
	uint32_t *bucket = bucket_of(topics, name, size, hash);
	return *bucket ? rc_topic_at(topics, *bucket - 1) : NULL;
}

static bool resize_buckets(struct rc_topics *topics, uint32_t count)
{
	uint32_t *buckets = calloc(count, sizeof *buckets);
	if (!buckets)
		return false;
	for (uint32_t i = 0; i < topics->bucket_count; i++) {
		if (!topics->buckets[i])
			continue;
		uint32_t at = (uint32_t)rc_topic_at(topics, topics->buckets[i] - 1)->hash & (count - 1);
		while (buckets[at])
			at = (at + 1) & (count - 1);
		buckets[at] = topics->buckets[i];
	}
	free(topics->buckets);
	topics->buckets = buckets;
	topics->bucket_count = count;
	return true;
}

/* ---- numbers ---- */

static bool make_chunk(struct rc_topics *topics, uint32_t number)
{
	struct rc_topic *chunk = calloc(RC_TOPIC_CHUNK, sizeof *chunk);
	if (!chunk)
		return false;
	for (uint32_t i = 0; i < RC_TOPIC_CHUNK; i++) {
		chunk[i].id = number * RC_TOPIC_CHUNK + i;
		chunk[i].next_free = (uint16_t)(i + 1);
	}
	topics->chunks[number] = chunk;
	topics->places[number].free_first = 0;
	return true;
}

/* A number that no topic has, among the lowest, so that the chunks behind become empty; null when memory is out. */
static struct rc_topic *take_number(struct rc_topics *topics)
{
	while (topics->places[topics->full_count].used_count == RC_TOPIC_CHUNK)
		topics->full_count++;
	uint32_t number = topics->full_count;
	RC_ASSERT(number < RC_TOPIC_CHUNKS_MAX);
	if (!topics->chunks[number] && !make_chunk(topics, number))
		return NULL;
	struct rc_topic *topic = &topics->chunks[number][topics->places[number].free_first];
	topics->places[number].free_first = topic->next_free;
	topics->places[number].used_count++;
	if (topics->spare == number + 1)
		topics->spare = 0;
	topics->made_count = RC_MAX(topics->made_count, topic->id + 1);
	return topic;
}

/* The chunk that became empty last is kept: whoever makes and leaves a topic again and again must not cost a chunk each
 * time. */
static void give_number(struct rc_topics *topics, struct rc_topic *topic)
{
	uint32_t number = topic->id / RC_TOPIC_CHUNK;
	topic->next_free = topics->places[number].free_first;
	topics->places[number].free_first = (uint16_t)(topic->id % RC_TOPIC_CHUNK);
	topics->full_count = RC_MIN(topics->full_count, number);
	if (--topics->places[number].used_count)
		return;
	if (topics->spare) {
		free(topics->chunks[topics->spare - 1]);
		topics->chunks[topics->spare - 1] = NULL;
	}
	topics->spare = number + 1;
	/* Whoever looks at all numbers looks at no more than are in use. */
	while (topics->made_count && !topics->chunks[(topics->made_count - 1) / RC_TOPIC_CHUNK])
		topics->made_count = (topics->made_count - 1) / RC_TOPIC_CHUNK * RC_TOPIC_CHUNK;
}

/* ---- epochs ---- */

#define FORGOTTEN_BITS 16

/* Everything up to here may have been forgotten of the topics with this hash. */
static uint64_t begin_behind(const struct rc_topics *topics, uint64_t hash)
{
	uint64_t sequence = RC_MAX(topics->begin_sequence, topics->forgotten_all);
	return topics->forgotten ? RC_MAX(sequence, topics->forgotten[hash >> (64 - FORGOTTEN_BITS)]) : sequence;
}

/* A topic goes: made again, it must not seem that nothing was lost. Others have the same place, and may seem to have
 * lost what they had not. */
static void note_forgotten(struct rc_topics *topics, const struct rc_topic *topic)
{
	uint64_t sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	if (!topic->given || topic->epoch != topics->begin_epoch || sequence <= begin_behind(topics, topic->hash))
		return;
	if (!topics->forgotten)
		topics->forgotten = calloc(1u << FORGOTTEN_BITS, sizeof *topics->forgotten);
	*(topics->forgotten ? &topics->forgotten[topic->hash >> (64 - FORGOTTEN_BITS)]
	                    : &topics->forgotten_all) = sequence;
}

static void set_numbers(struct rc_topics *topics, struct rc_topic *topic, uint64_t epoch, uint64_t sequence)
{
	topic->given = epoch != 0;
	/* Its birth is the first epoch of its own that it has. */
	topic->epoch = epoch ? epoch : topic->epoch ? topics->birth_next++ : topic->birth;
	topic->lost = epoch ? sequence : 0;
	topic->message_count = 0;
	atomic_store_explicit(&topic->sequence, topic->lost, memory_order_relaxed);
}

static void set_first_numbers(struct rc_topics *topics, struct rc_topic *topic)
{
	bool of_stream = topics->begin_epoch && !topic->options.numbered_here;
	set_numbers(topics, topic, of_stream ? topics->begin_epoch : 0, begin_behind(topics, topic->hash));
}

void rc_topics_begin_all(struct rc_topics *topics, uint64_t epoch, uint64_t sequence)
{
	if (epoch == topics->begin_epoch) {
		topics->begin_sequence = RC_MAX(topics->begin_sequence, sequence);
		return;
	}
	free(topics->forgotten);
	topics->forgotten = NULL;
	topics->forgotten_all = 0;
	topics->begin_epoch = epoch;
	topics->begin_sequence = sequence;
}

uint64_t rc_topics_begin_of(const struct rc_topics *topics, const struct rc_topic *topic, uint64_t epoch,
                            uint64_t sequence)
{
	bool known = epoch && epoch == topics->begin_epoch;
	return known ? begin_behind(topics, topic->hash) : epoch ? sequence - 1 : 0;
}

void rc_topic_hold_begun(struct rc_topics *topics, struct rc_topic *topic)
{
	topic->begun = topic->epoch != topics->begin_epoch;
	rc_topics_release(topics, topic);
}

/* ---- by name ---- */

/* A topic with no name in the table yet, which nobody reads. Null with *error. */
static struct rc_topic *make(struct rc_topics *topics, const char *name, size_t size, uint64_t hash, int *error)
{
	*error = topics->topic_count == RC_TOPICS_MAX ? -ENOSPC : -ENOMEM;
	char *copy = *error == -ENOMEM ? malloc(size + 1) : NULL;
	struct rc_topic *topic = copy ? take_number(topics) : NULL;
	if (!topic) {
		free(copy);
		return NULL;
	}
	memcpy(copy, name, size);
	copy[size] = 0;
	*topic = (struct rc_topic){ .name = copy,
		                    .name_size = (uint32_t)size,
		                    .id = topic->id,
		                    .hash = hash,
		                    .birth = topics->birth_next++,
		                    .options = *options_for(topics, name, size) };
	atomic_init(&topic->newest, RC_NONE);
	topics->topic_count++;
	*error = 0;
	return topic;
}

struct rc_topic *rc_topics_get(struct rc_topics *topics, const char *name, size_t size, uint64_t hash, int *error)
{
	if (!size || size > RC_TOPIC_NAME_MAX) {
		*error = -EINVAL;
		return NULL;
	}
	struct rc_topic *topic = rc_topics_find(topics, name, size, hash);
	if (topic)
		return topic;
	/* Half full at most: a search looks at two buckets on average. */
	if ((topics->topic_count + 1) * 2 > topics->bucket_count && !resize_buckets(topics, topics->bucket_count * 2)) {
		*error = -ENOMEM;
		return NULL;
	}
	topic = make(topics, name, size, hash, error);
	if (!topic)
		return NULL;
	set_first_numbers(topics, topic);
	*bucket_of(topics, name, size, hash) = topic->id + 1;
	return topic;
}

/* Removes without tombstones: what follows moves up while it stays reachable from its home. */
static void remove_bucket(struct rc_topics *topics, uint32_t hole)
{
	uint32_t mask = topics->bucket_count - 1;
	for (uint32_t i = (hole + 1) & mask; topics->buckets[i]; i = (i + 1) & mask) {
		uint32_t home = (uint32_t)rc_topic_at(topics, topics->buckets[i] - 1)->hash & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			topics->buckets[hole] = topics->buckets[i];
			hole = i;
		}
	}
	topics->buckets[hole] = 0;
}

static void leave_list(struct rc_topics *topics, struct rc_topic *topic)
{
	*(topic->left_back ? &rc_topic_at(topics, topic->left_back - 1)->left : &topics->left_first) = topic->left;
	if (topic->left)
		rc_topic_at(topics, topic->left - 1)->left_back = topic->left_back;
	topic->left = topic->left_back = 0;
}

static void join_list(struct rc_topics *topics, struct rc_topic *topic)
{
	topic->left = topics->left_first;
	if (topic->left)
		rc_topic_at(topics, topic->left - 1)->left_back = topic->id + 1;
	topics->left_first = topic->id + 1;
}

void rc_topics_release(struct rc_topics *topics, struct rc_topic *topic)
{
	if (!topic->subscription_count && rc_topic_was_left(topics, topic)) {
		leave_list(topics, topic);
		rc_topics_close(topics, rc_topic_at(topics, topic->successor - 1));
	}
	if (topic->subscription_count || topic->open_count || topic->entry_count || topic->kept || topic->begun ||
	    (topic->state && topic->state->key_count))
		return;
	if (!topic->successor) {
		uint32_t *bucket = bucket_of(topics, topic->name, topic->name_size, topic->hash);
		RC_ASSERT(*bucket == topic->id + 1);
		remove_bucket(topics, (uint32_t)(bucket - topics->buckets));
		note_forgotten(topics, topic);
	}
	free(topic->name);
	topic->name = NULL;
	if (topic->cohort)
		topics->cohort_count--;
	rc_cohort_free(topic->cohort);
	topic->cohort = NULL;
	free_state(topic);
	topic->worker_mask = 0;
	topics->topic_count--;
	give_number(topics, topic);
	/* Far from where it grows; without memory it stays as it is. */
	if (topics->bucket_count > BUCKETS_FIRST && topics->topic_count < topics->bucket_count / 8)
		resize_buckets(topics, topics->bucket_count / 2);
}

/* ---- successors ---- */

struct rc_topic *rc_topics_renew(struct rc_topics *topics, struct rc_topic *topic, uint64_t epoch, uint64_t sequence,
                                 uint64_t head, int *error)
{
	RC_ASSERT(!topic->successor);
	if (!topic->subscription_count && !topic->entry_count && !(topic->state && topic->state->key_count)) {
		free_state(topic);
		rc_topic_unkeep(topics, topic);
		set_numbers(topics, topic, epoch, sequence);
		return topic;
	}
	struct rc_topic *next = make(topics, topic->name, topic->name_size, topic->hash, error);
	if (!next)
		return NULL;
	set_numbers(topics, next, epoch, sequence);
	next->began = head;
	next->open_count = topic->open_count != 0;
	*bucket_of(topics, topic->name, topic->name_size, topic->hash) = next->id + 1;
	topic->successor = next->id + 1;
	topic->begun = false;
	rc_topic_unkeep(topics, topic);
	if (topic->subscription_count) {
		next->open_count++; /* who is to go there must find it */
		join_list(topics, topic);
		atomic_fetch_add(&topics->successions, 1);
	}
	return next;
}

/* Whoever holds the first of two that follow one another holds the last alone from now on. */
struct rc_topic *rc_topics_follow(struct rc_topics *topics, struct rc_topic *topic)
{
	struct rc_topic *next = rc_topic_at(topics, topic->successor - 1);
	while (next->successor) {
		struct rc_topic *last = rc_topic_at(topics, next->successor - 1);
		unsigned holds = 1 + rc_topic_was_left(topics, topic);
		last->open_count += holds;
		topic->successor = next->successor;
		next->open_count -= holds - 1;
		rc_topics_close(topics, next);
		next = last;
	}
	return next;
}

void rc_topics_close(struct rc_topics *topics, struct rc_topic *topic)
{
	if (!--topic->open_count && topic->successor)
		rc_topics_close(topics, rc_topic_at(topics, topic->successor - 1));
	rc_topics_release(topics, topic);
}

/* ---- last values ---- */

void rc_topic_unkeep(struct rc_topics *topics, struct rc_topic *topic)
{
	if (!topic->kept)
		return;
	free(topic->kept);
	topic->kept = NULL;
	topics->kept_size -= topic->kept_size;
	topic->kept_size = 0;
}

void rc_topic_keep(struct rc_topics *topics, struct rc_topic *topic, const uint8_t *frame, uint32_t size,
                   uint64_t before)
{
	RC_ASSERT(!topic->kept && !topic->successor);
	if (topics->kept_size + size > topics->kept_size_max || !(topic->kept = malloc(size)))
		return;
	memcpy(topic->kept, frame, size);
	topic->kept_size = size;
	topic->kept_before = before;
	topics->kept_size += size;
}
