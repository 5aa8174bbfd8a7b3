/* SPDX-License-Identifier: MIT
 *
 * settings.h - everything that can be set, from four sources: defaults, then a file, then the environment, then flags;
 * the later wins. One table (settings_options.c) has every setting's name: `--connections-per-user 5` as a flag is
 * `connections-per-user = 5` in the file and RINGCAST_CONNECTIONS_PER_USER=5 in the environment.
 *
 * Settings do not change once they are read: a reload makes new ones, which take the place of the old.
 */
#ifndef RC_APP_SETTINGS_H
#define RC_APP_SETTINGS_H

#include <netinet/in.h>

#include "lib/options.h"
#include "ringcast.h"
#include "token.h"

#define RC_UNSET UINT32_MAX      /* a limit that nobody set: the preset decides */
#define RC_SETTINGS_LINE_MAX 198 /* of the file: what the parser of Debian takes */
#define RC_ROOM_NAME_MAX 100
#define RC_POLICIES "close|skip|conflate" /* in the order of enum rc_policy */

enum rc_auth { RC_AUTH_AUTO, RC_AUTH_OFF, RC_AUTH_OPTIONAL, RC_AUTH_REQUIRED };
enum rc_preset { RC_PRESET_DEFAULT, RC_PRESET_STRICT };
enum rc_log_level { RC_LOG_DEBUG, RC_LOG_INFO, RC_LOG_WARNING, RC_LOG_ERROR };

/* A block of addresses: the first `bits` of the address, IPv4 as mapped addresses. */
struct rc_network {
	struct in6_addr address;
	unsigned bits;
};

struct rc_settings {
	/* where and how much; a reload does not change these */
	struct rc_option_list listen, api_listen;
	unsigned workers;
	size_t log_size;
	unsigned connections_max;
	size_t body_max;
	size_t message_max;
	unsigned idle_timeout_ms, handshake_timeout_ms;
	unsigned subscriptions_max;
	int policy;
	struct rc_option_list tls_cert, tls_key; /* the files' contents are read anew */
	struct rc_option_list keep_last;
	bool kernel_tls;

	/* who may */
	int preset;
	int auth;
	const char *token_secret, *token_secret_file;
	struct rc_option_list token_keys;
	struct rc_token_keys keys;
	unsigned auth_timeout_ms, refresh_ms;
	const char *permissions_text;
	unsigned permissions;
	struct rc_option_list origins, trusted, api_keys;
	const char *api_key_file;
	struct rc_network networks[RC_OPTION_LIST_MAX];

	/* how much of it */
	unsigned connections_per_address, connections_per_user, messages_per_second, burst, flood;
	unsigned content_max;
	unsigned rooms_max; /* of a connection */
	unsigned store_count;
	size_t store_size;
	unsigned store_age_ms;
	unsigned users_kept_max; /* who are away */
	unsigned resend_ms, resend_max, unacknowledged_max;
	unsigned dedupe_ms;
	unsigned history_max;
	unsigned batch_max, batch_delay_max_ms;
	unsigned drain_ms, comeback_ms;

	/* what is said */
	const char *user; /* to become once the listeners are there */
	int log_format, log_level;
	unsigned log_rate;

	const char *file; /* the configuration file, or null */
	char **strings;   /* what the targets above point to */
	unsigned string_count;
	unsigned references;
};

/* Null ends it. Targets are in *settings. */
const struct rc_option *rc_settings_options(struct rc_settings *settings);

/* Reads all sources. Returns -1 with *out, or the exit status when --help was printed or something was wrong, which has
 * been said. argv[0] is the subcommand's name. */
int rc_settings_read(const struct rc_command *command, int argc, char **argv, struct rc_settings **out);

/* Reads defaults and one file alone; the same returns. */
int rc_settings_check(const struct rc_command *command, const char *path);

void rc_settings_free(struct rc_settings *settings);

/* True for a network in the list; `text` is an address, or "unix", which is trusted as 127.0.0.1 is. */
bool rc_settings_trusts(const struct rc_settings *settings, const char *text);

/* An address as text, to one in which IPv4 is mapped. */
bool rc_address_parse(const char *text, struct in6_addr *address);

#endif
