/* SPDX-License-Identifier: MIT
 *
 * config.c - `ringcast config check FILE`: whether `ringcast app` would take it.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "exposure.h"
#include "settings.h"

static int run(int argc, char **argv);

const struct subcommand command_config = {
	.name = "config",
	.summary = "check a configuration file of `ringcast app`",
	.usage = "check FILE",
	.about =
	    "Reads the file and the keys it names, as `ringcast app --config FILE` would, and says what is wrong and\n"
	    "in which line; or, when nothing is, what it opens to whom. Exit status 0: nothing is wrong. The settings\n"
	    "are the flags of `ringcast app`, without --.",
	.examples = "  ringcast config check /etc/ringcast.conf",
	.run = run,
};

static int run(int argc, char **argv)
{
	const struct option_entry none[] = { { 0 } };
	int operand, status = options_parse(&command_config, none, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (argc - operand != 2 || strcmp(argv[operand], "check") != 0)
		return options_wrong(&command_config, "expected: ringcast config check FILE");
	struct app_settings *settings;
	struct local_listeners listeners = { 0 };
	status = app_settings_read_file(argv[operand + 1], &settings);
	if (status >= 0)
		return status;
	for (unsigned i = 0; i < settings->listen.count; i++)
		local_listeners_add(&listeners, settings->listen.items[i]);
	/* A socket that is handed over (fd:3) is not here to be looked at: the server itself will judge it. */
	for (unsigned i = 0; i < listeners.count; i++)
		listeners.loopback[i] |= strstr(settings->listen.items[i], "fd:") != NULL;
	int open = app_exposure_too_open(settings, &listeners, listeners.count);
	if (open >= 0) {
		status = command_failed("%s: %s " APP_EXPOSURE_WORDS, argv[operand + 1], settings->listen.items[open]);
	} else {
		printf("%s: good\n", argv[operand + 1]);
		app_exposure_print(settings);
		status = EXIT_OK;
	}
	app_settings_free(settings);
	return status;
}
