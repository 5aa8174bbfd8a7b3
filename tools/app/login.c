/* SPDX-License-Identifier: MIT
 *
 * login.c - see login.h.
 */
#include "login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "access.h"
#include "app.h"
#include "ask.h"
#include "client.h"
#include "content.h"
#include "date.h"
#include "directory.h"
#include "feeds.h"
#include "feeds_messages.h"
#include "fields.h"
#include "heartbeat.h"
#include "lib/text.h"
#include "lib/wait.h"
#include "paths.h"
#include "people.h"
#include "rate.h"
#include "refusals.h"
#include "rights.h"
#include "rooms.h"
#include "wire.h"
#include "wish.h"

#define COOKIE_NAME "token"

/* ---- tokens in a handshake ---- */

static const char *from_cookie(const char *cookies, char *scratch, size_t room)
{
	static const char name[] = COOKIE_NAME "=";
	while (cookies && *cookies) {
		cookies += strspn(cookies, " ;");
		size_t size = strcspn(cookies, ";");
		if (strncmp(cookies, name, sizeof name - 1) == 0 && size - (sizeof name - 1) < room) {
			size -= sizeof name - 1;
			memcpy(scratch, cookies + sizeof name - 1, size);
			scratch[size] = 0;
			return scratch;
		}
		cookies += size;
	}
	return NULL;
}

/* A browser's script can set no header but this: new WebSocket(url, ["ringcast.json", token]). */
static const char *from_protocols(const char *list, char *scratch, size_t room)
{
	const char *second = list ? strchr(list, ',') : NULL;
	if (!second)
		return NULL;
	second += 1 + strspn(second + 1, " \t");
	size_t size = strcspn(second, ", \t");
	/* A token has three parts. Anything else offered there is a protocol, and not for us. */
	const char *dot = memchr(second, '.', size);
	if (!dot || !memchr(dot + 1, '.', size - (size_t)(dot + 1 - second)) || size >= room)
		return NULL;
	memcpy(scratch, second, size);
	scratch[size] = 0;
	return scratch;
}

static const char *find_token(const struct app_settings *settings, rc_request *request, char *scratch, size_t room)
{
	const char *header = rc_request_header(request, "Authorization");
	if (header && strncasecmp(header, "Bearer ", 7) == 0)
		return header + 7 + strspn(header + 7, " ");
	const char *token = rc_request_query(request, "token");
	if (!token && app_access_cookies(settings, request))
		token = from_cookie(rc_request_header(request, "Cookie"), scratch, room);
	if (!token)
		token = from_protocols(rc_request_header(request, "Sec-WebSocket-Protocol"), scratch, room);
	return token;
}

/* What a client may do whose token says so, or for whom the settings do. */
static unsigned permissions_of(const struct app_client *client, const struct app_settings *settings)
{
	if (client->has_token && client->claims.has_permissions)
		return client->claims.permissions;
	return client->has_token && settings->token_permissions == APP_CLAIMS_NEEDED ? 0 : settings->permissions;
}

void app_login_take(struct app_client *client, struct app_claims *claims)
{
	const struct app_settings *settings = app_settings_now(client->app);
	uint64_t now_ns = clock_now(), real_ms = app_date_ms();
	app_claims_free(&client->claims);
	client->claims = *claims;
	client->has_token = true;
	client->expired = false;
	client->permissions = permissions_of(client, settings);
	client->times.auth_ns = client->times.expiry_ns = APP_NEVER;
	if (claims->expires_s && claims->expires_s < UINT64_MAX / NS_PER_SECOND / 2) {
		uint64_t left_ms = claims->expires_s * 1000 > real_ms ? claims->expires_s * 1000 - real_ms : 0;
		client->times.expiry_ns = now_ns + left_ms * 1000000;
	}
}

/* A token is missing or wrong: the answer says what to send instead. */
static int refuse_token(struct app *app, rc_request *request, const char *words)
{
	rc_request_add_header(request, "WWW-Authenticate", "Bearer");
	return app_refuse(app, request, 401, words);
}

static int enter(struct app *app, rc_request *request, struct app_client *client, const char *name)
{
	if (!app_people_reserve(app, client, name))
		return app_refuse(app, request, 429, "this user has too many connections");
	client->opened = true;
	return 0;
}

/* Sets client->has_token. Otherwise the request has been answered, or is to be answered with the returned status. */
static int take_token(struct app *app, rc_request *request, struct app_client *client, const char *token)
{
	const struct app_settings *settings = app_settings_now(app);
	struct app_claims claims;
	enum app_token_verdict verdict = app_token_check(&settings->keys, &settings->token_rules, token, strlen(token),
	                                                 app_date_ms() / 1000, &claims);
	if (verdict != APP_TOKEN_VALID) {
		char words[128];
		snprintf(words, sizeof words, "the token is refused: %s", app_token_verdict_text(verdict));
		app_refusals_failed(app, client->address->name);
		return refuse_token(app, request, words);
	}
	app_login_take(client, &claims);
	return 0;
}

/* Who tried in vain too often. Its tokens are not looked at. */
static int refuse_login(struct app *app, rc_request *request)
{
	rc_request_add_header(request, "Retry-After", "60");
	return app_refuse(app, request, 429, "too many failed logins from this address");
}

/* Whether one of our keys signed it, and all of it is as it should be. */
static bool is_ours(struct app *app, const char *token)
{
	const struct app_settings *settings = app_settings_now(app);
	struct app_claims claims;
	if (!token || app_token_check(&settings->keys, &settings->token_rules, token, strlen(token),
	                              app_date_ms() / 1000, &claims) != APP_TOKEN_VALID)
		return false;
	app_claims_free(&claims);
	return true;
}

static int judge_token(struct app *app, rc_request *request, struct app_client *client, const char *token,
                       const char *user)
{
	int status = take_token(app, request, client, token);
	if (status || !client->has_token)
		return status;
	if (user && strcmp(user, client->claims.subject) != 0) {
		app_refusals_failed(app, client->address->name);
		return app_refuse(app, request, 403, "the token is another user's");
	}
	return enter(app, request, client, client->claims.subject);
}

int app_login_judge(struct app *app, rc_request *request, struct app_client *client, app_login_ask *ask)
{
	const struct app_settings *settings = app_settings_now(app);
	const char *user;
	char scratch[APP_TOKEN_SIZE_MAX + 1];
	app_paths_find(settings, rc_request_path(request), &user);
	if (!app_paths_agree(settings, request, &client->form))
		return 503;
	if (user && (strlen(user) > APP_SUBJECT_SIZE_MAX || strchr(user, '/')))
		return app_refuse(app, request, 400, "a user's name has at most 128 bytes and no /");
	if (user && !text_is_name(user, strlen(user)))
		return app_refuse(app, request, 400, "a user's name has no control characters");
	if (user && settings->sanitize && !app_content_is_plain(user, strlen(user)))
		return app_refuse(app, request, 400, "a user's name has no < > & or quotes here");
	const char *token = settings->auth == APP_AUTH_OFF ? NULL
	                                                   : find_token(settings, request, scratch, sizeof scratch);
	if ((token || ask) && !app_refusals_may_login(app, client->address->name))
		return refuse_login(app, request);
	if (ask && !is_ours(app, token))
		return ask(app, request, client, user);
	if (token)
		return judge_token(app, request, client, token, user);
	client->permissions = settings->permissions;
	if (settings->auth == APP_AUTH_OFF || (settings->auth == APP_AUTH_OPTIONAL && !user))
		return enter(app, request, client, user ? user : client->id);
	if (!app_refusals_may_login(app, client->address->name))
		return refuse_login(app, request);
	/* It may still say who it is; until then it is nobody, and may do nothing. */
	client->permissions = 0;
	client->times.auth_ns = clock_now() + settings->auth_timeout_ms * UINT64_C(1000000);
	client->claimed = user ? strdup(user) : NULL;
	if (user && !client->claimed)
		return 503;
	client->opened = true;
	return 0;
}

const char *app_login_why_not_these(const struct app_client *client)
{
	size_t index;
	const char *why = NULL;
	json_t *each;
	json_array_foreach(json_object_get(client->wish->message, "topics"), index, each)
	{
		why = app_rights_topic(client, json_string_value(each), json_string_length(each));
		if (why)
			break;
	}
	return why;
}

/* Who asks by plain HTTP says who it is now or never; it only reads, and is nobody's device. */
int app_login_judge_plain(struct app *app, rc_request *request, struct app_client *client, app_login_ask *ask)
{
	const struct app_settings *settings = app_settings_now(app);
	char scratch[APP_TOKEN_SIZE_MAX + 1];
	const char *token = settings->auth == APP_AUTH_OFF ? NULL
	                                                   : find_token(settings, request, scratch, sizeof scratch);
	if ((token || ask) && !app_refusals_may_login(app, client->address->name))
		return refuse_login(app, request);
	if (ask && !is_ours(app, token))
		return ask(app, request, client, NULL);
	if (!token && settings->auth != APP_AUTH_OFF && settings->auth != APP_AUTH_OPTIONAL)
		return refuse_token(app, request, "a token is needed");
	client->permissions = settings->permissions;
	int status = token ? take_token(app, request, client, token) : 0;
	if (status || (token && !client->has_token))
		return status;
	const char *why = app_login_why_not_these(client);
	if (why)
		return app_refuse(app, request, 403, why);
	client->opened = true;
	return 0;
}

int app_login_judge_speaker(struct app *app, rc_request *request, struct app_client *client, const char *user,
                            app_login_ask *ask)
{
	const struct app_settings *settings = app_settings_now(app);
	char scratch[APP_TOKEN_SIZE_MAX + 1];
	const char *token = settings->auth == APP_AUTH_OFF ? NULL
	                                                   : find_token(settings, request, scratch, sizeof scratch);
	if ((token || ask) && !app_refusals_may_login(app, client->address->name))
		return refuse_login(app, request);
	if (ask && !is_ours(app, token))
		return ask(app, request, client, user);
	/* A name of one's own choice is good where nobody shows who he is. */
	if (!token && (settings->auth == APP_AUTH_REQUIRED || (settings->auth != APP_AUTH_OFF && user)))
		return refuse_token(app, request, "a token is needed");
	client->permissions = settings->permissions;
	int status = token ? take_token(app, request, client, token) : 0;
	if (status || (token && !client->has_token))
		return status;
	const char *name = client->has_token ? client->claims.subject : user ? user : client->id;
	if (user && strcmp(user, name) != 0)
		return app_refuse(app, request, 403, "the token is another user's");
	client->opened = app_people_lend(client, name);
	return client->opened ? 0 : 503;
}

bool app_login_may_report(struct app *app, rc_request *request, const struct app_address *address)
{
	const struct app_settings *settings = app_settings_now(app);
	char scratch[APP_TOKEN_SIZE_MAX + 1];
	struct app_claims claims;
	if (settings->auth == APP_AUTH_OFF || settings->auth == APP_AUTH_OPTIONAL)
		return true;
	const char *token = find_token(settings, request, scratch, sizeof scratch);
	if (!token || !app_refusals_may_login(app, address->name))
		return false;
	if (app_token_check(&settings->keys, &settings->token_rules, token, strlen(token), app_date_ms() / 1000,
	                    &claims) != APP_TOKEN_VALID) {
		app_refusals_failed(app, address->name);
		return false;
	}
	app_claims_free(&claims);
	return true;
}

/* ---- tokens in band ---- */

static void tell_success(struct app_client *client, const json_t *id)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_type(out, "auth_success", id);
	app_out_text(out, ",\"userId\":");
	app_out_string(out, client->claims.subject, strlen(client->claims.subject));
	if (client->claims.expires_s)
		app_out_format(out, ",\"expires\":%llu", (unsigned long long)client->claims.expires_s);
	app_out_text(out, "}");
	app_send(client, out);
}

/* The client has shown that it has these claims, which are its own from here on. */
static void become(struct app_client *client, const json_t *message, struct app_claims *claims, size_t size,
                   bool by_hook)
{
	struct app *app = client->app;
	const json_t *id = json_object_get(message, "id"), *heartbeat = json_object_get(message, "heartbeat");
	unsigned heartbeat_ms;
	if (client->claimed && strcmp(client->claimed, claims->subject) != 0) {
		app_claims_free(claims);
		app_refusals_failed(app, client->address->name);
		app_send_error(client, id, "AUTH_FAILED", "the token is another user's");
		return;
	}
	bool same = client->user && strcmp(client->user->name, claims->subject) == 0;
	if (!same && client->user) {
		/* It was another user until now, and keeps nothing of that user's. */
		app_rooms_leave_all(client);
		app_feeds_leave_all(client);
		app_people_leave(client);
	}
	app_rate_become(client, claims->subject, APP_COST_AUTH + app_cost_of_size(size));
	app_login_take(client, claims);
	client->by_hook = by_hook;
	client->guest = false;
	if (heartbeat && app_heartbeat_of_value(heartbeat, &heartbeat_ms))
		app_heartbeat_set(client, heartbeat_ms);
	if (!same && !app_people_reserve(app, client, client->claims.subject)) {
		app_send_error(client, id, "TOO_MANY_CONNECTIONS", "this user has too many connections");
		app_close(client, RC_CLOSE_POLICY, "too many connections");
		return;
	}
	tell_success(client, id);
	if (!same)
		app_people_arrive(client);
	app_login_recheck(client);
	app_clock_set(client);
}

/* What the backend says of a token in band. */
static void settle_auth(struct app_client *client, const json_t *message, enum app_hook_verdict verdict,
                        const json_t *answer)
{
	const json_t *id = json_object_get(message, "id");
	const char *user = json_string_value(json_object_get(answer, "user"));
	struct app_claims claims;
	if (verdict == APP_HOOK_UNPAID)
		return;
	if (verdict == APP_HOOK_AWAY || verdict == APP_HOOK_BUSY || verdict == APP_HOOK_LET) {
		app_send_error(client, id, "TRY_LATER",
		               app_ask_words(verdict == APP_HOOK_LET ? APP_HOOK_AWAY : verdict, answer));
		return;
	}
	if (verdict != APP_HOOK_ALLOWED || !user ||
	    app_claims_read(answer, user, app_date_ms() / 1000, &claims) != APP_TOKEN_VALID) {
		app_refusals_failed(client->app, client->address->name);
		app_send_error(client, id, "AUTH_FAILED", app_ask_words(verdict, answer));
		return;
	}
	become(client, message, &claims, json_string_length(json_object_get(message, "token")), true);
}

static void decided(struct app_client *client, enum app_hook_verdict verdict, const json_t *answer)
{
	json_t *message = client->hold->message;
	client->hold->message = NULL;
	settle_auth(client, message, verdict, answer);
	json_decref(message);
}

static bool pay(struct app_client *client, const json_t *message)
{
	return app_rate_take(client, json_object_get(message, "id"), APP_COST_HOOK);
}

static void ask_for(struct app_client *client, const json_t *message, const char *token, size_t size)
{
	struct app_out *out = &client->crew->head;
	json_t *answer;
	app_out_clear(out);
	app_ask_begin(client, "connect", out);
	app_out_text(out, ",\"token\":");
	app_out_string(out, token, size);
	app_out_text(out, "}");
	const struct app_question question = { .hook = APP_HOOK_CONNECT, .bytes = out->bytes, .size = out->size };
	enum app_hook_verdict verdict = app_hold_ask(client, &question, (json_t *)message, 0, decided, pay, &answer);
	if (verdict != APP_HOOK_ASKED)
		settle_auth(client, message, verdict, answer);
	json_decref(answer);
}

void app_login_auth(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app *app = client->app;
	const struct app_settings *settings = app_settings_now(app);
	size_t size;
	struct app_claims claims;
	const json_t *heartbeat = json_object_get(message, "heartbeat");
	unsigned heartbeat_ms;
	const char *token = app_field_text(client, message, id, "token", APP_TOKEN_SIZE_MAX, &size);
	if (!token)
		return;
	if (heartbeat && !app_heartbeat_of_value(heartbeat, &heartbeat_ms)) {
		app_field_wrong(client, id, "heartbeat", heartbeat, APP_HEARTBEAT_WORDS);
		return;
	}
	if (!app_refusals_may_login(app, client->address->name)) {
		app_send_error(client, id, "AUTH_FAILED", "too many failed logins from this address");
		app_close(client, APP_CLOSE_TOO_MANY, "too many failed logins from this address");
		return;
	}
	enum app_token_verdict verdict = app_token_check(&settings->keys, &settings->token_rules, token, size,
	                                                 app_date_ms() / 1000, &claims);
	if (verdict == APP_TOKEN_VALID) {
		become(client, message, &claims, size, false);
	} else if (app_hooks_has(app, APP_HOOK_CONNECT)) {
		ask_for(client, message, token, size);
	} else {
		app_refusals_failed(app, client->address->name);
		app_send_error(client, id, "AUTH_FAILED", app_token_verdict_text(verdict));
	}
}

/* Null, or why a client that was let in would not be let in with these settings. */
static const char *why_not_any_more(const struct app_client *client, const struct app_settings *settings)
{
	if (settings->auth == APP_AUTH_OFF)
		return NULL;
	if (client->by_hook)
		return NULL; /* the backend said so, and the hooks change only with a start */
	if (client->has_token)
		return app_token_keys_hold(&settings->keys, client->claims.key) ? NULL : "the token's key is gone";
	return settings->auth == APP_AUTH_REQUIRED ? "authentication required" : NULL;
}

void app_login_recheck(struct app_client *client)
{
	/* Who has yet to say who it is may do nothing, and has nothing. */
	if (!client->user && !client->wish)
		return;
	const struct app_settings *settings = app_settings_now(client->app);
	const char *why = why_not_any_more(client, settings);
	if (why) {
		app_close(client, RC_CLOSE_POLICY, why);
		return;
	}
	client->permissions = permissions_of(client, settings);
	app_rooms_recheck(client);
	app_feeds_recheck(client);
}

void app_login_due(struct app_client *client, uint64_t now_ns)
{
	const struct app_settings *settings = app_settings_now(client->app);
	struct app_out *out = &client->crew->out;
	if (client->times.auth_ns <= now_ns || client->wish) {
		bool expired = client->expired || client->wish; /* which cannot send another */
		if (!expired) {
			app_refusals_failed(client->app, client->address->name);
			app_refusals_note(client->app, client->address->name, 401, "no token came in time");
		}
		app_close(client, RC_CLOSE_POLICY, expired ? "token expired" : "authentication required");
		return;
	}
	/* A chance to send another token; until then it may not do anything else. */
	client->times.expiry_ns = APP_NEVER;
	client->expired = true;
	client->times.auth_ns = now_ns + settings->refresh_ms * UINT64_C(1000000);
	app_out_clear(out);
	app_out_type(out, "auth_expired", NULL);
	app_out_format(out, ",\"timeout\":%u}", settings->refresh_ms);
	app_send(client, out);
}
