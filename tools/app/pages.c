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
#include "dialect.h"
#include "form.h"
#include "hooks.h"
#include "lib/answer.h"
#include "lib/text.h"
#include "lib/wait.h"
#include "login.h"
#include "people.h"
#include "rate.h"
#include "refusals.h"
#include "wish.h"

struct page_call {
	struct app *app;
	rc_request *request;
	struct app_address *address; /* of who asks, held for the call */
	json_t *body;
	size_t size; /* of its text */
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

static int status_of(const char *code)
{
	static const struct {
		const char *code;
		int status;
	} statuses[] = {
		{ "PERMISSION_DENIED", 403 }, { "NOT_A_MEMBER", 404 }, { "RATE_LIMIT_EXCEEDED", 429 },
		{ "AUTH_REQUIRED", 401 },     { "TRY_LATER", 503 },    { "NOT_DELIVERED", 503 },
	};
	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
		if (strcmp(code, statuses[i].code) == 0)
			return statuses[i].status;
	return 400;
}

/* {"messages":[...]}, and of the first error the words and the code. Sets the status; null without memory. */
static json_t *make_answer(const struct app_out *heard, int *status)
{
	struct app_out list = { 0 };
	size_t index;
	json_t *each;
	app_out_text(&list, "[");
	app_out_bytes(&list, heard->bytes, heard->size);
	app_out_text(&list, "]");
	json_t *messages = list.failed || heard->failed ? NULL
	                                                : json_loadb(list.bytes, list.size, JSON_ALLOW_NUL, NULL);
	json_t *answer = json_object();
	app_out_free(&list);
	*status = 200;
	json_array_foreach(messages, index, each)
	{
		const char *type = json_string_value(json_object_get(each, "type"));
		if (*status != 200 || !type || strcmp(type, "error") != 0)
			continue;
		*status = status_of(json_string_value(json_object_get(each, "code")));
		json_object_set(answer, "error", json_object_get(each, "message"));
		json_object_set(answer, "code", json_object_get(each, "code"));
	}
	if (messages && json_object_set_new(answer, "messages", messages) == 0)
		return answer;
	json_decref(answer);
	return NULL;
}

static int answer_heard(struct page_call *call, const struct app_out *heard)
{
	struct app_out out = { 0 };
	int status;
	json_t *answer = make_answer(heard, &status);
	if (!answer)
		return 503;
	app_out_value(&out, answer);
	json_decref(answer);
	if (status == 429)
		rc_request_add_header(call->request, "Retry-After", "1");
	int code = out.failed ? -1 : rc_request_respond(call->request, status, "application/json", out.bytes, out.size);
	app_out_free(&out);
	return code ? 503 : 0;
}

static void say(struct app_client *client, const json_t *body)
{
	size_t index;
	json_t *each;
	if (!json_is_array(body)) {
		app_dialect_say_alone(client, body);
		return;
	}
	json_array_foreach((json_t *)body, index, each)
	{
		if (client->closing)
			break;
		app_dialect_say_alone(client, each);
	}
}

/* A client of the time of one request: it speaks for its user, and is nobody's device. */
static int speak(struct page_call *call, const char *user)
{
	struct app *app = call->app;
	struct app_out heard = { 0 };
	struct app_client *client = app_client_new(app, rc_request_conn(call->request), NULL);
	if (!client)
		return 503;
	client->address = call->address;
	client->answers = &heard;
	int status = app_login_judge_speaker(app, call->request, client, user);
	if (client->user) {
		app_rate_begin(client);
		if (app_rate_take(client, NULL, app_cost_of_size(call->size)))
			say(client, call->body);
		app_people_leave(client);
		app_rate_end(client);
		status = answer_heard(call, &heard);
	}
	app_client_free(client);
	app_out_free(&heard);
	return status;
}

static int answer_send(struct page_call *call)
{
	struct app *app = call->app;
	const char *path = rc_request_path(call->request), *user = path[5] == '/' && path[6] ? path + 6 : NULL;
	size_t count = json_array_size(call->body);
	if (app_hooks_has(app, APP_HOOK_MESSAGE) || app_hooks_has(app, APP_HOOK_JOIN))
		return app_refuse(app, call->request, 403, "the application decides over messages: use a WebSocket");
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
	app_wish_allow_origin(settings, request, NULL);
	call.address = app_address_enter(app, app_access_address(settings, request, scratch, sizeof scratch),
	                                 settings->connections_per_address);
	if (!call.address)
		return app_refuse(app, request, 429, "too many connections from this address");
	int status = judge(&call, page);
	json_decref(call.body);
	app_address_leave(app, call.address);
	return status;
}
