/* SPDX-License-Identifier: MIT
 *
 * rooms.c - see rooms.h.
 *
 * A user may be in a room with several devices: the others hear of the first that joins and of the last that leaves.
 */
#include "rooms.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "content.h"
#include "directory.h"
#include "feeds.h"
#include "fields.h"
#include "info.h"
#include "names.h"
#include "partials.h"
#include "passing.h"
#include "post.h"
#include "rate.h"
#include "rights.h"
#include "ringcast_stats.h"
#include "wire.h"

#define MEMBERS_SHOWN 1000

struct app_member *app_rooms_find(const struct app_client *client, const char *room, size_t size)
{
	struct app_member *member = client->members;
	while (member && (member->room->node.name_size != size || memcmp(member->room->name, room, size) != 0))
		member = member->next_room;
	return member;
}

/* Whether another of the user's devices is in the room. (lock) */
static bool is_there_too(const struct app_client *client, const struct app_room *room)
{
	for (const struct app_client *device = client->user->devices; device; device = device->next_device) {
		if (device == client)
			continue;
		for (const struct app_member *member = device->members; member; member = member->next_room)
			if (member->room == room)
				return true;
	}
	return false;
}

/* What the one who joins or leaves is told, in the crew's scratch. */
static struct app_out *write_told(struct app_client *client, const char *type, const json_t *id, const char *room,
                                  size_t size)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_type(out, type, id);
	app_out_text(out, ",\"room\":");
	app_out_string(out, room, size);
	app_out_text(out, "}");
	return out;
}

static void tell_sender(struct app_client *client, const char *type, const json_t *id, const char *room, size_t size)
{
	app_send(client, write_told(client, type, id, room, size));
}

static void tell_others(struct app_client *client, const char *type, const char *topic, size_t topic_size,
                        const char *room, size_t size)
{
	struct app_out *out = &client->crew->out;
	/* While the server drains all leave, and nobody is left to hear of it. */
	if (atomic_load(&client->app->draining))
		return;
	app_out_clear(out);
	app_out_type(out, type, NULL);
	app_out_text(out, ",\"userId\":");
	app_out_string(out, client->user->name, client->user->node.name_size);
	app_out_text(out, ",\"room\":");
	app_out_string(out, room, size);
	app_out_text(out, "}");
	if (out->failed)
		return;
	struct rc_publication message = { .data = out->bytes, .size = out->size, .except = client->conn };
	rc_publish_with(client->app->server, topic, topic_size, &message);
}

/* ---- entering ---- */

static struct app_member *enter(struct app_client *client, const char *name, size_t size, bool *first)
{
	struct app_directory *directory = &client->app->directory;
	struct app_member *member = calloc(1, sizeof *member);
	if (!member)
		return NULL;
	member->client = client;
	member->serial = ++client->join_count;
	pthread_mutex_lock(&directory->lock);
	bool entered = app_directory_enter(client->app, name, size, client->address, member);
	if (entered) {
		*first = !is_there_too(client, member->room);
		member->next_room = client->members;
		client->members = member;
		client->room_count++;
	}
	pthread_mutex_unlock(&directory->lock);
	if (entered)
		return member;
	free(member);
	return NULL;
}

/* Takes a member out of its room and of the client's list. Returns whether the others are to hear of it, or on several
 * nodes all nodes; then *topic is a copy that the caller frees. */
static bool leave(struct app_client *client, struct app_member *member, char **topic, size_t *topic_size)
{
	struct app_directory *directory = &client->app->directory;
	app_partials_leave(client, member->room);
	app_feeds_unfollow(client, member->room->topic, member->room->topic_size);
	app_passing_leave(client, member->room);
	pthread_mutex_lock(&directory->lock);
	struct app_member **link = &client->members;
	while (*link != member)
		link = &(*link)->next_room;
	*link = member->next_room;
	client->room_count--;
	bool last = app_spans(client->app) || (member->room->member_count > 1 && !is_there_too(client, member->room));
	*topic = last ? strdup(member->room->topic) : NULL;
	*topic_size = member->room->topic_size;
	app_directory_leave(client->app, member);
	pthread_mutex_unlock(&directory->lock);
	free(member);
	return *topic;
}

bool app_rooms_visit(struct app_client *client, const char *name, size_t size)
{
	struct app_directory *directory = &client->app->directory;
	bool first;
	pthread_mutex_lock(&directory->lock);
	bool there = app_directory_room(directory, name, size);
	pthread_mutex_unlock(&directory->lock);
	return there && !app_rights_room(client, name, size) && enter(client, name, size, &first);
}

bool app_rooms_has_user(const struct app_client *client, const struct app_room *room)
{
	pthread_mutex_lock(&client->app->directory.lock);
	bool there = is_there_too(client, room);
	pthread_mutex_unlock(&client->app->directory.lock);
	return there;
}

void app_rooms_end_visits(struct app_client *client)
{
	while (client->members) {
		char *topic;
		size_t size;
		leave(client, client->members, &topic, &size);
		free(topic);
	}
}

/* ---- leaving ---- */

static void leave_one(struct app_client *client, struct app_member *member, bool tell, const json_t *id)
{
	char name[APP_ROOM_NAME_MAX + 1], *topic;
	size_t size = member->room->node.name_size, topic_size;
	memcpy(name, member->room->name, size);
	bool others = leave(client, member, &topic, &topic_size);
	if (others && app_spans(client->app)) {
		struct app_out *told = tell ? write_told(client, "room_left", id, name, size) : NULL;
		app_span_leave_room(client, topic, topic_size, told);
		free(topic);
		return;
	}
	if (tell)
		tell_sender(client, "room_left", id, name, size);
	if (others)
		tell_others(client, "user_left", topic, topic_size, name, size);
	free(topic);
}

/* ---- joining on several nodes ---- */

/* Follows the room from the place of the client's own record on: it hears what stands behind that in the order, and
 * nothing of before. Where the stream has begun anew meanwhile, all of it stands behind. */
static int follow(struct app_client *client, struct app_member *member, const struct app_letter *place)
{
	const struct app_room *room = member->room;
	struct rc_topic_stats stats = { 0 };
	rc_topic_stats(client->app->server, room->topic, room->topic_size, &stats);
	struct rc_start start = { .resume = place->sender, .since = stats.epoch == place->sender ? place->number : 0 };
	int code = app_feeds_follow(client, room->topic, room->topic_size, true, &start);
	member->placed = !code;
	if (!code)
		app_passing_enter(client, room);
	return code;
}

/* The letter has which of its joins it is, and behind that what the client is told. By now it may have left. */
static void open_entry(struct app_client *client, const struct app_letter *letter)
{
	unsigned serial;
	memcpy(&serial, letter->bytes, sizeof serial);
	const char *told = letter->bytes + sizeof serial;
	size_t size = letter->size - sizeof serial;
	struct app_member *member = client->members;
	while (member && member->serial != serial)
		member = member->next_room;
	if (member && follow(client, member, letter)) {
		json_t *message = json_loadb(told, size, 0, NULL);
		leave_one(client, member, false, NULL);
		app_send_error(client, json_object_get(message, "id"), "TOO_MANY_SUBSCRIPTIONS",
		               "Too many subscriptions");
		json_decref(message);
		return;
	}
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_bytes(out, told, size);
	app_send(client, out);
}

static void join_nodes(struct app_client *client, const struct app_member *member, const json_t *id)
{
	const struct app_out *told = write_told(client, "room_joined", id, member->room->name,
	                                        member->room->node.name_size);
	struct app_out entry = { 0 };
	app_out_bytes(&entry, (const char *)&member->serial, sizeof member->serial);
	app_out_bytes(&entry, told->bytes, told->size);
	if (!told->failed && !entry.failed)
		app_span_enter_room(client, member->room,
		                    &(struct app_entry){ open_entry, { .bytes = entry.bytes, .size = entry.size } });
	app_out_free(&entry);
}

void app_rooms_join(struct app_client *client, const json_t *message, const json_t *id)
{
	const struct app_settings *settings = app_settings_now(client->app);
	size_t size;
	bool first = false;
	const char *name = app_field_text(client, message, id, "room", APP_ROOM_NAME_MAX, &size);
	if (!name)
		return;
	if (settings->sanitize && !app_content_is_plain(name, size)) {
		app_send_error(client, id, "INVALID_FIELD", "Wrong field: room: a name has no < > & or quotes here");
		return;
	}
	const char *why = app_rights_room(client, name, size);
	if (why) {
		app_send_error(client, id, "PERMISSION_DENIED", why);
		return;
	}
	if (app_rooms_find(client, name, size)) {
		tell_sender(client, "room_joined", id, name, size);
		return;
	}
	if (client->room_count >= settings->rooms_max) {
		app_send_error(client, id, "TOO_MANY_ROOMS", "Too many rooms on this connection");
		return;
	}
	bool room_for_it = client->feed_count < settings->subscriptions_max;
	struct app_member *member = room_for_it ? enter(client, name, size, &first) : NULL;
	if (member && app_spans(client->app)) {
		join_nodes(client, member, id);
		return;
	}
	int code = member ? app_partials_follow(client, member->room) : -1;
	if (code) {
		char *topic = NULL;
		size_t topic_size;
		if (member)
			leave(client, member, &topic, &topic_size);
		free(topic);
		app_send_error(client, id, "TOO_MANY_SUBSCRIPTIONS", "Too many subscriptions");
		return;
	}
	member->placed = true;
	app_passing_enter(client, member->room);
	tell_sender(client, "room_joined", id, name, size);
	app_partials_tell(client);
	/* The others are told after the client follows the room itself: of two who join at once, at least one hears of
	 * the other. Nothing is said in a room where nobody else is: such a topic costs nothing when it is over. */
	size_t count = member->room->member_count;
	if (first && count > 1)
		tell_others(client, "user_joined", member->room->topic, member->room->topic_size, name, size);
	app_rate_drain(client, app_cost_of_audience(count));
}

struct app_member *app_rooms_need(struct app_client *client, const json_t *message, const json_t *id)
{
	size_t size;
	const char *name = app_field_text(client, message, id, "room", APP_ROOM_NAME_MAX, &size);
	struct app_member *member = name ? app_rooms_find(client, name, size) : NULL;
	if (name && !member)
		app_send_error(client, id, "NOT_A_MEMBER", "Not a member of this room");
	return member;
}

void app_rooms_leave(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_member *member = app_rooms_need(client, message, id);
	if (member)
		leave_one(client, member, true, id);
}

uint64_t app_rooms_begin(struct app *app, const struct app_room *room, uint64_t epoch, uint64_t sequence)
{
	if (!app_spans(app))
		return 0;
	pthread_mutex_lock(&app->directory.lock);
	const struct app_group *group = app_replica_group(&app->span.replica, room->topic, room->topic_size);
	/* Nobody knows yet that it is there: nothing was said in it. */
	uint64_t begin = !group ? sequence : group->begin.epoch == epoch ? group->begin.sequence : 0;
	pthread_mutex_unlock(&app->directory.lock);
	return begin;
}

void app_rooms_leave_all(struct app_client *client)
{
	while (client->members)
		leave_one(client, client->members, false, NULL);
}

void app_rooms_recheck(struct app_client *client)
{
	for (struct app_member *member = client->members, *next; member; member = next) {
		next = member->next_room;
		if (app_rights_room(client, member->room->name, member->room->node.name_size))
			leave_one(client, member, true, NULL);
	}
}

/* ---- talking ---- */

void app_rooms_message(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_member *member = app_rooms_need(client, message, id);
	const json_t *content = member ? app_field_content(client, message, id) : NULL;
	struct app_post post;
	if (!content || !app_post_begin(&post, client, message, id))
		return;
	if (app_field_is_empty(content)) {
		app_send_error(client, id, "INVALID_FIELD", "Wrong field: content: it is empty");
		return;
	}
	app_post_write(&post, "room_message", member->room, content);
	app_post_to_room(&post, member, &client->crew->head, &client->crew->tail);
}

void app_rooms_partial(struct app_client *client, const json_t *message, const json_t *id)
{
	const struct app_member *member = app_rooms_need(client, message, id);
	if (member)
		app_partials_message(client, member->room, message, id);
}

/* Names of users, each once. (lock) */
static size_t list_members(const struct app_room *room, uint64_t seed, struct app_out *out)
{
	struct app_table seen;
	size_t count = 0;
	struct app_node *nodes = calloc(room->member_count, sizeof *nodes);
	if (!nodes || !app_table_init(&seen, seed)) {
		free(nodes);
		out->failed = true;
		return 0;
	}
	for (const struct app_member *member = room->members; member; member = member->next) {
		const struct app_user *user = member->client->user;
		if (app_table_find(&seen, user->name, user->node.name_size))
			continue;
		nodes[count] = (struct app_node){ .name = user->name, .name_size = user->node.name_size };
		app_table_add(&seen, &nodes[count]);
		if (count < MEMBERS_SHOWN) {
			app_out_text(out, count ? "," : "");
			app_out_string(out, user->name, user->node.name_size);
		}
		count++;
	}
	app_table_destroy(&seen);
	free(nodes);
	return count;
}

/* The same of all nodes: whoever is in the room is a person of its group. (lock) */
static size_t list_group(const struct app *app, const struct app_room *room, struct app_out *out)
{
	const struct app_group *group = app_replica_group(&app->span.replica, room->topic, room->topic_size);
	size_t count = 0;
	for (const struct app_person *person = group ? group->people : NULL; person && count < MEMBERS_SHOWN;
	     person = person->next) {
		app_out_text(out, count++ ? "," : "");
		app_out_string(out, person->name, person->name_size);
	}
	return group ? group->person_count : 0;
}

/* Of each connection, where it is from. (lock) */
static void list_clients(const struct app_room *room, struct app_out *out)
{
	size_t count = 0;
	app_out_text(out, ",\"clientInfo\":[");
	for (const struct app_member *member = room->members; member && count < MEMBERS_SHOWN; member = member->next) {
		app_out_text(out, count++ ? "," : "");
		app_info_write(out, member->client);
	}
	app_out_text(out, "]");
}

void app_rooms_members(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_member *member = app_rooms_need(client, message, id);
	struct app_out *out = &client->crew->out;
	bool informs = json_is_true(json_object_get(message, "clientInfo"));
	if (!member)
		return;
	if (informs && !(client->permissions & APP_MAY_ADMIN)) {
		app_send_error(client, id, "PERMISSION_DENIED", "Permission denied: admin, for clientInfo");
		return;
	}
	app_out_clear(out);
	app_out_type(out, "members", id);
	app_out_text(out, ",\"room\":");
	app_out_string(out, member->room->name, member->room->node.name_size);
	app_out_text(out, ",\"members\":[");
	pthread_mutex_lock(&client->app->directory.lock);
	size_t count = app_spans(client->app) ? list_group(client->app, member->room, out)
	                                      : list_members(member->room, client->crew->clients.seed, out);
	app_out_format(out, "],\"count\":%zu", count);
	if (informs)
		list_clients(member->room, out);
	pthread_mutex_unlock(&client->app->directory.lock);
	app_out_text(out, "}");
	app_send(client, out);
}
