/* SPDX-License-Identifier: MIT
 *
 * publish.h - what every way of publishing does around the change of the log: the lock, and waking who is concerned.
 */
#ifndef RC_PUBLISH_H
#define RC_PUBLISH_H

#include "ringcast_replica.h"
#include "server.h"
#include "value.h"

#define RC_PUBLISH_OF_MESSAGES (RC_PUBLISH_BINARY | RC_PUBLISH_UNCHECKED)
#define RC_PUBLISH_OF_KEYS (RC_PUBLISH_REMOVE | RC_PUBLISH_SNAPSHOT)
#define RC_PUBLISH_OF_CALLS (RC_PUBLISH_WAIT | RC_PUBLISH_QUIET)

/* A change of the log on its way. */
struct appending {
	uint64_t mask; /* workers with subscribers, as bits of a topic's worker_mask; whoever appends adds them */
	uint64_t left; /* likewise, of topics that began anew: they are woken whatever comes of the rest */
	uint64_t segment, recycled;
};

/* Takes the log's lock. */
void rc_appending_begin(struct rc_server *server, struct appending *appending);

/* Gives it back, and wakes: all on -EAGAIN; those of the mask after a success, unless flags say RC_PUBLISH_QUIET; and
 * those that keep the log from coming around. */
void rc_appending_end(struct rc_server *server, const struct appending *appending, int64_t result, unsigned flags);

/* number.c: whether a topic takes a message with this number, or with an epoch of 0 one that the server numbers. A
 * topic that begins anew by that is changed for its successor. With the lock. Returns 0, -EEXIST (it has that number),
 * -ENOSPC or -ENOMEM. */
int rc_appending_number_given(struct rc_server *server, struct appending *appending, struct rc_topic **topic,
                              uint64_t epoch, uint64_t sequence);

static inline int rc_appending_number(struct rc_server *server, struct appending *appending, struct rc_topic **topic,
                                      uint64_t epoch, uint64_t sequence)
{
	return RC_UNLIKELY(epoch || (*topic)->given)
	           ? rc_appending_number_given(server, appending, topic, epoch, sequence)
	           : 0;
}

/* For those who look at much under the lock, piece by piece, right after they gave it back: lets one of the publishers
 * that wait for it go first. A lock that is taken again at once never reaches a thread that has to wake up. */
void rc_appending_pass(struct rc_server *server);

/* After -EAGAIN: sleeps a little and returns true, if flags, thread and server allow that. */
bool rc_appending_waits(struct rc_server *server, unsigned flags);

/* Whether a key of this size may be published with these flags. */
static inline bool rc_publish_key_is_right(size_t key_size, unsigned flags)
{
	bool removes = flags & RC_PUBLISH_REMOVE, is_base = flags & RC_PUBLISH_SNAPSHOT;
	return key_size <= RC_KEY_MAX && (key_size ? !is_base : !removes);
}

/* Whether a message may have this number: none at all, or one of a stream. */
static inline bool rc_publish_number_is_right(uint64_t epoch, uint64_t sequence)
{
	return epoch ? epoch <= INT64_MAX && sequence && sequence <= INT64_MAX : !sequence;
}

/* What the publisher is told of a message that is made, with the number that it is given or 0. With the lock. */
static inline struct rc_numbers rc_publish_numbers(const struct rc_topic *topic, uint64_t sequence)
{
	uint64_t previous = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	return (struct rc_numbers){ .epoch = topic->epoch,
		                    .sequence = sequence ? sequence : previous + 1,
		                    .previous = previous,
		                    .first = !topic->message_count };
}

/* history.c: what is told of a message that is read. */
struct rc_past rc_history_past(const struct rc_value *value);

/* Whether it is no text, or known to be UTF-8, or found to be. */
bool rc_publish_is_right(const void *data, size_t size, unsigned flags);

#endif
