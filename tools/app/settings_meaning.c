/* SPDX-License-Identifier: MIT
 *
 * settings_meaning.c - what the words of the settings mean, once all sources have been read: lists to networks, files
 * to keys, and which settings go together. What is wrong is said with the place where it was written.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calls.h"
#include "lib/environment.h"
#include "lib/local.h"
#include "lib/needs.h"
#include "lib/text.h"
#include "names.h"
#include "settings.h"

#define FILE_SIZE_MAX 65536
#define SUBSCRIPTIONS_LIMIT 65535u /* the library has one more, which is for what goes to everyone */

/* A whole small file, with a zero behind it. Returns its size or -1 after saying why. */
static long read_small(const struct app_settings *settings, const char *name, unsigned item, const char *path, char *to,
                       size_t room)
{
	FILE *file = fopen(path, "re");
	if (!file) {
		app_wrong(settings, name, item, "%s: %s", path, strerror(errno));
		return -1;
	}
	size_t size = fread(to, 1, room - 1, file);
	bool whole = !ferror(file) && fgetc(file) == EOF;
	fclose(file);
	to[size] = 0;
	if (whole)
		return (long)size;
	app_wrong(settings, name, item, "%s: cannot be read, or is larger than %zu bytes", path, room - 1);
	return -1;
}

static bool load_keys(struct app_settings *settings)
{
	static char text[FILE_SIZE_MAX];
	const char *error = NULL;
	if (settings->token_secret)
		error = app_token_add_secret(&settings->keys, settings->token_secret, strlen(settings->token_secret));
	if (error)
		return app_wrong(settings, "token-secret", 0, "token-secret: %s", error), false;
	if (settings->token_secret_file) {
		long size = read_small(settings, "token-secret-file", 0, settings->token_secret_file, text,
		                       sizeof text);
		if (size < 0)
			return false;
		while (size && (text[size - 1] == '\n' || text[size - 1] == '\r'))
			size--;
		error = app_token_add_secret(&settings->keys, text, (size_t)size);
		explicit_bzero(text, sizeof text);
		if (error)
			return app_wrong(settings, "token-secret-file", 0, "%s: %s", settings->token_secret_file,
			                 error),
			       false;
	}
	for (unsigned i = 0; i < settings->token_keys.count; i++) {
		long size = read_small(settings, "token-key", i, settings->token_keys.items[i], text, sizeof text);
		if (size < 0)
			return false;
		error = app_token_add_pem(&settings->keys, text, (size_t)size);
		if (error)
			return app_wrong(settings, "token-key", i, "%s: %s", settings->token_keys.items[i], error),
			       false;
	}
	return true;
}

/* The keys of a list, and those of a file. */
static bool load_api_keys(const struct app_settings *settings, struct keys *keys, const char *name,
                          const struct option_list *list, const char *path)
{
	for (unsigned i = 0; i < list->count; i++) {
		const char *wrong = keys_add(keys, list->items[i]);
		if (wrong)
			return app_wrong(settings, name, i, "%s: %s", name, wrong), false;
	}
	return !path || keys_read(keys, path);
}

static void apply_preset(struct app_settings *settings)
{
	bool strict = settings->preset == APP_PRESET_STRICT;
	if (settings->connections_per_address == APP_UNSET)
		settings->connections_per_address = strict ? 10 : 256;
	if (settings->handshakes_per_second == APP_UNSET)
		settings->handshakes_per_second = strict ? 5 : 50;
	if (settings->login_failures == APP_UNSET)
		settings->login_failures = strict ? 10 : 60;
	if (settings->messages_per_second == APP_UNSET)
		settings->messages_per_second = strict ? 10 : 100;
	if (settings->requests_per_second == APP_UNSET)
		settings->requests_per_second = settings->messages_per_second;
	if (settings->burst == APP_UNSET && strict)
		settings->burst = settings->messages_per_second;
	if (settings->burst == APP_UNSET)
		settings->burst = settings->messages_per_second > UINT32_MAX / 2 ? UINT32_MAX
		                                                                 : settings->messages_per_second * 2;
	if (settings->flood == APP_UNSET)
		settings->flood = settings->burst > UINT32_MAX / 10 ? UINT32_MAX : settings->burst * 10;
}

static bool read_words(struct app_settings *settings)
{
	int permissions = app_permissions_parse(settings->permissions_text);
	if (permissions < 0)
		return app_wrong(settings, "permissions", 0,
		                 "permissions '%s': expected none, read, write, broadcast, admin",
		                 settings->permissions_text),
		       false;
	settings->permissions = (unsigned)permissions;
	const char *wrong = latency_parse(&settings->latency);
	if (wrong)
		return app_wrong(settings, "cpus", 0, "cpus '%s': %s", settings->latency.cpus_text, wrong), false;
	for (unsigned i = 0; i < settings->trusted.count; i++)
		if (!networks_add(&settings->proxies, settings->trusted.items[i]))
			return app_wrong(settings, "trust-proxy", i,
			                 "trust-proxy '%s': expected an address, or one with /BITS",
			                 settings->trusted.items[i]),
			       false;
	for (unsigned i = 0; i < settings->hosts.count; i++) {
		const char *name = settings->hosts.items[i];
		if (local_host_size(name) != strlen(name) || strpbrk(name, "/@") || strcmp(name, "*") == 0)
			return app_wrong(settings, "host", i,
			                 "host '%s': expected a name, or *. and a name, without a port", name),
			       false;
	}
	for (unsigned i = 0; i < settings->origins.count; i++)
		if (!strstr(settings->origins.items[i], "://") && strcmp(settings->origins.items[i], "null") != 0 &&
		    strcmp(settings->origins.items[i], "*") != 0)
			return app_wrong(settings, "origin", i,
			                 "origin '%s': expected scheme://host[:port], or * for any",
			                 settings->origins.items[i]),
			       false;
	return true;
}

static bool check_limits(const struct app_settings *settings)
{
	const struct {
		const char *name;
		size_t value;
	} limits[] = {
		{ "content-max", settings->content_max },
		{ "message-max", settings->message_max },
		{ "batch-max", settings->batch_max },
		{ "history-max", settings->history_max },
		{ "rooms-per-connection", settings->rooms_max },
		{ "resend-time", settings->resend_ms },
		{ "subscriptions-max", settings->subscriptions_max },
		{ "handshake-timeout", settings->handshake_timeout_ms },
	};
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
		if (!limits[i].value)
			return app_wrong(settings, limits[i].name, 0, "%s must not be 0", limits[i].name), false;
	if (settings->history_max > APP_HISTORY_MAX)
		return app_wrong(settings, "history-max", 0, "history-max %u: at most %u messages in one answer",
		                 settings->history_max, APP_HISTORY_MAX),
		       false;
	const char *wrong = settings->push_url ? calls_wrong_url(settings->push_url) : NULL;
	if (wrong)
		return app_wrong(settings, "push-url", 0, "push-url '%s': %s", settings->push_url, wrong), false;
	if (settings->push_ms < 1000)
		return app_wrong(settings, "push-interval", 0, "push-interval: at least a second (1s)"), false;
	if (settings->subscriptions_max > SUBSCRIPTIONS_LIMIT)
		return app_wrong(settings, "subscriptions-max", 0, "subscriptions-max %u: at most %u",
		                 settings->subscriptions_max, SUBSCRIPTIONS_LIMIT),
		       false;
	return true;
}

/* Names with commas between them, none of them empty. */
static bool check_names(const struct app_settings *settings, const char *name, const char *list)
{
	for (const char *at = list; at; at = *at ? at + 1 : NULL) {
		const char *begin = at + strspn(at, " ");
		size_t size = strcspn(begin, ",");
		if (!text_is_name(begin, size) || *begin == ' ')
			return app_wrong(settings, name, 0,
			                 "%s '%s': expected names, or prefixes and *, with commas between them", name,
			                 list),
			       false;
		at = begin + size;
	}
	return true;
}

/* Subprotocols are tokens of RFC 9110, section 5.6.2. */
static bool read_protocols(struct app_settings *settings)
{
	static const char tokens[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
	const char *text = settings->protocols_text;
	char *rest = NULL;
	if (!text)
		return true;
	if (!check_names(settings, "protocols", text))
		return false;
	if (!(settings->protocol_words = strdup(text)))
		return command_failed("no memory"), false;
	for (char *word = strtok_r(settings->protocol_words, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
		word += strspn(word, " ");
		size_t size = strspn(word, tokens);
		if (word[size + strspn(word + size, " ")] || settings->protocols.count == OPTION_LIST_MAX)
			return app_wrong(settings, "protocols", 0,
			                 "protocols '%s': expected at most %d names of letters, digits and . - _", text,
			                 OPTION_LIST_MAX),
			       false;
		word[size] = 0;
		settings->protocols.items[settings->protocols.count++] = word;
	}
	return true;
}

static bool check_paths(const struct app_settings *settings)
{
	for (unsigned i = 0; i < settings->paths.count; i++) {
		const char *path = settings->paths.items[i];
		size_t size = strlen(path);
		if (*path != '/' || !text_is_name(path, size) || strpbrk(path, "?# %") ||
		    (size > 1 && path[size - 1] == '/'))
			return app_wrong(settings, "path", i,
			                 "path '%s': expected /NAME, without a / at its end, decoded", path),
			       false;
	}
	return true;
}

static bool check_messages(struct app_settings *settings)
{
	return check_names(settings, "types", settings->types) &&
	       check_names(settings, "ephemeral", settings->ephemeral) && read_protocols(settings) &&
	       check_paths(settings);
}

static bool check_secure(const struct app_settings *settings, const char *name, const struct option_list *list)
{
	for (unsigned i = 0; i < list->count && !settings->tls_cert.count; i++)
		if (strstr(list->items[i], "wss://"))
			return app_wrong(settings, name, i,
			                 "%s '%s' needs a certificate and its key: tls-cert and tls-key", name,
			                 list->items[i]),
			       false;
	return true;
}

static bool check_tls(const struct app_settings *settings)
{
	if (settings->tls_cert.count != settings->tls_key.count)
		return app_wrong(settings, settings->tls_cert.count > settings->tls_key.count ? "tls-cert" : "tls-key",
		                 0, "each tls-cert needs its tls-key, and the other way round"),
		       false;
	if ((settings->tls_crl && !settings->tls_client_ca) || (settings->tls_client_ca && !settings->tls_cert.count))
		return app_wrong(settings, settings->tls_crl ? "tls-crl" : "tls-client-ca", 0,
		                 "tls-crl needs tls-client-ca, and that needs tls-cert and tls-key"),
		       false;
	return check_secure(settings, "listen", &settings->listen) &&
	       check_secure(settings, "admin-listen", &settings->admin.listen);
}

#define HOOKS "hook-connect|hook-join|hook-subscribe|hook-message"

static const struct option_need needs[] = {
	{ "producers", "!backplane" },
	{ "backplane-map", "backplane" },
	{ "backplane-away", "backplane" },
	{ "backplane-out", "backplane" },
	{ "backplane-out-only", "backplane-out" },
	{ "backplane-local", "backplane" },
	{ "producer-uids", "producers" },
	{ "producer-topics", "producers" },
	{ "producers-max", "producers" },
	{ "producer-topics-max", "producers" },
	{ "producer-ring", "producers" },
	{ "spin-us", "!busy-poll" },
	{ "token-audience", "token-key|token-secret-file|token-secret" },
	{ "token-issuer", "token-key|token-secret-file|token-secret" },
	{ "token-expiry", "token-key|token-secret-file|token-secret" },
	{ "token-permissions", "token-key|token-secret-file|token-secret" },
	{ "hook-secret", HOOKS },
	{ "hook-secret-file", HOOKS },
	{ "hook-secret", "!hook-secret-file" },
	{ "hook-ca", HOOKS },
	{ "hook-header", "hook-connect" },
	{ "hook-away", HOOKS },
	{ 0 },
};

/* What is set without effect. The words begin with its name. */
static bool check_needs(struct app_settings *settings)
{
	char words[NEEDS_WORDS_SIZE], name[ENVIRONMENT_NAME_SIZE];
	if (!needs_find(needs, app_settings_options(settings), needs_is_set, NULL, "", words))
		return true;
	snprintf(name, sizeof name, "%.*s", (int)strcspn(words, " :"), words);
	return app_wrong(settings, name, 0, "%s", words), false;
}

/* What rooms and users say has one order on all nodes. */
static bool check_local(const struct app_settings *settings)
{
	static const char *const own[] = { "room/", "data/" };
	for (unsigned i = 0; i < settings->backplane.local.count; i++) {
		const char *pattern = settings->backplane.local.items[i];
		const size_t size = strlen(pattern);
		for (size_t n = 0; n < sizeof own / sizeof *own; n++)
			if (app_name_reserved(pattern, size) || app_name_matches(pattern, size, own[n], strlen(own[n])))
				return app_wrong(settings, "backplane-local", i,
				                 "backplane-local '%s': room/ and data/ have the order of the "
				                 "engine: name topics that need none",
				                 pattern),
				       false;
	}
	return true;
}

static bool check_backplane(const struct app_settings *settings)
{
	struct rc_error error;
	if (!check_local(settings))
		return false;
	if (!settings->backplane.url || !backplane_check(&settings->backplane, &error))
		return true;
	return app_wrong(settings, "backplane", 0, "backplane: %s", error.text), false;
}

bool app_settings_finish(struct app_settings *settings)
{
	if (!check_needs(settings) || !check_backplane(settings) || !app_hook_settings_finish(settings) ||
	    !read_words(settings) || !check_limits(settings) || !check_messages(settings) || !check_tls(settings) ||
	    !load_keys(settings) ||
	    !load_api_keys(settings, &settings->api, "api-key", &settings->api_keys, settings->api_key_file) ||
	    !load_api_keys(settings, &settings->operators, "operator-key", &settings->operator_keys,
	                   settings->operator_key_file))
		return false;
	const char *connect = settings->hooks.urls[APP_HOOK_CONNECT];
	if (connect && settings->auth == APP_AUTH_OFF)
		return app_wrong(settings, "auth", 0,
		                 "auth off asks nobody who a client is, and hook-connect does: leave "
		                 "one of them out"),
		       false;
	if (settings->auth == APP_AUTH_AUTO)
		settings->auth = settings->keys.count || connect ? APP_AUTH_REQUIRED : APP_AUTH_OFF;
	if (settings->auth >= APP_AUTH_OPTIONAL && !settings->keys.count && !connect)
		return app_wrong(settings, "auth", 0,
		                 "auth needs a key for tokens: token-secret-file or token-key; or a hook-connect"),
		       false;
	if (settings->plain_chat && (settings->auth == APP_AUTH_REQUIRED || settings->hooks.urls[APP_HOOK_CONNECT] ||
	                             settings->hooks.urls[APP_HOOK_MESSAGE]))
		return app_wrong(settings, "plain-chat", 0,
		                 "plain-chat lets everybody in and asks nobody: it goes with auth = off or optional, "
		                 "and without hook-connect and hook-message"),
		       false;
	settings->token_rules = (struct app_token_rules){
		.audiences = settings->token_audiences.items,
		.audience_count = settings->token_audiences.count,
		.issuer = settings->token_issuer,
		.may_be_endless = settings->token_expiry == APP_EXPIRY_OPTIONAL,
	};
	apply_preset(settings);
	return true;
}
