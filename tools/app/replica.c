/* SPDX-License-Identifier: MIT
 *
 * replica.c - see replica.h.
 *
 * Invariant: a group is kept while it has people, or, of a user, places; a person while it has devices. The counts are
 * those of what is linked.
 */
#include "replica.h"

#include <stdlib.h>
#include <string.h>

#include "token.h"

#define USER_CHANNEL "user/"

bool app_replica_init(struct app_replica *replica, uint64_t own, uint64_t seed)
{
	*replica = (struct app_replica){ .own = own };
	return app_table_init(&replica->groups, seed) && app_table_init(&replica->persons, seed) &&
	       app_table_init(&replica->presences, seed) && app_table_init(&replica->peers, seed);
}

static void free_node(void *context, struct app_node *node)
{
	(void)context;
	free(node);
}

static void free_figures(void *context, struct app_node *node)
{
	(void)context;
	free(((struct app_peer *)node)->figures);
}

void app_replica_destroy(struct app_replica *replica)
{
	struct app_table *const tables[] = { &replica->presences, &replica->persons, &replica->groups,
		                             &replica->peers };
	if (replica->peers.buckets)
		app_table_each(&replica->peers, free_figures, NULL);
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		if (tables[i]->buckets)
			app_table_each(tables[i], free_node, NULL);
		app_table_destroy(tables[i]);
	}
}

/* ---- finding ---- */

struct app_group *app_replica_group(const struct app_replica *replica, const char *channel, size_t size)
{
	return (struct app_group *)app_table_find(&replica->groups, channel, size);
}

static size_t write_key(char *key, const struct app_group *group, const char *name, size_t size)
{
	memcpy(key, &group, sizeof group);
	memcpy(key + sizeof group, name, size);
	return sizeof group + size;
}

struct app_person *app_replica_person(const struct app_replica *replica, const struct app_group *group,
                                      const char *name, size_t size)
{
	char key[sizeof group + APP_SUBJECT_SIZE_MAX];
	if (!group || size > APP_SUBJECT_SIZE_MAX)
		return NULL;
	return (struct app_person *)app_table_find(&replica->persons, key, write_key(key, group, name, size));
}

static struct app_presence *find_presence(const struct app_replica *replica, const struct app_group *group,
                                          struct app_device device)
{
	struct app_presence wanted = { .key = { .group = group, .device = device } };
	return (struct app_presence *)app_table_find(&replica->presences, (const char *)&wanted.key, sizeof wanted.key);
}

bool app_replica_has(const struct app_replica *replica, const char *channel, size_t size, struct app_device device)
{
	const struct app_group *group = app_replica_group(replica, channel, size);
	return group && find_presence(replica, group, device);
}

bool app_replica_has_client(const struct app_group *user, uint64_t client)
{
	for (const struct app_person *person = user->people; person; person = person->next)
		for (const struct app_presence *device = person->devices; device; device = device->next)
			if (device->key.device.client == client)
				return true;
	return false;
}

/* ---- making and ending ---- */

static bool is_user(const struct app_group *group)
{
	return strncmp(group->channel, USER_CHANNEL, sizeof USER_CHANNEL - 1) == 0;
}

static struct app_group *need_group(struct app_replica *replica, const char *channel, size_t size)
{
	struct app_group *group = app_replica_group(replica, channel, size);
	if (group || !(group = calloc(1, sizeof *group + size + 1)))
		return group;
	memcpy(group->channel, channel, size);
	group->node.name = group->channel;
	group->node.name_size = size;
	app_table_add(&replica->groups, &group->node);
	return group;
}

static void settle_group(struct app_replica *replica, struct app_group *group)
{
	if (!group || group->people || group->places)
		return;
	app_table_remove(&replica->groups, &group->node);
	free(group);
}

static size_t *count_of(struct app_replica *replica, const struct app_group *group)
{
	return is_user(group) ? &replica->user_count : &replica->room_count;
}

static void link_person(struct app_replica *replica, struct app_person *person)
{
	struct app_group *group = person->group, *user = person->user;
	if (!group->person_count++)
		++*count_of(replica, group);
	if ((person->next = group->people))
		person->next->previous = person;
	group->people = person;
	if (!user)
		return;
	if ((person->next_place = user->places))
		person->next_place->previous_place = person;
	user->places = person;
}

static void unlink_person(struct app_replica *replica, struct app_person *person)
{
	struct app_group *group = person->group, *user = person->user;
	if (!--group->person_count)
		--*count_of(replica, group);
	*(person->previous ? &person->previous->next : &group->people) = person->next;
	if (person->next)
		person->next->previous = person->previous;
	if (!user)
		return;
	*(person->previous_place ? &person->previous_place->next_place : &user->places) = person->next_place;
	if (person->next_place)
		person->next_place->previous_place = person->previous_place;
}

static struct app_person *make_person(struct app_replica *replica, struct app_group *group, const char *name,
                                      size_t size)
{
	char channel[sizeof USER_CHANNEL + APP_SUBJECT_SIZE_MAX] = USER_CHANNEL;
	struct app_person *person = calloc(1, sizeof *person + sizeof group + size);
	if (!person)
		return NULL;
	if (!is_user(group)) {
		memcpy(channel + sizeof USER_CHANNEL - 1, name, size);
		person->user = need_group(replica, channel, sizeof USER_CHANNEL - 1 + size);
		if (!person->user) {
			free(person);
			return NULL;
		}
	}
	person->group = group;
	person->node.name = person->key;
	person->node.name_size = write_key(person->key, group, name, size);
	person->name = person->key + sizeof group;
	person->name_size = size;
	app_table_add(&replica->persons, &person->node);
	link_person(replica, person);
	return person;
}

static void end_person(struct app_replica *replica, struct app_person *person)
{
	struct app_group *group = person->group, *user = person->user;
	unlink_person(replica, person);
	app_table_remove(&replica->persons, &person->node);
	free(person);
	settle_group(replica, group);
	settle_group(replica, user);
}

/* ---- entering and leaving ---- */

static bool is_before(struct app_moment one, struct app_moment other)
{
	return one.epoch < other.epoch || (one.epoch == other.epoch && one.sequence < other.sequence);
}

/* What is known of the beginning by somebody who was there before counts, and the earliest of it. */
static void set_begin(struct app_group *group, const struct app_entering *entering)
{
	bool told = entering->begin.epoch || entering->begin.sequence;
	if (!group->person_count)
		group->begin = told ? entering->begin : entering->now;
	else if (told && is_before(entering->begin, group->begin))
		group->begin = entering->begin;
}

static bool add_presence(struct app_replica *replica, struct app_person *person, const struct app_entering *entering)
{
	struct app_presence *presence = calloc(1, sizeof *presence);
	if (!presence)
		return false;
	presence->key.group = person->group;
	presence->key.device = entering->device;
	presence->person = person;
	presence->repeat = entering->repeat;
	presence->node.name = (const char *)&presence->key;
	presence->node.name_size = sizeof presence->key;
	app_table_add(&replica->presences, &presence->node);
	presence->next = person->devices;
	person->devices = presence;
	person->device_count++;
	person->group->device_count++;
	person->group->own_count += entering->device.node == replica->own;
	replica->device_count += is_user(person->group);
	return true;
}

bool app_replica_enter(struct app_replica *replica, const struct app_entering *entering, struct app_change *change)
{
	*change = (struct app_change){ 0 };
	if (entering->user_size > APP_SUBJECT_SIZE_MAX)
		return true;
	struct app_group *group = need_group(replica, entering->channel, entering->channel_size);
	if (!group)
		return false;
	set_begin(group, entering);
	struct app_presence *known = find_presence(replica, group, entering->device);
	if (known) {
		known->repeat = entering->repeat > known->repeat ? entering->repeat : known->repeat;
		known->buried_ns = 0;
		return true;
	}
	struct app_person *person = app_replica_person(replica, group, entering->user, entering->user_size);
	bool first = !person;
	change->others = group->person_count > !first;
	if (first && !(person = make_person(replica, group, entering->user, entering->user_size))) {
		settle_group(replica, group);
		return false;
	}
	if (!add_presence(replica, person, entering)) {
		if (first)
			end_person(replica, person);
		return false;
	}
	change->changed = true;
	change->user_changed = first;
	return true;
}

struct app_change app_replica_leave(struct app_replica *replica, const char *channel, size_t size,
                                    struct app_device device, char *user)
{
	struct app_group *group = app_replica_group(replica, channel, size);
	struct app_presence *presence = group ? find_presence(replica, group, device) : NULL;
	if (!presence)
		return (struct app_change){ 0 };
	struct app_person *person = presence->person;
	memcpy(user, person->name, person->name_size);
	user[person->name_size] = 0;
	struct app_presence **link = &person->devices;
	while (*link != presence)
		link = &(*link)->next;
	*link = presence->next;
	app_table_remove(&replica->presences, &presence->node);
	free(presence);
	group->device_count--;
	group->own_count -= device.node == replica->own;
	replica->device_count -= is_user(group);
	struct app_change change = { .changed = true, .others = group->person_count > 1 };
	change.user_changed = !--person->device_count;
	if (change.user_changed)
		end_person(replica, person);
	return change;
}

/* ---- nodes ---- */

struct app_peer *app_replica_peer(struct app_replica *replica, uint64_t id, uint64_t now_ns)
{
	struct app_peer *peer = (struct app_peer *)app_table_find(&replica->peers, (const char *)&id, sizeof id);
	if (peer || !(peer = calloc(1, sizeof *peer)))
		return peer;
	peer->id = id;
	peer->missing_ns = now_ns;
	peer->node.name = (const char *)&peer->id;
	peer->node.name_size = sizeof peer->id;
	app_table_add(&replica->peers, &peer->node);
	return peer;
}

bool app_replica_is_stale(struct app_replica *replica, const struct app_presence *presence, uint64_t now_ns,
                          uint64_t grace_ns)
{
	const struct app_peer *peer = app_replica_peer(replica, presence->key.device.node, now_ns);
	if (!peer)
		return false;
	if (peer->missing_ns)
		return now_ns - peer->missing_ns >= grace_ns;
	return presence->repeat < peer->repeat && now_ns - peer->repeated_ns >= grace_ns;
}
