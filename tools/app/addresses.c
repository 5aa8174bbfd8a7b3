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

static void unlink_idle(struct app_addresses *addresses, struct app_address *address)
{
	if (!address->idle)
		return;
	TAILQ_REMOVE(&addresses->idle, address, link);
	addresses->idle_count--;
	address->idle = false;
}

static void link_idle(struct app_addresses *addresses, struct app_address *address, uint64_t now_ns)
{
	address->idle = true;
	address->idle_ns = now_ns;
	TAILQ_INSERT_TAIL(&addresses->idle, address, link);
	addresses->idle_count++;
}

static void forget(struct app_addresses *addresses, struct app_address *address)
{
	unlink_idle(addresses, address);
	app_table_remove(&addresses->table, &address->node);
	free(address);
}

/* After something of it has ended. */
static void settle(struct app_addresses *addresses, struct app_address *address)
{
	if (address->count)
		return;
	if (!address->used && !address->owed) {
		forget(addresses, address);
		return;
	}
	link_idle(addresses, address, clock_now());
	if (addresses->idle_count > APP_ADDRESSES_IDLE_MAX)
		forget(addresses, TAILQ_FIRST(&addresses->idle));
}

/* What is owed grows less as a bucket fills. */
static void pay(struct app_address *address, uint32_t rate, uint64_t now_ns)
{
	uint64_t passed = now_ns > address->owed_ns ? now_ns - address->owed_ns : 0;
	address->owed -= rate && passed < address->owed / rate ? passed * rate : address->owed;
	address->owed_ns = now_ns;
}

void app_addresses_sweep(struct app_addresses *addresses, uint32_t rate, uint64_t now_ns)
{
	struct app_address *address;
	while ((address = TAILQ_FIRST(&addresses->idle)) && now_ns - address->idle_ns >= IDLE_NS) {
		pay(address, rate, now_ns);
		unlink_idle(addresses, address);
		if (address->owed)
			link_idle(addresses, address, now_ns);
		else
			forget(addresses, address);
	}
}

/* Finds it, or makes it. It is idle no longer: a caller that gives it no connection settles it. (lock) */
static struct app_address *find(struct app_addresses *addresses, const char *name)
{
	size_t size = strlen(name);
	struct app_address *address = (struct app_address *)app_table_find(&addresses->table, name, size);
	if (address) {
		unlink_idle(addresses, address);
		return address;
	}
	if (!(address = calloc(1, sizeof *address + size + 1)))
		return NULL;
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

static struct app_address *find_user(struct app_addresses *addresses, const char *user)
{
	char name[1 + APP_SUBJECT_SIZE_MAX + 1];
	snprintf(name, sizeof name, "@%s", user);
	return find(addresses, name);
}

bool app_address_take_as(struct app *app, const char *user, uint32_t cost)
{
	pthread_mutex_lock(&app->directory.lock);
	struct app_address *address = find_user(&app->directory.addresses, user);
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

/* ---- what connections leave behind ---- */

void app_address_borrow(struct app *app, struct app_address *address, const char *user, struct app_bucket *bucket)
{
	uint32_t rate = app_settings_now(app)->messages_per_second;
	if (!rate)
		return;
	pthread_mutex_lock(&app->directory.lock);
	struct app_address *account = user ? find_user(&app->directory.addresses, user) : address;
	if (account) {
		pay(account, rate, clock_now());
		uint64_t taken = account->owed < bucket->level ? account->owed : bucket->level;
		account->owed -= taken;
		bucket->level -= taken;
		if (user)
			settle(&app->directory.addresses, account);
	}
	pthread_mutex_unlock(&app->directory.lock);
}

void app_address_return(struct app *app, struct app_address *address, const char *user, struct app_bucket *bucket)
{
	const struct app_settings *settings = app_settings_now(app);
	uint32_t rate = settings->messages_per_second;
	uint64_t now_ns = clock_now(), full = settings->burst * APP_BUCKET_UNIT;
	if (!rate)
		return;
	app_bucket_fill(bucket, rate, settings->burst, now_ns);
	if (bucket->level >= full)
		return;
	pthread_mutex_lock(&app->directory.lock);
	struct app_address *account = user ? find_user(&app->directory.addresses, user) : address;
	if (account) {
		uint64_t missing = full - bucket->level;
		pay(account, rate, now_ns);
		account->owed = account->owed < UINT64_MAX - missing ? account->owed + missing : UINT64_MAX;
		if (user)
			settle(&app->directory.addresses, account);
	}
	pthread_mutex_unlock(&app->directory.lock);
}
