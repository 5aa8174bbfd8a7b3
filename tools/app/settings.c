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
#include "ringcast.h"

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
		.ping_interval_ms = config.ping_interval_ms,
		.login_failures = APP_UNSET,
		.push_ms = 60000,
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
		.partial_ms = 60000,
		.poll_ms = 30000,
		.hooks = APP_HOOK_DEFAULTS,
		.log = LOG_DEFAULTS,
	};
	latency_defaults(&settings->latency);
	settings->backplane = (struct backplane_settings)BACKPLANE_DEFAULTS;
	return settings;
}

void app_settings_free(struct app_settings *settings)
{
	if (!settings)
		return;
	for (unsigned i = 0; i < settings->string_count; i++)
		free(settings->strings[i]);
	free(settings->strings);
	free(settings->protocol_words);
	app_token_keys_free(&settings->keys);
	keys_free(&settings->api);
	keys_free(&settings->operators);
	app_hook_settings_free(&settings->hooks);
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
	bool says_format;
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

static void fail_twice(struct reader *reader, const char *name, unsigned before)
{
	char words[64];
	snprintf(words, sizeof words, "given twice: line %u has it already; keep one", before);
	fail(reader, name, words);
}

static void fail_value(struct reader *reader, const struct option_entry *option, const char *value, const char *error)
{
	char words[400];
	snprintf(words, sizeof words, "'%.100s': %s%s", value, option->kind == OPTION_CHOICE ? "expected " : "", error);
	fail(reader, option->name, words);
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
	struct app_origins *origins = &reader->settings->where;
	const char *kept, *error;
	unsigned before;
	if (*section)
		fail(reader, name, "a settings file has no [sections]");
	else if (!option || strcmp(name, "config") == 0)
		fail(reader, name, "no such setting");
	else if ((before = app_origin_line(origins, reader->options, option)))
		fail_twice(reader, name, before);
	else if (!(kept = keep(reader->settings, value)))
		fail(reader, name, "no memory");
	else if ((error = option_store(option, kept)))
		fail_value(reader, option, value, error);
	else
		app_origin_note(origins, reader->options, option, APP_BY_FILE, reader->line);
	/* Also of what comes behind a wrong line: the word about that is written as the file wants. */
	if (reader->says_format && !*section && strcmp(name, "log-format") == 0)
		log_file_wants_json(strcmp(value, "json") == 0);
	return !reader->error_line;
}

static int read_file(struct app_settings *settings, const struct option_entry *options, const char *path,
                     bool says_format)
{
	struct reader reader = {
		.settings = settings, .options = options, .file = fopen(path, "re"), .says_format = says_format
	};
	settings->where.path = path;
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
			app_origin_note(&settings->where, options, option, APP_BY_ENVIRONMENT, 0);
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

int app_settings_read_file(const char *path, struct app_settings **out)
{
	struct app_settings *settings = make_defaults();
	if (!settings)
		return command_failed("no memory");
	int status = read_file(settings, app_settings_options(settings), path, false);
	if (status < 0 && !app_settings_finish(settings))
		status = EXIT_FAILED;
	if (status < 0)
		*out = settings;
	else
		app_settings_free(settings);
	return status;
}

static void note_flag(void *context, const struct option_entry *option)
{
	struct app_settings *settings = context;
	app_origin_note(&settings->where, app_settings_options(settings), option, APP_BY_FLAG, 0);
}

int app_settings_read(const struct subcommand *command, int argc, char **argv, struct app_settings **out)
{
	struct app_settings *settings = make_defaults();
	if (!settings)
		return command_failed("no memory");
	const struct option_entry *options = app_settings_options(settings);
	const char *path = find_file(argc, argv);
	log_expect_json(argc, argv, true);
	int operand = argc, status = path ? read_file(settings, options, path, true) : -1;
	if (status < 0)
		status = read_environment(command, settings, options);
	if (status < 0) {
		begin_source(options);
		status = options_parse_noting(command, options, argc, argv, &operand, note_flag, settings);
	}
	/* Of flags getopt_long takes a beginning, too. The file has been looked for by the whole word. */
	if (status < 0 && settings->file && *settings->file && (!path || strcmp(path, settings->file) != 0))
		status = options_wrong(command, "--config must be written out");
	if (status < 0 && operand < argc)
		status = options_wrong(command, "%s takes no argument, but got '%s'", command->name, argv[operand]);
	if (status < 0 && !app_settings_finish(settings))
		status = EXIT_FAILED;
	if (status < 0) {
		settings->file = path;
		*out = settings;
	} else {
		app_settings_free(settings);
	}
	return status;
}
