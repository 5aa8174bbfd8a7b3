/* SPDX-License-Identifier: MIT
 *
 * store.c - see store.h. Invariant: count and size are those of what is linked.
 */
#include "store.h"

#include <stdlib.h>
#include <string.h>

struct app_stored *app_store_take(struct app_store *store)
{
	struct app_stored *stored = store->first;
	if (!stored)
		return NULL;
	store->first = stored->next;
	if (!store->first)
		store->last = NULL;
	store->count--;
	store->size -= stored->size;
	return stored;
}

static void drop_first(struct app_store *store)
{
	free(app_store_take(store));
	store->dropped++;
}

void app_store_expire(struct app_store *store, const struct app_store_limits *limits, uint64_t now_ns)
{
	while (limits->age_ns && store->first && now_ns > store->first->at_ns &&
	       now_ns - store->first->at_ns > limits->age_ns)
		drop_first(store);
}

bool app_store_add(struct app_store *store, const struct app_store_limits *limits, uint64_t now_ns, uint64_t number,
                   const void *bytes, size_t size)
{
	if (!limits->count_max || size > limits->size_max)
		return false;
	struct app_stored *stored = malloc(sizeof *stored + size);
	if (!stored)
		return false;
	*stored = (struct app_stored){ .at_ns = now_ns, .number = number, .size = size };
	memcpy(stored->bytes, bytes, size);
	app_store_expire(store, limits, now_ns);
	while (store->count >= limits->count_max || store->size + size > limits->size_max)
		drop_first(store);
	if (store->last)
		store->last->next = stored;
	else
		store->first = stored;
	store->last = stored;
	store->count++;
	store->size += size;
	return true;
}

void app_store_clear(struct app_store *store)
{
	while (store->first)
		free(app_store_take(store));
}
