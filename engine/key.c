/* SPDX-License-Identifier: MIT
 *
 * key.c - see key.h. It must not know what the log is, beyond numbers of entries. Invariants, which rc_keys_check()
 * asserts:
 *   - in the hash table, every bucket from a key's home to the one that holds it is taken
 *   - a key is counted in the log, or kept; it is kept only when the log has no message of it
 *   - its topic's keys[index] is its number
 *   - the list of those that are kept is in the order in which they were, and adds up to kept_size
 */
#include "key.h"

#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_FIRST 64
#define CACHE_LINE 64
#define VOID_A_MESSAGE 4 /* keys looked at with each message, until none is void any more */

/* Most keys that are not the one looked for are told by bits of the hash, and are not read. */
#define BUCKET_NUMBER (RC_KEYS_MAX * 2 - 1)
#define BUCKET_HASH (~(uint32_t)BUCKET_NUMBER)

int rc_keys_init(struct rc_keys *keys, struct rc_topics *topics, size_t kept_size_max)
{
	memset(keys, 0, sizeof *keys);
	keys->topics = topics;
	keys->kept_size_max = kept_size_max;
	keys->buckets = calloc(BUCKETS_FIRST, sizeof *keys->buckets);
	keys->bucket_count = BUCKETS_FIRST;
	return keys->buckets ? 0 : -ENOMEM;
}

void rc_keys_destroy(struct rc_keys *keys)
{
	for (uint32_t number = 0; number < keys->made_count; number++)
		free(rc_key_at(keys, number)->kept);
	for (size_t i = 0; i < RC_KEY_CHUNKS_MAX; i++)
		free(keys->blocks[i]);
	free(keys->buckets);
	memset(keys, 0, sizeof *keys);
}

static struct rc_topic *topic_of(const struct rc_keys *keys, const struct rc_key *key)
{
	return rc_topic_at(keys->topics, key->topic);
}

/* ---- the table ---- */

/* One name may be a key of many topics, and must not fall into one place for all of them. */
static uint64_t mix(uint64_t hash, uint32_t topic)
{
	uint64_t mixed = hash ^ (topic + 1) * UINT64_C(0x9E3779B97F4A7C15);
	return mixed ^ mixed >> 29;
}

static uint32_t bits_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32) & BUCKET_HASH;
}

static struct rc_key *key_in(const struct rc_keys *keys, uint32_t bucket)
{
	return rc_key_at(keys, (bucket & BUCKET_NUMBER) - 1);
}

static uint32_t *bucket_of(const struct rc_keys *keys, uint32_t topic, const struct rc_key_name *name, uint64_t hash)
{
	uint32_t mask = keys->bucket_count - 1, bits = bits_of(hash);
	for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
		uint32_t *bucket = &keys->buckets[i];
		if (!*bucket)
			return bucket;
		if ((*bucket & BUCKET_HASH) != bits)
			continue;
		const struct rc_key *key = key_in(keys, *bucket);
		if (key->hash == hash && key->topic == topic && key->size == name->size &&
		    (!name->size || memcmp(key->name, name->bytes, name->size) == 0))
			return bucket;
	}
}

static bool resize(struct rc_keys *keys, uint32_t count)
{
	uint32_t *buckets = calloc(count, sizeof *buckets);
	if (!buckets)
		return false;
	for (uint32_t i = 0; i < keys->bucket_count; i++) {
		if (!keys->buckets[i])
			continue;
		uint32_t at = (uint32_t)key_in(keys, keys->buckets[i])->hash & (count - 1);
		while (buckets[at])
			at = (at + 1) & (count - 1);
		buckets[at] = keys->buckets[i];
	}
	free(keys->buckets);
	keys->buckets = buckets;
	keys->bucket_count = count;
	return true;
}

/* Removes without tombstones: what follows moves up while it stays reachable from its home. */
static void remove_bucket(struct rc_keys *keys, uint32_t hole)
{
	uint32_t mask = keys->bucket_count - 1;
	for (uint32_t i = (hole + 1) & mask; keys->buckets[i]; i = (i + 1) & mask) {
		uint32_t home = (uint32_t)key_in(keys, keys->buckets[i])->hash & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) {
			keys->buckets[hole] = keys->buckets[i];
			hole = i;
		}
	}
	keys->buckets[hole] = 0;
}

/* ---- a topic's keys ---- */

static struct rc_state *state_for(struct rc_topic *topic)
{
	struct rc_state *state = topic->state;
	if (!state)
		state = topic->state = calloc(1, sizeof *state);
	if (!state)
		return NULL;
	if (state->key_count == state->key_capacity) {
		uint32_t capacity = state->key_capacity + state->key_capacity / 2 + 8;
		uint32_t *numbers = realloc(state->keys, capacity * sizeof *numbers);
		if (!numbers)
			return NULL;
		state->keys = numbers;
		state->key_capacity = capacity;
	}
	return state;
}

static void leave_topic(struct rc_keys *keys, uint32_t number)
{
	const struct rc_key *key = rc_key_at(keys, number);
	struct rc_state *state = topic_of(keys, key)->state;
	RC_ASSERT(state->keys[key->index] == number);
	uint32_t last = state->keys[--state->key_count];
	state->keys[key->index] = last;
	rc_key_at(keys, last)->index = key->index;
	if (state->base == number + 1)
		state->base = 0;
}

/* ---- numbers ---- */

static bool make_chunk(struct rc_keys *keys, uint32_t index)
{
	if (keys->chunks[index])
		return true;
	uint8_t *block = keys->blocks[index] = calloc(RC_KEY_CHUNK * sizeof(struct rc_key) + CACHE_LINE, 1);
	if (!block)
		return false;
	keys->chunks[index] = (struct rc_key *)(block + CACHE_LINE - (uintptr_t)block % CACHE_LINE);
	return true;
}

static bool take_number(struct rc_keys *keys, uint32_t *number, int *error)
{
	*error = -ENOSPC;
	if (keys->count == RC_KEYS_MAX)
		return false;
	if (keys->free_first) {
		*number = keys->free_first - 1;
		keys->free_first = rc_key_at(keys, *number)->index;
		return true;
	}
	*error = -ENOMEM;
	if (!make_chunk(keys, keys->made_count / RC_KEY_CHUNK))
		return false;
	*number = keys->made_count++;
	return true;
}

static uint32_t make(struct rc_keys *keys, struct rc_topic *topic, const struct rc_key_name *name, uint64_t hash,
                     int *error)
{
	uint32_t number;
	*error = -ENOMEM;
	struct rc_state *state = state_for(topic);
	if (!state || ((keys->count + 1) * 2 > keys->bucket_count && !resize(keys, keys->bucket_count * 2)) ||
	    !take_number(keys, &number, error))
		return UINT32_MAX;
	struct rc_key *key = rc_key_at(keys, number);
	*key = (struct rc_key){ .hash = hash,
		                .newest = RC_NONE,
		                .topic = topic->id,
		                .index = state->key_count,
		                .size = (uint8_t)name->size };
	if (name->size)
		memcpy(key->name, name->bytes, name->size);
	state->keys[state->key_count++] = number;
	*bucket_of(keys, topic->id, name, hash) = (number + 1) | bits_of(hash);
	keys->count++;
	*error = 0;
	return number;
}

/* ---- what is kept ---- */

static void unkeep(struct rc_keys *keys, struct rc_key *key)
{
	if (!key->kept)
		return;
	*(key->older ? &rc_key_at(keys, key->older - 1)->newer : &keys->kept_oldest) = key->newer;
	*(key->newer ? &rc_key_at(keys, key->newer - 1)->older : &keys->kept_newest) = key->older;
	key->older = key->newer = 0;
	keys->kept_size -= key->kept_size + RC_KEPT_OVERHEAD;
	free(key->kept);
	key->kept = NULL;
	key->kept_size = 0;
}

/* Forgets a key that nothing holds any more. */
static void release(struct rc_keys *keys, uint32_t number)
{
	struct rc_key *key = rc_key_at(keys, number);
	if (key->entry_count || key->kept)
		return;
	const struct rc_key_name name = { key->name, key->size, 0 };
	uint32_t *bucket = bucket_of(keys, key->topic, &name, key->hash);
	RC_ASSERT((*bucket & BUCKET_NUMBER) == number + 1);
	remove_bucket(keys, (uint32_t)(bucket - keys->buckets));
	leave_topic(keys, number);
	key->sequence = 0; /* whoever noted the number sees that it is nobody's */
	key->newest = RC_NONE;
	key->index = keys->free_first;
	keys->free_first = number + 1;
	keys->count--;
	/* Far from where it grows; without memory it stays as it is. */
	if (keys->bucket_count > BUCKETS_FIRST && keys->count < keys->bucket_count / 8)
		resize(keys, keys->bucket_count / 2);
}

/* A value is given up, though it is of the state. */
static void count_lost(struct rc_keys *keys, const struct rc_key *key)
{
	struct rc_state *state = topic_of(keys, key)->state;
	if (!rc_key_counts(key, state))
		return;
	state->lost++;
	keys->dropped++;
}

static void drop_oldest(struct rc_keys *keys)
{
	uint32_t number = keys->kept_oldest - 1;
	struct rc_key *key = rc_key_at(keys, number);
	struct rc_topic *topic = topic_of(keys, key);
	count_lost(keys, key);
	unkeep(keys, key);
	release(keys, number);
	rc_topics_release(keys->topics, topic);
}

/* Behind the frame stands the number of the message before it: hardly anybody asks for it. */
static void keep(struct rc_keys *keys, uint32_t number, uint64_t before, const uint8_t *frame, uint32_t size)
{
	struct rc_key *key = rc_key_at(keys, number);
	size_t counted = (size_t)size + RC_KEPT_OVERHEAD;
	if (counted <= keys->kept_size_max)
		while (keys->kept_size + counted > keys->kept_size_max)
			drop_oldest(keys);
	if (counted > keys->kept_size_max || !(key->kept = malloc(size + sizeof before))) {
		count_lost(keys, key);
		return;
	}
	memcpy(key->kept, frame, size);
	memcpy(key->kept + size, &before, sizeof before);
	key->kept_size = size;
	keys->kept_size += counted;
	key->older = keys->kept_newest;
	key->newer = 0;
	*(key->older ? &rc_key_at(keys, key->older - 1)->newer : &keys->kept_oldest) = number + 1;
	keys->kept_newest = number + 1;
}

/* ---- the life of a key ---- */

uint32_t rc_keys_get(struct rc_keys *keys, struct rc_topic *topic, const struct rc_key_name *name, int *error)
{
	uint64_t hash = mix(name->hash, topic->id);
	uint32_t bucket = *bucket_of(keys, topic->id, name, hash);
	uint32_t number = bucket ? (bucket & BUCKET_NUMBER) - 1 : make(keys, topic, name, hash, error);
	if (number != UINT32_MAX)
		rc_key_at(keys, number)->entry_count++;
	return number;
}

void rc_keys_unget(struct rc_keys *keys, uint32_t number)
{
	rc_key_at(keys, number)->entry_count--;
	release(keys, number);
}

/* Keys that a base made void go a few at a time, so that no publisher pays for all of them. Backwards: the key that
 * moves into a hole was looked at before. */
static void sweep(struct rc_keys *keys, struct rc_state *state)
{
	state->void_left = RC_MIN(state->void_left, state->key_count);
	for (unsigned i = 0; i < VOID_A_MESSAGE && state->void_left; i++) {
		uint32_t number = state->keys[--state->void_left];
		struct rc_key *key = rc_key_at(keys, number);
		if (key->sequence >= state->base_sequence || !key->kept)
			continue;
		unkeep(keys, key);
		release(keys, number);
	}
}

uint64_t rc_keys_put(struct rc_keys *keys, struct rc_topic *topic, uint32_t number, uint64_t entry, uint64_t sequence,
                     bool removed)
{
	struct rc_key *key = rc_key_at(keys, number);
	struct rc_state *state = topic->state;
	uint64_t before = key->newest;
	if (before == RC_NONE && key->kept)
		unkeep(keys, key);
	key->newest = entry;
	key->sequence = sequence;
	key->removed = removed;
	if (!key->size) {
		state->base = number + 1;
		state->base_sequence = sequence;
		state->void_left = state->key_count;
		state->lost = 0;
	}
	if (state->void_left)
		sweep(keys, state);
	return before;
}

void rc_keys_forget(struct rc_keys *keys, uint32_t number, uint64_t entry, uint64_t before, const uint8_t *frame,
                    uint32_t size)
{
	struct rc_key *key = rc_key_at(keys, number);
	RC_ASSERT(key->entry_count);
	key->entry_count--;
	if (key->newest != entry)
		return;
	key->newest = RC_NONE;
	const struct rc_topic *topic = topic_of(keys, key);
	/* One that is about to get a message anew has no need of the old one. */
	if (!key->entry_count && !topic->successor && rc_key_counts(key, topic->state))
		keep(keys, number, before, frame, size);
	release(keys, number);
}

/* Backwards: the key that moves into a hole was looked at before. */
void rc_keys_void(struct rc_keys *keys, struct rc_topic *topic)
{
	struct rc_state *state = topic->state;
	if (!state)
		return;
	state->base_sequence = UINT64_MAX;
	for (uint32_t left = state->key_count; left;) {
		uint32_t number = state->keys[--left];
		unkeep(keys, rc_key_at(keys, number));
		release(keys, number);
	}
}

uint64_t rc_key_kept_before(const struct rc_key *key)
{
	uint64_t before;
	memcpy(&before, key->kept + key->kept_size, sizeof before);
	return before;
}

/* ---- the invariants ---- */

/* Keys looked at, and how far into the list of those that are kept. */
#define CHECKED_KEYS 64

static void check_key(const struct rc_keys *keys, uint32_t number)
{
	const struct rc_key *key = rc_key_at(keys, number);
	const struct rc_state *state = topic_of(keys, key)->state;
	const struct rc_key_name name = { key->name, key->size, 0 };
	RC_ASSERT(key->entry_count || key->kept);
	RC_ASSERT(!key->kept || (key->newest == RC_NONE && !key->removed));
	RC_ASSERT(key->index < state->key_count && state->keys[key->index] == number);
	RC_ASSERT((*bucket_of(keys, key->topic, &name, key->hash) & BUCKET_NUMBER) == number + 1);
}

void rc_keys_check(const struct rc_keys *keys)
{
	size_t size = 0;
	uint32_t at = keys->kept_oldest, older = 0, left = CHECKED_KEYS;
	for (; at && left; left--) {
		const struct rc_key *key = rc_key_at(keys, at - 1);
		RC_ASSERT(key->kept && key->older == older);
		check_key(keys, at - 1);
		size += key->kept_size + RC_KEPT_OVERHEAD;
		older = at;
		at = key->newer;
	}
	RC_ASSERT(at || (size == keys->kept_size && keys->kept_newest == older));
	RC_ASSERT(keys->kept_size <= keys->kept_size_max && keys->count * 2 <= keys->bucket_count);
}
