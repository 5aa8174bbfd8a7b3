/* SPDX-License-Identifier: MIT
 *
 * store.h - messages that wait for somebody: a queue in the order of their time, bounded by count, bytes and age,
 * within a budget of bytes for all queues. Beyond a bound messages are dropped, and counted. Pure: the time is handed
 * in.
 *
 * No sender takes another's place. A quarter of a queue is each sender's for certain: what it has there is pushed out
 * only by what it sends itself. More than that it may have while nobody else needs the room. Of the budget a sender has
 * a share at most; beyond that, or when all is used, its message is refused and nothing else is dropped.
 */
#ifndef APP_STORE_H
#define APP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "table.h"

#define APP_STORE_OVERHEAD                                                                                             \
	256 /* what a message counts in the budget beside its bytes: its book-keeping, and its user's */

struct app_stored {
	struct app_stored *next;
	uint64_t at_ns;
	uint64_t number; /* the caller's: which reliable message it is, or 0 */
	uint64_t sender; /* 0: the application, which has no share */
	bool only;       /* nobody else has it */
	bool doomed;     /* to be dropped (store.c) */
	size_t size;
	char bytes[];
};

struct app_store {
	struct app_stored *first, *last;
	size_t count, size;
	uint64_t dropped;
};

struct app_store_limits {
	size_t count_max, size_max;
	uint64_t age_ns; /* 0: any */
};

struct app_budget {
	size_t used;
	struct app_table senders; /* with what each has */
};

struct app_budget_limits {
	size_t size_max, share_max; /* 0: any */
};

/* What is to be kept. */
struct app_item {
	uint64_t at_ns, number, sender;
	bool only;
	const void *bytes;
	size_t size;
};

/* Adds a copy. False: it does not fit, or there is no memory. */
bool app_store_add(struct app_store *store, const struct app_store_limits *limits, struct app_budget *budget,
                   const struct app_budget_limits *budget_limits, uint64_t now_ns, const struct app_item *item);

/* Drops what is too old. */
void app_store_expire(struct app_store *store, const struct app_store_limits *limits, struct app_budget *budget,
                      uint64_t now_ns);

/* Takes the oldest off; the caller frees it. Null when it is empty. */
struct app_stored *app_store_take(struct app_store *store, struct app_budget *budget);

void app_store_clear(struct app_store *store, struct app_budget *budget);

bool app_budget_init(struct app_budget *budget, uint64_t seed);
/* The stores are empty. */
void app_budget_destroy(struct app_budget *budget);

#endif
