/* SPDX-License-Identifier: MIT
 *
 * speaking.c - see speaking.h. The application is believed: what it says is not bounded but by body-max, not sanitised,
 * and may be of any type.
 */
#include "speaking.h"

#include <stdio.h>
#include <string.h>

#include "across.h"
#include "apart.h"
#include "app.h"
#include "date.h"
#include "forward.h"
#include "lib/text.h"
#include "names.h"
#include "passing.h"
#include "people.h"
#include "updates.h"

#define UNKNOWN INT64_MAX /* how many there are: of everybody nobody counts */

/* A message in two parts, between which its number comes; or whole, with the second part left out. */
struct saying {
	struct app_out head, tail;
	const struct app_out *rest;
	const json_t *exclude;
	bool passes;
	struct app_passing_key key;
};

static int fail(struct app_speaking *speaking, int status, const char *words)
{
	snprintf(speaking->wrong, sizeof speaking->wrong, "%s", words);
	return status;
}

static const char *name_in(const json_t *body, const char *field, size_t max, size_t *size)
{
	const json_t *value = json_object_get(body, field);
	const char *text = json_string_value(value);
	*size = json_string_length(value);
	return text && *size <= max && text_is_name(text, *size) ? text : NULL;
}

/* ---- what is said ---- */

static void write_whole(struct app_out *out, const json_t *body)
{
	static const char *const ours[] = { "exclude", "reliable" }; /* are said to the server alone */
	const char *before = "{", *key;
	json_t *value;
	json_object_foreach((json_t *)body, key, value)
	{
		if (strcmp(key, ours[0]) == 0 || strcmp(key, ours[1]) == 0)
			continue;
		app_out_text(out, before);
		app_out_string(out, key, strlen(key));
		app_out_text(out, ":");
		app_out_value(out, value);
		before = ",";
	}
	app_out_text(out, "}");
}

/* Around a content. `room` may be null. */
static void write_around(struct saying *saying, const json_t *body, const char *type, const char *room,
                         size_t room_size)
{
	size_t size;
	const char *from = name_in(body, "from", APP_SUBJECT_SIZE_MAX, &size);
	struct app_out *tail = &saying->tail;
	app_out_format(&saying->head, "{\"type\":\"%s\",\"id\":\"", type);
	app_out_text(tail, "\",\"from\":");
	app_out_string(tail, from ? from : "server", from ? size : 6);
	if (room) {
		app_out_text(tail, ",\"room\":");
		app_out_string(tail, room, room_size);
	}
	app_out_text(tail, ",\"content\":");
	app_out_value(tail, json_object_get(body, "content"));
	app_out_format(tail, ",\"timestamp\":%llu%s", (unsigned long long)app_date_ms(),
	               saying->passes ? ",\"ephemeral\":true}" : "}");
	saying->rest = tail;
}

/* Reads the body. Returns 0, or a status. `type` is that of a content without one. */
static int begin(struct app_speaking *speaking, struct saying *saying, const char *type, const char *room, size_t size)
{
	const struct app_settings *settings = app_settings_now(speaking->app);
	const json_t *body = speaking->body, *said = json_object_get(body, "type");
	const json_t *ephemeral = json_object_get(body, "ephemeral");
	const char *name = said ? json_string_value(said) : type,
		   *from = json_string_value(json_object_get(body, "from"));
	*saying = (struct saying){ .exclude = json_object_get(body, "exclude") };
	if (!name || (!said && !json_object_get(body, "content")))
		return fail(speaking, 400, "expected {\"content\":VALUE}, or a whole message, {\"type\":NAME, ...}");
	if (!app_apart_is_list(saying->exclude))
		return fail(speaking, 400, "exclude is an array of at most 32 names of users");
	if (ephemeral && !json_is_boolean(ephemeral))
		return fail(speaking, 400, "ephemeral is true or false");
	saying->passes = ephemeral ? json_is_true(ephemeral) : app_names_hold(settings->ephemeral, name, strlen(name));
	saying->key = app_passing_key_of(speaking->app, from ? from : "server", name);
	if (said)
		write_whole(&saying->head, body);
	else
		write_around(saying, body, type, room, size);
	return 0;
}

/* The parts in one, where no number of the log comes between them. */
static const struct app_out *join(struct app *app, struct saying *saying)
{
	if (saying->rest) {
		app_out_format(&saying->head, "%llx-%llx", (unsigned long long)app->epoch,
		               (unsigned long long)atomic_fetch_add(&app->numbers, 1));
		app_out_bytes(&saying->head, saying->tail.bytes, saying->tail.size);
		saying->head.failed |= saying->tail.failed;
		saying->rest = NULL;
	}
	return &saying->head;
}

static int end(struct app_speaking *speaking, struct saying *saying, int64_t count, const char *number,
               struct app_out *out)
{
	app_out_free(&saying->head);
	app_out_free(&saying->tail);
	if (count < 0)
		return fail(speaking, 503,
		            app_spans(speaking->app) ? APP_SPAN_AWAY
		                                     : "the server is overloaded; the message was not sent");
	app_out_text(out, "{\"ok\":true");
	if (count != UNKNOWN)
		app_out_format(out, ",\"delivered\":%lld", (long long)count);
	if (*number)
		app_out_format(out, ",\"id\":\"%s\"", number);
	app_out_text(out, "}");
	return 200;
}

/* ---- on several nodes ---- */

static struct app_across begin_across(struct app_speaking *speaking, struct saying *saying, bool whole)
{
	whole = whole || saying->exclude || saying->passes;
	return (struct app_across){
		.said = { .app = speaking->app,
		          .done = app_forward_done,
		          .context = app_forward_begin(speaking->app, speaking->conn) },
		.exclude = saying->exclude,
		.passes = saying->passes,
		.key = saying->key,
		.head = whole ? join(speaking->app, saying) : &saying->head,
		.tail = whole ? NULL : saying->rest,
	};
}

/* What was written is answered later, with what `out` has by now. */
static int end_across(struct app_across *across, int status, bool written, bool numbered, struct app_out *out)
{
	struct app_forwarded *forwarded = across->said.context;
	if (!written || status != 200) {
		app_forward_cancel(forwarded);
		return status;
	}
	app_forward_answer(forwarded, out, numbered);
	return APP_SPEAKING_WAITS;
}

static int across_to_room(struct app_speaking *speaking, struct saying *saying, const char *room, size_t size,
                          struct app_out *out)
{
	struct app_across across = begin_across(speaking, saying, false);
	int64_t count = across.said.context ? app_across_to_room(&across, room, size) : -1;
	bool numbered = across.tail;
	return end_across(&across, end(speaking, saying, count, "", out), count > 0, numbered, out);
}

static int across_to_all(struct app_speaking *speaking, struct saying *saying, struct app_out *out)
{
	struct app_across across = begin_across(speaking, saying, false);
	bool written = across.said.context && app_across_to_all(&across) >= 0;
	return end_across(&across, end(speaking, saying, written ? UNKNOWN : -1, "", out), written, false, out);
}

static int write_devices(struct app_speaking *speaking, struct saying *saying, int devices, struct app_out *out)
{
	if (saying->passes)
		return end(speaking, saying, devices == -3 ? -1 : devices, "", out);
	app_out_free(&saying->head);
	app_out_free(&saying->tail);
	if (devices == -2)
		return fail(speaking, 503, "the user is away, and the message cannot be stored");
	if (devices == -3)
		return fail(speaking, 503, APP_SPAN_AWAY);
	app_out_format(out, "{\"delivered\":%d,\"stored\":%s}", devices > 0 ? devices : 0,
	               devices < 0 ? "true" : "false");
	return 200;
}

static int across_to_user(struct app_speaking *speaking, struct saying *saying, const char *to, size_t size,
                          bool reliable, struct app_out *out)
{
	struct app_across across = begin_across(speaking, saying, true);
	int devices = across.said.context ? app_across_to_user(&across, to, size, reliable, 0) : -3;
	return end_across(&across, write_devices(speaking, saying, devices, out), devices != -3, false, out);
}

/* ---- to whom ---- */

/* Publishes to a room, if there is one of this name. */
static int64_t publish_to_room(struct app *app, const char *name, size_t size, const struct saying *saying,
                               char *number)
{
	char topic[RC_TOPIC_NAME_MAX + 1];
	size_t topic_size = 0, count = 0;
	pthread_mutex_lock(&app->directory.lock);
	const struct app_room *room = app_directory_room(&app->directory, name, size);
	if (room) {
		topic_size = room->topic_size;
		memcpy(topic, room->topic, topic_size);
		count = room->member_count;
	}
	pthread_mutex_unlock(&app->directory.lock);
	if (!count)
		return 0;
	int64_t code = app_updates_publish_room(app, topic, topic_size, &saying->head, saying->rest, 0, number);
	return code < 0 ? code : (int64_t)count;
}

int app_speaking_to_room(struct app_speaking *speaking, const char *room, size_t size, struct app_out *out)
{
	struct app *app = speaking->app;
	struct saying saying;
	char number[APP_NUMBER_SIZE] = "";
	int64_t count;
	if (size > APP_ROOM_NAME_MAX || !text_is_name(room, size))
		return fail(speaking, 400, "a room's name is UTF-8 of 1 to 100 bytes without control characters");
	int status = begin(speaking, &saying, "room_message", room, size);
	if (status)
		return status;
	if (app_spans(app))
		return across_to_room(speaking, &saying, room, size, out);
	if (saying.exclude) {
		const struct app_apart apart = { .exclude = saying.exclude,
			                         .passes = saying.passes,
			                         .message = join(app, &saying) };
		count = app_apart_to_room(app, room, size, &apart);
	} else if (saying.passes) {
		count = app_passing_to_room_named(app, room, size, &saying.key, join(app, &saying));
	} else {
		count = publish_to_room(app, room, size, &saying, number);
	}
	return end(speaking, &saying, count, number, out);
}

int app_speaking_to_all(struct app_speaking *speaking, struct app_out *out)
{
	struct app *app = speaking->app;
	struct saying saying;
	char number[APP_NUMBER_SIZE] = "";
	int64_t count;
	int status = begin(speaking, &saying, "broadcast", NULL, 0);
	if (status)
		return status;
	if (app_spans(app))
		return across_to_all(speaking, &saying, out);
	if (saying.exclude) {
		const struct app_apart apart = { .exclude = saying.exclude,
			                         .passes = saying.passes,
			                         .message = join(app, &saying) };
		count = app_apart_to_all(app, &apart);
	} else if (saying.passes) {
		count = app_passing_to_all(app, NULL, &saying.key, join(app, &saying)) < 0 ? -1 : UNKNOWN;
	} else {
		int64_t code = app_people_publish(app, &saying.head, saying.rest, number);
		count = code < 0 ? code : UNKNOWN;
	}
	return end(speaking, &saying, count, "", out);
}

int app_speaking_to_user(struct app_speaking *speaking, struct app_out *out)
{
	struct app *app = speaking->app;
	struct saying saying;
	size_t size;
	const char *to = name_in(speaking->body, "to", APP_SUBJECT_SIZE_MAX, &size);
	if (!to)
		return fail(speaking, 400,
		            "expected {\"to\":USER,\"content\":VALUE}, or a whole message that has `to`");
	int status = begin(speaking, &saying, "direct", NULL, 0);
	if (status)
		return status;
	const bool reliable = json_is_true(json_object_get(speaking->body, "reliable"));
	if (app_spans(app))
		return across_to_user(speaking, &saying, to, size, reliable, out);
	const struct app_out *message = join(app, &saying);
	if (saying.passes)
		return end(speaking, &saying, app_passing_to_user(app, to, size, NULL, &saying.key, message), "", out);
	int devices = message->failed ? -2
	                              : app_people_deliver(app, to, size, message->bytes, message->size, reliable, 0);
	return write_devices(speaking, &saying, devices, out);
}
