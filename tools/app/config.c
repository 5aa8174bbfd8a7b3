/* SPDX-License-Identifier: MIT
 *
 * config.c - `ringcast config check FILE`: whether `ringcast app` would take it.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "exposure.h"
#include "lib/expiry.h"
#include "settings.h"
#include "start.h"

static int run(int argc, char **argv);

const struct subcommand command_config = {
	.name = "config",
	.summary = "check a configuration file of `ringcast app`",
	.usage = "check FILE",
	.about =
	    "Starts with the file as `ringcast app --config FILE` would, certificates and keys included, but where\n"
	    "nobody can connect: a server that runs is not disturbed. Says what is wrong, in which line, and what\n"
	    "helps; or, when nothing is, what it opens to whom. Exit status 0: nothing is wrong. The settings are\n"
	    "the flags of `ringcast app`, without --.",
	.examples = "  ringcast config check /etc/ringcast.conf",
	.run = run,
};

static const char *path;

static void warn(int level, const char *words)
{
	(void)level;
	fprintf(stderr, "ringcast: %s: %s\n", path, words);
}

static void look(rc_server *server)
{
	expiry_look(server, warn);
}

static int run(int argc, char **argv)
{
	const struct option_entry none[] = { { 0 } };
	int operand, status = options_parse(&command_config, none, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (argc - operand != 2 || strcmp(argv[operand], "check") != 0)
		return options_wrong(&command_config, "expected: ringcast config check FILE");
	struct app_settings *settings;
	path = argv[operand + 1];
	status = app_settings_read_file(path, &settings);
	if (status >= 0)
		return status;
	status = app_check(settings, look) ? EXIT_OK : EXIT_FAILED;
	if (status == EXIT_OK) {
		printf("%s: good\n", path);
		app_exposure_print(settings);
	}
	app_settings_free(settings);
	return status;
}
