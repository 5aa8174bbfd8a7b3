/* SPDX-License-Identifier: MIT
 *
 * push.h - the figures of /api/stats, sent to a monitor's URL at intervals. The calls have a thread of their own, so a
 * monitor that hangs holds up nobody; one that does not answer misses some figures and nothing else.
 */
#ifndef APP_PUSH_H
#define APP_PUSH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct app;
struct calls;

struct app_push {
	struct calls *calls; /* null until there is a URL */
	uint64_t next_ns;
	_Atomic bool under_way;
	_Atomic bool fails; /* so that a monitor that is away is told of once */
};

/* Pushes, if it is time; to be called often, by one thread. */
void app_push_look(struct app *app);
void app_push_stop(struct app *app);

#endif
