/* SPDX-License-Identifier: MIT
 *
 * keep.h - the states of keyed topics, as a reader of ?form=json keeps them: of each topic the newest payload of each
 * key, and whether that is all. It must not know what payloads mean, nor who asks.
 */
#ifndef LIB_KEEP_H
#define LIB_KEEP_H

#include <stdio.h>

#include "keyed.h"

struct keep_topic {
	struct follow follow;
	size_t key_count;
	void *keys; /* a tree */
	struct keep_topic *next;
	char name[KEYED_TOPIC_MAX + 1];
};

struct keep {
	struct keep_topic *topics;
	/* What the latest keep_take() was about. */
	struct keep_topic *topic;
};

/* Takes a message into the state of its topic. Returns what its numbers say: FOLLOW_GAP where something is missing for
 * good, which topic->follow has counted; -1 where there is no memory. */
int keep_take(struct keep *keep, const struct keyed_message *message);
/* Writes KEY<TAB>PAYLOAD for each key of a topic, in the order of the keys' bytes. */
void keep_write(const struct keep_topic *topic, FILE *to);
void keep_free(struct keep *keep);

#endif
