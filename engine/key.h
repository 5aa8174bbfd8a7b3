/* SPDX-License-Identifier: MIT
 *
 * key.h - keys of topics, by topic and name (XXH3, seeded) and by number. A key knows its newest message: the entry
 * while the log has it, a copy of its frame afterwards.
 *
 *      publish   get --> [ counted in the log ] --put--> newest
 *      recycle   forget: not the newest --> counted off;  the newest --> kept, or gone if it was removed or is void
 *      kept      oldest -> ... -> newest     one list of all topics, in the order of the log: what is over the bound
 *                                            is dropped from its beginning
 *
 * The newest base of a topic is kept as a key without a name. Keys that were published before it are void: they are of
 * no state, and go when the log forgets them, or when the topic's next messages come, a few with each.
 *
 * Threads: every function is called with the log's lock held, but rc_key_at(): a key's name and its size may be read by
 * whoever holds an entry of it.
 */
#ifndef RC_KEY_H
#define RC_KEY_H

#include "topic.h"

#define RC_KEY_CHUNK 1024
#define RC_KEY_CHUNKS_MAX (RC_KEYS_MAX / RC_KEY_CHUNK)
#define RC_KEPT_OVERHEAD 16 /* bytes that a kept value counts for, beside its frame */

/* What a message needs of a key that has a short name is its first cache line. */
struct rc_key {
	uint64_t hash;        /* with its topic */
	uint64_t newest;      /* entry of its newest message, or RC_NONE: the log has none */
	uint64_t sequence;    /* of that message; 0: none was put yet */
	uint32_t topic;       /* number */
	uint32_t index;       /* in the topic's keys; of a free number, the next free one, + 1 */
	uint32_t entry_count; /* that the log has of it, or is about to have */
	uint8_t size;
	bool removed; /* by its newest message */
	uint8_t name[RC_KEY_MAX];
	uint32_t kept_size;
	uint8_t *kept;         /* frame of the newest message, when the log has recycled it; or null: see key.c */
	uint32_t older, newer; /* in the list of those that are kept, number + 1 */
};
static_assert(sizeof(struct rc_key) == 128, "a key is two cache lines");

/* What a topic with keys has. */
struct rc_state {
	uint32_t *keys; /* numbers, in no order */
	uint32_t key_count, key_capacity;
	uint32_t void_left;             /* of them, those below this index may be void */
	uint32_t base;                  /* key number + 1; 0: it has no base */
	uint64_t base_sequence;         /* of the newest base that there ever was: keys of earlier messages are void */
	uint64_t base_size, size_since; /* bytes of that base, and of what was published behind it */
	uint64_t lost;                  /* values dropped since then */
	bool base_wanted;               /* and told, or about to be: the topic is in the log's list */
	uint32_t wants_next;            /* in that list, topic number + 1 */
};

struct rc_keys {
	struct rc_topics *topics;
	struct rc_key *chunks[RC_KEY_CHUNKS_MAX];
	void *blocks[RC_KEY_CHUNKS_MAX]; /* in which they lie, each from a cache line on */
	uint32_t made_count, free_first; /* numbers ever used; free list, number + 1 */
	uint32_t count;
	uint32_t *buckets; /* hash table: number + 1 and above it bits of the hash; linear probing */
	uint32_t bucket_count;
	uint32_t kept_oldest, kept_newest; /* number + 1 */
	size_t kept_size, kept_size_max;
	uint64_t dropped;
};

int rc_keys_init(struct rc_keys *keys, struct rc_topics *topics, size_t kept_size_max);
void rc_keys_destroy(struct rc_keys *keys);

static inline struct rc_key *rc_key_at(const struct rc_keys *keys, uint32_t number)
{
	return &keys->chunks[number / RC_KEY_CHUNK][number % RC_KEY_CHUNK];
}

/* What a key is found by; no size is the topic's base. `hash` is rc_topic_hash() of the name. */
struct rc_key_name {
	const void *bytes;
	size_t size;
	uint64_t hash;
};

/* Finds or makes a key that is about to get a message, and counts one entry more for it. Returns its number, or with
 * *error -ENOSPC or -ENOMEM UINT32_MAX. */
uint32_t rc_keys_get(struct rc_keys *keys, struct rc_topic *topic, const struct rc_key_name *name, int *error);

/* Nothing came of that message. */
void rc_keys_unget(struct rc_keys *keys, uint32_t number);

/* The message is that entry of the log. Returns the entry of the key's message before it, or RC_NONE. */
uint64_t rc_keys_put(struct rc_keys *keys, struct rc_topic *topic, uint32_t number, uint64_t entry, uint64_t sequence,
                     bool removed);

/* That entry leaves the log; `before` is the sequence of the message before it. Topics whose last value is dropped by
 * that are released, but not the entry's own. */
void rc_keys_forget(struct rc_keys *keys, uint32_t number, uint64_t entry, uint64_t before, const uint8_t *frame,
                    uint32_t size);

/* No key of the topic is of a state any more, and none is kept: it has a successor. */
void rc_keys_void(struct rc_keys *keys, struct rc_topic *topic);

/* Of a key that is kept: the sequence of the topic's message before its newest. */
uint64_t rc_key_kept_before(const struct rc_key *key);

/* Whether a message published with this sequence is of the state that its topic has now. */
static inline bool rc_key_counts(const struct rc_key *key, const struct rc_state *state)
{
	return !key->removed && key->sequence && key->sequence >= state->base_sequence;
}

/* Asserts the invariants of key.c. */
void rc_keys_check(const struct rc_keys *keys);

#endif
