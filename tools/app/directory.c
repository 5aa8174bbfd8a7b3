/* SPDX-License-Identifier: MIT
 *
 * directory.c - users, rooms and addresses by name, under one lock. It sends nothing and knows no message.
 *
 * Invariant: a user is there while it has a device, something waits for it, or its window of ids still counts; one
 * without devices is in the list of those who are away, which is bounded. A room is there while it has a member.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "lib/wait.h"

struct rc_address {
	struct rc_node node;
	unsigned count;
	char name[];
};

bool rc_directory_init(struct rc_directory *directory, uint64_t seed)
{
	pthread_mutex_init(&directory->lock, NULL);
	return rc_table_init(&directory->users, seed) && rc_table_init(&directory->rooms, seed) &&
	       rc_table_init(&directory->addresses, seed);
}

static void free_user(struct rc_user *user)
{
	rc_store_clear(&user->store);
	free(user->window);
	free(user);
}

static void visit_user(void *context, struct rc_node *node)
{
	(void)context;
	free_user((struct rc_user *)node);
}

void rc_directory_destroy(struct rc_directory *directory)
{
	rc_table_each(&directory->users, visit_user, NULL);
	rc_table_destroy(&directory->users);
	rc_table_destroy(&directory->rooms); /* empty: its members have all been told of their end */
	rc_table_destroy(&directory->addresses);
	pthread_mutex_destroy(&directory->lock);
}

/* ---- users ---- */

static void unlink_away(struct rc_directory *directory, struct rc_user *user)
{
	if (!user->left_ns)
		return;
	*(user->newer ? &user->newer->older : &directory->newest) = user->older;
	*(user->older ? &user->older->newer : &directory->oldest) = user->newer;
	user->newer = user->older = NULL;
	user->left_ns = 0;
	directory->away_count--;
}

static void link_away(struct rc_directory *directory, struct rc_user *user)
{
	user->left_ns = rc_clock_now();
	user->newer = NULL;
	user->older = directory->newest;
	*(directory->newest ? &directory->newest->newer : &directory->oldest) = user;
	directory->newest = user;
	directory->away_count++;
}

static void forget_user(struct rc_directory *directory, struct rc_user *user)
{
	unlink_away(directory, user);
	rc_table_remove(&directory->users, &user->node);
	free_user(user);
}

struct rc_user *rc_directory_user(struct rc_directory *directory, const char *name, size_t size, bool make)
{
	struct rc_user *user = (struct rc_user *)rc_table_find(&directory->users, name, size);
	if (user || !make)
		return user;
	user = calloc(1, sizeof *user + size + 1);
	if (!user)
		return NULL;
	memcpy(user->name, name, size);
	user->node.name = user->name;
	user->node.name_size = size;
	rc_table_add(&directory->users, &user->node);
	return user;
}

void rc_directory_settle(struct rc_app *app, struct rc_user *user)
{
	struct rc_directory *directory = &app->directory;
	if (user->device_count) {
		unlink_away(directory, user);
		return;
	}
	if (!user->store.count && !user->window) {
		forget_user(directory, user);
		return;
	}
	if (!user->left_ns)
		link_away(directory, user);
	while (directory->away_count > rc_app_settings(app)->users_kept_max)
		forget_user(directory, directory->oldest);
}

void rc_directory_sweep(struct rc_app *app)
{
	const struct rc_settings *settings = rc_app_settings(app);
	struct rc_directory *directory = &app->directory;
	const struct rc_store_limits limits = { .age_ns = settings->store_age_ms * UINT64_C(1000000) };
	uint64_t now_ns = rc_clock_now(), window_ns = settings->dedupe_ms * UINT64_C(1000000);
	pthread_mutex_lock(&directory->lock);
	for (struct rc_user *user = directory->oldest, *newer; user; user = newer) {
		newer = user->newer;
		if (now_ns - user->left_ns < window_ns)
			break;
		uint64_t dropped = user->store.dropped;
		rc_store_expire(&user->store, &limits, now_ns);
		atomic_fetch_add(&app->counters.store_dropped, user->store.dropped - dropped);
		free(user->window);
		user->window = NULL;
		if (!user->store.count)
			forget_user(directory, user);
	}
	pthread_mutex_unlock(&directory->lock);
}

/* ---- rooms ---- */

struct rc_room *rc_directory_room(struct rc_directory *directory, const char *name, size_t size, bool make)
{
	struct rc_room *room = (struct rc_room *)rc_table_find(&directory->rooms, name, size);
	if (room || !make)
		return room;
	room = calloc(1, sizeof *room + size + 1);
	if (!room)
		return NULL;
	memcpy(room->name, name, size);
	room->node.name = room->name;
	room->node.name_size = size;
	/* Who makes a room of the same name later must not find what was said in this one. */
	int topic_size = asprintf(&room->topic, "room/%llu/%s", (unsigned long long)++directory->rooms_ever,
	                          room->name);
	if (topic_size < 0) {
		free(room);
		return NULL;
	}
	room->topic_size = (size_t)topic_size;
	rc_table_add(&directory->rooms, &room->node);
	return room;
}

void rc_directory_leave(struct rc_directory *directory, struct rc_member *member)
{
	struct rc_room *room = member->room;
	*(member->previous ? &member->previous->next : &room->members) = member->next;
	if (member->next)
		member->next->previous = member->previous;
	if (--room->member_count)
		return;
	rc_table_remove(&directory->rooms, &room->node);
	free(room->topic);
	free(room);
}

/* ---- addresses ---- */

struct rc_address *rc_address_enter(struct rc_app *app, const char *name, unsigned max)
{
	struct rc_directory *directory = &app->directory;
	size_t size = strlen(name);
	pthread_mutex_lock(&directory->lock);
	struct rc_address *address = (struct rc_address *)rc_table_find(&directory->addresses, name, size);
	if (!address && (address = calloc(1, sizeof *address + size + 1))) {
		memcpy(address->name, name, size);
		address->node.name = address->name;
		address->node.name_size = size;
		rc_table_add(&directory->addresses, &address->node);
	}
	if (address && max && address->count >= max)
		address = NULL;
	if (address)
		address->count++;
	pthread_mutex_unlock(&directory->lock);
	return address;
}

void rc_address_leave(struct rc_app *app, struct rc_address *address)
{
	struct rc_directory *directory = &app->directory;
	if (!address)
		return;
	pthread_mutex_lock(&directory->lock);
	if (--address->count == 0) {
		rc_table_remove(&directory->addresses, &address->node);
		free(address);
	}
	pthread_mutex_unlock(&directory->lock);
}
