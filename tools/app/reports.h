/* SPDX-License-Identifier: MIT
 *
 * reports.h - what clients measured themselves, as the monitors of pages report it: of each name how many values, their
 * sum, the least, the largest and the newest. Anybody who may connect may report, so nobody decides anything by it, and
 * there is room for so many names and no more. Any thread.
 */
#ifndef APP_REPORTS_H
#define APP_REPORTS_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "out.h"

struct app;

#define APP_REPORTS_MAX 64        /* names */
#define APP_REPORT_NAME_MAX 40    /* bytes */
#define APP_REPORT_VALUES_MAX 256 /* of one report */
#define APP_REPORT_SIZE_MAX 8192  /* of its body */

struct app_report {
	char name[APP_REPORT_NAME_MAX + 1]; /* empty: nobody's place */
	uint64_t count, at_ns;
	double sum, least, most, newest;
};

struct app_reports {
	pthread_mutex_t lock;
	uint64_t taken, left_out; /* values */
	struct app_report each[APP_REPORTS_MAX];
};

void app_reports_init(struct app_reports *reports);
void app_reports_destroy(struct app_reports *reports);

/* Takes the numbers of an object: members that are numbers, arrays of them, and objects of these. What else stands
 * there is passed over. Sets how many were taken, and how many found no room. */
void app_reports_take(struct app_reports *reports, const json_t *object, uint64_t now_ns, unsigned *taken,
                      unsigned *left_out);

/* Writes them, as an object by name; and for Prometheus. */
void app_reports_write(struct app *app, struct app_out *out);
void app_reports_metrics(struct app *app, FILE *to);

#endif
