/* SPDX-License-Identifier: MIT
 *
 * report.c - see report.h.
 */
#include "report.h"

#include <assert.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define INDENT "          "
#define WIDTH 100

static const char *const words[] = { "ok", "change", "advice", "unknown" };

struct finding *report_add(struct report *report, enum verdict verdict, const char *name, const char *found, ...)
{
	va_list arguments;
	assert(report->count < REPORT_FINDINGS_MAX);
	struct finding *finding = &report->findings[report->count++];
	*finding = (struct finding){ .verdict = verdict };
	snprintf(finding->name, sizeof finding->name, "%s", name);
	va_start(arguments, found);
	vsnprintf(finding->found, sizeof finding->found, found, arguments);
	va_end(arguments);
	return finding;
}

void report_why(struct finding *finding, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(finding->why, sizeof finding->why, format, arguments);
	va_end(arguments);
}

void report_command(struct finding *finding, const char *format, ...)
{
	va_list arguments;
	if (finding->command_count == REPORT_COMMANDS_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(finding->commands[finding->command_count++], sizeof finding->commands[0], format, arguments);
	va_end(arguments);
}

unsigned report_count(const struct report *report, enum verdict verdict)
{
	unsigned count = 0;
	for (unsigned index = 0; index < report->count; index++)
		count += report->findings[index].verdict == verdict;
	return count;
}

/* Lines of at most WIDTH columns. */
static void print_words(const char *text)
{
	size_t column = 0;
	for (size_t size; *text; text += size + strspn(text + size, " ")) {
		size = strcspn(text, " ");
		if (column && column + 1 + size > WIDTH) {
			putchar('\n');
			column = 0;
		}
		column += (size_t)printf("%s%.*s", column ? " " : INDENT, (int)size, text);
	}
	if (column)
		putchar('\n');
}

void report_print(const struct report *report)
{
	unsigned change = report_count(report, VERDICT_CHANGE), advice = report_count(report, VERDICT_ADVICE);
	bool sysctl = false;
	printf("%u connections, Linux %s, %u processor%s\n\n", report->connections, report->kernel, report->processors,
	       report->processors == 1 ? "" : "s");
	for (unsigned index = 0; index < report->count; index++) {
		const struct finding *finding = &report->findings[index];
		printf("%-9s %-30s %s\n", words[finding->verdict], finding->name, finding->found);
		print_words(finding->why);
		for (unsigned command = 0; command < finding->command_count; command++) {
			printf(INDENT "    # %s\n", finding->commands[command]);
			sysctl |= !strncmp(finding->commands[command], "sysctl -w", 9);
		}
	}
	if (change)
		printf("\n%u thing%s should change for %u connections.", change, change == 1 ? "" : "s",
		       report->connections);
	else
		printf("\nNothing has to change for %u connections.", report->connections);
	if (advice)
		printf(" Advice (%u) gains time; no connection needs it.", advice);
	if (sysctl)
		printf("\nWhat sysctl -w sets lasts until the next boot; a line NAME = VALUE in "
		       "/etc/sysctl.d/90-ringcast.conf stays.");
	putchar('\n');
}

bool report_print_json(const struct report *report)
{
	json_t *findings = json_array();
	for (unsigned index = 0; index < report->count; index++) {
		const struct finding *finding = &report->findings[index];
		json_t *commands = json_array();
		for (unsigned command = 0; command < finding->command_count; command++)
			json_array_append_new(commands, json_string(finding->commands[command]));
		json_array_append_new(findings, json_pack("{s:s,s:s,s:s,s:s,s:o}", "name", finding->name, "verdict",
		                                          words[finding->verdict], "found", finding->found, "why",
		                                          finding->why, "commands", commands));
	}
	json_t *all = json_pack("{s:I,s:s,s:I,s:I,s:I,s:o}", "connections", (json_int_t)report->connections, "kernel",
	                        report->kernel, "processors", (json_int_t)report->processors, "change",
	                        (json_int_t)report_count(report, VERDICT_CHANGE), "advice",
	                        (json_int_t)report_count(report, VERDICT_ADVICE), "findings", findings);
	bool written = all && json_array_size(findings) == report->count &&
	               !json_dumpf(all, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	if (written)
		putchar('\n');
	json_decref(all);
	return written;
}
