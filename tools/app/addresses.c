/* SPDX-License-Identifier: MIT
 *
 * addresses.c - see addresses.h. It does not know where an address comes from.
 */
#include "addresses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "lib/wait.h"

#define BURST_S 2 /* a bucket holds so many seconds of its rate */
#define IDLE_NS ((BURST_S + 1) * NS_PER_SECOND)

bool app_addresses_init(struct app_addresses *addresses, uint64_t seed)
{
	TAILQ_INIT(&addresses->idle);
	return app_table_init(&addresses->table, seed);
}

static void visit(void *context, struct app_node *node)
{
	(void)context;
	free(node);
}

void app_addresses_destroy(struct app_addresses *addresses)
{
	app_table_each(&addresses->table, visit, NULL);
	app_table_destroy(&addresses->table);
}

static void forget(struct app_addresses *addresses, struct app_address *address)
{
	if (address->idle)
		TAILQ_REMOVE(&addresses->idle, address, link);
	app_table_remove(&addresses->table, &address->node);
	free(address);
}

/* After something of it has ended. */
static void settle(struct app_addresses *addresses, struct app_address *address)
{
	if (address->count || address->topics)
		return;
	if (!address->used) {
		forget(addresses, address);
		return;
	}
	if (address->idle)
		TAILQ_REMOVE(&addresses->idle, address, link);
	address->idle = true;
	address->idle_ns = clock_now();
	TAILQ_INSERT_TAIL(&addresses->idle, address, link);
}

void app_addresses_sweep(struct app_addresses *addresses, uint64_t now_ns)
{
	struct app_address *address;
	while ((address = TAILQ_FIRST(&addresses->idle))) {
		if (!address->count && !address->topics) {
			if (now_ns - address->idle_ns < IDLE_NS)
				return;
			forget(addresses, address);
			continue;
		}
		TAILQ_REMOVE(&addresses->idle, address, link);
		address->idle = false;
	}
}

/* (lock) */
static struct app_address *find(struct app_addresses *addresses, const char *name)
{
	size_t size = strlen(name);
	struct app_address *address = (struct app_address *)app_table_find(&addresses->table, name, size);
	if (address || !(address = calloc(1, sizeof *address + size + 1)))
		return address;
	memcpy(address->name, name, size);
	address->node.name = address->name;
	address->node.name_size = size;
	app_table_add(&addresses->table, &address->node);
	return address;
}

struct app_address *app_address_enter(struct app *app, const char *name, unsigned max)
{
	struct app_directory *directory = &app->directory;
	pthread_mutex_lock(&directory->lock);
	struct app_address *address = find(&directory->addresses, name);
	if (address && max && address->count >= max)
		address = NULL;
	if (address)
		address->count++;
	pthread_mutex_unlock(&directory->lock);
	return address;
}

void app_address_leave(struct app *app, struct app_address *address)
{
	struct app_directory *directory = &app->directory;
	if (!address)
		return;
	pthread_mutex_lock(&directory->lock);
	address->count--;
	settle(&directory->addresses, address);
	pthread_mutex_unlock(&directory->lock);
}

bool app_address_add_topic(struct app *app, struct app_address *address)
{
	unsigned max = app_settings_now(app)->topics_per_address;
	if (!address)
		return true;
	if (max && address->topics >= max)
		return false;
	address->topics++;
	return true;
}

void app_address_remove_topic(struct app *app, struct app_address *address)
{
	if (!address)
		return;
	address->topics--;
	settle(&app->directory.addresses, address);
}

/* (lock) */
static bool take(struct app *app, struct app_address *address, uint32_t cost)
{
	uint32_t rate = app_settings_now(app)->requests_per_second;
	uint32_t burst = rate < UINT32_MAX / BURST_S ? rate * BURST_S : UINT32_MAX;
	uint64_t now_ns = clock_now();
	if (!address->used)
		address->bucket = app_bucket_full(burst, now_ns);
	address->used |= rate > 0;
	return app_bucket_take(&address->bucket, cost, rate, burst, now_ns);
}

bool app_address_take(struct app *app, struct app_address *address, uint32_t cost)
{
	pthread_mutex_lock(&app->directory.lock);
	bool may = take(app, address, cost);
	pthread_mutex_unlock(&app->directory.lock);
	return may;
}

bool app_address_take_as(struct app *app, const char *user, uint32_t cost)
{
	char name[1 + APP_SUBJECT_SIZE_MAX + 1];
	snprintf(name, sizeof name, "@%s", user);
	pthread_mutex_lock(&app->directory.lock);
	struct app_address *address = find(&app->directory.addresses, name);
	bool may = address && take(app, address, cost);
	if (address)
		settle(&app->directory.addresses, address);
	pthread_mutex_unlock(&app->directory.lock);
	return may;
}

void app_address_drain(struct app *app, struct app_address *address, uint32_t cost)
{
	if (!cost || !address)
		return;
	pthread_mutex_lock(&app->directory.lock);
	app_bucket_drain(&address->bucket, cost);
	pthread_mutex_unlock(&app->directory.lock);
}
