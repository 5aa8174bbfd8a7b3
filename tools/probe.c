/* SPDX-License-Identifier: MIT
 *
 * probe.c - `ringcast probe`: what this kernel and processor offer, and what is used in place of what is missing.
 */
#include <stdio.h>

#include "app/web.h"
#include "backplane/engine.h"
#include "commands.h"
#include "ringcast.h"
#include "ringcast_stats.h"

#define FEATURES_MAX 64
#define SMALL_MAX 8192

static int run(int argc, char **argv);

const struct subcommand command_probe = {
	.name = "probe",
	.summary = "print what this kernel offers, and what is used",
	.usage = "[--help]",
	.about = "Prints one line a feature: its name, whether it was found, and what is used (or used instead).\n"
		 "The exit status is 1 when ringcast cannot run here; the last line then says what to do.",
	.examples = "  ringcast probe\n"
		    "  ringcast probe && ringcast serve --demo",
	.run = run,
};

/* What the program was built with, for --backplane. */
static void print_backplanes(void)
{
	struct engine_listed list[ENGINES_MAX];
	unsigned count = engines_list(list, ENGINES_MAX);
	for (unsigned index = 0; index < count; index++) {
		char name[32];
		snprintf(name, sizeof name, "backplane %s", list[index].name);
		if (list[index].engine)
			printf("%-28s %-7s %s\n", name, "yes", list[index].engine->version());
		else
			printf("%-28s %-7s built without %s\n", name, "no", list[index].package);
	}
}

static int run(int argc, char **argv)
{
	static const struct option_entry options[] = { { 0 } };
	static struct rc_feature features[FEATURES_MAX];
	struct rc_error error = { 0 };
	int operand;
	int status = options_parse(&command_probe, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (operand < argc)
		return options_wrong(&command_probe, "probe takes no argument, but got '%s'", argv[operand]);
	size_t count = rc_probe(features, FEATURES_MAX, &error);
	for (size_t index = 0; index < count; index++)
		printf("%-28s %-7s %s\n", features[index].name,
		       features[index].found      ? "yes"
		       : features[index].required ? "MISSING"
		                                  : "no",
		       features[index].used);
	bool small = app_web_small_size() <= SMALL_MAX;
	printf("%-28s %-7s %zu bytes compressed%s\n", "small ringcast.min.js", small ? "yes" : "no",
	       app_web_small_size(), small ? "" : ": built without esbuild");
	print_backplanes();
	return error.code ? command_failed("%s", error.text) : EXIT_OK;
}
