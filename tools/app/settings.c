/* SPDX-License-Identifier: MIT
 *
 * settings.c - see settings.h. The file is read by inih, line by line through a reader of ours, which counts lines for
 * error messages.
 */
#include "settings.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/environment.h"
#include "lib/local.h"
#include "lib/needs.h"
#include "ringcast.h"

#define FILE_SIZE_MAX 65536

static const char *keep(struct app_settings *settings, const char *text)
{
	char *copy = strdup(text);
	char **strings = copy ? realloc(settings->strings, (settings->string_count + 1) * sizeof *strings) : NULL;
	if (!strings) {
		free(copy);
		return NULL;
	}
	settings->strings = strings;
	strings[settings->string_count++] = copy;
	return copy;
}

static struct app_settings *make_defaults(void)
{
	struct app_settings *settings = calloc(1, sizeof *settings);
	struct rc_config config;
	rc_config_init(&config);
	if (!settings)
		return NULL;
	*settings = (struct app_settings){
		.log_size = config.log_size,
		.body_max = 256 << 10,
		.message_max = 64 << 10,
		.idle_timeout_ms = config.idle_timeout_ms,
		.handshake_timeout_ms = config.handshake_timeout_ms,
		.subscriptions_max = config.subscriptions_max,
		.auth_timeout_ms = 10000,
		.refresh_ms = 10000,
		.permissions_text = "read,write",
		.connections_per_address = APP_UNSET,
		.handshakes_per_second = APP_UNSET,
		.connections_per_user = 5,
		.messages_per_second = APP_UNSET,
		.burst = APP_UNSET,
		.flood = APP_UNSET,
		.content_max = 1000,
		.rooms_max = 50,
		.topics_per_address = 10000,
		.requests_per_second = APP_UNSET,
		.store_count = 100,
		.store_size = 64 << 10,
		.store_total = 64 << 20,
		.store_share = 4 << 20,
		.store_age_ms = 24 * 3600 * 1000,
		.users_kept_max = 100000,
		.resend_ms = 5000,
		.resend_max = 5,
		.unacknowledged_max = 64,
		.dedupe_ms = 300000,
		.history_max = 100,
		.batch_max = 100,
		.batch_delay_max_ms = 5000,
		.drain_ms = 5000,
		.comeback_ms = 10000,
		.log_level = APP_LOG_INFO,
		.log_rate = 100,
	};
	latency_defaults(&settings->latency);
	return settings;
}

void app_settings_free(struct app_settings *settings)
{
	if (!settings)
		return;
	for (unsigned i = 0; i < settings->string_count; i++)
		free(settings->strings[i]);
	free(settings->strings);
	app_token_keys_free(&settings->keys);
	keys_free(&settings->api);
	keys_free(&settings->operators);
	free(settings);
}

/* ---- sources ---- */

/* Lists of an earlier source give way to those of a later one, and do not add up. */
static void begin_source(const struct option_entry *options)
{
	for (; options->name; options++)
		if (options->kind == OPTION_LIST)
			((struct option_list *)options->target)->replace = true;
}

static const struct option_entry *find_option(const struct option_entry *options, const char *name)
{
	while (options->name && strcmp(options->name, name) != 0)
		options++;
	return options->name ? options : NULL;
}

struct reader {
	struct app_settings *settings;
	const struct option_entry *options;
	FILE *file;
	unsigned line;
	unsigned error_line; /* 0: none */
	char error[512];
};

static void fail(struct reader *reader, const char *name, const char *words)
{
	if (reader->error_line)
		return;
	reader->error_line = reader->line;
	snprintf(reader->error, sizeof reader->error, "%s%s%s", name, *name ? ": " : "", words);
}

/* inih takes lines of 200 bytes and would silently make two of a longer one. */
static char *read_line(char *to, int size, void *context)
{
	struct reader *reader = context;
	reader->line++;
	char *line = fgets(to, size, reader->file);
	if (line && !strchr(line, '\n') && !feof(reader->file)) {
		fail(reader, "", "a line is longer than 198 bytes");
		return NULL;
	}
	return line;
}

static int take_setting(void *context, const char *section, const char *name, const char *value)
{
	struct reader *reader = context;
	const struct option_entry *option = find_option(reader->options, name);
	const char *kept, *error;
	if (*section)
		fail(reader, name, "a settings file has no [sections]");
	else if (!option || strcmp(name, "config") == 0)
		fail(reader, name, "no such setting");
	else if (!(kept = keep(reader->settings, value)))
		fail(reader, name, "no memory");
	else if ((error = option_store(option, kept)))
		fail(reader, name, error);
	return !reader->error_line;
}

static int read_file(struct app_settings *settings, const struct option_entry *options, const char *path)
{
	struct reader reader = { .settings = settings, .options = options, .file = fopen(path, "re") };
	if (!reader.file)
		return command_failed("%s: %s", path, strerror(errno));
	begin_source(options);
	int wrong_line = ini_parse_stream(read_line, &reader, take_setting, &reader);
	if (wrong_line > 0 && !reader.error_line) {
		reader.error_line = (unsigned)wrong_line;
		snprintf(reader.error, sizeof reader.error, "expected `name = value`");
	}
	bool unreadable = ferror(reader.file);
	fclose(reader.file);
	if (unreadable && !reader.error_line)
		return command_failed("%s: cannot be read", path);
	if (reader.error_line)
		return command_failed("%s:%u: %s", path, reader.error_line, reader.error);
	return -1;
}

/* RINGCAST_CONTENT_MAX for content-max. A list has its items between spaces. */
static int read_environment(const struct subcommand *command, struct app_settings *settings,
                            const struct option_entry *options)
{
	begin_source(options);
	for (const struct option_entry *option = options; option->name; option++) {
		char name[ENVIRONMENT_NAME_SIZE];
		environment_name(option->name, name);
		const char *value = getenv(name);
		if (!value)
			continue;
		char *kept = (char *)keep(settings, value), *rest = kept;
		if (!kept)
			return command_failed("%s: no memory", name);
		bool list = option->kind == OPTION_LIST;
		for (char *word = list ? strtok_r(kept, " ", &rest) : kept; word;
		     word = list ? strtok_r(NULL, " ", &rest) : NULL) {
			const char *error = option_store(option, word);
			if (error)
				return options_wrong(command, "%s '%s': %s", name, word, error);
		}
	}
	return -1;
}

/* The file must be read before the flags that may change what it says: look for its name first. */
static const char *find_file(int argc, char **argv)
{
	const char *path = getenv("RINGCAST_CONFIG");
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
			path = argv[++i];
		else if (strncmp(argv[i], "--config=", 9) == 0)
			path = argv[i] + 9;
	}
	return path && *path ? path : NULL;
}

/* ---- what the words mean ---- */

/* A whole small file, with a zero behind it. Returns its size or -1 after saying why. */
static long read_small(const char *path, char *to, size_t room)
{
	FILE *file = fopen(path, "re");
	if (!file) {
		command_failed("%s: %s", path, strerror(errno));
		return -1;
	}
	size_t size = fread(to, 1, room - 1, file);
	bool whole = !ferror(file) && fgetc(file) == EOF;
	fclose(file);
	to[size] = 0;
	if (whole)
		return (long)size;
	command_failed("%s: cannot be read, or is larger than %zu bytes", path, room - 1);
	return -1;
}

static bool load_keys(struct app_settings *settings)
{
	static char text[FILE_SIZE_MAX];
	const char *error = NULL;
	if (settings->token_secret)
		error = app_token_add_secret(&settings->keys, settings->token_secret, strlen(settings->token_secret));
	if (error)
		return command_failed("token-secret: %s", error), false;
	if (settings->token_secret_file) {
		long size = read_small(settings->token_secret_file, text, sizeof text);
		if (size < 0)
			return false;
		while (size && (text[size - 1] == '\n' || text[size - 1] == '\r'))
			size--;
		error = app_token_add_secret(&settings->keys, text, (size_t)size);
		explicit_bzero(text, sizeof text);
		if (error)
			return command_failed("%s: %s", settings->token_secret_file, error), false;
	}
	for (unsigned i = 0; i < settings->token_keys.count; i++) {
		long size = read_small(settings->token_keys.items[i], text, sizeof text);
		if (size < 0)
			return false;
		error = app_token_add_pem(&settings->keys, text, (size_t)size);
		if (error)
			return command_failed("%s: %s", settings->token_keys.items[i], error), false;
	}
	return true;
}

/* The keys of a list, and those of a file. */
static bool load_api_keys(struct keys *keys, const char *name, const struct option_list *list, const char *path)
{
	for (unsigned i = 0; i < list->count; i++) {
		const char *wrong = keys_add(keys, list->items[i]);
		if (wrong)
			return command_failed("%s: %s", name, wrong), false;
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

static const struct option_need needs[] = {
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
	{ 0 },
};

/* Gives the words their meaning, once all sources have been read. */
static bool finish(struct app_settings *settings)
{
	char words[NEEDS_WORDS_SIZE];
	if (needs_find(needs, app_settings_options(settings), needs_is_set, NULL, "", words))
		return command_failed("%s", words), false;
	int permissions = app_permissions_parse(settings->permissions_text);
	if (permissions < 0)
		return command_failed("permissions '%s': expected none, read, write, broadcast, admin",
		                      settings->permissions_text),
		       false;
	settings->permissions = (unsigned)permissions;
	const char *wrong = latency_parse(&settings->latency);
	if (wrong)
		return command_failed("cpus '%s': %s", settings->latency.cpus_text, wrong), false;
	for (unsigned i = 0; i < settings->trusted.count; i++)
		if (!networks_add(&settings->proxies, settings->trusted.items[i]))
			return command_failed("trust-proxy '%s': expected an address, or one with /BITS",
			                      settings->trusted.items[i]),
			       false;
	for (unsigned i = 0; i < settings->hosts.count; i++) {
		const char *name = settings->hosts.items[i];
		if (local_host_size(name) != strlen(name) || strpbrk(name, "/@") || strcmp(name, "*") == 0)
			return command_failed("host '%s': expected a name, or *. and a name, without a port", name),
			       false;
	}
	for (unsigned i = 0; i < settings->origins.count; i++)
		if (!strstr(settings->origins.items[i], "://") && strcmp(settings->origins.items[i], "null") != 0 &&
		    strcmp(settings->origins.items[i], "*") != 0)
			return command_failed("origin '%s': expected scheme://host[:port], or * for any",
			                      settings->origins.items[i]),
			       false;
	if (!settings->content_max || !settings->message_max || !settings->batch_max || !settings->history_max ||
	    !settings->rooms_max || !settings->resend_ms)
		return command_failed("content-max, message-max, batch-max, history-max, rooms-per-connection and "
		                      "resend-time must not be 0"),
		       false;
	if (settings->history_max > APP_HISTORY_MAX)
		return command_failed("history-max %u: at most %u messages in one answer", settings->history_max,
		                      APP_HISTORY_MAX),
		       false;
	if (settings->tls_cert.count != settings->tls_key.count)
		return command_failed("each tls-cert needs its tls-key, and the other way round"), false;
	if ((settings->tls_crl && !settings->tls_client_ca) || (settings->tls_client_ca && !settings->tls_cert.count))
		return command_failed("tls-crl needs tls-client-ca, and that needs tls-cert and tls-key"), false;
	if (!load_keys(settings) ||
	    !load_api_keys(&settings->api, "api-key", &settings->api_keys, settings->api_key_file) ||
	    !load_api_keys(&settings->operators, "operator-key", &settings->operator_keys, settings->operator_key_file))
		return false;
	if (settings->auth == APP_AUTH_AUTO)
		settings->auth = settings->keys.count ? APP_AUTH_REQUIRED : APP_AUTH_OFF;
	if (settings->auth >= APP_AUTH_OPTIONAL && !settings->keys.count)
		return command_failed("auth needs a key for tokens: token-secret-file or token-key"), false;
	settings->token_rules = (struct app_token_rules){
		.audiences = settings->token_audiences.items,
		.audience_count = settings->token_audiences.count,
		.issuer = settings->token_issuer,
		.may_be_endless = settings->token_expiry == APP_EXPIRY_OPTIONAL,
	};
	apply_preset(settings);
	return true;
}

int app_settings_read_file(const char *path, struct app_settings **out)
{
	struct app_settings *settings = make_defaults();
	if (!settings)
		return command_failed("no memory");
	int status = read_file(settings, app_settings_options(settings), path);
	if (status < 0 && !finish(settings))
		status = EXIT_FAILED;
	if (status < 0)
		*out = settings;
	else
		app_settings_free(settings);
	return status;
}

int app_settings_read(const struct subcommand *command, int argc, char **argv, struct app_settings **out)
{
	struct app_settings *settings = make_defaults();
	if (!settings)
		return command_failed("no memory");
	const struct option_entry *options = app_settings_options(settings);
	const char *path = find_file(argc, argv);
	int operand = argc, status = path ? read_file(settings, options, path) : -1;
	if (status < 0)
		status = read_environment(command, settings, options);
	if (status < 0) {
		begin_source(options);
		status = options_parse(command, options, argc, argv, &operand);
	}
	/* Of flags getopt_long takes a beginning, too. The file has been looked for by the whole word. */
	if (status < 0 && settings->file && *settings->file && (!path || strcmp(path, settings->file) != 0))
		status = options_wrong(command, "--config must be written out");
	if (status < 0 && operand < argc)
		status = options_wrong(command, "%s takes no argument, but got '%s'", command->name, argv[operand]);
	if (status < 0 && !finish(settings))
		status = EXIT_FAILED;
	if (status < 0) {
		settings->file = path;
		*out = settings;
	} else {
		app_settings_free(settings);
	}
	return status;
}
