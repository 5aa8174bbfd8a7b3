/* SPDX-License-Identifier: MIT
 *
 * pages.c - see pages.h. It answers on a worker and must not wait.
 */
#include "pages.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "app.h"
#include "client.h"
#include "entry.h"
#include "form.h"
#include "hold.h"
#include "hooks.h"
#include "lib/answer.h"
#include "lib/text.h"
#include "lib/wait.h"
#include "login.h"
#include "people.h"
#include "rate.h"
#include "refusals.h"
#include "speech.h"
#include "wish.h"

struct page_call {
	struct app *app;
	rc_request *request;
	struct app_address *address; /* of who asks, held for the call */
	json_t *body;
	size_t size;         /* of its text */
	const char *headers; /* of the answer: whole lines */
};

/* ---- what they measured ---- */

static int answer_report(struct page_call *call)
{
	struct app *app = call->app;
	unsigned taken, left_out;
	char text[80];
	if (!json_is_object(call->body))
		return app_refuse(app, call->request, 400, "expected an object of numbers by name");
	if (!app_login_may_report(app, call->request, call->address))
		return app_refuse(app, call->request, 401, "a token is needed");
	app_reports_take(&app->reports, call->body, clock_now(), &taken, &left_out);
	int size = snprintf(text, sizeof text, "{\"taken\":%u,\"leftOut\":%u}\n", taken, left_out);
	return rc_request_respond(call->request, 200, "application/json", text, (size_t)size) ? 503 : 0;
}

/* ---- what they say ---- */

/* Whether a backend may have to be asked before the last word is said. */
static bool may_wait(const struct app *app, const struct app_client *client)
{
	return app_hold_waits(client) || app_hooks_has(app, APP_HOOK_MESSAGE) || app_hooks_has(app, APP_HOOK_JOIN) ||
	       app_hooks_has(app, APP_HOOK_SUBSCRIBE);
}

static void free_speaker(struct app_client *client)
{
	if (client->user)
		app_people_leave(client);
	app_rate_end(client);
	app_hold_free(client);
	app_speech_free(client);
	app_client_free(client);
}

static int speak(struct page_call *call, const char *user)
{
	struct app *app = call->app;
	struct app_client *client = app_client_new(app, rc_request_conn(call->request), NULL);
	if (!client || !app_speech_make(client, call->body, call->size, call->headers)) {
		if (client)
			app_client_free(client);
		return 503;
	}
	client->address = call->address;
	app_login_ask *ask = app_hooks_has(app, APP_HOOK_CONNECT) ? app_entry_ask : NULL;
	int status = app_login_judge_speaker(app, call->request, client, user, ask);
	if (status || !client->opened) {
		free_speaker(client);
		return status;
	}
	client->opened = false;
	app_rate_begin(client);
	if (may_wait(app, client) && rc_request_wait(call->request) == 0) {
		rc_request_set_user(call->request, client);
		call->address = NULL; /* it is the client's */
		return 0;
	}
	app_speech_say(client);
	status = app_speech_answer(client, call->request);
	free_speaker(client);
	return status;
}

static int answer_send(struct page_call *call)
{
	struct app *app = call->app;
	const char *path = rc_request_path(call->request), *user = path[5] == '/' && path[6] ? path + 6 : NULL;
	size_t count = json_array_size(call->body);
	if (user && (strlen(user) > APP_SUBJECT_SIZE_MAX || strchr(user, '/') || !text_is_name(user, strlen(user))))
		return app_refuse(app, call->request, 400, "a user's name has at most 128 bytes and no /");
	if (!json_is_object(call->body) && (!count || count > app_settings_now(app)->batch_max))
		return app_refuse(app, call->request, 400, "expected a message, or an array of them");
	return speak(call, user);
}

/* ---- all of them ---- */

static const struct page {
	const char *path;
	size_t body_max; /* 0: that of a message */
	int (*answer)(struct page_call *call);
} pages[] = {
	{ "/api/metrics/websocket", APP_REPORT_SIZE_MAX, answer_report },
	{ "/send", 0, answer_send },
};

static const struct page *find(const char *path)
{
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		if (strcmp(path, pages[i].path) == 0)
			return &pages[i];
	return strncmp(path, "/send/", 6) == 0 ? find("/send") : NULL;
}

static size_t max_of(const struct app *app, const struct page *page)
{
	return page->body_max ? page->body_max : app_settings_now(app)->message_max;
}

const char *app_pages_methods(const char *path)
{
	return find(path) ? "POST, OPTIONS" : NULL;
}

static bool is_own(const struct app *app, const rc_request *request)
{
	return app_access_host(app, request) && app_access_origin(app_settings_now(app), request);
}

int app_pages_head(struct app *app, rc_request *request)
{
	const struct page *page = find(rc_request_path(request));
	const char *length = rc_request_header(request, "Content-Length");
	if (!is_own(app, request))
		return app_refuse(app, request, 403, "this origin is not allowed");
	if (length && strtoull(length, NULL, 10) > max_of(app, page))
		return app_refuse(app, request, 413, "the body is too large");
	return 0;
}

/* An address pays for each request, as for a poll. */
static int judge(struct page_call *call, const struct page *page)
{
	struct app *app = call->app;
	size_t size;
	const char *body = rc_request_body(call->request, &size);
	if (size > max_of(app, page))
		return app_refuse(app, call->request, 413, "the body is too large");
	if (!app_address_take(app, call->address, 1 + (uint32_t)(size / 1024))) {
		rc_request_add_header(call->request, "Retry-After", "1");
		return app_refuse(app, call->request, 429, "too many requests");
	}
	call->size = size;
	call->body = app_form_parse(body, size);
	return call->body ? page->answer(call) : app_refuse(app, call->request, 400, "expected JSON");
}

int app_pages_answer(struct app *app, rc_request *request)
{
	const struct page *page = find(rc_request_path(request));
	const struct app_settings *settings = app_settings_now(app);
	struct page_call call = { .app = app, .request = request };
	char scratch[ADDRESS_TEXT_SIZE];
	if (strcmp(rc_request_method(request), "OPTIONS") == 0)
		return app_wish_preflight(app, request, "POST");
	if (!is_own(app, request))
		return app_refuse(app, request, 403, "this origin is not allowed");
	struct app_wish wish = { 0 };
	app_wish_allow_origin(settings, request, &wish);
	call.headers = wish.headers;
	call.address = app_address_enter(app, app_access_address(settings, request, scratch, sizeof scratch),
	                                 settings->connections_per_address);
	if (!call.address)
		return app_refuse(app, request, 429, "too many connections from this address");
	int status = judge(&call, page);
	json_decref(call.body);
	app_address_leave(app, call.address);
	return status;
}
