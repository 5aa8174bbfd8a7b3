/* SPDX-License-Identifier: MIT
 *
 * across.h - what clients and the application say, where there are several nodes: it is written down, and goes to those
 * it is for where its record comes back (replicate.h). What passes goes to those on this node at once.
 */
#ifndef APP_ACROSS_H
#define APP_ACROSS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"
#include "passing.h"
#include "span.h"

struct app_across {
	struct app_said said;
	const json_t *exclude; /* users who do not get it, or null */
	bool passes;
	bool others; /* not even where it goes apart to the connection that says it */
	struct app_passing_key key;
	/* The message. Its number comes between the two; with a null tail it is whole. */
	const struct app_out *head, *tail;
};

/* Return for how many connections it is, as this node knows, or a negative errno: it was not sent. */
int64_t app_across_to_room(struct app_across *across, const char *room, size_t size);
int64_t app_across_to_all(struct app_across *across);
/* The message is whole. -1: for none, so it is stored; -3: it was not sent. */
int app_across_to_user(struct app_across *across, const char *user, size_t size, bool reliable, uint64_t sender);

#endif
