/* SPDX-License-Identifier: MIT
 *
 * rooms.c - joining, leaving, talking. A room's members are those who follow its topic of the log.
 *
 * A user may be in a room with several devices: the others hear of the first that joins and of the last that leaves.
 */
#include <stdlib.h>
#include <string.h>

#include "app.h"

#define MEMBERS_SHOWN 1000

struct rc_member *rc_rooms_find(const struct rc_app_client *client, const char *room, size_t size)
{
	struct rc_member *member = client->members;
	while (member && (member->room->node.name_size != size || memcmp(member->room->name, room, size) != 0))
		member = member->next_room;
	return member;
}

/* Whether another of the user's devices is in the room. (lock) */
static bool is_there_too(const struct rc_app_client *client, const struct rc_room *room)
{
	for (const struct rc_app_client *device = client->user->devices; device; device = device->next_device) {
		if (device == client)
			continue;
		for (const struct rc_member *member = device->members; member; member = member->next_room)
			if (member->room == room)
				return true;
	}
	return false;
}

static void tell_sender(struct rc_app_client *client, const char *type, const json_t *id, const char *room, size_t size)
{
	struct rc_out *out = &client->crew->out;
	rc_out_clear(out);
	rc_out_type(out, type, id);
	rc_out_text(out, ",\"room\":");
	rc_out_string(out, room, size);
	rc_out_text(out, "}");
	rc_app_send(client, out);
}

static void tell_others(struct rc_app_client *client, const char *type, const char *topic, size_t topic_size,
                        const char *room, size_t size)
{
	struct rc_out *out = &client->crew->out;
	/* When all leave, nobody is left to hear of it. */
	if (atomic_load(&client->app->draining))
		return;
	rc_out_clear(out);
	rc_out_type(out, type, NULL);
	rc_out_text(out, ",\"userId\":");
	rc_out_string(out, client->user->name, client->user->node.name_size);
	rc_out_text(out, ",\"room\":");
	rc_out_string(out, room, size);
	rc_out_text(out, "}");
	if (out->failed)
		return;
	struct rc_publication message = { .data = out->bytes, .size = out->size, .except = client->conn };
	rc_publish_with(client->app->server, topic, topic_size, &message);
}

/* ---- joining ---- */

static struct rc_member *enter(struct rc_app_client *client, const char *name, size_t size, bool *first)
{
	struct rc_directory *directory = &client->app->directory;
	struct rc_member *member = calloc(1, sizeof *member);
	if (!member)
		return NULL;
	pthread_mutex_lock(&directory->lock);
	uint64_t made = directory->rooms_ever;
	struct rc_room *room = rc_directory_room(directory, name, size, true);
	if (room) {
		*first = !is_there_too(client, room);
		*member = (struct rc_member){
			.room = room, .client = client, .next = room->members, .next_room = client->members
		};
		if (room->members)
			room->members->previous = member;
		room->members = member;
		room->member_count++;
		client->members = member;
		client->room_count++;
		if (directory->rooms_ever != made)
			RC_COUNT(client->app, rooms_made);
	}
	pthread_mutex_unlock(&directory->lock);
	if (room)
		return member;
	free(member);
	return NULL;
}

/* Takes a member out of its room and of the client's list. Returns whether the others are to hear of it; then *topic is
 * a copy that the caller frees. */
static bool leave(struct rc_app_client *client, struct rc_member *member, char **topic, size_t *topic_size)
{
	struct rc_directory *directory = &client->app->directory;
	rc_feeds_unfollow(client, member->room->topic, member->room->topic_size);
	pthread_mutex_lock(&directory->lock);
	struct rc_member **link = &client->members;
	while (*link != member)
		link = &(*link)->next_room;
	*link = member->next_room;
	client->room_count--;
	bool last = member->room->member_count > 1 && !is_there_too(client, member->room);
	*topic = last ? strdup(member->room->topic) : NULL;
	*topic_size = member->room->topic_size;
	rc_directory_leave(directory, member);
	pthread_mutex_unlock(&directory->lock);
	free(member);
	return *topic;
}

void rc_rooms_join(struct rc_app_client *client, const json_t *message, const json_t *id)
{
	const struct rc_settings *settings = rc_app_settings(client->app);
	size_t size;
	bool first = false;
	const char *name = rc_dialect_text(client, message, id, "room", RC_ROOM_NAME_MAX, &size);
	if (!name)
		return;
	if (!rc_claims_allow_room(&client->claims, name, size)) {
		rc_dialect_error(client, id, "PERMISSION_DENIED",
		                 "Permission denied: this room is not among the token's");
		return;
	}
	if (rc_rooms_find(client, name, size)) {
		tell_sender(client, "room_joined", id, name, size);
		return;
	}
	if (client->room_count >= settings->rooms_max) {
		rc_dialect_error(client, id, "TOO_MANY_ROOMS", "Too many rooms on this connection");
		return;
	}
	struct rc_member *member = enter(client, name, size, &first);
	int code = member ? rc_feeds_follow(client, member->room->topic, member->room->topic_size, true, NULL) : -1;
	if (code) {
		char *topic = NULL;
		size_t topic_size;
		if (member)
			leave(client, member, &topic, &topic_size);
		free(topic);
		rc_dialect_error(client, id, "TOO_MANY_SUBSCRIPTIONS", "Too many subscriptions");
		return;
	}
	tell_sender(client, "room_joined", id, name, size);
	/* After it follows the room itself: of two who join at once, at least one hears of the other. */
	if (first)
		tell_others(client, "user_joined", member->room->topic, member->room->topic_size, name, size);
}

/* ---- leaving ---- */

static void leave_one(struct rc_app_client *client, struct rc_member *member, bool tell, const json_t *id)
{
	char name[RC_ROOM_NAME_MAX + 1], *topic;
	size_t size = member->room->node.name_size, topic_size;
	memcpy(name, member->room->name, size);
	bool others = leave(client, member, &topic, &topic_size);
	if (tell)
		tell_sender(client, "room_left", id, name, size);
	if (others)
		tell_others(client, "user_left", topic, topic_size, name, size);
	free(topic);
}

static struct rc_member *need_member(struct rc_app_client *client, const json_t *message, const json_t *id)
{
	size_t size;
	const char *name = rc_dialect_text(client, message, id, "room", RC_ROOM_NAME_MAX, &size);
	struct rc_member *member = name ? rc_rooms_find(client, name, size) : NULL;
	if (name && !member)
		rc_dialect_error(client, id, "NOT_A_MEMBER", "Not a member of this room");
	return member;
}

void rc_rooms_leave(struct rc_app_client *client, const json_t *message, const json_t *id)
{
	struct rc_member *member = need_member(client, message, id);
	if (member)
		leave_one(client, member, true, id);
}

void rc_rooms_leave_all(struct rc_app_client *client)
{
	while (client->members)
		leave_one(client, client->members, false, NULL);
}

void rc_rooms_recheck(struct rc_app_client *client)
{
	for (struct rc_member *member = client->members, *next; member; member = next) {
		next = member->next_room;
		if (!rc_claims_allow_room(&client->claims, member->room->name, member->room->node.name_size))
			leave_one(client, member, true, NULL);
	}
}

/* ---- talking ---- */

void rc_rooms_message(struct rc_app_client *client, const json_t *message, const json_t *id)
{
	struct rc_member *member = need_member(client, message, id);
	const json_t *content = member ? rc_dialect_content(client, message, id) : NULL;
	struct rc_out *head = &client->crew->head, *tail = &client->crew->tail;
	if (!content)
		return;
	rc_out_clear(head);
	rc_out_clear(tail);
	rc_out_text(head, "{\"type\":\"room_message\",\"id\":\"");
	rc_out_text(tail, "\",\"from\":");
	rc_out_string(tail, client->user->name, client->user->node.name_size);
	rc_out_text(tail, ",\"room\":");
	rc_out_string(tail, member->room->name, member->room->node.name_size);
	rc_out_text(tail, ",\"content\":");
	rc_out_value(tail, content);
	rc_out_ref(tail, id);
	rc_out_text(tail, ",\"timestamp\":");
	rc_out_number(tail, rc_time_ms());
	rc_out_text(tail, "}");
	int64_t code = rc_feeds_publish_numbered(client->app, member->room->topic, member->room->topic_size, head, tail,
	                                         true, client->conn);
	if (code < 0)
		rc_dialect_error(client, id, "TRY_LATER", "The server is overloaded; the message was not sent");
}

/* Names of users, each once. (lock) */
static size_t list_members(const struct rc_room *room, struct rc_out *out)
{
	struct rc_table seen;
	size_t count = 0;
	struct rc_node *nodes = calloc(room->member_count, sizeof *nodes);
	if (!nodes || !rc_table_init(&seen, 0)) {
		free(nodes);
		out->failed = true;
		return 0;
	}
	for (const struct rc_member *member = room->members; member; member = member->next) {
		const struct rc_user *user = member->client->user;
		if (rc_table_find(&seen, user->name, user->node.name_size))
			continue;
		nodes[count] = (struct rc_node){ .name = user->name, .name_size = user->node.name_size };
		rc_table_add(&seen, &nodes[count]);
		if (count < MEMBERS_SHOWN) {
			rc_out_text(out, count ? "," : "");
			rc_out_string(out, user->name, user->node.name_size);
		}
		count++;
	}
	rc_table_destroy(&seen);
	free(nodes);
	return count;
}

void rc_rooms_members(struct rc_app_client *client, const json_t *message, const json_t *id)
{
	struct rc_member *member = need_member(client, message, id);
	struct rc_out *out = &client->crew->out;
	if (!member)
		return;
	rc_out_clear(out);
	rc_out_type(out, "members", id);
	rc_out_text(out, ",\"room\":");
	rc_out_string(out, member->room->name, member->room->node.name_size);
	rc_out_text(out, ",\"members\":[");
	pthread_mutex_lock(&client->app->directory.lock);
	size_t count = list_members(member->room, out);
	pthread_mutex_unlock(&client->app->directory.lock);
	rc_out_format(out, "],\"count\":%zu}", count);
	rc_app_send(client, out);
}
