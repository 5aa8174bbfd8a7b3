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
#include "lib/answer.h"
#include "lib/wait.h"
#include "login.h"
#include "refusals.h"
#include "wish.h"

struct page_call {
	struct app *app;
	rc_request *request;
	struct app_address *address; /* of who asks, held for the call */
	json_t *body;
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

/* ---- all of them ---- */

static const struct page {
	const char *path;
	size_t body_max;
	int (*answer)(struct page_call *call);
} pages[] = {
	{ "/api/metrics/websocket", APP_REPORT_SIZE_MAX, answer_report },
};

static const struct page *find(const char *path)
{
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		if (strcmp(path, pages[i].path) == 0)
			return &pages[i];
	return NULL;
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
	if (length && strtoull(length, NULL, 10) > page->body_max)
		return app_refuse(app, request, 413, "the body is too large");
	return 0;
}

/* An address pays for each request, as for a poll. */
static int judge(struct page_call *call, const struct page *page)
{
	struct app *app = call->app;
	size_t size;
	const char *body = rc_request_body(call->request, &size);
	if (size > page->body_max)
		return app_refuse(app, call->request, 413, "the body is too large");
	if (!app_address_take(app, call->address, 1 + (uint32_t)(size / 1024))) {
		rc_request_add_header(call->request, "Retry-After", "1");
		return app_refuse(app, call->request, 429, "too many requests");
	}
	call->body = json_loadb(body ? body : "", size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
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
