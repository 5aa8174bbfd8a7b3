/* SPDX-License-Identifier: MIT
 *
 * hooks.c - see hooks.h.
 */
#include "hooks.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "lib/calls.h"
#include "lib/log.h"
#include "lib/metrics.h"
#include "lib/wait.h"

#define FAILURES_SHOWN 3 /* one after the other: then the backend is shown as away */
#define TRY_NS NS_PER_SECOND
#define TELL_NS (10 * NS_PER_SECOND)

static const char *const names[APP_HOOK_COUNT] = { "connect", "join", "subscribe", "message" };

/* A question that is under way. */
struct asking {
	struct app *app;
	enum app_hook hook;
	rc_conn conn;
	uint32_t ticket;
	void (*open)(struct app_client *client, const struct app_letter *letter);
	uint64_t asked_ns;
	size_t size;
	char question[];
};

/* ---- how the backend is ---- */

static void tell(struct app_hook_state *state, enum app_hook hook, const char *why)
{
	uint64_t now_ns = clock_now(), told_ns = atomic_load(&state->told_ns);
	if ((told_ns && now_ns - told_ns < TELL_NS) ||
	    !atomic_compare_exchange_strong(&state->told_ns, &told_ns, now_ns))
		return;
	log_say(LEVEL_WARNING, "hook", NULL, "hook-%s has no answer: %s", names[hook], why);
}

static void note_failure(struct app_hook_state *state, enum app_hook hook, bool unreachable, const char *why)
{
	atomic_fetch_add(&state->failures, 1);
	if (unreachable) {
		atomic_store(&state->next_ns, clock_now() + TRY_NS);
		atomic_store(&state->unreachable, true);
	}
	tell(state, hook, why);
}

static void note_success(struct app_hook_state *state, enum app_hook hook)
{
	atomic_store(&state->unreachable, false);
	if (atomic_exchange(&state->failures, 0) >= FAILURES_SHOWN) {
		atomic_store(&state->told_ns, 0);
		log_say(LEVEL_WARNING, "hook", NULL, "hook-%s is answered again", names[hook]);
	}
}

static void count(struct app_hook_state *state, enum app_hook_verdict verdict)
{
	atomic_fetch_add_explicit(&state->verdicts[verdict], 1, memory_order_relaxed);
}

enum app_hook_verdict app_hooks_away(struct app *app, enum app_hook hook)
{
	enum app_hook_verdict verdict = app->started->hooks.away == APP_HOOK_AWAY_ALLOW ? APP_HOOK_LET : APP_HOOK_AWAY;
	count(&app->hooks.states[hook], verdict);
	return verdict;
}

/* Whether it may be asked now. One a second tries a backend that nobody could connect to. */
static bool may_try(struct app_hook_state *state)
{
	uint64_t now_ns = clock_now(), next_ns = atomic_load(&state->next_ns);
	return !atomic_load(&state->unreachable) ||
	       (next_ns <= now_ns && atomic_compare_exchange_strong(&state->next_ns, &next_ns, now_ns + TRY_NS));
}

/* ---- answers: on the calls' thread ---- */

/* Null, or what is wrong with an answer. */
static const char *judge(enum app_hook hook, int status, const json_t *value, enum app_hook_verdict *verdict)
{
	const json_t *allow = json_object_get(value, "allow");
	bool refuses = status == 401 || status == 403 || status == 429;
	*verdict = status == 401                     ? APP_HOOK_UNKNOWN
	           : status == 429                   ? APP_HOOK_TOO_MANY
	           : refuses || json_is_false(allow) ? APP_HOOK_REFUSED
	                                             : APP_HOOK_ALLOWED;
	if (refuses)
		return NULL;
	if (status == 204)
		return hook == APP_HOOK_CONNECT ? "204 says no user" : NULL;
	if (status != 200)
		return "its status is none of 200, 204, 401, 403, 429";
	if (!json_is_object(value))
		return "it is no JSON object";
	if (allow && !json_is_boolean(allow))
		return "allow is true or false";
	if (!allow && !(hook == APP_HOOK_CONNECT && json_object_get(value, "user")) &&
	    !(hook == APP_HOOK_MESSAGE && json_object_get(value, "content")))
		return "it says neither allow nor what it means";
	return NULL;
}

static uint64_t keep_of(const json_t *value)
{
	double keep_s = json_number_value(json_object_get(value, "keep"));
	if (!(keep_s > 0))
		return 0;
	return (uint64_t)((keep_s < APP_HOOK_KEEP_MAX_S ? keep_s : APP_HOOK_KEEP_MAX_S) * 1e9);
}

static void deliver(const struct asking *asking, enum app_hook_verdict verdict, const char *bytes, size_t size)
{
	const struct app_letter letter = { .number = (uint64_t)asking->ticket << 8 | verdict,
		                           .bytes = bytes,
		                           .size = size };
	/* Without a letter the client's own time for the answer runs out. */
	app_letter_post(asking->app, asking->conn, asking->open, &letter);
}

static void answered(void *context, const struct calls_answer *answer)
{
	struct asking *asking = context;
	struct app *app = asking->app;
	struct app_hook_state *state = &app->hooks.states[asking->hook];
	enum app_hook_verdict verdict = APP_HOOK_AWAY;
	uint64_t now_ns = clock_now();
	json_t *value = json_loadb(answer->body, answer->size, JSON_REJECT_DUPLICATES, NULL);
	const char *wrong = answer->status ? judge(asking->hook, answer->status, value, &verdict) : answer->why;
	app_latency_add(&state->took, now_ns - asking->asked_ns);
	if (wrong) {
		note_failure(state, asking->hook, answer->unreachable, wrong);
		deliver(asking, app_hooks_away(app, asking->hook), "", 0);
	} else {
		uint64_t keep_ns = keep_of(value);
		const char *bytes = value ? answer->body : "{}";
		size_t size = value ? answer->size : 2;
		note_success(state, asking->hook);
		count(state, verdict);
		if (keep_ns)
			app_hook_cache_put(&app->hooks.cache, asking->question, asking->size, (int)verdict, bytes, size,
			                   now_ns + keep_ns, now_ns);
		deliver(asking, verdict, bytes, size);
	}
	json_decref(value);
	free(asking);
}

/* ---- questions ---- */

bool app_hooks_has(const struct app *app, enum app_hook hook)
{
	return app->hooks.calls && app->started->hooks.urls[hook];
}

enum app_hook_verdict app_hooks_kept(struct app *app, const struct app_question *question, char **answer,
                                     size_t *answer_size)
{
	int number = APP_HOOK_ASKED;
	*answer = app_hook_cache_get(&app->hooks.cache, question->bytes, question->size, clock_now(), &number,
	                             answer_size);
	if (*answer)
		atomic_fetch_add_explicit(&app->hooks.states[question->hook].kept, 1, memory_order_relaxed);
	return (enum app_hook_verdict)number;
}

enum app_hook_verdict app_hooks_ask(struct app *app, const struct app_question *question)
{
	const struct app_hook_settings *settings = &app->started->hooks;
	struct app_hook_state *state = &app->hooks.states[question->hook];
	if (!may_try(state))
		return app_hooks_away(app, question->hook);
	struct asking *asking = malloc(sizeof *asking + question->size);
	if (!asking)
		return app_hooks_away(app, question->hook);
	*asking = (struct asking){ .app = app,
		                   .hook = question->hook,
		                   .conn = question->conn,
		                   .ticket = question->ticket,
		                   .open = question->open,
		                   .asked_ns = clock_now(),
		                   .size = question->size };
	memcpy(asking->question, question->bytes, question->size);
	const struct call call = { .url = settings->urls[question->hook],
		                   .type = "application/json",
		                   .secret = settings->loaded,
		                   .body = question->bytes,
		                   .size = question->size,
		                   .account = question->account,
		                   .done = answered,
		                   .context = asking };
	if (calls_post(app->hooks.calls, &call) == 0)
		return APP_HOOK_ASKED;
	free(asking);
	count(state, APP_HOOK_BUSY);
	return APP_HOOK_BUSY;
}

/* ---- its life ---- */

bool app_hooks_start(struct app *app, uint64_t seed)
{
	const struct app_hook_settings *settings = &app->started->hooks;
	const struct calls_options options = { .running_max = settings->calls_max,
		                               .waiting_max = settings->waiting_max,
		                               .timeout_ms = settings->timeout_ms,
		                               .answer_max = APP_HOOK_ANSWER_MAX,
		                               .ca_file = settings->ca_file };
	bool any = false;
	for (unsigned i = 0; i < APP_HOOK_COUNT; i++)
		any |= settings->urls[i] != NULL;
	if (!app_hook_cache_init(&app->hooks.cache, seed, settings->kept_max))
		return false;
	if (any)
		app->hooks.calls = calls_start(&options);
	return !any || app->hooks.calls;
}

void app_hooks_stop(struct app *app)
{
	calls_stop(app->hooks.calls);
	app->hooks.calls = NULL;
}

void app_hooks_free(struct app *app)
{
	if (app->hooks.cache.table.buckets)
		app_hook_cache_destroy(&app->hooks.cache);
}

/* ---- figures ---- */

void app_hooks_metrics(struct app *app, FILE *to)
{
	static const char *const verdicts[APP_HOOK_VERDICTS] = { [APP_HOOK_ALLOWED] = "allowed",
		                                                 [APP_HOOK_REFUSED] = "refused",
		                                                 [APP_HOOK_UNKNOWN] = "refused_401",
		                                                 [APP_HOOK_TOO_MANY] = "refused_429",
		                                                 [APP_HOOK_LET] = "let_through",
		                                                 [APP_HOOK_AWAY] = "away",
		                                                 [APP_HOOK_BUSY] = "busy" };
	unsigned running, waiting;
	if (!app->hooks.calls)
		return;
	metrics_head(to, "app_hook_answers_total", "counter", "Answers of the backend, or what stood for them.");
	for (unsigned i = 0; i < APP_HOOK_COUNT; i++) {
		const struct app_hook_state *state = &app->hooks.states[i];
		if (!app_hooks_has(app, (enum app_hook)i))
			continue;
		for (unsigned v = APP_HOOK_ALLOWED; v < APP_HOOK_VERDICTS; v++)
			fprintf(to, "ringcast_app_hook_answers_total{hook=\"%s\",verdict=\"%s\"} %llu\n", names[i],
			        verdicts[v], (unsigned long long)atomic_load(&state->verdicts[v]));
		fprintf(to, "ringcast_app_hook_answers_total{hook=\"%s\",verdict=\"kept\"} %llu\n", names[i],
		        (unsigned long long)atomic_load(&state->kept));
	}
	metrics_head(to, "app_hook_away", "gauge", "1: the backend does not answer.");
	for (unsigned i = 0; i < APP_HOOK_COUNT; i++)
		if (app_hooks_has(app, (enum app_hook)i))
			fprintf(to, "ringcast_app_hook_away{hook=\"%s\"} %d\n", names[i],
			        atomic_load(&app->hooks.states[i].failures) >= FAILURES_SHOWN);
	calls_count(app->hooks.calls, &running, &waiting);
	metrics_value(to, "app_hook_calls_running", "gauge", "Calls to the backend under way.", running);
	metrics_value(to, "app_hook_calls_waiting", "gauge", "Calls that wait for their turn.", waiting);
	for (unsigned i = 0; i < APP_HOOK_COUNT; i++) {
		const struct app_latency *took = &app->hooks.states[i].took;
		uint64_t counts[APP_LATENCY_SHOWN];
		char name[64], help[64];
		if (!app_hooks_has(app, (enum app_hook)i))
			continue;
		app_latency_octaves(took, NS_PER_MS, counts);
		snprintf(name, sizeof name, "app_hook_%s_seconds", names[i]);
		snprintf(help, sizeof help, "Time to the answer of hook-%s.", names[i]);
		metrics_histogram(to, name, help, counts, APP_LATENCY_SHOWN, 1e-3,
		                  (double)atomic_load(&took->ns) / 1e9);
	}
}

static void write_words(void *context, FILE *to)
{
	struct app *app = context;
	for (unsigned i = 0; i < APP_HOOK_COUNT; i++) {
		unsigned failures = atomic_load(&app->hooks.states[i].failures);
		if (app_hooks_has(app, (enum app_hook)i) && failures >= FAILURES_SHOWN)
			fprintf(to, "hook-%s: no answer, %u times\n", names[i], failures);
	}
}

const struct health_part *app_hooks_part(struct app *app)
{
	app->hooks.part = (struct health_part){ .context = app, .write_words = write_words };
	return &app->hooks.part;
}
