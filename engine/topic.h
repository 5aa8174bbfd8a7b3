/* SPDX-License-Identifier: MIT
 *
 * topic.h - topics by name (XXH3, seeded) and by number. A topic exists while somebody subscribes to it or has it open,
 * the log holds a message of it, or its last value or one of a key is kept; then its number is given to another.
 *
 * Threads: every function is called with the log's lock held, except rc_topic_at() and the fields marked (shared),
 * which workers read while they hold an entry of the topic or a subscription to it.
 */
#ifndef RC_TOPIC_H
#define RC_TOPIC_H

#include "bounds.h"
#include "ringcast.h"

#include <stdatomic.h>

#define RC_TOPIC_CHUNK 1024
#define RC_TOPIC_CHUNKS_MAX (RC_TOPICS_MAX / RC_TOPIC_CHUNK)
#define RC_TOPIC_SECRET_SIZE 192 /* XXH3's */
#define RC_NONE UINT64_MAX       /* no entry of the log */

/* Of a topic's newest entry: where its jump leads, and where the jump of that entry leads. */
struct rc_jumps {
	uint64_t to, sequence;
	uint64_t then_to, then_sequence; /* 0: not looked at yet */
};

struct rc_topic {
	char *name;
	uint32_t name_size;
	uint32_t id; /* (shared) */
	uint64_t hash;
	uint64_t epoch;
	struct rc_topic_options options; /* (shared) */
	_Atomic uint64_t newest;         /* (shared) number of its newest entry, or RC_NONE */
	_Atomic uint64_t sequence;       /* (shared) of the newest message */
	uint64_t entry_count;            /* entries that the log has of it */
	struct rc_jumps jumps;           /* the log's, see log.c */
	uint32_t subscription_count;     /* of all workers */
	uint32_t open_count;             /* of its handle */
	uint64_t worker_mask;            /* bit i: a worker with index i modulo 64 has subscribers */
	uint8_t *kept;                   /* frame of the newest message when the log has recycled it, or null */
	uint32_t kept_size;
	uint16_t next_free;       /* place in its chunk */
	struct rc_cohort *cohort; /* with the encodings' lock; null while nobody needs it */
	struct rc_state *state;   /* see key.h; null while it never had a key */
};

struct rc_topic_rule {
	char pattern[RC_TOPIC_NAME_MAX + 1];
	struct rc_topic_options options;
};

struct rc_topics {
	struct rc_topic *chunks[RC_TOPIC_CHUNKS_MAX]; /* null while none of its numbers is in use */
	struct {
		uint16_t used_count, free_first; /* RC_TOPIC_CHUNK: none is free */
	} places[RC_TOPIC_CHUNKS_MAX];
	uint32_t full_count;                  /* chunks that are full, from the first on */
	uint32_t spare;                       /* a chunk that is kept though it is empty, number + 1 */
	uint32_t *buckets;                    /* hash table: number + 1, 0 is free; linear probing */
	uint32_t bucket_count;                /* a power of two */
	uint32_t topic_count;                 /* now */
	uint32_t made_count;                  /* numbers that are in use, and those below them */
	uint8_t secret[RC_TOPIC_SECRET_SIZE]; /* of the hash: who chooses names must not know where they fall */
	uint64_t epoch_next;
	size_t kept_size, kept_size_max;
	uint32_t cohort_count;
	struct rc_topic_rule rules[RC_TOPIC_RULES_MAX];
	unsigned rule_count;
	struct rc_topic_options defaults;
};

/* `epoch` is a number that differs from one start of the process to the next, `seed` one that nobody can guess. */
int rc_topics_init(struct rc_topics *topics, const struct rc_topic_options *defaults, size_t kept_size_max,
                   uint64_t epoch, uint64_t seed);
void rc_topics_destroy(struct rc_topics *topics);

int rc_topics_add_rule(struct rc_topics *topics, const char *pattern, const struct rc_topic_options *options);

/* The hash that the next two functions take, so that it can be computed before the lock is held. Any thread. */
uint64_t rc_topic_hash(const struct rc_topics *topics, const char *name, size_t size);

struct rc_topic *rc_topics_find(const struct rc_topics *topics, const char *name, size_t size, uint64_t hash);

/* Finds or makes it. Null with *error -EINVAL, -ENOSPC or -ENOMEM. */
struct rc_topic *rc_topics_get(struct rc_topics *topics, const char *name, size_t size, uint64_t hash, int *error);

/* Forgets the topic if nothing holds it any more, and with it the memory that it took. */
void rc_topics_release(struct rc_topics *topics, struct rc_topic *topic);

/* Keeps a copy of the newest frame, which is about to leave the log. When memory is out, it is forgotten. */
void rc_topic_keep(struct rc_topics *topics, struct rc_topic *topic, const uint8_t *frame, uint32_t size);
void rc_topic_unkeep(struct rc_topics *topics, struct rc_topic *topic);

static inline struct rc_topic *rc_topic_at(const struct rc_topics *topics, uint32_t id)
{
	return &topics->chunks[id / RC_TOPIC_CHUNK][id % RC_TOPIC_CHUNK];
}

/* A topic's handle: its number, and its epoch, which no topic had before. */
#define RC_TOPIC_HANDLE_BITS 20
static_assert(RC_TOPICS_MAX <= 1 << RC_TOPIC_HANDLE_BITS, "a handle holds the topic's number");
static inline uint64_t rc_topic_handle(const struct rc_topic *topic)
{
	return topic->epoch << RC_TOPIC_HANDLE_BITS | topic->id;
}

/* The open topic with that handle, or null. With the lock. */
static inline struct rc_topic *rc_topics_opened(const struct rc_topics *topics, uint64_t handle)
{
	uint32_t id = (uint32_t)handle & ((1u << RC_TOPIC_HANDLE_BITS) - 1);
	if (!topics->chunks[id / RC_TOPIC_CHUNK])
		return NULL;
	struct rc_topic *topic = rc_topic_at(topics, id);
	return topic->open_count && rc_topic_handle(topic) == handle ? topic : NULL;
}

/* Whether who is behind gets only its newest message. */
static inline bool rc_topic_conflates(const struct rc_topic *topic)
{
	return topic->options.policy == RC_POLICY_CONFLATE;
}

/* The topic with that number now, or null. With the lock. */
static inline struct rc_topic *rc_topic_if_made(const struct rc_topics *topics, uint32_t id)
{
	struct rc_topic *topic = topics->chunks[id / RC_TOPIC_CHUNK] ? rc_topic_at(topics, id) : NULL;
	return topic && topic->name ? topic : NULL;
}

#endif
