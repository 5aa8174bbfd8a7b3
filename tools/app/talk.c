/* SPDX-License-Identifier: MIT
 *
 * talk.c - see talk.h.
 *
 * Whom a message of another type is for: the user `to`; or else the room `room`, in which the sender is; or else
 * everybody, which is for those with the permission `broadcast`. A message that names both is the user's alone, so that
 * what is meant for one is not heard by a room.
 */
#include "talk.h"

#include <string.h>

#include "app.h"
#include "client.h"
#include "content.h"
#include "date.h"
#include "directory.h"
#include "fields.h"
#include "lib/text.h"
#include "names.h"
#include "post.h"
#include "rate.h"
#include "rooms.h"

#define TYPE_SIZE_MAX 64
/* What a message may have around its content: names, and what else is in it. */
#define AROUND_MAX 1024

/* The dialect's own. What the server says, a client that sent it to others would say in the server's name. */
static const char *const reserved[] = {
	"ACK",         "DATA",         "HEARTBEAT",  "RECONNECT",    "auth",      "auth_expired", "auth_success",
	"batch",       "batching",     "broadcast",  "direct",       "error",     "gap",          "going_away",
	"history",     "join_room",    "leave_room", "members",      "partial",   "ping",         "pong",
	"resync",      "room_joined",  "room_left",  "room_message", "status",    "subscribe",    "subscribed",
	"unsubscribe", "unsubscribed", "update",     "user_joined",  "user_left", "welcome",
};

/* ---- of the dialect ---- */

void app_talk_direct(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_post post;
	size_t size;
	const char *to = app_field_text(client, message, id, "to", APP_SUBJECT_SIZE_MAX, &size);
	const json_t *content = to ? app_field_content(client, message, id) : NULL;
	if (!content || !app_post_begin(&post, client, message, id))
		return;
	app_post_write(&post, "direct", NULL, content);
	app_post_to_user(&post, to, size, &client->crew->head, &client->crew->tail);
}

void app_talk_broadcast(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_post post;
	const json_t *content = app_field_content(client, message, id);
	if (!content || !app_post_begin(&post, client, message, id))
		return;
	app_post_write(&post, "broadcast", NULL, content);
	app_post_to_all(&post, &client->crew->head, &client->crew->tail);
}

/* ---- of other types ---- */

static bool is_shape(const char *type)
{
	return strcmp(type, "chat") == 0 || strcmp(type, "message") == 0 || strcmp(type, "system") == 0;
}

const char *app_talk_why_not(const struct app_client *client, const char *type, size_t size)
{
	for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
		if (strcmp(type, reserved[i]) == 0)
			return "Unknown type: it is the dialect's own";
	bool shown = app_settings_now(client->app)->sanitize;
	if (!text_is_name(type, size) || size > TYPE_SIZE_MAX || (shown && strpbrk(type, "<>&\"'")))
		return "Unknown type: it is no name of at most 64 bytes";
	if (is_shape(type) || app_names_hold(app_settings_now(client->app)->types, type, size))
		return NULL;
	return "Unknown type: --types of the server does not name it";
}

uint32_t app_talk_cost(const struct app_client *client, const json_t *message)
{
	const json_t *room = json_object_get(message, "room");
	if (json_is_string(json_object_get(message, "to")))
		return 0;
	if (!json_is_string(room))
		return app_cost_of_audience(client->app->counters.open);
	const struct app_member *member = app_rooms_find(client, json_string_value(room), json_string_length(room));
	return member ? app_cost_of_audience(member->room->member_count) : 0;
}

/* Whom a message is for: text of a field, or null. */
static const char *meant_for(const json_t *message)
{
	if (json_is_string(json_object_get(message, "to")))
		return "to";
	return json_object_get(message, "room") ? "room" : NULL;
}

/* As it was sent, but that who says it is not the sender's to say, nor is whom it leaves out anybody's to know. */
static void write_own(struct app_out *out, const struct app_client *client, const json_t *message)
{
	const char *key, *meant = meant_for(message);
	int mode = app_settings_now(client->app)->sanitize;
	json_t *value;
	app_out_text(out, "{");
	json_object_foreach((json_t *)message, key, value)
	{
		if (strcmp(key, "from") == 0 || strcmp(key, "exclude") == 0)
			continue;
		bool as_is = strcmp(key, "type") == 0 || (meant && strcmp(key, meant) == 0);
		app_content_key(out, key, mode);
		app_out_text(out, ":");
		app_content_write(out, value, as_is ? APP_SANITIZE_OFF : mode);
		app_out_text(out, ",");
	}
	app_out_text(out, "\"from\":");
	app_out_string(out, client->user->name, client->user->node.name_size);
	app_out_text(out, "}");
}

/* Within the bound that is set for content, and something around it. */
static bool is_too_long(struct app_client *client, const json_t *id, const struct app_out *out)
{
	size_t max = app_settings_now(client->app)->content_max;
	if (app_field_characters(out->bytes, out->size) <= max + AROUND_MAX)
		return false;
	app_send_error(client, id, "TOO_LONG",
	               "Too long: a message of this type has at most content-max and 1024 characters");
	return true;
}

/* Hands on what is written. `room` and `to` are looked at anew: what they say may be wrong. */
static void send_on(struct app_client *client, const struct app_post *post, const json_t *message, struct app_out *head,
                    const struct app_out *tail)
{
	const char *meant = meant_for(message);
	size_t size;
	if (!meant) {
		app_post_to_all(post, head, tail);
	} else if (strcmp(meant, "to") == 0) {
		const char *to = app_field_text(client, message, post->id, "to", APP_SUBJECT_SIZE_MAX, &size);
		if (to)
			app_post_to_user(post, to, size, head, tail);
	} else {
		struct app_member *member = app_rooms_need(client, message, post->id);
		if (member)
			app_post_to_room(post, member, head, tail);
	}
}

/* The permission that a message needs. */
static unsigned permission_of(const json_t *message)
{
	if (strcmp(json_string_value(json_object_get(message, "type")), "system") == 0)
		return APP_MAY_ADMIN;
	return meant_for(message) ? APP_MAY_WRITE : APP_MAY_BROADCAST;
}

bool app_talk_is_taken(const struct app_client *client, const json_t *message)
{
	const json_t *type = json_object_get(message, "type"), *room = json_object_get(message, "room");
	const char *meant = meant_for(message);
	if (app_talk_why_not(client, json_string_value(type), json_string_length(type)) ||
	    !(client->permissions & (permission_of(message) | APP_MAY_ADMIN)))
		return false;
	return !meant || strcmp(meant, "to") == 0 ||
	       (json_is_string(room) && app_rooms_find(client, json_string_value(room), json_string_length(room)));
}

static bool may(struct app_client *client, const json_t *message, const json_t *id)
{
	unsigned needed = permission_of(message);
	if (client->permissions & (needed | APP_MAY_ADMIN))
		return true;
	app_send_error(client, id, "PERMISSION_DENIED",
	               needed == APP_MAY_BROADCAST
	                   ? "Permission denied: it names no room and no user, and is for everybody"
	                   : "Permission denied");
	return false;
}

/* The shape of tutorials: {"type":"chat","sender","message","time"}. The fields have the sender's names, and the
 * server's values. */
static void say_shape(struct app_client *client, const struct app_post *post, const json_t *message, const char *type)
{
	struct app_out *head = &client->crew->head, *tail = &client->crew->tail;
	const json_t *content = app_field_content(client, message, post->id);
	const char *meant = meant_for(message);
	uint64_t now_ms = app_date_ms();
	if (!content)
		return;
	if (app_field_is_empty(content)) {
		app_field_wrong(client, post->id, app_field_of_content(message), content, "something: it is empty");
		return;
	}
	app_out_clear(head);
	app_out_clear(tail);
	app_out_format(head, "{\"type\":\"%s\",\"id\":\"", type);
	app_out_text(tail, "\",\"from\":");
	app_out_string(tail, client->user->name, client->user->node.name_size);
	app_out_text(tail, ",\"sender\":");
	app_out_string(tail, client->user->name, client->user->node.name_size);
	if (meant) {
		app_out_format(tail, ",\"%s\":", meant);
		app_out_value(tail, json_object_get(message, meant));
	}
	app_out_format(tail, ",\"%s\":", app_field_of_content(message));
	app_content_write(tail, content, app_settings_now(client->app)->sanitize);
	app_content_ref(tail, post->id, app_settings_now(client->app)->sanitize);
	app_out_format(tail, ",\"time\":%llu,\"timestamp\":%llu%s", (unsigned long long)(now_ms / 1000),
	               (unsigned long long)now_ms, post->passes ? ",\"ephemeral\":true}" : "}");
	send_on(client, post, message, head, tail);
}

void app_talk_own(struct app_client *client, const json_t *message, const json_t *id)
{
	const json_t *type = json_object_get(message, "type");
	const char *name = json_string_value(type);
	struct app_out *head = &client->crew->head;
	struct app_post post;
	if (!may(client, message, id) || !app_post_begin(&post, client, message, id))
		return;
	if (is_shape(name) && !app_names_hold(app_settings_now(client->app)->types, name, json_string_length(type))) {
		say_shape(client, &post, message, name);
		return;
	}
	app_out_clear(head);
	write_own(head, client, message);
	if (!is_too_long(client, id, head))
		send_on(client, &post, message, head, NULL);
}
