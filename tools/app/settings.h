/* SPDX-License-Identifier: MIT
 *
 * settings.h - everything that can be set, from four sources: defaults, then a file, then the environment, then flags.
 * The later wins. One table (settings_options.c) has every setting's name: `--connections-per-user 5` as a flag is
 * `connections-per-user = 5` in the file and RINGCAST_CONNECTIONS_PER_USER=5 in the environment.
 *
 * Settings do not change once they are read: a reload makes new ones, which take the place of the old.
 */
#ifndef APP_SETTINGS_H
#define APP_SETTINGS_H

#include "backplane/options.h"
#include "hook_settings.h"
#include "lib/address.h"
#include "lib/admin.h"
#include "lib/keys.h"
#include "lib/latency.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/producers.h"
#include "origin.h"
#include "token.h"

#define APP_UNSET UINT32_MAX    /* a limit that nobody set: the preset decides */
#define APP_HISTORY_MAX 1000000 /* of history-max: a worker looks at some entries for each message */
#define APP_LISTEN_DEFAULT "127.0.0.1:8080"

enum app_auth { APP_AUTH_AUTO, APP_AUTH_OFF, APP_AUTH_OPTIONAL, APP_AUTH_REQUIRED };
enum app_token_expiry { APP_EXPIRY_REQUIRED, APP_EXPIRY_OPTIONAL };
enum app_token_permissions { APP_CLAIMS_DEFAULT, APP_CLAIMS_NEEDED };
enum app_preset { APP_PRESET_DEFAULT, APP_PRESET_STRICT };

struct app_settings {
	/* where and how much; a reload does not change these */
	struct option_list listen;
	struct admin_settings admin;
	struct producers producers;
	struct backplane_settings backplane;
	bool out_only; /* what goes to backplane.out goes to no feed */
	unsigned workers;
	size_t log_size;
	unsigned connections_max;
	size_t body_max;
	size_t memory_max;
	size_t message_max;
	unsigned idle_timeout_ms, handshake_timeout_ms, ping_interval_ms;
	unsigned subscriptions_max;
	int policy;
	struct option_list tls_cert, tls_key; /* the files' contents are read anew */
	const char *tls_client_ca, *tls_crl;  /* likewise */
	struct option_list keep_last;
	size_t state_max;
	bool kernel_tls;
	struct latency latency;

	/* who may */
	int preset;
	bool open; /* to everybody, and it was said so */
	int auth;
	const char *token_secret, *token_secret_file;
	struct option_list token_keys;
	struct app_token_keys keys;
	struct option_list token_audiences;
	const char *token_issuer;
	int token_expiry, token_permissions;
	struct app_token_rules token_rules; /* the same, as token.h wants them */
	unsigned auth_timeout_ms, refresh_ms;
	bool refuse_open;        /* to whoever is refused, so that it hears why */
	unsigned login_failures; /* of an address, in a minute */
	const char *permissions_text;
	unsigned permissions;
	struct option_list topics, rooms;  /* for whom no token names any; empty: all */
	struct option_list publish_topics; /* what /api may publish to; empty: all */
	struct option_list hosts, origins, trusted, api_keys, operator_keys;
	const char *api_key_file, *operator_key_file;
	struct networks proxies;    /* that are trusted */
	struct keys api, operators; /* all of them; the operators' only read figures */

	struct app_hook_settings hooks;

	/* how much of it */
	unsigned connections_per_address, handshakes_per_second, connections_per_user;
	unsigned messages_per_second, burst, flood;
	unsigned content_max;
	unsigned rooms_max; /* of a connection */
	unsigned topics_per_address, requests_per_second;
	unsigned store_count;
	size_t store_size, store_total, store_share;
	unsigned store_age_ms;
	unsigned users_kept_max; /* who are away */
	unsigned resend_ms, resend_max, unacknowledged_max;
	unsigned dedupe_ms;
	unsigned history_max;
	unsigned batch_max, batch_delay_max_ms;
	unsigned drain_ms, drain_delay_ms, comeback_ms;

	/* messages of one's own */
	const char *types;     /* that the server does not know and hands on; names.h says how; null: none */
	const char *ephemeral; /* that pass (passing.h) */
	int sanitize;          /* content.h */
	unsigned partial_ms;   /* partials.h */
	unsigned poll_ms;      /* sessions.h */
	struct option_list paths;
	const char *protocols_text;
	char *protocol_words;
	struct option_list protocols;
	bool plain_chat;

	/* what is said */
	const char *push_url, *push_key;
	unsigned push_ms;
	const char *user; /* to become once the listeners are there */
	struct log_settings log;

	const char *file; /* the configuration file, or null */
	struct app_origins where;
	char **strings; /* what the targets above point to */
	unsigned string_count;
};

/* The table of all settings; a null name ends it. Targets are in *settings. */
const struct option_entry *app_settings_options(struct app_settings *settings);

/* Reads all sources. Returns -1 with *out. Otherwise returns the exit status: --help, or what is wrong, has been
 * printed. argv[0] is the subcommand's name. */
int app_settings_read(const struct subcommand *command, int argc, char **argv, struct app_settings **out);

/* Reads defaults and one file alone. Returns as app_settings_read() does. */
int app_settings_read_file(const char *path, struct app_settings **out);

/* In settings_meaning.c: gives the words their meaning. Returns false after saying what is wrong. */
bool app_settings_finish(struct app_settings *settings);

void app_settings_free(struct app_settings *settings);

#endif
