/* SPDX-License-Identifier: MIT
 *
 * api.c - see api.h. It answers on a worker and must not wait.
 */
#include "api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "app.h"
#include "client.h"
#include "figures.h"
#include "forward.h"
#include "letters.h"
#include "lib/answer.h"
#include "lib/text.h"
#include "names.h"
#include "pages.h"
#include "parse.h"
#include "paths.h"
#include "people.h"
#include "publishing.h"
#include "speaking.h"
#include "updates.h"
#include "web.h"

struct call {
	struct app *app;
	rc_request *request;
	json_t *body;   /* an object, for POST */
	json_t *values; /* all that the body has, one behind the other */
	struct app_out out;
};

static int answer_json(struct call *call, int status)
{
	if (status < 400)
		app_out_text(&call->out, "\n");
	if (call->out.failed)
		return 503;
	return rc_request_respond(call->request, status, "application/json", call->out.bytes, call->out.size) ? 503 : 0;
}

static int fail(struct call *call, int status, const char *words)
{
	return answer_error(call->request, status, words);
}

/* ---- POST ---- */

static const char *need_name(struct call *call, const char *field, size_t max, size_t *size)
{
	const json_t *value = json_object_get(call->body, field);
	const char *text = json_string_value(value);
	*size = json_string_length(value);
	return text && *size <= max && text_is_name(text, *size) ? text : NULL;
}

static int post_publish(struct call *call)
{
	struct app_publishing publishing = { .app = call->app, .conn = rc_request_conn(call->request) };
	int status = app_publishing_run(&publishing, call->values, &call->out);
	if (status == APP_PUBLISHING_WAITS)
		return rc_request_wait(call->request) ? 503 : 0;
	if (status != 200)
		return fail(call, status, publishing.wrong);
	return answer_json(call, 200);
}

static struct app_speaking begin_speaking(const struct call *call)
{
	return (struct app_speaking){ .app = call->app, .conn = rc_request_conn(call->request), .body = call->body };
}

static int answer_speaking(struct call *call, const struct app_speaking *speaking, int status)
{
	if (status == APP_SPEAKING_WAITS)
		return rc_request_wait(call->request) ? 503 : 0;
	return status == 200 ? answer_json(call, 200) : fail(call, status, speaking->wrong);
}

static int post_broadcast(struct call *call)
{
	struct app_speaking speaking = begin_speaking(call);
	return answer_speaking(call, &speaking, app_speaking_to_all(&speaking, &call->out));
}

static int post_send(struct call *call)
{
	struct app_speaking speaking = begin_speaking(call);
	return answer_speaking(call, &speaking, app_speaking_to_user(&speaking, &call->out));
}

static int post_room(struct call *call)
{
	struct app_speaking speaking = begin_speaking(call);
	const char *room = rc_request_path(call->request) + sizeof "/api/rooms/" - 1;
	return answer_speaking(call, &speaking, app_speaking_to_room(&speaking, room, strlen(room), &call->out));
}

static int disconnect_across(struct call *call, const char *name, size_t size, const char *id, const char *reason)
{
	struct app_forwarded *forwarded = app_forward_begin(call->app, rc_request_conn(call->request));
	const struct app_said said = { .app = call->app, .done = app_forward_done, .context = forwarded };
	int count = forwarded ? app_span_close(&said, name, size, id, reason) : -ENOMEM;
	if (count <= 0)
		app_forward_cancel(forwarded);
	if (count < 0)
		return fail(call, 503, APP_SPAN_AWAY);
	app_out_format(&call->out, "{\"disconnected\":%d}", count);
	if (!count)
		return answer_json(call, 404);
	app_forward_answer(forwarded, &call->out, false);
	return rc_request_wait(call->request) ? 503 : 0;
}

static int post_disconnect(struct call *call)
{
	size_t size, client_size, reason_size;
	const char *name = need_name(call, "userId", APP_SUBJECT_SIZE_MAX, &size);
	const char *id = need_name(call, "clientId", APP_CLIENT_ID_SIZE, &client_size);
	const char *reason = need_name(call, "reason", 120, &reason_size);
	if (!name)
		return fail(call, 400, "expected {\"userId\":USER}, and perhaps clientId and reason");
	if (!reason)
		reason_size = strlen(reason = "disconnected by the application");
	if (app_spans(call->app))
		return disconnect_across(call, name, size, id, reason);
	unsigned count = app_people_close(call->app, name, size, id, reason, reason_size);
	app_out_format(&call->out, "{\"disconnected\":%u}", count);
	return answer_json(call, count ? 200 : 404);
}

/* ---- GET ---- */

static size_t limit_of(struct call *call)
{
	const char *text = rc_request_query(call->request, "limit");
	size_t limit = text ? strtoul(text, NULL, 10) : 0;
	return limit && limit < 10000 ? limit : 1000;
}

static int get_stats(struct call *call)
{
	app_figures_stats(call->app, &call->out);
	return answer_json(call, 200);
}

static int get_rooms(struct call *call)
{
	app_figures_rooms(call->app, &call->out, limit_of(call));
	return answer_json(call, 200);
}

static int get_presence(struct call *call)
{
	const char *user = rc_request_query(call->request, "user");
	if (user && !text_is_name(user, strlen(user)))
		return fail(call, 400, "a user's name is UTF-8 without control characters");
	app_figures_presence(call->app, &call->out, user, limit_of(call));
	return answer_json(call, 200);
}

static int get_clients(struct call *call)
{
	const char *user = rc_request_query(call->request, "user");
	if (user && !text_is_name(user, strlen(user)))
		return fail(call, 400, "a user's name is UTF-8 without control characters");
	app_figures_clients(call->app, &call->out, user, limit_of(call));
	return answer_json(call, 200);
}

static const struct route {
	const char *path, *methods; /* a path that ends in a star is all that begin so */
	int (*answer)(struct call *call);
	bool (*may)(const struct app *app, rc_request *request, const char **why);
	bool many; /* its body may be more than one object */
} routes[] = {
	{ "/api/publish", "POST", post_publish, app_access_api, true },
	{ "/api/broadcast", "POST", post_broadcast, app_access_api, false },
	{ "/api/send", "POST", post_send, app_access_api, false },
	{ "/api/rooms/*", "POST", post_room, app_access_api, false },
	{ "/api/disconnect", "POST", post_disconnect, app_access_api, false },
	{ "/api/stats", "GET, HEAD", get_stats, app_access_figures, false },
	{ "/api/clients", "GET, HEAD", get_clients, app_access_figures, false },
	{ "/api/rooms", "GET, HEAD", get_rooms, app_access_api, false },
	{ "/api/presence", "GET, HEAD", get_presence, app_access_api, false },
};

/* ---- all of them ---- */

static int refuse_key(struct call *call, const char *why)
{
	rc_request_add_header(call->request, "WWW-Authenticate", "Bearer");
	return fail(call, 401, why);
}

/* JSON values with white space between them: one, or one a line. */
static bool read_values(struct call *call, const char *text, size_t size)
{
	if (!rc_text_valid(text, size))
		return false;
	call->values = json_array();
	for (size_t at = 0, used;; at += used) {
		while (at < size && memchr(" \t\r\n", text[at], 4))
			at++;
		if (at == size)
			return json_array_size(call->values);
		if (json_array_size(call->values) == APP_UPDATES_MAX)
			return false;
		json_t *value = app_parse_value(text + at, size - at, NULL, &used);
		if (!value || json_array_append_new(call->values, value))
			return false;
	}
}

static int answer_route(struct call *call, const struct route *route)
{
	const char *why, *method = rc_request_method(call->request);
	size_t size;
	if (!route->may(call->app, call->request, &why))
		return refuse_key(call, why);
	APP_COUNT(call->app, api_requests);
	if (strcmp(method, "POST") != 0)
		return route->answer(call);
	const void *body = rc_request_body(call->request, &size);
	if (!read_values(call, body, size))
		return fail(call, 400, "expected JSON");
	call->body = json_array_get(call->values, 0);
	if (!route->many && (json_array_size(call->values) != 1 || !json_is_object(call->body)))
		return fail(call, 400, "expected a JSON object");
	return route->answer(call);
}

static bool is_path_of(const struct route *route, const char *path)
{
	return strcmp(path, route->path) == 0 || app_name_matches(route->path, strlen(route->path), path, strlen(path));
}

const char *app_api_methods(const struct app *app, const rc_request *request)
{
	static const char *const figures[] = { "/stats", "/metrics", "/profile", "/healthz", "/readyz" };
	const char *path = rc_request_path(request);
	bool here = !admin_is_elsewhere(&app->admin, request), only = admin_is_here(&app->admin, request);
	if (!only && app_pages_methods(path))
		return app_pages_methods(path);
	for (size_t i = 0; i < sizeof routes / sizeof *routes && here; i++)
		if (is_path_of(&routes[i], path))
			return routes[i].methods;
	for (size_t i = 0; i < sizeof figures / sizeof *figures && (here || i >= 3); i++)
		if (strcmp(path, figures[i]) == 0)
			return "GET, HEAD";
	if (app_web_has(path))
		return "GET, HEAD";
	if (!only && (strncmp(path, "/sse/", 5) == 0 || strcmp(path, "/sse") == 0 || strncmp(path, "/poll/", 6) == 0 ||
	              strcmp(path, "/poll") == 0))
		return "GET, OPTIONS";
	return !only && (strcmp(path, "/ws") == 0 || strncmp(path, "/ws/", 4) == 0) ? "GET" : NULL;
}

static int answer_api(struct app *app, rc_request *request, const char *path)
{
	struct call call = { .app = app, .request = request };
	int status = -1;
	for (size_t i = 0; i < sizeof routes / sizeof *routes && status < 0; i++)
		if (is_path_of(&routes[i], path))
			status = answer_route(&call, &routes[i]);
	if (status < 0)
		status = fail(&call, 404, "no such path");
	json_decref(call.values);
	app_out_free(&call.out);
	return status;
}

int app_api_head(struct app *app, rc_request *request)
{
	struct call call = { .app = app, .request = request };
	const char *why, *methods = app_api_methods(app, request);
	if (methods && !answer_takes(request, methods))
		return answer_method(request, methods);
	if (!admin_is_here(&app->admin, request) && app_pages_methods(rc_request_path(request)))
		return app_pages_head(app, request);
	if (strncmp(rc_request_path(request), "/api/", 5) != 0)
		return methods ? 413 : 404; /* nothing else takes a body */
	if (admin_is_elsewhere(&app->admin, request))
		return 404;
	if (app_access_api(app, request, &why))
		return 0;
	int status = refuse_key(&call, why);
	app_out_free(&call.out);
	return status;
}

int app_api_answer(struct app *app, rc_request *request)
{
	const char *path = rc_request_path(request);
	const char *why = NULL;
	bool reads = admin_has(path) && app_access_figures(app, request, &why);
	int code = admin_answer(&app->admin, request, reads ? NULL : why);
	if (code >= 0)
		return code;
	if (!admin_is_here(&app->admin, request) && app_pages_methods(path))
		return app_pages_answer(app, request);
	if (strncmp(path, "/api/", 5) == 0)
		return admin_is_elsewhere(&app->admin, request) ? 404 : answer_api(app, request, path);
	/* Also on the API's port, where the dashboard gets its figures. */
	code = app_web_answer(request);
	if (code >= 0)
		return code;
	if (admin_is_here(&app->admin, request))
		return 404;
	/* 0: the library answers 426. The client meant a WebSocket. */
	return app_paths_place(app_settings_now(app), request) == APP_PLACE_NONE ? 404 : 0;
}
