/* SPDX-License-Identifier: MIT
 *
 * dialect.c - see dialect.h. It must not do what a message asks for: that is in the file of its concern.
 *
 * Nothing that a client says closes its connection, except saying too much.
 */
#include "dialect.h"

#include <string.h>

#include "app.h"
#include "batch.h"
#include "client.h"
#include "feeds_messages.h"
#include "fields.h"
#include "lib/wait.h"
#include "login.h"
#include "people.h"
#include "reliable.h"
#include "rooms.h"
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

static void on_broadcast(struct app_client *client, const json_t *message, const json_t *id)
{
	const json_t *content = app_field_content(client, message, id);
	if (content)
		app_people_broadcast(client->app, client->user->name, content, id);
}

static void on_batch(struct app_client *client, const json_t *message, const json_t *id)
{
	app_batch_receive(client, message, id, handle);
}

enum {
	ANYBODY = 1, /* also from a client whose user is not known yet, or whose token has expired */
	ALONE = 2,   /* not in a batch or a DATA */
};

/* DATA is not among them: how deep it may stand depends on what it stands in. */
static const struct kind {
	const char *type;
	void (*handle)(struct app_client *client, const json_t *message, const json_t *id);
	unsigned permission;
	unsigned rules;
} kinds[] = {
	{ "ping", on_ping, 0, ANYBODY },
	{ "auth", app_login_auth, 0, ANYBODY | ALONE },
	{ "ACK", app_reliable_ack, 0, ANYBODY },
	{ "HEARTBEAT", app_reliable_heartbeat, 0, ANYBODY },
	{ "room_message", app_rooms_message, APP_MAY_WRITE, 0 },
	{ "direct", app_people_direct, APP_MAY_WRITE, 0 },
	{ "broadcast", on_broadcast, APP_MAY_BROADCAST, 0 },
	{ "join_room", app_rooms_join, APP_MAY_READ, 0 },
	{ "leave_room", app_rooms_leave, 0, 0 },
	{ "members", app_rooms_members, APP_MAY_READ, 0 },
	{ "subscribe", app_feeds_subscribe, APP_MAY_READ, 0 },
	{ "unsubscribe", app_feeds_unsubscribe, 0, 0 },
	{ "history", app_feeds_history, APP_MAY_READ, 0 },
	{ "batch", on_batch, 0, ANYBODY | ALONE },
	{ "batching", app_batch_set, 0, 0 },
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

/* ---- how often ---- */

static bool within_rate(struct app_client *client)
{
	const struct app_settings *settings = app_settings_now(client->app);
	uint64_t now_ns = clock_now();
	if (app_bucket_take(&client->bucket, settings->messages_per_second, settings->burst, now_ns))
		return true;
	if (!app_bucket_take(&client->strikes, settings->messages_per_second, settings->flood, now_ns)) {
		APP_COUNT(client->app, flooded);
		app_close(client, RC_CLOSE_POLICY, "flood: too many messages");
		return false;
	}
	app_send_error(client, NULL, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded");
	return false;
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
	else if (depth && kind->rules & ALONE)
		app_send_error(client, id, "INVALID_FIELD", "This type must stand by itself");
	else
		kind->handle(client, message, id);
}

/* A message that has been counted against the rate already. */
static void handle_admitted(struct app_client *client, const json_t *message, unsigned depth)
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
		app_reliable_data(client, message, id, handle_admitted, depth);
	else
		app_send_error(client, id, "UNKNOWN_TYPE", "Unknown type");
}

static void handle(struct app_client *client, const json_t *message, unsigned depth)
{
	APP_COUNT(client->app, received);
	if (within_rate(client))
		handle_admitted(client, message, depth);
}

void app_dialect_receive(struct app_client *client, const struct rc_message *message)
{
	json_error_t error;
	json_t *value = message->opcode == RC_TEXT ? json_loadb((const char *)message->data, message->size,
	                                                        JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error)
	                                           : NULL;
	if (value) {
		handle(client, value, 0);
		json_decref(value);
		return;
	}
	APP_COUNT(client->app, received);
	if (within_rate(client))
		app_send_error(client, NULL, "INVALID_JSON", "Invalid JSON");
}
