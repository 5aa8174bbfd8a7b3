/* SPDX-License-Identifier: MIT
 *
 * dialect.c - the messages of ringcast.json: text to a type and its handler, and what is said when something is wrong.
 * It must not do what a message asks for: that is in the file of its concern.
 *
 * Nothing that a client says closes its connection, except saying too much.
 */
#include <string.h>

#include "app.h"
#include "lib/wait.h"

#define DEPTH_MAX 2 /* a message, in a batch, in a DATA */

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
	const json_t *content = app_dialect_content(client, message, id);
	if (content)
		app_people_broadcast(client->app, client->user->name, content, id);
}

static void on_heartbeat(struct app_client *client, const json_t *message, const json_t *id)
{
	(void)message;
	app_reliable_heartbeat(client, id);
}

static const struct kind {
	const char *type;
	void (*handle)(struct app_client *client, const json_t *message, const json_t *id);
	unsigned permission;
	bool always; /* also from somebody whom we do not know (yet, or any more) */
} kinds[] = {
	{ "ping", on_ping, 0, true },
	{ "auth", app_access_auth, 0, true },
	{ "ACK", app_reliable_ack, 0, true },
	{ "HEARTBEAT", on_heartbeat, 0, true },
	{ "room_message", app_rooms_message, APP_MAY_WRITE, false },
	{ "direct", app_people_direct, APP_MAY_WRITE, false },
	{ "broadcast", on_broadcast, APP_MAY_BROADCAST, false },
	{ "join_room", app_rooms_join, APP_MAY_READ, false },
	{ "leave_room", app_rooms_leave, 0, false },
	{ "members", app_rooms_members, APP_MAY_READ, false },
	{ "subscribe", app_feeds_subscribe, APP_MAY_READ, false },
	{ "unsubscribe", app_feeds_unsubscribe, 0, false },
	{ "history", app_feeds_history, APP_MAY_READ, false },
	{ "batch", app_batch_receive, 0, true },
	{ "batching", app_batch_set, 0, false },
};
#define KIND_COUNT (sizeof kinds / sizeof *kinds)

/* ---- what is wrong ---- */

void app_dialect_error(struct app_client *client, const json_t *id, const char *code, const char *words)
{
	struct app_out *out = &client->crew->out;
	APP_COUNT(client->app, errors);
	app_out_clear(out);
	app_out_format(out, "{\"type\":\"error\",\"code\":\"%s\",\"message\":", code);
	app_out_string(out, words, strlen(words));
	if (id) {
		app_out_text(out, ",\"id\":");
		app_out_value(out, id);
	}
	app_out_text(out, "}");
	app_send(client, out);
}

static void wrong_field(struct app_client *client, const json_t *id, const char *field, const json_t *value,
                        const char *expected)
{
	char words[128];
	snprintf(words, sizeof words, "%s field: %s%s%s", value ? "Wrong" : "Missing", field,
	         value ? ": expected " : "", value ? expected : "");
	app_dialect_error(client, id, value ? "INVALID_FIELD" : "MISSING_FIELD", words);
}

static void too_long(struct app_client *client, const json_t *id, const char *field, size_t max)
{
	char words[128];
	snprintf(words, sizeof words, "Too long: %s has at most %zu characters", field, max);
	app_dialect_error(client, id, "TOO_LONG", words);
}

static size_t count_characters(const char *text, size_t size)
{
	size_t count = 0;
	for (size_t i = 0; i < size; i++)
		count += ((unsigned char)text[i] & 0xC0) != 0x80;
	return count;
}

const char *app_dialect_text(struct app_client *client, const json_t *message, const json_t *id, const char *field,
                             size_t max, size_t *size)
{
	const json_t *value = json_object_get(message, field);
	const char *text = json_string_value(value);
	*size = json_string_length(value);
	bool clean = text && *size;
	for (size_t i = 0; clean && i < *size; i++)
		clean = (unsigned char)text[i] >= ' ' && text[i] != 0x7f;
	if (!clean) {
		wrong_field(client, id, field, value, "a text without control characters");
		return NULL;
	}
	if (*size <= max)
		return text;
	too_long(client, id, field, max);
	return NULL;
}

/* Text counts by its characters, anything else by what it takes to write it down. */
const json_t *app_dialect_content(struct app_client *client, const json_t *message, const json_t *id)
{
	const json_t *content = json_object_get(message, "content");
	size_t max = app_settings_now(client->app)->content_max;
	if (!content || json_is_null(content)) {
		wrong_field(client, id, "content", content, "a value");
		return NULL;
	}
	struct app_out *scratch = &client->crew->tail;
	app_out_clear(scratch);
	if (!json_is_string(content))
		app_out_value(scratch, content);
	size_t size = json_is_string(content)
	                  ? count_characters(json_string_value(content), json_string_length(content))
	                  : scratch->size;
	if (size <= max)
		return content;
	too_long(client, id, "content", max);
	return NULL;
}

int64_t app_dialect_number(struct app_client *client, const json_t *message, const json_t *id, const char *field,
                           int64_t max, int64_t missing)
{
	const json_t *value = json_object_get(message, field);
	if (!value || json_is_null(value))
		return missing;
	if (json_is_integer(value) && json_integer_value(value) >= 0)
		return json_integer_value(value) < max ? json_integer_value(value) : max;
	wrong_field(client, id, field, value, "a whole number");
	return -1;
}

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
	app_dialect_error(client, NULL, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded");
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
	if (!kind->always && (!client->user || client->expired))
		app_dialect_error(client, id, "AUTH_REQUIRED", "Authentication required");
	else if ((client->permissions & (kind->permission | APP_MAY_ADMIN)) == 0 && kind->permission)
		app_dialect_error(client, id, "PERMISSION_DENIED", "Permission denied");
	else if (depth && (kind->handle == app_batch_receive || kind->handle == app_access_auth))
		app_dialect_error(client, id, "INVALID_FIELD", "This type must stand by itself");
	else
		kind->handle(client, message, id);
}

void app_dialect_handle(struct app_client *client, const json_t *message, unsigned depth)
{
	APP_COUNT(client->app, received);
	if (within_rate(client))
		app_dialect_handle_admitted(client, message, depth);
}

void app_dialect_handle_admitted(struct app_client *client, const json_t *message, unsigned depth)
{
	const json_t *type = json_object_get(message, "type"), *id = json_object_get(message, "id");
	if (!json_is_object(message)) {
		app_dialect_error(client, NULL, "INVALID_JSON", "Invalid JSON: expected an object");
		return;
	}
	if ((id && !json_is_string(id) && !json_is_integer(id)) || json_string_length(id) > APP_MESSAGE_ID_MAX) {
		wrong_field(client, NULL, "id", id, "a text of at most 128 bytes, or a whole number");
		return;
	}
	if (!json_is_string(type)) {
		wrong_field(client, id, "type", type, "a text");
		return;
	}
	const struct kind *kind = find_kind(json_string_value(type));
	if (kind)
		dispatch(client, kind, message, id, depth);
	else if (strcmp(json_string_value(type), "DATA") == 0 && depth < DEPTH_MAX)
		app_reliable_data(client, message, id, depth);
	else
		app_dialect_error(client, id, "UNKNOWN_TYPE", "Unknown type");
}

void app_dialect_receive(struct app_client *client, const struct rc_message *message)
{
	json_error_t error;
	json_t *value = message->opcode == RC_TEXT ? json_loadb((const char *)message->data, message->size,
	                                                        JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error)
	                                           : NULL;
	if (value) {
		app_dialect_handle(client, value, 0);
		json_decref(value);
		return;
	}
	APP_COUNT(client->app, received);
	if (within_rate(client))
		app_dialect_error(client, NULL, "INVALID_JSON", "Invalid JSON");
}
