/* SPDX-License-Identifier: MIT
 *
 * addresses.h - what one address has and does, whoever connects from there: connections, topics that are there only
 * because of it, and polls and streams that it asks for. Users who ask by plain HTTP are counted in the same way, as
 * "@NAME". Under the directory's lock, which these functions take unless they say (lock).
 *
 * An address is kept while it has something, and then until its bucket is full again: to go away and come back is no
 * way around a rate.
 */
#ifndef APP_ADDRESSES_H
#define APP_ADDRESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "bucket.h"
#include "table.h"

struct app;

struct app_address {
	struct app_node node;
	unsigned count;  /* connections */
	unsigned topics; /* that it made and that are there */
	struct app_bucket bucket;
	bool used, idle; /* used: the bucket may not be full; idle: in the list */
	uint64_t idle_ns;
	TAILQ_ENTRY(app_address) link;
	char name[];
};

struct app_addresses {
	struct app_table table;
	TAILQ_HEAD(, app_address) idle; /* those of which only the bucket is left, the oldest first */
};

bool app_addresses_init(struct app_addresses *addresses, uint64_t seed);
void app_addresses_destroy(struct app_addresses *addresses);
/* Forgets those whose buckets have filled. (lock) */
void app_addresses_sweep(struct app_addresses *addresses, uint64_t now_ns);

/* Counts a connection of an address. Null: it has all that it may have, or there is no memory. */
struct app_address *app_address_enter(struct app *app, const char *name, unsigned max);
void app_address_leave(struct app *app, struct app_address *address); /* may be null */

/* Counts a topic that an address makes. False: it has made all that it may. Null is nobody, who may. (lock) */
bool app_address_add_topic(struct app *app, struct app_address *address);
void app_address_remove_topic(struct app *app, struct app_address *address);

/* Takes units for a request; false: there are too few. */
bool app_address_take(struct app *app, struct app_address *address, uint32_t cost);
/* The same for a user who has no connection. */
bool app_address_take_as(struct app *app, const char *user, uint32_t cost);
/* Takes units for what has been answered. */
void app_address_drain(struct app *app, struct app_address *address, uint32_t cost);

#endif
