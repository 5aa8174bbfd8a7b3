/* SPDX-License-Identifier: MIT
 *
 * taken.c - see taken.h. It does not know what is done with it.
 */
#include "taken.h"

#include <stdlib.h>

#include "directory.h"

void app_taken_add(struct app_user *user, struct app_device device, struct app_store store, struct app_budget *budget)
{
	struct app_taken *taken = store.count ? malloc(sizeof *taken) : NULL;
	if (!taken) {
		app_store_clear(&store, budget);
		return;
	}
	*taken = (struct app_taken){ .next = user->taken, .device = device, .store = store };
	user->taken = taken;
}

static struct app_store remove_at(struct app_taken **link)
{
	struct app_taken *taken = *link;
	struct app_store store = taken->store;
	*link = taken->next;
	free(taken);
	return store;
}

struct app_store app_taken_take(struct app_user *user, struct app_device device)
{
	for (struct app_taken **link = &user->taken; *link; link = &(*link)->next)
		if ((*link)->device.node == device.node && (*link)->device.client == device.client)
			return remove_at(link);
	return (struct app_store){ 0 };
}

void app_taken_expire(struct app_user *user, const struct app_store_limits *limits, struct app_budget *budget,
                      uint64_t now_ns)
{
	for (struct app_taken **link = &user->taken; *link;) {
		app_store_expire(&(*link)->store, limits, budget, now_ns);
		if ((*link)->store.count)
			link = &(*link)->next;
		else
			remove_at(link);
	}
}

void app_taken_clear(struct app_user *user, struct app_budget *budget)
{
	while (user->taken) {
		struct app_store store = remove_at(&user->taken);
		app_store_clear(&store, budget);
	}
}
