/* SPDX-License-Identifier: MIT
 *
 * state.h - reading the state of a topic: the newest message of each of its keys (engine/key.h).
 */
#ifndef RC_STATE_H
#define RC_STATE_H

#include "server.h"
#include "value.h"

struct state_read {
	uint32_t topic;    /* its number */
	uint32_t count;    /* of its messages before `begin` */
	uint64_t birth;    /* its own: another topic may get the number */
	uint64_t epoch;    /* 0: there is no such topic */
	uint64_t begin;    /* entry: what is newer is in the log from here on */
	uint64_t sequence; /* of the topic's newest message before it */
	bool incomplete;   /* values of it were dropped */
};

/* Visits the keys' messages that are older than *read says, in the order of the log, until `visit` returns false, which
 * is for want of memory. It reads in pieces, each with the log's lock, and `visit` is called with it. A key that gets a
 * newer message meanwhile may be left out: whoever reads the log from `begin` on meets that message. Returns 0 or
 * -ENOMEM. */
int rc_state_read(rc_server *server, const char *name, size_t size, struct state_read *read,
                  bool (*visit)(void *context, const struct rc_value *value), void *context);

#endif
