/* SPDX-License-Identifier: MIT
 *
 * hooks.h - questions to a backend: who is this, may it join, follow, say this? A question is a POST of JSON, and goes
 * by the calls' own thread (lib/calls.h); the answer comes to the client's worker as a letter. It knows neither what a
 * question says nor what is done about the answer, but what an answer may look like:
 *
 *      200 {"allow":true, ...}   or {"user":...}, {"content":...}; 204      allowed
 *      200 {"allow":false,...}   or 401, 403, 429                           refused, in the words of "message"
 *      anything else, no JSON, too large, too late, nobody there            the backend is away
 *
 * While nobody can be connected to, one call a second tries, and the others are answered as --hook-away says at once.
 * Other failures count for their own question alone: what a stranger sends may make a backend fail.
 */
#ifndef APP_HOOKS_H
#define APP_HOOKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "counters.h"
#include "hook_cache.h"
#include "hook_settings.h"
#include "letters.h"
#include "lib/health.h"

struct app;
struct calls;

#define APP_HOOK_ANSWER_MAX (64u << 10)
#define APP_HOOK_KEEP_MAX_S 3600

enum app_hook_verdict {
	APP_HOOK_ASKED, /* the answer comes as a letter */
	APP_HOOK_ALLOWED,
	APP_HOOK_REFUSED,
	APP_HOOK_UNKNOWN,  /* refused with 401 */
	APP_HOOK_TOO_MANY, /* refused with 429 */
	APP_HOOK_LET,      /* the backend is away, and --hook-away lets through */
	APP_HOOK_AWAY,
	APP_HOOK_BUSY, /* too many wait, or too many of this address */
	APP_HOOK_VERDICTS,
	APP_HOOK_UNPAID = APP_HOOK_VERDICTS, /* the client has been told why it is not asked */
};

struct app_hook_state {
	_Atomic uint64_t verdicts[APP_HOOK_VERDICTS];
	_Atomic uint64_t kept;             /* answered by what is kept */
	_Atomic unsigned failures;         /* one after the other */
	_Atomic bool unreachable;          /* nobody could be connected to: */
	_Atomic uint64_t next_ns, told_ns; /* when the next tries; when it was said last */
	struct app_latency took;
};

struct app_hooks {
	struct calls *calls; /* null: there are no hooks */
	struct app_hook_cache cache;
	struct app_hook_state states[APP_HOOK_COUNT];
	struct health_part part;
};

struct app_question {
	enum app_hook hook;
	const char *bytes; /* JSON */
	size_t size;
	uint64_t account; /* whose share of the calls it takes */
	rc_conn conn;
	uint32_t ticket;
	/* Opens the letter: number is what app_hooks_ticket() and app_hooks_verdict() read, bytes the answer. */
	void (*open)(struct app_client *client, const struct app_letter *letter);
};

static inline uint32_t app_hooks_ticket(const struct app_letter *letter)
{
	return (uint32_t)(letter->number >> 8);
}

static inline enum app_hook_verdict app_hooks_verdict(const struct app_letter *letter)
{
	return (enum app_hook_verdict)(letter->number & 0xff);
}

/* Starts what the settings ask for; false: no memory, or no thread. */
bool app_hooks_start(struct app *app, uint64_t seed);
/* While letters can still be posted. */
void app_hooks_stop(struct app *app);
void app_hooks_free(struct app *app);

/* Whether there is such a hook. */
bool app_hooks_has(const struct app *app, enum app_hook hook);

/* What is kept for a question; APP_HOOK_ASKED: nothing. *answer is JSON for the caller to free, or null. */
enum app_hook_verdict app_hooks_kept(struct app *app, const struct app_question *question, char **answer,
                                     size_t *answer_size);
/* Asks. What it returns unless it is APP_HOOK_ASKED is the verdict, and no letter comes. */
enum app_hook_verdict app_hooks_ask(struct app *app, const struct app_question *question);

/* What a hook's verdict is called where nothing was answered. */
enum app_hook_verdict app_hooks_away(struct app *app, enum app_hook hook);

void app_hooks_metrics(struct app *app, FILE *to);
/* Has a line in /healthz for each hook whose backend does not answer. It lives as long as the app. */
const struct health_part *app_hooks_part(struct app *app);

#endif
