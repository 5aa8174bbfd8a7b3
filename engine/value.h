/* SPDX-License-Identifier: MIT
 *
 * value.h - what there is to tell of a message, wherever it lies: in the log, or kept as the newest of its key. Forms
 * on the wire are written from this alone, and from marks: they say to a subscriber that it is given less than
 * everything, and up to where (ringcast_feed.h, "Numbers").
 */
#ifndef RC_VALUE_H
#define RC_VALUE_H

#include "log.h"

struct rc_value {
	const char *topic; /* with a terminating zero */
	uint32_t topic_size;
	uint32_t frame_size;
	const uint8_t *frame; /* the message in the log's own form */
	const uint8_t *data;  /* its payload */
	size_t size;
	uint64_t epoch, sequence;
	uint64_t previous;  /* sequence of the topic's message before it; 0: there was none */
	const uint8_t *key; /* null: it has none */
	uint32_t key_size;
	uint8_t opcode; /* enum rc_opcode */
	bool removed, snapshot;
};

/* Of an entry that the caller may read. */
void rc_value_of_entry(struct rc_value *value, const struct rc_log *log, uint64_t number);

/* Of the topic's newest message, which was kept when the log recycled it (rc_topic_options.keep_last). With the lock.
 */
void rc_value_of_kept(struct rc_value *value, const struct rc_topic *topic);

/* Of a key's newest message. With the lock. */
void rc_value_of_key(struct rc_value *value, const struct rc_log *log, const struct rc_key *key);

enum rc_mark_kind {
	RC_MARK_STATE,  /* what it knows of the topic is void. What follows, up to `sequence`, is the topic's state */
	RC_MARK_RESYNC, /* likewise, because it was overrun */
	RC_MARK_CONFLATED, /* what follows, up to `sequence`, is the newest of each key, or the newest message */
	RC_MARK_HEARTBEAT, /* nothing follows: `sequence` is that of the newest message */
};

struct rc_mark {
	enum rc_mark_kind kind;
	bool incomplete; /* of a state: values of it were dropped */
	const char *topic;
	uint32_t topic_size;
	uint64_t epoch, sequence;
};

#define RC_MARK_SIZE_MAX                                                                                               \
	(RC_TOPIC_NAME_MAX * 6 + 256) /* that a form may make of a mark: JSON escapes at their longest */

#endif
