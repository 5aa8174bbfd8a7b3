/* SPDX-License-Identifier: MIT
 *
 * store.h - messages that wait for a user who is away: a queue in the order they came, bounded by count, bytes and age.
 * Beyond a bound the oldest is dropped, and counted. Pure: the time is handed in.
 */
#ifndef APP_STORE_H
#define APP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app_stored {
	struct app_stored *next;
	uint64_t at_ns;
	uint64_t number; /* the caller's: which reliable message it is, or 0 */
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

/* Adds a copy. False: it alone is over a bound, or there is no memory. */
bool app_store_add(struct app_store *store, const struct app_store_limits *limits, uint64_t now_ns, uint64_t number,
                   const void *bytes, size_t size);

/* Drops what is too old. */
void app_store_expire(struct app_store *store, const struct app_store_limits *limits, uint64_t now_ns);

/* Takes the oldest off; the caller frees it. Null when it is empty. */
struct app_stored *app_store_take(struct app_store *store);

void app_store_clear(struct app_store *store);

#endif
