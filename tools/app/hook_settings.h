/* SPDX-License-Identifier: MIT
 *
 * hook_settings.h - what is set about hooks: where the backend is, and how much it may be asked. Only a start reads it.
 */
#ifndef APP_HOOK_SETTINGS_H
#define APP_HOOK_SETTINGS_H

#include <stdbool.h>

#include "lib/options.h"

enum app_hook { APP_HOOK_CONNECT, APP_HOOK_JOIN, APP_HOOK_SUBSCRIBE, APP_HOOK_MESSAGE, APP_HOOK_COUNT };
enum app_hook_away { APP_HOOK_AWAY_REFUSE, APP_HOOK_AWAY_ALLOW };

struct app_settings;

struct app_hook_settings {
	const char *urls[APP_HOOK_COUNT]; /* null: there is no such hook */
	const char *secret, *secret_file, *ca_file;
	struct option_list headers; /* of a handshake, beside those that are always sent */
	unsigned timeout_ms, calls_max, waiting_max, kept_max;
	int away;
	char *loaded; /* the secret, whichever way it came; or null */
};
#define APP_HOOK_DEFAULTS                                                                                              \
	{                                                                                                              \
		.timeout_ms = 3000, .calls_max = 16, .waiting_max = 1024, .kept_max = 10000                            \
	}
/* The entries of the option table. */
#define APP_HOOK_OPTIONS(h)                                                                                            \
	{ "hook-connect", OPTION_TEXT, &(h)->urls[APP_HOOK_CONNECT], "URL",                                            \
	  "ask a backend by POST who a client is: {\"user\",\"permissions\",\"expires\"...}" },                        \
	    { "hook-join", OPTION_TEXT, &(h)->urls[APP_HOOK_JOIN], "URL",                                              \
	      "ask it for each join_room: {\"allow\":true}" },                                                         \
	    { "hook-subscribe", OPTION_TEXT, &(h)->urls[APP_HOOK_SUBSCRIBE], "URL",                                    \
	      "for each subscribe, history of a topic, stream and poll" },                                             \
	    { "hook-message", OPTION_TEXT, &(h)->urls[APP_HOOK_MESSAGE], "URL",                                        \
	      "for each message to others; {\"content\"} replaces what it says" },                                     \
	    { "hook-secret-file", OPTION_TEXT, &(h)->secret_file, "FILE",                                              \
	      "what we show the backend, as `Authorization: Bearer TEXT`, at least 16 bytes" },                        \
	    { "hook-secret", OPTION_TEXT, &(h)->secret, "TEXT",                                                        \
	      "the same; better in the environment than in a flag, which all can see" },                               \
	    { "hook-ca", OPTION_TEXT, &(h)->ca_file, "FILE",                                                           \
	      "authorities (PEM) of a backend by https (those of the system)" },                                       \
	    { "hook-header", OPTION_LIST, &(h)->headers, "NAME",                                                       \
	      "a header of the handshake that hook-connect is sent too, beside Cookie,\n"                              \
	      "Authorization and others (repeatable)" },                                                               \
	    { "hook-timeout", OPTION_MS, &(h)->timeout_ms, "TIME", "for its answer; later ones do not count (3s)" },   \
	    { "hook-calls", OPTION_COUNT, &(h)->calls_max, "N",                                                        \
	      "calls at a time; of one address at most half of them (16)" },                                           \
	    { "hook-queue", OPTION_COUNT, &(h)->waiting_max, "N",                                                      \
	      "calls that wait behind them; of one address at most a quarter (1024)" },                                \
	    { "hook-cache", OPTION_COUNT, &(h)->kept_max, "N",                                                         \
	      "answers kept for as long as they say, {\"keep\":SECONDS} (10000)" },                                    \
	{                                                                                                              \
		"hook-away", OPTION_CHOICE, &(h)->away, "refuse|allow",                                                \
		    "what holds while the backend does not answer (refuse)"                                            \
	}

/* Gives the words their meaning. Returns false after saying what is wrong. */
bool app_hook_settings_finish(struct app_settings *settings);
void app_hook_settings_free(struct app_hook_settings *hooks);

#endif
