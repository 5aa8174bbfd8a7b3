/* SPDX-License-Identifier: MIT
 *
 * beat.h - heartbeats: after a silence of their topic, those who are told numbers get that of its newest message, and
 * know that nothing is missing. One time-out a topic and worker, and one mark a form for all of its subscribers.
 */
#ifndef RC_BEAT_H
#define RC_BEAT_H

#include "wheel.h"

#include <stdbool.h>

struct worker;
struct rc_topic;

struct beats {
	struct rc_wheel wheel; /* of topics, by number */
	bool walks;            /* the audience of `topic`, from member `at` on */
	uint32_t topic, at;
};

/* Gives back what it takes. */
void rc_beats_close(struct worker *worker);

/* Somebody subscribes to a topic whose rule wants heartbeats. Without memory there are none. */
void rc_beats_add(struct worker *worker, const struct rc_topic *topic);

/* Says what is due, to a bounded number of connections; and when that is next, UINT64_MAX: never. */
void rc_beats_look(struct worker *worker);
uint64_t rc_beats_next_ns(const struct worker *worker);

#endif
