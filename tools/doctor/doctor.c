/* SPDX-License-Identifier: MIT
 *
 * doctor.c - `ringcast doctor`: what this machine is set to, and what has to change for so many connections.
 */
#include <string.h>

#include "checks.h"
#include "commands.h"

#define CONNECTIONS_DEFAULT 100000
#define CONNECTIONS_MAX 100000000
#define ROOT_SIZE_MAX 1024

static int run(int argc, char **argv);

const struct subcommand command_doctor = {
	.name = "doctor",
	.summary = "say what to change on this machine for N connections",
	.usage = "[options]",
	.about =
	    "Reads the limits of descriptors, memory and processor time, the kernel's network settings, congestion\n"
	    "control, the clock, interrupts and processors, and says of each: ok; change, when so many connections\n"
	    "need it, with the commands; advice, when it only gains time. It changes nothing itself. The exit\n"
	    "status is 1 when something should change. What the kernel can do is `ringcast probe`'s.",
	.examples = "  ringcast doctor\n"
		    "  ringcast doctor --connections 1000000\n"
		    "  ringcast doctor --json | jq '.findings[] | select(.verdict == \"change\")'",
	.run = run,
};

static int run(int argc, char **argv)
{
	static struct report report = { .connections = CONNECTIONS_DEFAULT };
	struct machine machine;
	const char *root = "";
	bool json = false;
	const struct option_entry options[] = {
		{ "connections", OPTION_COUNT, &report.connections, "N", "how many there are to be (100000)" },
		{ "json", OPTION_FLAG, &json, NULL, "one JSON object" },
		{ "root", OPTION_TEXT, &root, "DIR", "read DIR/proc and DIR/sys, as copied from another machine" },
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_doctor, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (operand < argc)
		return options_wrong(&command_doctor, "doctor takes no argument, but got '%s'", argv[operand]);
	if (!report.connections || report.connections > CONNECTIONS_MAX)
		return options_wrong(&command_doctor, "--connections: expected 1 to %d", CONNECTIONS_MAX);
	if (strlen(root) > ROOT_SIZE_MAX)
		return options_wrong(&command_doctor, "--root: expected at most %d bytes", ROOT_SIZE_MAX);
	machine_look(&machine, root);
	report.kernel = machine.kernel;
	report.processors = machine.processors;
	check_limits(&report, &machine);
	check_network(&report, &machine);
	check_time(&report, &machine);
	if (!json)
		report_print(&report);
	else if (!report_print_json(&report))
		return command_failed("no memory for the report");
	return report_count(&report, VERDICT_CHANGE) ? EXIT_FAILED : EXIT_OK;
}
