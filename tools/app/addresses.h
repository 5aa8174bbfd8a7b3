/* SPDX-License-Identifier: MIT
 *
 * addresses.h - what one address has and does, whoever connects from there: connections, topics (stakes.h), polls and
 * streams that it asks for, and what its connections that went had used up of their messages. Users with a token are
 * counted in the same way, as "@NAME". All is under the directory's lock. These functions take it, unless they say
 * (lock).
 *
 * An address is kept while it has something, and then until its bucket is full again and nothing is owed: to go away
 * and come back is no way around a rate. Of those that are kept only for this there are at most APP_ADDRESSES_IDLE_MAX;
 * one more takes the place of the one that went first.
 */
#ifndef APP_ADDRESSES_H
#define APP_ADDRESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "bucket.h"
#include "table.h"

struct app;

#define APP_ADDRESSES_IDLE_MAX 65536

struct app_address {
	struct app_node node;
	unsigned count;                   /* connections */
	unsigned stake_count, made_count; /* topics that it is in, and those of them that it made */
	size_t partial_size;              /* of messages in pieces (partials.h, whose lock it is under) */
	struct app_bucket bucket;
	uint64_t owed, owed_ns; /* what was missing in the buckets of connections that went, and when; as a level */
	bool used, idle;        /* used: the bucket may not be full; idle: in the list */
	uint64_t idle_ns;
	TAILQ_ENTRY(app_address) link;
	char name[];
};

struct app_addresses {
	struct app_table table;
	TAILQ_HEAD(, app_address) idle; /* those that are kept for what they have used alone, the oldest first */
	size_t idle_count;
};

bool app_addresses_init(struct app_addresses *addresses, uint64_t seed);
void app_addresses_destroy(struct app_addresses *addresses);
/* Forgets those whose buckets are full again, and that owe nothing any more at this rate of messages. (lock) */
void app_addresses_sweep(struct app_addresses *addresses, uint32_t rate, uint64_t now_ns);

/* Counts a connection of an address. Null: it has all that it may have, or there is no memory. */
struct app_address *app_address_enter(struct app *app, const char *name, unsigned max);
void app_address_leave(struct app *app, struct app_address *address); /* may be null */

/* Takes units for a request; false: there are too few. */
bool app_address_take(struct app *app, struct app_address *address, uint32_t cost);
/* The same for a user who has no connection. */
bool app_address_take_as(struct app *app, const char *user, uint32_t cost);
/* Takes units for what has been answered. */
void app_address_drain(struct app *app, struct app_address *address, uint32_t cost);

/* A connection's bucket of messages belongs to its user, if that one showed a token, and otherwise (`user` is null) to
 * its address. What is missing in it when the connection ends is missing in the next one's. */
void app_address_borrow(struct app *app, struct app_address *address, const char *user, struct app_bucket *bucket);
void app_address_return(struct app *app, struct app_address *address, const char *user, struct app_bucket *bucket);

#endif
