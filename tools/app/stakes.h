/* SPDX-License-Identifier: MIT
 *
 * stakes.h - which topics an address keeps alive. Each address that is in a room, or follows a topic without messages,
 * has a stake there, once however many of its connections are. It makes no more of them than topics-per-address, and is
 * in no more than twice as many, those that others made included. So it does not matter who made a topic, or
 * whether they have left: what an address alone keeps alive is bounded by its own stakes.
 *
 * All of it is under the directory's lock, which the caller holds.
 */
#ifndef APP_STAKES_H
#define APP_STAKES_H

#include <stdbool.h>
#include <stddef.h>

#include "table.h"

struct app;
struct app_address;

struct app_stake {
	struct app_node node; /* by address and topic */
	struct app_address *address;
	unsigned count; /* connections of the address that are there */
	bool made;      /* the topic was not there before */
	char key[];
};

/* One more connection of an address is in this topic; with `makes` the topic was not there before. Null: the address
 * has all that it may have, or there is no memory. */
struct app_stake *app_stake_take(struct app *app, struct app_address *address, const char *topic, size_t size,
                                 bool makes);
void app_stake_give(struct app *app, struct app_stake *stake); /* may be null */

#endif
