/* SPDX-License-Identifier: MIT
 *
 * store.c - see store.h. Invariant: count and size are those of what is linked, in the order of its time; the budget
 * holds what all stores together have.
 */
#include "store.h"

#include <stdlib.h>
#include <string.h>

#define SHARES 4      /* a sender's certain part of a store: one of so many */
#define JUDGED_MAX 16 /* senders that are looked at for what they have beyond that */

/* ---- the budget ---- */

struct account {
	struct app_node node;
	uint64_t sender;
	size_t size;
};

bool app_budget_init(struct app_budget *budget, uint64_t seed)
{
	budget->used = 0;
	return app_table_init(&budget->senders, seed);
}

void app_budget_destroy(struct app_budget *budget)
{
	app_table_destroy(&budget->senders);
}

static struct account *account_of(const struct app_budget *budget, uint64_t sender)
{
	return (struct account *)app_table_find(&budget->senders, (const char *)&sender, sizeof sender);
}

static bool charge(struct app_budget *budget, const struct app_budget_limits *limits, uint64_t sender, size_t size)
{
	struct account *account = sender ? account_of(budget, sender) : NULL;
	if ((limits->size_max && budget->used + size > limits->size_max) ||
	    (sender && limits->share_max && (account ? account->size : 0) + size > limits->share_max))
		return false;
	if (sender && !account) {
		if (!(account = calloc(1, sizeof *account)))
			return false;
		account->sender = sender;
		account->node.name = (const char *)&account->sender;
		account->node.name_size = sizeof account->sender;
		app_table_add(&budget->senders, &account->node);
	}
	if (account)
		account->size += size;
	budget->used += size;
	return true;
}

static void discharge(struct app_budget *budget, uint64_t sender, size_t size)
{
	struct account *account = sender ? account_of(budget, sender) : NULL;
	budget->used -= size;
	if (!account || (account->size -= size))
		return;
	app_table_remove(&budget->senders, &account->node);
	free(account);
}

/* ---- taking and dropping ---- */

static struct app_stored *take_at(struct app_store *store, struct app_stored **link, struct app_stored *previous,
                                  struct app_budget *budget)
{
	struct app_stored *stored = *link;
	*link = stored->next;
	if (store->last == stored)
		store->last = previous;
	store->count--;
	store->size -= stored->size;
	discharge(budget, stored->sender, stored->size + APP_STORE_OVERHEAD);
	return stored;
}

struct app_stored *app_store_take(struct app_store *store, struct app_budget *budget)
{
	return store->first ? take_at(store, &store->first, NULL, budget) : NULL;
}

void app_store_expire(struct app_store *store, const struct app_store_limits *limits, struct app_budget *budget,
                      uint64_t now_ns)
{
	while (limits->age_ns && store->first && now_ns > store->first->at_ns &&
	       now_ns - store->first->at_ns > limits->age_ns) {
		free(app_store_take(store, budget));
		store->dropped++;
	}
}

void app_store_clear(struct app_store *store, struct app_budget *budget)
{
	while (store->first)
		free(app_store_take(store, budget));
}

/* ---- whose place a message takes ---- */

/* What a sender has in a store, less what is doomed. */
struct holding {
	uint64_t sender;
	size_t count, size;
};

static struct holding holding_of(const struct app_store *store, uint64_t sender)
{
	struct holding holding = { .sender = sender };
	for (const struct app_stored *each = store->first; each; each = each->next) {
		holding.count += each->sender == sender;
		holding.size += each->sender == sender ? each->size : 0;
	}
	return holding;
}

static bool is_beyond(const struct holding *holding, const struct app_store_limits *limits)
{
	size_t count_share = limits->count_max < SHARES ? 1 : limits->count_max / SHARES;
	return holding->count > count_share || holding->size > limits->size_max / SHARES;
}

static struct holding *judge(const struct app_store *store, struct holding *judged, unsigned *count, uint64_t sender)
{
	for (unsigned i = 0; i < *count; i++)
		if (judged[i].sender == sender)
			return &judged[i];
	if (*count == JUDGED_MAX)
		return NULL;
	judged[*count] = holding_of(store, sender);
	return &judged[(*count)++];
}

/* Dooms messages, oldest first, until `item` fits: of others what they have beyond their part, if the sender then stays
 * within its own; then the sender's. Returns whether it fits. */
static bool doom(struct app_store *store, const struct app_store_limits *limits, const struct app_item *item)
{
	struct holding judged[JUDGED_MAX], after = holding_of(store, item->sender);
	size_t count = store->count + 1, size = store->size + item->size;
	unsigned judged_count = 0;
	after.count++;
	after.size += item->size;
	for (unsigned own = is_beyond(&after, limits); own < 2; own++) {
		for (struct app_stored *each = store->first; each; each = each->next) {
			if (count <= limits->count_max && size <= limits->size_max)
				return true;
			if (each->doomed || own != (each->sender == item->sender))
				continue;
			struct holding *holding = own ? NULL : judge(store, judged, &judged_count, each->sender);
			if (!own && (!holding || !is_beyond(holding, limits)))
				continue;
			each->doomed = true;
			count--;
			size -= each->size;
			if (holding) {
				holding->count--;
				holding->size -= each->size;
			}
		}
	}
	return count <= limits->count_max && size <= limits->size_max;
}

static bool make_room(struct app_store *store, const struct app_store_limits *limits, struct app_budget *budget,
                      const struct app_item *item)
{
	if (store->count < limits->count_max && store->size + item->size <= limits->size_max)
		return true;
	bool fits = doom(store, limits, item);
	struct app_stored **link = &store->first, *previous = NULL;
	while (*link) {
		if (fits && (*link)->doomed) {
			free(take_at(store, link, previous, budget));
			store->dropped++;
			continue;
		}
		(*link)->doomed = false;
		previous = *link;
		link = &previous->next;
	}
	return fits;
}

/* ---- adding ---- */

static void link_in(struct app_store *store, struct app_stored *stored)
{
	struct app_stored **link = &store->first;
	/* Nearly always the newest: what is older comes back from a client that has left. */
	if (store->last && store->last->at_ns <= stored->at_ns)
		link = &store->last->next;
	while (*link && (*link)->at_ns <= stored->at_ns)
		link = &(*link)->next;
	stored->next = *link;
	*link = stored;
	if (!stored->next)
		store->last = stored;
	store->count++;
	store->size += stored->size;
}

bool app_store_add(struct app_store *store, const struct app_store_limits *limits, struct app_budget *budget,
                   const struct app_budget_limits *budget_limits, uint64_t now_ns, const struct app_item *item)
{
	if (!limits->count_max || item->size > limits->size_max)
		return false;
	app_store_expire(store, limits, budget, now_ns);
	struct app_stored *stored = malloc(sizeof *stored + item->size);
	if (!stored || !charge(budget, budget_limits, item->sender, item->size + APP_STORE_OVERHEAD)) {
		free(stored);
		return false;
	}
	if (!make_room(store, limits, budget, item)) {
		discharge(budget, item->sender, item->size + APP_STORE_OVERHEAD);
		free(stored);
		return false;
	}
	*stored = (struct app_stored){ .at_ns = item->at_ns,
		                       .number = item->number,
		                       .sender = item->sender,
		                       .only = item->only,
		                       .size = item->size };
	memcpy(stored->bytes, item->bytes, item->size);
	link_in(store, stored);
	return true;
}
