/* SPDX-License-Identifier: MIT
 *
 * entry.c - see entry.h.
 */
#include "entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "app.h"
#include "ask.h"
#include "client.h"
#include "date.h"
#include "hold.h"
#include "lib/local.h"
#include "lib/log.h"
#include "lib/wait.h"
#include "login.h"
#include "people.h"
#include "plain.h"
#include "rate.h"
#include "refusals.h"
#include "ringcast_request.h"
#include "speech.h"
#include "wire.h"
#include "wish.h"

/* Close codes that say what an HTTP status would. */
enum { CLOSE_UNKNOWN = 3401, CLOSE_FORBIDDEN = 3403, CLOSE_TOO_MANY = 3429 };

/* ---- the question ---- */

static void add_text(struct app_out *out, const char *text)
{
	/* Header bytes may be anything. */
	app_out_string(out, text, rc_text_valid(text, strlen(text)) ? strlen(text) : 0);
}

static void add_header(struct app_out *out, const rc_request *request, const char *name, unsigned *count)
{
	const char *value = rc_request_header(request, name);
	if (!value)
		return;
	app_out_text(out, (*count)++ ? "," : "");
	app_out_string(out, name, strlen(name));
	app_out_text(out, ":");
	add_text(out, value);
}

/* A browser adds cookies whatever page asks: they go on only if the page is known, as for a token in them. Of a
 * WebSocket it says which page that is; who does not is no browser. */
static void add_headers(struct app_out *out, struct app *app, const rc_request *request)
{
	static const char *const sent[] = {
		"authorization",         "x-api-key", "origin", "host", "user-agent", "accept-language",
		"sec-websocket-protocol"
	};
	const struct option_list *more = &app->started->hooks.headers;
	bool cookies = app_access_cookies(app_settings_now(app), request);
	unsigned count = 0;
	app_out_text(out, ",\"headers\":{");
	if (cookies || (rc_request_is_websocket(request) && !rc_request_header(request, "Origin")))
		add_header(out, request, "cookie", &count);
	for (size_t i = 0; i < sizeof sent / sizeof *sent; i++)
		add_header(out, request, sent[i], &count);
	for (unsigned i = 0; i < more->count; i++)
		add_header(out, request, more->items[i], &count);
	app_out_text(out, "}");
}

static void write_question(struct app *app, rc_request *request, const struct app_client *client, struct app_out *out)
{
	app_out_clear(out);
	app_ask_begin(client, "connect", out);
	app_out_text(out, ",\"path\":");
	add_text(out, rc_request_path(request));
	app_out_text(out, ",\"query\":");
	add_text(out, rc_request_query_string(request));
	add_headers(out, app, request);
	app_out_text(out, "}");
}

static bool pay_address(struct app_client *client, const json_t *message)
{
	(void)message;
	return app_address_take(client->app, client->address, APP_COST_HOOK_CONNECT);
}

/* ---- what the answer makes of a client ---- */

struct outcome {
	bool in;
	int status;    /* else of HTTP */
	uint16_t code; /* and of a Close */
	const char *words;
};

static struct outcome refuse(int status, uint16_t code, const char *words)
{
	return (struct outcome){ .status = status, .code = code, .words = words };
}

static struct outcome refusal_of(enum app_hook_verdict verdict, const json_t *answer)
{
	const char *words = app_ask_words(verdict, answer);
	switch (verdict) {
	case APP_HOOK_UNKNOWN:
		return refuse(401, CLOSE_UNKNOWN, words);
	case APP_HOOK_REFUSED:
		return refuse(403, CLOSE_FORBIDDEN, words);
	case APP_HOOK_UNPAID:
		return refuse(429, CLOSE_TOO_MANY, "Too many requests");
	case APP_HOOK_TOO_MANY:
	case APP_HOOK_BUSY:
		return refuse(429, CLOSE_TOO_MANY, words);
	default:
		return refuse(503, RC_CLOSE_TRY_LATER, words);
	}
}

/* Takes the place of a user; false: it has too many connections. A stream or a poll is nobody's device yet, and who
 * only speaks never is. */
static bool take_place(struct app_client *client, const char *name)
{
	if (client->speech)
		return app_people_lend(client, name);
	return client->wish || app_people_reserve(client->app, client, name);
}

static struct outcome enter_without_name(struct app_client *client)
{
	client->permissions = app_settings_now(client->app)->permissions;
	if (client->claimed)
		return refuse(503, RC_CLOSE_TRY_LATER,
		              "The application does not answer, and nobody else knows this user");
	if (!take_place(client, client->id))
		return refuse(429, CLOSE_TOO_MANY, "too many connections");
	return (struct outcome){ .in = true };
}

/* Nobody yet: it may send `auth`. */
static struct outcome enter_unknown(struct app_client *client)
{
	if (client->wish || client->speech)
		return refuse(401, CLOSE_UNKNOWN, "a token is needed");
	client->times.auth_ns = clock_now() + app_settings_now(client->app)->auth_timeout_ms * NS_PER_MS;
	return (struct outcome){ .in = true };
}

static struct outcome enter_as(struct app_client *client, const json_t *answer)
{
	const json_t *user = json_object_get(answer, "user");
	const char *name = json_string_value(user);
	struct app_claims claims;
	if (json_is_null(user))
		return enter_unknown(client);
	bool guest = !user;
	if (guest)
		name = client->claimed ? client->claimed : client->id;
	enum app_token_verdict verdict = name ? app_claims_read(answer, name, app_date_ms() / 1000, &claims)
	                                      : APP_TOKEN_CLAIMS;
	if (verdict == APP_TOKEN_EXPIRED)
		return refuse(401, CLOSE_UNKNOWN, "The session has expired");
	if (verdict != APP_TOKEN_VALID) {
		log_say(LEVEL_WARNING, "hook", client->id,
		        "hook-connect: user, permissions, rooms, topics or expires is wrong");
		return refuse(503, RC_CLOSE_TRY_LATER, "The application's answer is wrong");
	}
	if (client->claimed && strcmp(client->claimed, claims.subject) != 0) {
		app_claims_free(&claims);
		return refuse(403, CLOSE_FORBIDDEN, "The session is another user's");
	}
	if (!take_place(client, claims.subject)) {
		app_claims_free(&claims);
		return refuse(429, CLOSE_TOO_MANY, "this user has too many connections");
	}
	if (client->bucket.at_ns && !guest)
		app_rate_become(client, claims.subject, 0);
	app_login_take(client, &claims);
	client->by_hook = true;
	client->guest = guest;
	return (struct outcome){ .in = true };
}

static struct outcome take_answer(struct app_client *client, enum app_hook_verdict verdict, const json_t *answer)
{
	if (verdict == APP_HOOK_ALLOWED)
		return enter_as(client, answer);
	if (verdict == APP_HOOK_LET)
		return enter_without_name(client);
	return refusal_of(verdict, answer);
}

static void log_refusal(const struct app_client *client, const char *hook, const struct outcome *outcome)
{
	char words[160];
	APP_COUNT(client->app, rejected);
	snprintf(words, sizeof words, "hook-%s: %s", hook, outcome->words);
	app_refusals_note(client->app, client->address->name, outcome->status, words);
}

/* What the backend does not know was shown in vain. */
static void note_failure(const struct app_client *client, const struct outcome *outcome)
{
	if (outcome->status == 401)
		app_refusals_failed(client->app, client->address->name);
}

/* ---- a request that is refused before it opens, or a client after ---- */

static int refuse_request(struct app_client *client, rc_request *request, const struct outcome *outcome)
{
	note_failure(client, outcome);
	return app_refuse(client->app, request, outcome->status, outcome->words);
}

static void refuse_client(struct app_client *client, const char *hook, const struct outcome *outcome)
{
	char words[124]; /* the most that a Close takes, cut before a character */
	log_refusal(client, hook, outcome);
	note_failure(client, outcome);
	if (client->wish) {
		app_plain_refuse(client, outcome->status, outcome->words);
		return;
	}
	if (client->speech) {
		app_speech_refuse(client, outcome->status, outcome->words);
		return;
	}
	size_t size = strlen(outcome->words);
	size = size < sizeof words ? size : sizeof words - 1;
	while (size && (outcome->words[size] & 0xc0) == 0x80)
		size--;
	snprintf(words, sizeof words, "%.*s", (int)size, outcome->words);
	app_close(client, outcome->code, words);
}

/* ---- topics of a stream or a poll ---- */

static void topics_decided(struct app_client *client, enum app_hook_verdict verdict, const json_t *answer)
{
	if (verdict == APP_HOOK_ALLOWED || verdict == APP_HOOK_LET) {
		app_plain_go(client);
		return;
	}
	const struct outcome outcome = refusal_of(verdict, answer);
	refuse_client(client, "subscribe", &outcome);
}

static enum app_hook_verdict ask_topics(struct app_client *client, json_t **answer)
{
	struct app_out *out = &client->crew->head;
	*answer = NULL;
	if (!app_hooks_has(client->app, APP_HOOK_SUBSCRIBE))
		return APP_HOOK_ALLOWED;
	app_out_clear(out);
	app_ask_topics(client, json_object_get(client->wish->message, "topics"), out);
	const struct app_question question = { .hook = APP_HOOK_SUBSCRIBE, .bytes = out->bytes, .size = out->size };
	return app_hold_ask(client, &question, NULL, 0, topics_decided, pay_address, answer);
}

int app_entry_ask_topics(struct app_client *client, rc_request *request)
{
	json_t *answer;
	enum app_hook_verdict verdict = ask_topics(client, &answer);
	int status = 0;
	client->opened = true;
	if (verdict != APP_HOOK_ASKED && verdict != APP_HOOK_ALLOWED && verdict != APP_HOOK_LET) {
		const struct outcome outcome = refusal_of(verdict, answer);
		client->opened = false;
		status = refuse_request(client, request, &outcome);
	}
	json_decref(answer);
	return status;
}

/* A stream or a poll whose user is known by now. */
static void go_on_plain(struct app_client *client)
{
	json_t *answer;
	const char *why = app_login_why_not_these(client);
	if (why) {
		const struct outcome outcome = refuse(403, CLOSE_FORBIDDEN, why);
		refuse_client(client, "connect", &outcome);
		return;
	}
	enum app_hook_verdict verdict = ask_topics(client, &answer);
	if (verdict != APP_HOOK_ASKED)
		topics_decided(client, verdict, answer);
	json_decref(answer);
}

/* ---- who connects ---- */

void app_entry_begin(struct app_client *client)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_type(out, "welcome", NULL);
	app_out_format(out, ",\"clientId\":\"%s\",\"serverTime\":", client->id);
	app_date_write(out);
	if (client->user) {
		app_out_text(out, ",\"userId\":");
		app_out_string(out, client->user->name, client->user->node.name_size);
	}
	app_out_text(out, "}");
	app_send(client, out);
	log_say(LEVEL_DEBUG, "open", client->id, "user %s", client->user ? client->user->name : "not yet known");
	if (client->user)
		app_people_arrive(client);
}

static void decided(struct app_client *client, enum app_hook_verdict verdict, const json_t *answer)
{
	const struct outcome outcome = take_answer(client, verdict, answer);
	if (!outcome.in)
		refuse_client(client, "connect", &outcome);
	else if (client->wish)
		go_on_plain(client);
	else if (client->speech)
		app_speech_begin(client);
	else
		app_entry_begin(client);
}

int app_entry_ask(struct app *app, rc_request *request, struct app_client *client, const char *user)
{
	struct app_out *out = &client->crew->head;
	json_t *answer;
	int status = 0;
	client->claimed = user ? strdup(user) : NULL;
	if (user && !client->claimed)
		return 503;
	write_question(app, request, client, out);
	if (out->failed)
		return 503;
	const struct app_question question = { .hook = APP_HOOK_CONNECT, .bytes = out->bytes, .size = out->size };
	enum app_hook_verdict verdict = app_hold_ask(client, &question, NULL, 0, decided, pay_address, &answer);
	client->opened = true;
	if (verdict != APP_HOOK_ASKED) {
		struct outcome outcome = take_answer(client, verdict, answer);
		const char *why = outcome.in && client->wish ? app_login_why_not_these(client) : NULL;
		if (why)
			outcome = refuse(403, CLOSE_FORBIDDEN, why);
		if (!outcome.in) {
			client->opened = false;
			status = refuse_request(client, request, &outcome);
		}
	}
	json_decref(answer);
	return status;
}
