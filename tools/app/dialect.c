/* SPDX-License-Identifier: MIT
 *
 * dialect.c - see dialect.h. It must not do what a message asks for: that is in the file of its concern.
 *
 * Nothing that a client says closes its connection, except saying too much.
 */
#include "dialect.h"

#include <string.h>

#include "app.h"
#include "ask.h"
#include "batch.h"
#include "client.h"
#include "feeds_messages.h"
#include "fields.h"
#include "heartbeat.h"
#include "hold.h"
#include "login.h"
#include "rate.h"
#include "reliable.h"
#include "rooms.h"
#include "talk.h"
#include "wire.h"

#define DEPTH_MAX 2 /* a message, in a batch, in a DATA */

/* ---- types ---- */

static void handle(struct app_client *client, const json_t *message, unsigned depth);

static void on_ping(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_out *out = &client->crew->out;
	const json_t *timestamp = json_object_get(message, "timestamp");
	app_out_clear(out);
	app_out_type(out, "pong", id);
	if (timestamp) {
		app_out_text(out, ",\"timestamp\":");
		app_out_value(out, timestamp);
	}
	app_out_text(out, "}");
	app_send(client, out);
}

static void on_batch(struct app_client *client, const json_t *message, const json_t *id)
{
	app_batch_receive(client, message, id, handle);
}

static uint32_t cost_of_room(const struct app_client *client, const json_t *message)
{
	const json_t *room = json_object_get(message, "room");
	const char *name = json_string_value(room);
	const struct app_member *member = name ? app_rooms_find(client, name, json_string_length(room)) : NULL;
	return member ? app_cost_of_audience(member->room->member_count) : 0;
}

static uint32_t cost_of_everybody(const struct app_client *client, const json_t *message)
{
	(void)message;
	return app_cost_of_audience(client->app->counters.open);
}

static uint32_t cost_of_subscribe(const struct app_client *client, const json_t *message)
{
	(void)client;
	return app_cost_of_subscribe(message);
}

static uint32_t cost_of_auth(const struct app_client *client, const json_t *message)
{
	(void)client;
	(void)message;
	return APP_COST_AUTH;
}

enum {
	ANYBODY = 1, /* also from a client whose user is not known yet, or whose token has expired */
	ALONE = 2,   /* not in a batch or a DATA */
	STAYS = 4,   /* from a client that has a connection */
};

/* DATA is not among them: how deep it may stand depends on what it stands in. */
static const struct kind {
	const char *type;
	void (*handle)(struct app_client *client, const json_t *message, const json_t *id);
	unsigned permission;
	unsigned rules;
	/* What it costs besides its size, or null. Some is known only when it is done, and is taken there. */
	uint32_t (*cost)(const struct app_client *client, const json_t *message);
} kinds[] = {
	{ "ping", on_ping, 0, ANYBODY, NULL },
	{ "pong", app_heartbeat_pong, 0, ANYBODY | STAYS, NULL },
	{ "hello", app_heartbeat_hello, 0, ANYBODY | STAYS, NULL },
	{ "auth", app_login_auth, 0, ANYBODY | ALONE | STAYS, cost_of_auth },
	{ "ACK", app_reliable_ack, 0, ANYBODY | STAYS, NULL },
	{ "HEARTBEAT", app_reliable_heartbeat, 0, ANYBODY | STAYS, NULL },
	{ "RECONNECT", app_reliable_reconnect, 0, STAYS, NULL },
	{ "room_message", app_rooms_message, APP_MAY_WRITE, 0, cost_of_room },
	{ "partial", app_rooms_partial, APP_MAY_WRITE, 0, cost_of_room },
	{ "direct", app_talk_direct, APP_MAY_WRITE, 0, NULL },
	{ "broadcast", app_talk_broadcast, APP_MAY_BROADCAST, 0, cost_of_everybody },
	{ "join_room", app_rooms_join, APP_MAY_READ, STAYS, NULL },
	{ "leave_room", app_rooms_leave, 0, STAYS, cost_of_room },
	{ "members", app_rooms_members, APP_MAY_READ, 0, cost_of_room },
	{ "subscribe", app_feeds_subscribe, APP_MAY_READ, STAYS, cost_of_subscribe },
	{ "unsubscribe", app_feeds_unsubscribe, 0, STAYS, NULL },
	{ "history", app_feeds_history, APP_MAY_READ, 0, NULL },
	{ "batch", on_batch, 0, ANYBODY | ALONE | STAYS, NULL },
	{ "batching", app_batch_set, 0, STAYS, NULL },
};
static const struct kind own = { NULL, app_talk_own, 0, 0, app_talk_cost }; /* of a type that is none of them */
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

/* ---- what is read at all ---- */

/* The value that a frame holds; or null, after saying what is wrong. What had to be inflated is paid for by its size as
 * well, so that a small frame makes no more work than a large one may. */
static json_t *read_frame(struct app_client *client, const struct rc_message *message)
{
	static const char *const words[APP_FORM_COUNT] = { "Invalid JSON", "Invalid MessagePack",
		                                           "Invalid JSON, or it is not compressed as zlib does" };
	size_t inflated, size_max = app_settings_now(client->app)->message_max;
	json_t *value;
	enum app_form_wrong wrong = app_form_read(client->form, message, size_max, &client->crew->coded, &inflated,
	                                          &value);
	uint32_t cost = inflated > message->size ? app_cost_of_size(inflated) - app_cost_of_size(message->size) : 0;
	if (cost && !app_rate_take(client, json_object_get(value, "id"), cost)) {
		app_rate_drain(client, cost); /* the work has been done */
		json_decref(value);
		return NULL;
	}
	if (wrong == APP_FORM_TOO_LONG)
		app_send_error(client, NULL, "TOO_LONG", "Too long: inflated it is larger than a message may be");
	else if (wrong)
		app_send_error(client, NULL, "INVALID_JSON", words[message->opcode == RC_TEXT ? 0 : client->form]);
	return value;
}

/* ---- a message ---- */

static const struct kind *find_kind(const char *type)
{
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (strcmp(kinds[i].type, type) == 0)
			return &kinds[i];
	return NULL;
}

static void dispatch(struct app_client *client, const struct kind *kind, const json_t *message, const json_t *id,
                     unsigned depth)
{
	if (!(kind->rules & ANYBODY) && (!client->user || client->expired))
		app_send_error(client, id, "AUTH_REQUIRED", "Authentication required");
	else if ((client->permissions & (kind->permission | APP_MAY_ADMIN)) == 0 && kind->permission)
		app_send_error(client, id, "PERMISSION_DENIED", "Permission denied");
	else if (!app_client_stays(client) && kind->rules & STAYS)
		app_send_error(client, id, "INVALID_FIELD", "This type needs a connection that stays");
	else if (depth && kind->rules & ALONE)
		app_send_error(client, id, "INVALID_FIELD", "This type must stand by itself");
	else if (!kind->cost || app_rate_take(client, id, kind->cost(client, message)))
		kind->handle(client, message, id);
}

static void handle_own(struct app_client *client, const json_t *message, const json_t *id, unsigned depth)
{
	const json_t *type = json_object_get(message, "type");
	const char *why = app_talk_why_not(client, json_string_value(type), json_string_length(type));
	if (why)
		app_send_error(client, id, "UNKNOWN_TYPE", why);
	else
		dispatch(client, &own, message, id, depth);
}

/* A message that the backend has been asked about, or need not be. */
static void perform(struct app_client *client, const json_t *message, unsigned depth)
{
	const json_t *type = json_object_get(message, "type"), *id = json_object_get(message, "id");
	if (!json_is_object(message)) {
		app_send_error(client, NULL, "INVALID_JSON", "Invalid JSON: expected an object");
		return;
	}
	if ((id && !json_is_string(id) && !json_is_integer(id)) || json_string_length(id) > APP_MESSAGE_ID_MAX) {
		app_field_wrong(client, NULL, "id", id, "a text of at most 128 bytes, or a whole number");
		return;
	}
	if (!json_is_string(type)) {
		app_field_wrong(client, id, "type", type, "a text");
		return;
	}
	const struct kind *kind = find_kind(json_string_value(type));
	if (kind)
		dispatch(client, kind, message, id, depth);
	else if (strcmp(json_string_value(type), "DATA") == 0 && depth < DEPTH_MAX)
		app_reliable_data(client, message, id, perform, depth);
	else
		handle_own(client, message, id, depth);
}

/* Who has no connection is in a room for as long as it takes to say something there. */
static void visit(struct app_client *client, const json_t *message)
{
	const json_t *room = json_object_get(message, "room");
	if (json_is_string(room) && json_string_length(room))
		app_rooms_visit(client, json_string_value(room), json_string_length(room));
}

static void go_on(struct app_client *client, enum app_ask ask, const json_t *message, unsigned depth, json_t *other)
{
	bool stays = app_client_stays(client);
	if (ask == APP_ASK_GO && !stays)
		visit(client, message);
	if (ask == APP_ASK_GO)
		perform(client, other ? other : message, depth);
	if (!stays)
		app_rooms_end_visits(client);
	json_decref(other);
}

static void decided(struct app_client *client, enum app_hook_verdict verdict, const json_t *answer)
{
	json_t *message = client->hold->message, *other;
	client->hold->message = NULL;
	enum app_ask ask = app_ask_answered(client, message, verdict, answer, &other);
	go_on(client, ask, message, client->hold->depth, other);
	json_decref(message);
}

/* A message that has been counted against the rate already. */
static void handle_admitted(struct app_client *client, const json_t *message, unsigned depth)
{
	json_t *other;
	enum app_ask ask = app_ask_message(client, (json_t *)message, depth, decided, &other);
	go_on(client, ask, message, depth, other);
}

/* One of a batch, whose bytes have been counted with it. */
static void handle(struct app_client *client, const json_t *message, unsigned depth)
{
	if (app_hold_waits(client)) {
		if (!app_hold_message(client, (json_t *)message, depth))
			app_send_error(client, json_object_get(message, "id"), "TRY_LATER", "out of memory");
		return;
	}
	APP_COUNT(client->app, received);
	if (app_rate_admit(client, json_object_get(message, "id"), 0))
		handle_admitted(client, message, depth);
}

void app_dialect_say(struct app_client *client, const json_t *message)
{
	handle(client, message, 0);
}

/* It may be in the room, as far as somebody else decides over that. */
static void say_inside(struct app_client *client, const json_t *message)
{
	json_t *other;
	visit(client, message);
	enum app_ask ask = app_ask_message(client, (json_t *)message, 0, decided, &other);
	app_rooms_end_visits(client);
	go_on(client, ask, message, 0, other);
}

static void visit_decided(struct app_client *client, enum app_hook_verdict verdict, const json_t *answer)
{
	json_t *message = client->hold->message, *other;
	client->hold->message = NULL;
	if (app_ask_answered(client, message, verdict, answer, &other) == APP_ASK_GO)
		say_inside(client, message);
	json_decref(other); /* to what it says a visit adds nothing */
	json_decref(message);
}

static void handle_alone(struct app_client *client, const json_t *message, unsigned depth)
{
	const json_t *type = json_object_get(message, "type");
	(void)depth;
	if (json_is_string(type) && strcmp(json_string_value(type), "DATA") == 0) {
		app_send_error(client, json_object_get(message, "id"), "INVALID_FIELD",
		               "This type needs a connection that stays");
		return;
	}
	APP_COUNT(client->app, received);
	if (!app_rate_admit(client, json_object_get(message, "id"), 0))
		return;
	visit(client, message);
	enum app_ask ask = app_ask_visit(client, (json_t *)message, visit_decided);
	app_rooms_end_visits(client);
	if (ask == APP_ASK_GO)
		say_inside(client, message);
}

void app_dialect_say_alone(struct app_client *client, const json_t *message)
{
	if (!app_hold_waits(client))
		handle_alone(client, message, 0);
	else if (!app_hold_message(client, (json_t *)message, 0))
		app_send_error(client, json_object_get(message, "id"), "TRY_LATER", "out of memory");
}

static void receive(struct app_client *client, const struct rc_message *message)
{
	json_t *value = read_frame(client, message);
	if (value)
		handle_admitted(client, value, 0);
	json_decref(value);
}

static void refuse_for_room(struct app_client *client, const struct rc_message *message)
{
	json_t *value = read_frame(client, message);
	if (value)
		app_send_error(client, json_object_get(value, "id"), "TRY_LATER",
		               "Too many messages wait for the application's answer");
	json_decref(value);
}

void app_dialect_receive(struct app_client *client, const struct rc_message *message)
{
	APP_COUNT(client->app, received);
	if (!app_rate_admit_unread(client, message->data, message->size))
		return;
	if (!app_hold_waits(client))
		receive(client, message);
	else if (!app_hold_frame(client, message))
		refuse_for_room(client, message);
}

void app_dialect_resume(struct app_client *client)
{
	app_hold_release(client, receive, app_client_stays(client) ? handle : handle_alone);
}
