/* SPDX-License-Identifier: MIT
 *
 * report.h - what the doctor found, one finding a thing that was looked at: a verdict, what it is now, why that
 * matters, and the commands that change it. Knows no machine.
 */
#ifndef DOCTOR_REPORT_H
#define DOCTOR_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#define REPORT_FINDINGS_MAX 64
#define REPORT_COMMANDS_MAX 8

enum verdict {
	VERDICT_OK,
	VERDICT_CHANGE,  /* in the way of so many connections */
	VERDICT_ADVICE,  /* costs time, and holds up no connection */
	VERDICT_UNKNOWN, /* the kernel does not say */
};

struct finding {
	enum verdict verdict;
	char name[48];
	char found[160];
	char why[320]; /* empty where all is well */
	char commands[REPORT_COMMANDS_MAX][200];
	unsigned command_count;
};

struct report {
	unsigned connections;
	const char *kernel;
	unsigned processors;
	struct finding findings[REPORT_FINDINGS_MAX];
	unsigned count;
};

/* Adds a finding; `found` is what the thing is now. There is room for all that the doctor looks at. */
struct finding *report_add(struct report *report, enum verdict verdict, const char *name, const char *found, ...)
    __attribute__((format(printf, 4, 5)));
void report_why(struct finding *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A command for root; what goes beyond the room for them is left out. */
void report_command(struct finding *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));

unsigned report_count(const struct report *report, enum verdict verdict);
void report_print(const struct report *report);
/* Returns false when there was no memory for it. */
bool report_print_json(const struct report *report);

#endif
