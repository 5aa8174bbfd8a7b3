/* SPDX-License-Identifier: MIT
 *
 * main.c - the `ringcast` command: finds the subcommand and hands over. A new subcommand is a file and a line here.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "app/settings.h"
#include "commands.h"
#include "lib/environment.h"
#include "ringcast.h"
#include "version.h"

static const struct subcommand *const commands[] = {
	&command_serve, &command_app,    &command_sub,   &command_pub,    &command_replay, &command_load,
	&command_top,   &command_health, &command_probe, &command_doctor, &command_config,
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void print_help(FILE *to)
{
	fprintf(to, "usage: ringcast COMMAND [options]\n\n"
	            "A WebSocket fan-out server on io_uring, and the tools around it.\n\n"
	            "commands:\n");
	for (size_t index = 0; index < COMMAND_COUNT; index++)
		fprintf(to, "  %-10s %s\n", commands[index]->name, commands[index]->summary);
	fprintf(to, "\n'ringcast COMMAND --help' explains each; 'ringcast --version' names this build.\n"
	            "Begin with: ringcast serve --demo\n");
}

/* A connection is a descriptor: take what the hard limit allows instead of asking the user to raise the soft one. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Help is there for whoever has set something wrong. */
static bool asks_for_help(int argc, char **argv)
{
	for (int index = 1; index < argc; index++)
		if (!strcmp(argv[index], "--help"))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	/* When the reader of a pipe has left (`ringcast sub ... | head`), write() fails. The program must not be killed
	 * before it has sent its Close. */
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	const char *name = argv[1];
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		print_help(stdout);
		return EXIT_OK;
	}
	if (!strcmp(name, "--version")) {
		version_print(stdout);
		return EXIT_OK;
	}
	for (size_t index = 0; index < COMMAND_COUNT; index++) {
		if (strcmp(commands[index]->name, name))
			continue;
		static struct app_settings none;
		if (!asks_for_help(argc, argv) && !environment_is_known(app_settings_options(&none)))
			return EXIT_USAGE;
		raise_descriptor_limit();
		return commands[index]->run(argc - 1, argv + 1);
	}
	command_failed("there is no command '%s'", name);
	fprintf(stderr, "try 'ringcast --help'\n");
	return EXIT_USAGE;
}
