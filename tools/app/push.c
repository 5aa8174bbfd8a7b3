/* SPDX-License-Identifier: MIT
 *
 * push.c - see push.h. It does not know what the figures are.
 */
#include "push.h"

#include <stdlib.h>

#include "app.h"
#include "figures.h"
#include "lib/calls.h"
#include "lib/log.h"
#include "lib/wait.h"

#define TIMEOUT_MS 10000
#define ANSWER_MAX 4096

/* On the thread of the calls. */
static void done(void *context, const struct calls_answer *answer)
{
	struct app *app = context;
	bool failed = answer->status < 200 || answer->status > 299;
	if (failed) {
		APP_COUNT(app, pushes_failed);
		if (!atomic_exchange(&app->push.fails, true))
			log_say(LEVEL_WARNING, "push", NULL, "the figures cannot be pushed: %s (HTTP status %d)",
			        answer->status ? "the monitor refuses them" : answer->why, answer->status);
	} else if (atomic_exchange(&app->push.fails, false)) {
		log_say(LEVEL_INFO, "push", NULL, "the figures are pushed again");
	}
	atomic_store(&app->push.under_way, false);
}

static bool is_ready(struct app_push *push)
{
	const struct calls_options options = {
		.running_max = 1, .waiting_max = 1, .timeout_ms = TIMEOUT_MS, .answer_max = ANSWER_MAX
	};
	if (!push->calls)
		push->calls = calls_start(&options);
	return push->calls && !atomic_load(&push->under_way);
}

void app_push_look(struct app *app)
{
	const struct app_settings *settings = app_settings_now(app);
	struct app_push *push = &app->push;
	uint64_t now_ns = clock_now();
	if (!settings->push_url || now_ns < push->next_ns || !is_ready(push))
		return;
	bool first = !push->next_ns;
	push->next_ns = now_ns + settings->push_ms * NS_PER_MS;
	if (first)
		return; /* there is nothing to tell yet */
	struct app_out out = { 0 };
	app_figures_stats(app, &out);
	const struct call call = { .url = settings->push_url,
		                   .type = "application/json",
		                   .secret = settings->push_key,
		                   .body = out.bytes,
		                   .size = out.size,
		                   .done = done,
		                   .context = app };
	APP_COUNT(app, pushes);
	atomic_store(&push->under_way, true);
	if (out.failed || calls_post(push->calls, &call)) {
		APP_COUNT(app, pushes_failed);
		atomic_store(&push->under_way, false);
	}
	app_out_free(&out);
}

void app_push_stop(struct app *app)
{
	calls_stop(app->push.calls);
	app->push.calls = NULL;
}
