/* SPDX-License-Identifier: MIT
 *
 * config.c - `ringcast config check FILE`: whether `ringcast app` would take it.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "settings.h"

static int run(int argc, char **argv);

const struct subcommand command_config = {
	.name = "config",
	.summary = "check a configuration file of `ringcast app`",
	.usage = "check FILE",
	.about =
	    "Reads the file and the keys it names, as `ringcast app --config FILE` would, and says what is wrong and\n"
	    "in which line. Exit status 0: nothing. The settings are the flags of `ringcast app`, without --.",
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
	status = app_settings_check(&command_config, argv[operand + 1]);
	if (status >= 0)
		return status;
	printf("%s: good\n", argv[operand + 1]);
	return EXIT_OK;
}
