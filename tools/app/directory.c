/* SPDX-License-Identifier: MIT
 *
 * directory.c - see directory.h. It sends nothing and knows no message.
 *
 * Invariant: a user is kept while it has a device, something waits for it, or its window of ids still counts. One
 * without devices is in a list of those who are away, which is bounded. A room is kept while it has a member.
 */
#include "directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "lib/wait.h"
#include "taken.h"

bool app_directory_init(struct app_directory *directory, uint64_t seed)
{
	pthread_mutex_init(&directory->lock, NULL);
	return app_table_init(&directory->users, seed) && app_table_init(&directory->rooms, seed) &&
	       app_addresses_init(&directory->addresses, seed) && app_table_init(&directory->stakes, seed) &&
	       app_budget_init(&directory->budget, seed);
}

static void free_user(struct app_directory *directory, struct app_user *user)
{
	app_store_clear(&user->store, &directory->budget);
	app_taken_clear(user, &directory->budget);
	free(user->window);
	free(user);
}

static void visit_user(void *context, struct app_node *node)
{
	free_user(context, (struct app_user *)node);
}

void app_directory_destroy(struct app_directory *directory)
{
	app_table_each(&directory->users, visit_user, directory);
	app_table_destroy(&directory->users);
	app_table_destroy(&directory->rooms);  /* empty: its members have all been told of their end */
	app_table_destroy(&directory->stakes); /* likewise */
	app_addresses_destroy(&directory->addresses);
	app_budget_destroy(&directory->budget);
	pthread_mutex_destroy(&directory->lock);
}

/* ---- users ---- */

static void unlink_away(struct app_user *user)
{
	struct app_away *away = user->away;
	if (!away)
		return;
	*(user->newer ? &user->newer->older : &away->newest) = user->older;
	*(user->older ? &user->older->newer : &away->oldest) = user->newer;
	user->newer = user->older = NULL;
	user->away = NULL;
	away->count--;
}

static void link_away(struct app_away *away, struct app_user *user)
{
	user->left_ns = clock_now();
	user->away = away;
	user->newer = NULL;
	user->older = away->newest;
	*(away->newest ? &away->newest->newer : &away->oldest) = user;
	away->newest = user;
	away->count++;
}

static void forget_user(struct app_directory *directory, struct app_user *user)
{
	unlink_away(user);
	app_table_remove(&directory->users, &user->node);
	free_user(directory, user);
}

struct app_user *app_directory_user(struct app_directory *directory, const char *name, size_t size, bool make)
{
	struct app_user *user = (struct app_user *)app_table_find(&directory->users, name, size);
	if (user || !make)
		return user;
	user = calloc(1, sizeof *user + size + 1);
	if (!user)
		return NULL;
	memcpy(user->name, name, size);
	user->node.name = user->name;
	user->node.name_size = size;
	app_table_add(&directory->users, &user->node);
	return user;
}

void app_directory_settle(struct app *app, struct app_user *user)
{
	struct app_directory *directory = &app->directory;
	if (user->device_count) {
		unlink_away(user);
		return;
	}
	bool waits = user->store.count || user->taken;
	if (!waits && !user->window) {
		forget_user(directory, user);
		return;
	}
	struct app_away *away = waits ? &directory->waited_for : &directory->remembered;
	if (user->away != away) {
		unlink_away(user);
		link_away(away, user);
	}
	while (directory->remembered.count > app_settings_now(app)->users_kept_max)
		forget_user(directory, directory->remembered.oldest);
}

/* ---- what waits for them ---- */

static struct app_store_limits limits_of(const struct app_settings *settings)
{
	return (struct app_store_limits){
		.count_max = settings->store_count,
		.size_max = settings->store_size,
		.age_ns = settings->store_age_ms * NS_PER_MS,
	};
}

static void expire(struct app *app, struct app_store *store, uint64_t now_ns)
{
	const struct app_store_limits limits = limits_of(app_settings_now(app));
	uint64_t dropped = store->dropped;
	app_store_expire(store, &limits, &app->directory.budget, now_ns);
	atomic_fetch_add(&app->counters.store_dropped, store->dropped - dropped);
}

static bool add(struct app *app, struct app_store *store, const struct app_item *item)
{
	const struct app_settings *settings = app_settings_now(app);
	const struct app_store_limits limits = limits_of(settings);
	const struct app_budget_limits budget = { .size_max = settings->store_total,
		                                  .share_max = settings->store_share };
	return app_store_add(store, &limits, &app->directory.budget, &budget, clock_now(), item);
}

struct app_store app_directory_copy(struct app *app, const struct app_store *store)
{
	struct app_store copy = { 0 };
	for (const struct app_stored *stored = store->first; stored; stored = stored->next) {
		const struct app_item item = { .at_ns = stored->at_ns,
			                       .number = stored->number,
			                       .sender = stored->sender,
			                       .only = stored->only,
			                       .bytes = stored->bytes,
			                       .size = stored->size };
		add(app, &copy, &item);
	}
	return copy;
}

bool app_directory_keep_in(struct app *app, struct app_store *store, const struct app_item *item)
{
	uint64_t dropped = store->dropped;
	bool stored = add(app, store, item);
	if (stored)
		APP_COUNT(app, stored);
	atomic_fetch_add(&app->counters.store_dropped, store->dropped - dropped);
	return stored;
}

bool app_directory_keep(struct app *app, struct app_user *user, const struct app_item *item)
{
	struct app_item only = *item;
	only.only = true;
	if (!user->store.count && app->directory.waited_for.count >= app_settings_now(app)->users_kept_max)
		return false;
	return app_directory_keep_in(app, &user->store, &only);
}

struct app_store app_directory_take(struct app_user *user)
{
	struct app_store waiting = user->store;
	user->store = (struct app_store){ .dropped = waiting.dropped };
	return waiting;
}

struct app_stored *app_directory_next(struct app *app, struct app_store *store)
{
	pthread_mutex_lock(&app->directory.lock);
	expire(app, store, clock_now());
	struct app_stored *stored = app_store_take(store, &app->directory.budget);
	pthread_mutex_unlock(&app->directory.lock);
	return stored;
}

static void sweep(struct app *app, struct app_away *away, uint64_t now_ns)
{
	const struct app_store_limits limits = limits_of(app_settings_now(app));
	uint64_t window_ns = app_settings_now(app)->dedupe_ms * NS_PER_MS;
	for (struct app_user *user = away->oldest, *newer; user; user = newer) {
		newer = user->newer;
		if (now_ns - user->left_ns < window_ns)
			break;
		expire(app, &user->store, now_ns);
		app_taken_expire(user, &limits, &app->directory.budget, now_ns);
		free(user->window);
		user->window = NULL;
		if (!user->store.count && !user->taken)
			forget_user(&app->directory, user);
	}
}

void app_directory_sweep(struct app *app)
{
	uint64_t now_ns = clock_now();
	pthread_mutex_lock(&app->directory.lock);
	sweep(app, &app->directory.waited_for, now_ns);
	sweep(app, &app->directory.remembered, now_ns);
	app_addresses_sweep(&app->directory.addresses, app_settings_now(app)->messages_per_second, now_ns);
	pthread_mutex_unlock(&app->directory.lock);
}

/* ---- rooms ---- */

struct app_room *app_directory_room(const struct app_directory *directory, const char *name, size_t size)
{
	return (struct app_room *)app_table_find(&directory->rooms, name, size);
}

static struct app_room *make_room(struct app *app, const char *name, size_t size)
{
	struct app_directory *directory = &app->directory;
	struct app_room *room = calloc(1, sizeof *room + size + 1);
	/* Who makes a room of the same name later must not find what was said in this one. On several nodes the topic
	 * is the same everywhere, and each room knows where it begins there (replica.h). */
	uint64_t number = app_spans(app) ? 0 : ++directory->rooms_ever;
	int topic_size = room ? asprintf(&room->topic, "room/%llu/%.*s", (unsigned long long)number, (int)size, name)
	                      : -1;
	if (topic_size < 0) {
		free(room);
		return NULL;
	}
	memcpy(room->name, name, size);
	room->node.name = room->name;
	room->node.name_size = size;
	room->topic_size = (size_t)topic_size;
	app_table_add(&directory->rooms, &room->node);
	APP_COUNT(app, rooms_made);
	return room;
}

static void end_room(struct app *app, struct app_room *room)
{
	app_table_remove(&app->directory.rooms, &room->node);
	free(room->topic);
	free(room);
}

bool app_directory_enter(struct app *app, const char *name, size_t size, struct app_address *address,
                         struct app_member *member)
{
	struct app_room *room = app_directory_room(&app->directory, name, size);
	bool makes = !room;
	if (makes && !(room = make_room(app, name, size)))
		return false;
	member->stake = app_stake_take(app, address, room->topic, room->topic_size, makes);
	if (!member->stake) {
		if (makes)
			end_room(app, room);
		return false;
	}
	member->room = room;
	member->next = room->members;
	if (room->members)
		room->members->previous = member;
	room->members = member;
	room->member_count++;
	return true;
}

void app_directory_leave(struct app *app, struct app_member *member)
{
	struct app_room *room = member->room;
	app_stake_give(app, member->stake);
	*(member->previous ? &member->previous->next : &room->members) = member->next;
	if (member->next)
		member->next->previous = member->previous;
	if (!--room->member_count)
		end_room(app, room);
}
