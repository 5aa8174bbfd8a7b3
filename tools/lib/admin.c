/* SPDX-License-Identifier: MIT
 *
 * admin.c - see admin.h. It answers on a worker and must not wait.
 */
#include "admin.h"

#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "local.h"
#include "profile.h"
#include "stats.h"

int admin_too_open(const struct admin_settings *settings, bool has_key)
{
	if (has_key || settings->open)
		return -1;
	for (unsigned i = 0; i < settings->listen.count; i++)
		if (!local_address_is_loopback(settings->listen.items[i]) &&
		    !local_address_is_absent(settings->listen.items[i]))
			return (int)i;
	return -1;
}

static void write_metrics(FILE *to, struct admin *admin)
{
	metrics_write(&admin->metrics, to);
}

static void write_stats(FILE *to, struct admin *admin)
{
	const struct metrics *metrics = &admin->metrics;
	stats_write(to, metrics->server, metrics->health, metrics->more_stats, metrics->context);
}

static int answer_with(struct admin *admin, rc_request *request, void (*write)(FILE *to, struct admin *admin),
                       const char *type)
{
	char *body = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&body, &size);
	if (!to)
		return 503;
	write(to, admin);
	int code = fclose(to);
	if (!code)
		code = rc_request_respond(request, 200, type, body, size);
	free(body);
	return code ? 503 : 0;
}

static int refuse(rc_request *request, const char *why)
{
	rc_request_add_header(request, "WWW-Authenticate", "Bearer");
	return answer_error(request, 401, why);
}

bool admin_has(const char *path)
{
	static const char *const paths[] = { "/stats", "/metrics", "/profile", "/healthz", "/readyz" };
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		if (!strcmp(path, paths[i]))
			return true;
	return false;
}

int admin_answer(struct admin *admin, rc_request *request, const char *why_not)
{
	const char *path = rc_request_path(request);
	int code = health_answer(admin->metrics.health, request);
	if (code >= 0)
		return code;
	bool metrics = !strcmp(path, "/metrics"), stats = !strcmp(path, "/stats"), profile = !strcmp(path, "/profile");
	if (!metrics && !stats && !profile)
		return -1;
	if (admin_is_elsewhere(admin, request))
		return 404;
	if (!answer_takes(request, "GET, HEAD"))
		return answer_method(request, "GET, HEAD");
	if (why_not)
		return refuse(request, why_not);
	if (metrics)
		return answer_with(admin, request, write_metrics, METRICS_TYPE);
	return stats ? answer_with(admin, request, write_stats, "application/json") : profile_answer(request);
}
