/* SPDX-License-Identifier: MIT
 *
 * refusals.c - see refusals.h. It does not decide who is refused.
 */
#include "refusals.h"

#include <stdio.h>
#include <string.h>

#include "access.h"
#include "app.h"
#include "lib/answer.h"
#include "lib/log.h"
#include "lib/wait.h"
#include "ringcast_refuse.h"

#define LINES_PER_SECOND 10
#define LINES_BURST 50
#define ADDRESS_LINES_PER_SECOND 1 /* and five at once */
#define TELL_NS (10 * NS_PER_SECOND)
#define PATH_SHOWN 128
#define SECONDS_OF_FAILURES 60

bool app_refusals_init(struct app_refusals *refusals, uint64_t seed)
{
	pthread_mutex_init(&refusals->lock, NULL);
	refusals->lines = app_bucket_full(LINES_BURST, clock_now());
	refusals->said_ns = clock_now();
	return app_gate_init(&refusals->of_address, seed) && app_gate_init(&refusals->failures, seed);
}

void app_refusals_destroy(struct app_refusals *refusals)
{
	pthread_mutex_destroy(&refusals->lock);
	app_gate_destroy(&refusals->of_address);
	app_gate_destroy(&refusals->failures);
}

/* ---- the log ---- */

/* An address that is refused again and again takes no lines from the others. */
static bool may_have_line(struct app *app, const char *address)
{
	struct app_refusals *refusals = &app->refusals;
	uint64_t now_ns = clock_now();
	bool passes = app_gate_pass(&refusals->of_address, address, ADDRESS_LINES_PER_SECOND, now_ns);
	pthread_mutex_lock(&refusals->lock);
	passes = passes && app_bucket_take(&refusals->lines, 1, LINES_PER_SECOND, LINES_BURST, now_ns);
	refusals->left_out += !passes;
	pthread_mutex_unlock(&refusals->lock);
	return passes;
}

void app_refusals_note(struct app *app, const char *address, int status, const char *words)
{
	if (may_have_line(app, address))
		log_say(LEVEL_WARNING, "refused", NULL, "%s: %d %s", address, status, words);
}

void app_refusals_tell(struct app *app)
{
	struct app_refusals *refusals = &app->refusals;
	uint64_t now_ns = clock_now(), count = 0;
	pthread_mutex_lock(&refusals->lock);
	if (refusals->left_out && now_ns - refusals->said_ns >= TELL_NS) {
		count = refusals->left_out;
		refusals->left_out = 0;
		refusals->said_ns = now_ns;
	}
	pthread_mutex_unlock(&refusals->lock);
	if (count)
		log_say(LEVEL_WARNING, "refused", NULL, "%llu more were refused, without a line for each",
		        (unsigned long long)count);
}

/* What somebody sends does not become lines of ours. */
static void note_request(struct app *app, const rc_request *request, int status, const char *words)
{
	char scratch[ADDRESS_TEXT_SIZE], path[PATH_SHOWN + 1];
	const char *address = app_access_address(app_settings_now(app), request, scratch, sizeof scratch);
	if (!may_have_line(app, address))
		return;
	size_t size = strlen(rc_request_path(request));
	size = size < PATH_SHOWN ? size : PATH_SHOWN;
	memcpy(path, rc_request_path(request), size);
	path[size] = 0;
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)path[i] < ' ' || (unsigned char)path[i] >= 0x7f)
			path[i] = '?';
	log_say(LEVEL_WARNING, "refused", NULL, "%s %s: %d %s", address, path, status, words);
}

/* ---- the answer ---- */

static uint16_t code_of(int status)
{
	switch (status) {
	case 401:
		return APP_CLOSE_UNAUTHORIZED;
	case 403:
		return APP_CLOSE_FORBIDDEN;
	case 429:
		return APP_CLOSE_TOO_MANY;
	case 503:
		return RC_CLOSE_TRY_LATER;
	default:
		return RC_CLOSE_POLICY;
	}
}

static bool wants_words(const struct app *app, rc_request *request)
{
	const char *wish = rc_request_query(request, "refusals");
	return app_settings_now(app)->refuse_open || (wish && strcmp(wish, "1") == 0);
}

int app_refuse(struct app *app, rc_request *request, int status, const char *words)
{
	const char *path = rc_request_path(request);
	bool websocket = rc_request_is_websocket(request);
	size_t size = strlen(words);
	if (websocket || strncmp(path, "/sse", 4) == 0)
		note_request(app, request, status, words);
	/* A path that is not there is nobody's to open. */
	if (!websocket || status == 404 || !wants_words(app, request))
		return answer_error(request, status, words);
	rc_request_choose_protocol(request, APP_PROTOCOL);
	if (size > RC_CONTROL_SIZE_MAX - 2)
		size = RC_CONTROL_SIZE_MAX - 2;
	return rc_request_refuse(request, status, code_of(status), words, size) ? 503 : 0;
}

/* ---- logins that fail ---- */

static uint32_t burst_of(uint32_t per_minute)
{
	return per_minute < UINT32_MAX / SECONDS_OF_FAILURES ? per_minute * SECONDS_OF_FAILURES : UINT32_MAX;
}

/* A bucket gets as many units a second as there may be failures in a minute, and a failure takes a minute's share. */
bool app_refusals_may_login(struct app *app, const char *address)
{
	unsigned rate = app_settings_now(app)->login_failures;
	return !rate ||
	       app_gate_holds(&app->refusals.failures, address, SECONDS_OF_FAILURES, rate, burst_of(rate), clock_now());
}

void app_refusals_failed(struct app *app, const char *address)
{
	unsigned rate = app_settings_now(app)->login_failures;
	APP_COUNT(app, login_failures);
	if (rate)
		app_gate_take(&app->refusals.failures, address, SECONDS_OF_FAILURES, rate, burst_of(rate), clock_now());
}
