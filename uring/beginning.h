/* SPDX-License-Identifier: MIT
 *
 * beginning.h - where in the log a subscription begins, or goes on. That is decided under the log's lock, so that no
 * message can fall between. Every function here is called with it.
 */
#ifndef RC_BEGINNING_H
#define RC_BEGINNING_H

#include "ringcast.h"

struct connection;
struct picture;
struct rc_subscription;
struct rc_topic;
struct worker;

/* Where a subscription is to begin. */
struct beginning {
	uint64_t from;  /* entry */
	uint64_t until; /* the entry behind the state; RC_NONE: it does not begin with one */
	uint64_t first; /* sequence of what comes first, or behind the state */
	bool takes_picture;
};

/* Finds it, and puts the last message into the outbox where that is wanted and the log has it no more. Returns 0, or
 * -EAGAIN when it takes a picture and this is none, or one that the log left behind. */
int rc_beginning_find(struct worker *worker, struct connection *conn, const struct rc_topic *topic,
                      struct rc_start *start, const struct picture *picture, struct beginning *beginning);

/* Whether it asks to resume in this epoch from where the topic has not come yet. Not with another beginning. */
bool rc_beginning_is_ahead(const struct rc_topic *topic, const struct rc_start *start);

/* From now on it wants of its topic what the log has from there on, though its connection may stand further on. The log
 * has that entry for readers. */
void rc_beginning_go_to(struct worker *worker, uint32_t slot, struct rc_subscription *record, uint64_t from);

/* The entry of the topic's newest base, if readers may have it, or RC_NONE. */
uint64_t rc_beginning_base(const struct worker *worker, const struct rc_topic *topic);

#endif
