/* SPDX-License-Identifier: MIT
 *
 * wish.c - see wish.h. It follows nothing, and knows no client.
 */
#include "wish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "app.h"
#include "client.h"
#include "lib/text.h"
#include "names.h"
#include "refusals.h"
#include "settings.h"

#define WAIT_S 25
#define WAIT_S_MAX 60
#define ROOMS_MAX 16 /* of a stream, or a session of polls */

/* ---- from an address to a message ---- */

static bool holds(const json_t *topics, const char *name, size_t size)
{
	size_t index;
	json_t *each;
	json_array_foreach((json_t *)topics, index, each)
	{
		if (json_string_length(each) == size && memcmp(json_string_value(each), name, size) == 0)
			return true;
	}
	return false;
}

/* The topics in the path, each once. Returns null, or what is wrong, with its status. */
static const char *take_topics(const char *list, size_t max, json_t *topics, int *status)
{
	size_t patterns = 0, items = 0;
	*status = 400;
	for (;; list++) {
		size_t size = strcspn(list, ",");
		if (!size || size > APP_FEED_NAME_MAX)
			return "expected /TOPIC[,TOPIC...], each of 1 to 200 bytes";
		if (app_name_reserved(list, size)) {
			*status = 403;
			return "topics that begin with room/ and data/ are the server's own";
		}
		if (items++ == max)
			return "too many topics";
		bool again = holds(topics, list, size);
		patterns += !again && list[size - 1] == '*';
		if (patterns > APP_PATTERNS_MAX)
			return "too many patterns: at most 16";
		json_t *name = again || !text_is_name(list, size) ? NULL : json_stringn(list, size);
		if (!again && (!name || json_array_append_new(topics, name)))
			return "a topic is UTF-8 without control characters";
		list += size;
		if (!*list)
			return NULL;
	}
}

/* "5,,7": a number for each topic of the path, in their order, or nothing. False when it is wrong. */
static bool take_numbers(const char *text, const char *field, const char *list, json_t *message)
{
	char name[APP_FEED_NAME_MAX + 1];
	if (!text)
		return true;
	json_t *numbers = json_object();
	if (json_object_set_new(message, field, numbers))
		return false;
	for (bool over = false;; over = !*list, list += *list == ',') {
		char *end = (char *)text;
		size_t size = strcspn(list, ",");
		unsigned long long number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
		if (number > INT64_MAX || (*end && *end != ',') || (end > text && over))
			return false;
		memcpy(name, list, size);
		name[size] = 0;
		if (end > text)
			json_object_set_new(numbers, name, json_integer((json_int_t)number));
		list += size;
		if (!*end)
			return true;
		text = end + 1;
	}
}

static bool is_on(const char *value)
{
	return value && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

/* "ID.NUMBER" */
static bool take_session(struct app_wish *wish, const char *text)
{
	char *end;
	if (strspn(text, "0123456789abcdef") != APP_SESSION_ID_SIZE || text[APP_SESSION_ID_SIZE] != '.')
		return false;
	memcpy(wish->session, text, APP_SESSION_ID_SIZE);
	text += APP_SESSION_ID_SIZE + 1;
	wish->session_number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
	return wish->session_number && wish->session_number < UINT64_MAX && !*end;
}

/* Rooms, divided by commas; and whether it hears what is for its user. */
static const char *take_rooms(struct app_wish *wish, const struct app_wish_words *words, int *status)
{
	wish->is_device = is_on(words->me) || words->rooms || words->session;
	*status = 400;
	if (words->session && (!wish->polls || *words->topics || !take_session(wish, words->session)))
		return "session is that of the last answer, and goes by /poll, without topics";
	/* Of a session that goes on, an empty list is one as well: it leaves its rooms. */
	if (words->rooms && !*words->rooms && words->session)
		return (wish->rooms = json_array()) ? NULL : "out of memory";
	for (const char *at = words->rooms; at; at = *at ? at + 1 : NULL) {
		size_t size = strcspn(at, ",");
		if (!size || size > APP_ROOM_NAME_MAX || !text_is_name(at, size))
			return "expected rooms=ROOM[,ROOM...]";
		if (json_array_size(wish->rooms) == ROOMS_MAX)
			return "too many rooms: at most 16";
		if (!wish->rooms)
			wish->rooms = json_array();
		json_array_append_new(wish->rooms, json_stringn(at, size));
		at += size;
	}
	return NULL;
}

const char *app_wish_take(struct app_wish *wish, const struct app_wish_words *words, size_t topics_max, int *status)
{
	json_t *topics;
	const char *wait = words->wait;
	char *end = NULL;
	unsigned long wait_s = wait && *wait >= '0' && *wait <= '9' ? strtoul(wait, &end, 10) : WAIT_S;
	*status = 503;
	if (!(wish->message = json_object()) || json_object_set_new(wish->message, "topics", topics = json_array()))
		return "out of memory";
	const char *wrong = take_rooms(wish, words, status);
	if (!wrong && !(wish->is_device && !*words->topics))
		wrong = take_topics(words->topics, topics_max, topics, status);
	if (wrong)
		return wrong;
	*status = 400;
	if (!take_numbers(words->since, "since", words->topics, wish->message) ||
	    !take_numbers(words->epoch, "epoch", words->topics, wish->message))
		return "since and epoch are whole numbers, one for each topic: ?since=5,,7";
	if (wait && (!end || *end))
		return "wait is a number of seconds, at most 60";
	unsigned long rate = words->rate && *words->rate >= '0' && *words->rate <= '9' ? strtoul(words->rate, &end, 10)
	                                                                               : 0;
	if (words->rate && (!rate || *end || rate > RC_RATE_MAX))
		return "rate is a number of updates a second, from 1 to 1000";
	wish->wait_s = wait_s < WAIT_S_MAX ? (unsigned)wait_s : WAIT_S_MAX;
	json_object_set_new(wish->message, "last", json_boolean(is_on(words->last)));
	json_object_set_new(wish->message, "conflate", json_boolean(is_on(words->conflate)));
	json_object_set_new(wish->message, "state", json_boolean(is_on(words->state)));
	json_object_set_new(wish->message, "snapshot", json_boolean(is_on(words->snapshot)));
	if (rate)
		json_object_set_new(wish->message, "rate", json_integer((json_int_t)rate));
	return NULL;
}

/* ---- headers for scripts of other sites ---- */

/* A header of the answer: of this one, and of the one that a waiting poll has later. */
static void add_header(rc_request *request, struct app_wish *wish, const char *name, const char *value)
{
	rc_request_add_header(request, name, value);
	size_t used = wish ? strlen(wish->headers) : 0, room = wish ? sizeof wish->headers - used : 0;
	if (wish && (size_t)snprintf(wish->headers + used, room, "%s: %s\r\n", name, value) >= room)
		wish->headers[used] = 0;
}

/* Scripts of other sites may read the answer where a WebSocket of theirs may connect. Whether this client is let in is
 * judged later. */
void app_wish_allow_origin(const struct app_settings *settings, rc_request *request, struct app_wish *wish)
{
	const char *origin = rc_request_header(request, "Origin");
	if (!origin || !app_access_origin(settings, request))
		return;
	add_header(request, wish, "Access-Control-Allow-Origin", origin);
	add_header(request, wish, "Vary", "Origin");
}

int app_wish_preflight(struct app *app, rc_request *request, const char *methods)
{
	const struct app_settings *settings = app_settings_now(app);
	if (!app_access_origin(settings, request))
		return app_refuse(app, request, 403, "this origin is not allowed");
	app_wish_allow_origin(settings, request, NULL);
	rc_request_add_header(request, "Access-Control-Allow-Methods", methods);
	rc_request_add_header(request, "Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID");
	rc_request_add_header(request, "Access-Control-Max-Age", "600");
	return rc_request_respond(request, 204, NULL, NULL, 0) ? 503 : 0;
}

/* ---- the request ---- */

int app_wish_read(struct app *app, rc_request *request, struct app_wish **out)
{
	const struct app_settings *settings = app_settings_now(app);
	const char *path = rc_request_path(request), *method = rc_request_method(request);
	bool polls = strncmp(path, "/poll/", 6) == 0;
	*out = NULL;
	const char *session = rc_request_query(request, "session");
	bool bare_poll = strcmp(path, "/poll") == 0;
	bool bare = (bare_poll || strcmp(path, "/sse") == 0) &&
	            (rc_request_query(request, "me") || rc_request_query(request, "rooms") || session);
	polls = polls || (bare && bare_poll);
	if (!polls && !bare && strncmp(path, "/sse/", 5) != 0)
		return -1;
	if (strcmp(method, "OPTIONS") == 0)
		return app_wish_preflight(app, request, "GET");
	if (atomic_load(&app->draining))
		return app_refuse(app, request, 503, "going away");
	struct app_wish *wish = calloc(1, sizeof *wish);
	if (!wish)
		return 503;
	int status;
	const struct app_wish_words words = {
		.topics = bare ? "" : path + (polls ? 6 : 5),
		.me = rc_request_query(request, "me"),
		.rooms = rc_request_query(request, "rooms"),
		.session = session,
		.since = rc_request_query(request, "since"),
		.epoch = rc_request_query(request, "epoch"),
		.wait = rc_request_query(request, "wait"),
		.last = rc_request_query(request, "last"),
		.conflate = rc_request_query(request, "conflate"),
		.state = rc_request_query(request, "state"),
		.snapshot = rc_request_query(request, "snapshot"),
		.rate = rc_request_query(request, "rate"),
	};
	const char *user = rc_request_query(request, "user");
	wish->user = user && text_is_name(user, strlen(user)) ? strdup(user) : NULL;
	wish->polls = polls;
	wish->after = rc_event_id(rc_request_header(request, "Last-Event-ID"));
	const char *wrong = app_wish_take(wish, &words, settings->subscriptions_max, &status);
	if (wrong) {
		app_wish_free(wish);
		return app_refuse(app, request, status, wrong);
	}
	app_wish_allow_origin(settings, request, wish);
	if (polls)
		add_header(request, wish, "Cache-Control", "no-store");
	*out = wish;
	return 0;
}

void app_wish_free(struct app_wish *wish)
{
	if (!wish)
		return;
	json_decref(wish->message);
	json_decref(wish->rooms);
	free(wish->user);
	free(wish);
}
