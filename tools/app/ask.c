/* SPDX-License-Identifier: MIT
 *
 * ask.c - see ask.h.
 */
#include "ask.h"

#include <string.h>

#include "app.h"
#include "client.h"
#include "fields.h"
#include "lib/text.h"
#include "names.h"
#include "rate.h"
#include "rights.h"
#include "rooms.h"
#include "talk.h"

#define DATA_DEPTH_MAX 2 /* a message in a DATA in a DATA */
#define WORDS_MAX 500

/* What a DATA holds, if that is a message; else the message itself. */
static json_t *core_of(const json_t *message)
{
	json_t *core = (json_t *)message;
	for (unsigned depth = 0; depth < DATA_DEPTH_MAX; depth++) {
		const char *type = json_string_value(json_object_get(core, "type"));
		json_t *data = json_object_get(core, "data");
		if (!type || strcmp(type, "DATA") != 0 || !json_is_string(json_object_get(data, "type")))
			break;
		core = data;
	}
	return core;
}

/* ---- which ---- */

static bool may(const struct app_client *client, unsigned permission)
{
	return client->permissions & (permission | APP_MAY_ADMIN);
}

static bool is_known_room(const struct app_client *client, const json_t *message, bool member)
{
	const json_t *room = json_object_get(message, "room");
	const char *name = json_string_value(room);
	size_t size = json_string_length(room);
	if (!name || size > APP_ROOM_NAME_MAX || !text_is_name(name, size))
		return false;
	bool is_member = app_rooms_find(client, name, size);
	return member ? is_member : !is_member && !app_rights_room(client, name, size);
}

static bool are_known_topics(const struct app_client *client, const json_t *topics)
{
	size_t index;
	json_t *each;
	json_array_foreach((json_t *)topics, index, each)
	{
		const char *name = json_string_value(each);
		size_t size = json_string_length(each);
		if (!name || size > APP_FEED_NAME_MAX || !text_is_name(name, size) ||
		    app_rights_topic(client, name, size))
			return false;
	}
	return json_array_size(topics);
}

static bool is_room_message(const struct app_client *client, const json_t *message)
{
	return may(client, APP_MAY_WRITE) && is_known_room(client, message, true);
}

static bool is_direct(const struct app_client *client, const json_t *message)
{
	return may(client, APP_MAY_WRITE) && json_is_string(json_object_get(message, "to"));
}

static bool is_broadcast(const struct app_client *client, const json_t *message)
{
	(void)message;
	return may(client, APP_MAY_BROADCAST);
}

static bool is_join(const struct app_client *client, const json_t *message)
{
	return may(client, APP_MAY_READ) && is_known_room(client, message, false);
}

static bool is_subscribe(const struct app_client *client, const json_t *message)
{
	return may(client, APP_MAY_READ) && are_known_topics(client, json_object_get(message, "topics"));
}

/* Reading what was said in a feed is following it, a little later. */
static bool is_history(const struct app_client *client, const json_t *message)
{
	const json_t *topic = json_object_get(message, "topic");
	size_t size = json_string_length(topic);
	const char *name = json_string_value(topic);
	return may(client, APP_MAY_READ) && name && !json_object_get(message, "room") && size <= APP_FEED_NAME_MAX &&
	       text_is_name(name, size) && !app_rights_topic(client, name, size);
}

static const struct asked {
	const char *type;
	enum app_hook hook;
	bool (*is_taken)(const struct app_client *client, const json_t *message);
} asked[] = {
	{ "room_message", APP_HOOK_MESSAGE, is_room_message },
	{ "partial", APP_HOOK_MESSAGE, is_room_message },
	{ "direct", APP_HOOK_MESSAGE, is_direct },
	{ "broadcast", APP_HOOK_MESSAGE, is_broadcast },
	{ "join_room", APP_HOOK_JOIN, is_join },
	{ "subscribe", APP_HOOK_SUBSCRIBE, is_subscribe },
	{ "history", APP_HOOK_SUBSCRIBE, is_history },
};

/* A type that is not the dialect's own. */
static const struct asked own = { NULL, APP_HOOK_MESSAGE, app_talk_is_taken };

static const struct asked *find(const struct app_client *client, const json_t *core)
{
	const char *type = json_string_value(json_object_get(core, "type"));
	if (!type || !client->user || client->expired)
		return NULL;
	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
		if (strcmp(asked[i].type, type) == 0)
			return app_hooks_has(client->app, asked[i].hook) && asked[i].is_taken(client, core) ? &asked[i]
			                                                                                    : NULL;
	if (app_hooks_has(client->app, own.hook) && own.is_taken(client, core))
		return &own;
	return NULL;
}

/* ---- the question ---- */

void app_ask_begin(const struct app_client *client, const char *hook, struct app_out *out)
{
	const char *user = client->user ? client->user->name : client->has_token ? client->claims.subject : NULL;
	app_out_text(out, "{\"hook\":\"");
	app_out_text(out, hook);
	app_out_text(out, "\",\"user\":");
	if (user)
		app_out_string(out, user, strlen(user));
	else
		app_out_text(out, "null");
	app_out_text(out, client->has_token && !client->guest ? ",\"authenticated\":true,\"address\":"
	                                                      : ",\"authenticated\":false,\"address\":");
	app_out_string(out, client->address->name, strlen(client->address->name));
}

void app_ask_topics(struct app_client *client, const json_t *topics, struct app_out *out)
{
	app_ask_begin(client, "subscribe", out);
	app_out_text(out, ",\"topics\":");
	app_out_value(out, topics);
	app_out_text(out, "}");
}

static void write_question(struct app_client *client, const struct asked *kind, const json_t *core, struct app_out *out)
{
	const json_t *topic = json_object_get(core, "topic");
	app_out_clear(out);
	if (kind->hook == APP_HOOK_JOIN) {
		app_ask_begin(client, "join", out);
		app_out_text(out, ",\"room\":");
		app_out_value(out, json_object_get(core, "room"));
		app_out_text(out, "}");
	} else if (kind->hook == APP_HOOK_MESSAGE) {
		app_ask_begin(client, "message", out);
		app_out_text(out, ",\"message\":");
		app_out_value(out, core);
		app_out_text(out, "}");
	} else if (kind->is_taken == is_subscribe) {
		app_ask_topics(client, json_object_get(core, "topics"), out);
	} else {
		app_ask_begin(client, "subscribe", out);
		app_out_text(out, ",\"topics\":[");
		app_out_value(out, topic);
		app_out_text(out, "]}");
	}
}

static bool pay(struct app_client *client, const json_t *message)
{
	return app_rate_take(client, json_object_get(message, "id"), APP_COST_HOOK);
}

/* ---- the answer ---- */

const char *app_ask_words(enum app_hook_verdict verdict, const json_t *answer)
{
	const json_t *words = json_object_get(answer, "message");
	if (verdict == APP_HOOK_BUSY)
		return "Too many questions wait for the application";
	if (verdict == APP_HOOK_AWAY)
		return "The application does not answer";
	return json_string_length(words) && json_string_length(words) <= WORDS_MAX ? json_string_value(words)
	                                                                           : "Refused by the application";
}

enum app_ask app_ask_answered(struct app_client *client, const json_t *message, enum app_hook_verdict verdict,
                              const json_t *answer, json_t **other)
{
	const json_t *id = json_object_get(message, "id"), *content = json_object_get(answer, "content");
	const char *words = app_ask_words(verdict, answer);
	*other = NULL;
	switch (verdict) {
	case APP_HOOK_LET:
		return APP_ASK_GO;
	case APP_HOOK_ALLOWED:
		if (!content)
			return APP_ASK_GO;
		*other = json_deep_copy(message);
		if (*other && json_object_set(core_of(*other), "content", (json_t *)content) == 0)
			return APP_ASK_GO;
		json_decref(*other);
		words = "out of memory";
		break;
	case APP_HOOK_UNPAID:
		return APP_ASK_OVER;
	case APP_HOOK_REFUSED:
	case APP_HOOK_UNKNOWN:
		app_send_error(client, id, "PERMISSION_DENIED", words);
		return APP_ASK_OVER;
	case APP_HOOK_TOO_MANY:
		app_send_error(client, id, "RATE_LIMIT_EXCEEDED", words);
		return APP_ASK_OVER;
	default:
		break;
	}
	app_send_error(client, id, "TRY_LATER", words);
	return APP_ASK_OVER;
}

static enum app_ask ask(struct app_client *client, const struct asked *kind, json_t *message, unsigned depth,
                        app_hold_decided *decided, json_t **other)
{
	struct app_out *out = &client->crew->head;
	json_t *answer;
	*other = NULL;
	write_question(client, kind, core_of(message), out);
	if (out->failed) {
		app_send_error(client, json_object_get(message, "id"), "TRY_LATER", "out of memory");
		return APP_ASK_OVER;
	}
	const struct app_question question = { .hook = kind->hook, .bytes = out->bytes, .size = out->size };
	enum app_hook_verdict verdict = app_hold_ask(client, &question, message, depth, decided, pay, &answer);
	enum app_ask ask = verdict == APP_HOOK_ASKED ? APP_ASK_WAIT
	                                             : app_ask_answered(client, message, verdict, answer, other);
	json_decref(answer);
	return ask;
}

enum app_ask app_ask_visit(struct app_client *client, json_t *message, app_hold_decided *decided)
{
	static const struct asked kind = { "join_room", APP_HOOK_JOIN, is_join };
	const struct app_member *member = client->members;
	json_t *other;
	if (!member || !app_hooks_has(client->app, APP_HOOK_JOIN) || app_rooms_has_user(client, member->room))
		return APP_ASK_GO;
	enum app_ask verdict = ask(client, &kind, message, 0, decided, &other);
	json_decref(other);
	return verdict;
}

enum app_ask app_ask_message(struct app_client *client, json_t *message, unsigned depth, app_hold_decided *decided,
                             json_t **other)
{
	const struct asked *kind = client->app->hooks.calls ? find(client, core_of(message)) : NULL;
	*other = NULL;
	return kind ? ask(client, kind, message, depth, decided, other) : APP_ASK_GO;
}
