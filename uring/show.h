/* SPDX-License-Identifier: MIT
 *
 * show.h - a picture on its way to a connection: how much of it has left. One at a time. A value that was sent in part
 * is finished before anything else, also when the picture is of no use any more; so nothing of it is ever put aside.
 */
#ifndef RC_SHOW_H
#define RC_SHOW_H

#include "picture.h"
#include "plan.h"

struct worker;

struct show {
	struct picture *picture; /* null: nothing is shown */
	uint64_t at;             /* bytes that have left */
	uint32_t index;          /* values that have left whole */
	uint32_t subscription;   /* number + 1; 0: it has ended, or begins anew */
	struct rc_range range;   /* on its way */
};

/* All of a worker's: one a slot. */
struct shows {
	struct show *of_slot;
};

/* Returns 0 or -ENOMEM. */
int rc_shows_open(struct worker *worker);
void rc_shows_close(struct worker *worker);

/* Begins to show a picture, which is the show's from here on; nothing else is shown. */
void rc_show_begin(struct worker *worker, uint32_t slot, struct picture *picture, uint32_t subscription);

/* Whether one is shown, and to a subscription that still waits for it. */
bool rc_show_is_on(const struct worker *worker, uint32_t slot);

/* Whether a value has left in part. */
bool rc_show_is_within(const struct worker *worker, uint32_t slot);

/* What is to be sent next: whole values as far as they fit, or the rest of one. Empty: all has left. */
struct rc_range rc_show_next(const struct worker *worker, uint32_t slot, size_t size_max);

/* So many bytes of it have left. Returns how many values that made whole. */
uint32_t rc_show_sent(struct worker *worker, uint32_t slot, size_t size);

/* The subscription ends, or begins anew: only the rest of a value still leaves, and without one the show ends. */
void rc_show_abandon(struct worker *worker, uint32_t slot, uint32_t subscription);

/* Nothing of it leaves any more; nothing is on its way. */
void rc_show_end(struct worker *worker, uint32_t slot);

#endif
