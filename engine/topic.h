/* SPDX-License-Identifier: MIT
 *
 * topic.h - topics by name (XXH3, seeded) and by number. A topic exists while somebody subscribes to it or has it open,
 * the log holds a message of it, its last value or one of a key is kept, or it was said where it begins; then its
 * number is given to another.
 *
 * A topic's epoch is the server's own, or that of a stream of which the log is a replica (ringcast_replica.h). It never
 * changes while there is something to read of the topic. One that begins anew hands its name to a successor: whoever
 * still reads the old one finds its numbers as they were, and it goes when its subscribers have moved and its messages
 * are recycled. It holds its successor while it is open, and while it has subscribers: those are to find it.
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

/* Of a topic's newest entry: where its jump leads, and where the jump of that entry leads; and how many messages the
 * topic had had up to each. */
struct rc_jumps {
	uint64_t to, then_to;
	uint32_t count, then_count;
	bool then_known; /* then_count was looked at */
};

struct rc_topic {
	char *name;
	uint32_t name_size;
	uint32_t id; /* (shared) */
	uint64_t hash;
	uint64_t epoch;
	uint64_t birth;                  /* no topic had it before */
	struct rc_topic_options options; /* (shared) */
	bool given;                      /* its epoch is that of a stream, and so are its numbers */
	bool begun;                      /* it was said where it begins: that holds it until a message is recycled */
	_Atomic uint64_t newest;         /* (shared) number of its newest entry, or RC_NONE */
	_Atomic uint64_t sequence;       /* (shared) of the newest message, or what it begins behind */
	uint64_t entry_count;            /* entries that the log has of it */
	uint64_t lost;                   /* sequence of the newest that was recycled, or what it begins behind */
	struct rc_jumps jumps;           /* the log's, see log.c */
	uint32_t message_count;          /* since it was made, modulo 2^32 */
	uint32_t subscription_count;     /* of all workers */
	uint32_t open_count;             /* of its handle, and by topics of which it is the successor */
	uint64_t worker_mask;            /* bit i: a worker with index i modulo 64 has subscribers */
	uint64_t claimed;                /* highest number among messages that are about to be put; else 0 */
	uint8_t *kept;                   /* frame of the newest message when the log has recycled it, or null */
	uint64_t kept_before;            /* sequence of the message before that */
	uint32_t kept_size;
	uint16_t next_free;       /* place in its chunk */
	uint32_t successor;       /* who has its name now, number + 1; or 0 */
	uint32_t left, left_back; /* in the list of those whose subscribers are to move, numbers + 1 */
	uint64_t began;           /* the head of the log when it succeeded another, or 0 */
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
	uint64_t birth_next;
	uint64_t begin_epoch, begin_sequence; /* of a stream: where topics begin that are made; an epoch of 0: none */
	uint64_t *forgotten;                  /* of that epoch, by their hash: the newest number of those that went */
	uint64_t forgotten_all;               /* the same of all that found no memory there */
	uint32_t left_first;                  /* topics with subscribers whose name is another's, number + 1 */
	_Atomic uint64_t successions;         /* (shared) how often one got such a successor */
	size_t kept_size, kept_size_max;
	uint32_t cohort_count;
	struct rc_topic_rule rules[RC_TOPIC_RULES_MAX];
	unsigned rule_count;
	struct rc_topic_options defaults;
};

/* `epoch` is a number that differs from one start of the process to the next; from it on the server's own epochs are
 * counted. `seed` is one that nobody can guess. */
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

/* A topic that begins anew: in a stream's epoch behind `sequence`, or, with an epoch of 0, in one of the server's.
 * Returns the topic itself where there is nothing to read of it and nobody subscribed, or else its successor; then its
 * keys are to be made void (rc_keys_void()), and it is to be released. `head` is the log's. Null with *error -ENOSPC or
 * -ENOMEM: nothing changed. */
struct rc_topic *rc_topics_renew(struct rc_topics *topics, struct rc_topic *topic, uint64_t epoch, uint64_t sequence,
                                 uint64_t head, int *error);

/* What a topic begins behind that is found to be of this epoch by a message of this number. */
uint64_t rc_topics_begin_of(const struct rc_topics *topics, const struct rc_topic *topic, uint64_t epoch,
                            uint64_t sequence);

/* It was said where this topic begins. */
void rc_topic_hold_begun(struct rc_topics *topics, struct rc_topic *topic);

/* Says where topics begin that are made from now on. An epoch of 0: they are the server's. */
void rc_topics_begin_all(struct rc_topics *topics, uint64_t epoch, uint64_t sequence);

/* Whether somebody is subscribed to it still, though its name is another's. */
static inline bool rc_topic_was_left(const struct rc_topics *topics, const struct rc_topic *topic)
{
	return topic->left_back || topics->left_first == topic->id + 1;
}

/* Whether a topic of a stream, as it is, is not what was said so. */
static inline bool rc_topic_is_behind(const struct rc_topics *topics, const struct rc_topic *topic)
{
	return topic->given && (topic->epoch != topics->begin_epoch ||
	                        atomic_load_explicit(&topic->sequence, memory_order_relaxed) < topics->begin_sequence);
}

/* Whether the numbers of its next message may be of this epoch, 0 being the server's own. */
static inline bool rc_topic_takes(const struct rc_topic *topic, uint64_t epoch)
{
	return epoch ? topic->given && topic->epoch == epoch : !topic->given;
}

/* Keeps a copy of the newest frame, which is about to leave the log. When memory is out, it is forgotten. */
void rc_topic_keep(struct rc_topics *topics, struct rc_topic *topic, const uint8_t *frame, uint32_t size,
                   uint64_t before);
void rc_topic_unkeep(struct rc_topics *topics, struct rc_topic *topic);

static inline struct rc_topic *rc_topic_at(const struct rc_topics *topics, uint32_t id)
{
	return &topics->chunks[id / RC_TOPIC_CHUNK][id % RC_TOPIC_CHUNK];
}

/* A topic's handle: its number, and its birth. */
#define RC_TOPIC_HANDLE_BITS 20
static_assert(RC_TOPICS_MAX <= 1 << RC_TOPIC_HANDLE_BITS, "a handle holds the topic's number");
static inline uint64_t rc_topic_handle(const struct rc_topic *topic)
{
	return topic->birth << RC_TOPIC_HANDLE_BITS | topic->id;
}

/* The topic that was opened with that handle, or null. With the lock. */
static inline struct rc_topic *rc_topics_held(const struct rc_topics *topics, uint64_t handle)
{
	uint32_t id = (uint32_t)handle & ((1u << RC_TOPIC_HANDLE_BITS) - 1);
	if (!topics->chunks[id / RC_TOPIC_CHUNK])
		return NULL;
	struct rc_topic *topic = rc_topic_at(topics, id);
	return topic->open_count && rc_topic_handle(topic) == handle ? topic : NULL;
}

/* Of a topic that has one, the last successor. With the lock. */
struct rc_topic *rc_topics_follow(struct rc_topics *topics, struct rc_topic *topic);

/* The open topic with that handle, or null. With the lock. */
static inline struct rc_topic *rc_topics_opened(struct rc_topics *topics, uint64_t handle)
{
	struct rc_topic *topic = rc_topics_held(topics, handle);
	return topic && topic->successor ? rc_topics_follow(topics, topic) : topic;
}

/* A handle is given back. With the lock. */
void rc_topics_close(struct rc_topics *topics, struct rc_topic *topic);

/* Whether who is behind gets only its newest message. */
static inline bool rc_topic_conflates(const struct rc_topic *topic)
{
	return topic->options.policy == RC_POLICY_CONFLATE;
}

/* The topic with that number now, or null; it may have a successor. With the lock. */
static inline struct rc_topic *rc_topic_if_made(const struct rc_topics *topics, uint32_t id)
{
	struct rc_topic *topic = topics->chunks[id / RC_TOPIC_CHUNK] ? rc_topic_at(topics, id) : NULL;
	return topic && topic->name ? topic : NULL;
}

/* Likewise, but of those with a successor none: what is to be told of topics is told of that. */
static inline struct rc_topic *rc_topic_if_current(const struct rc_topics *topics, uint32_t id)
{
	struct rc_topic *topic = rc_topic_if_made(topics, id);
	return topic && !topic->successor ? topic : NULL;
}

#endif
