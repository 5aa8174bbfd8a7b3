/* SPDX-License-Identifier: MIT
 *
 * app.h - the server that applications talk to: users, rooms and messages on the public API of the library. Here is
 * what a process has one of; app.c begins and ends it.
 *
 *      library --> clients.c --> dialect.c --> rooms.c  people.c  feeds.c  reliable.c  batch.c  login.c
 *                     |  |                           \      |      /
 *                     |  +-----> plain.c (/sse, /poll) --> wire.c, letters.c --> a client, its crew (client.h)
 *                     |             +---> visits.c, sessions.c (who polls) --> all of the above
 *                     +--------> api.c (/api) ---------> directory.c (users, rooms), store.c, addresses.c; one lock
 *
 * Arrows point down only: no file calls one that calls it, however far around. Where what is below must begin something
 * above (a deadline, a letter, a message in a message), it is handed a function to call.
 */
#ifndef APP_H
#define APP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "counters.h"
#include "directory.h"
#include "feeds.h"
#include "gate.h"
#include "hooks.h"
#include "lib/access_log.h"
#include "lib/admin.h"
#include "lib/health.h"
#include "lib/local.h"
#include "lib/service.h"
#include "partials.h"
#include "push.h"
#include "refusals.h"
#include "reports.h"
#include "returns.h"
#include "ringcast.h"
#include "sessions.h"
#include "settings.h"
#include "span.h"

struct app_client;

struct app {
	rc_server *server;
	_Atomic(struct app_settings *) settings;
	struct app_settings *started; /* with which it began: what only a start reads is as it stands there */
	struct app_directory directory;
	struct app_crew *crews; /* by worker */
	unsigned crew_count;
	struct app_counters counters;
	uint64_t started_ns;
	uint64_t epoch;           /* another one after each start: part of the ids of messages */
	_Atomic uint64_t numbers; /* given to messages that the server sends as DATA or direct */
	_Atomic bool draining;
	struct local_listeners listeners;
	struct admin admin;
	struct health health;
	struct service service;
	struct access_log access;
	struct app_watches watches;
	struct app_partials partials;
	_Atomic bool passing; /* all follow the topic of what is not kept and goes to everybody (passing.h) */
	struct app_gate gate;
	struct app_refusals refusals;
	struct app_returns returns;
	struct app_sessions sessions;
	struct app_reports reports;
	struct app_push push;
	struct app_clock clock;
	struct backplane *backplane; /* null: this is the only node */
	struct app_span span;
	struct app_hooks hooks;
	/* What a client said while its backend was asked goes on. */
	void (*resume)(struct app_client *client);
};

/* Whether rooms and users are those of several nodes. */
static inline bool app_spans(const struct app *app)
{
	return app->span.backplane;
}

/* The settings of now: valid until the callback returns. */
static inline const struct app_settings *app_settings_now(const struct app *app)
{
	return atomic_load_explicit(&app->settings, memory_order_acquire);
}

#endif
