/* SPDX-License-Identifier: MIT
 *
 * metrics.h - the figures of a running server in Prometheus' text format, by its rules: base units, `_total` for what
 * only grows, histograms. One set for every command that serves; what a command has beside it writes the same way. It
 * reads and changes nothing.
 */
#ifndef LIB_METRICS_H
#define LIB_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "health.h"
#include "ringcast.h"
#include "service.h"

struct metrics {
	rc_server *server;
	uint64_t memory_max; /* what may be kept for connections outside the log */
	struct health *health;
	const struct service *service;
	/* Write what the command has of its own, here and as members of /stats; may be null. */
	void (*more)(void *context, FILE *to);
	void (*more_stats)(void *context, FILE *to);
	void *context;
};

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

void metrics_write(const struct metrics *metrics, FILE *to);

/* For `more`: the lines that come before a metric's values, and a whole metric of one value. Names are without the
 * "ringcast_" in front. */
void metrics_head(FILE *to, const char *name, const char *type, const char *help);
void metrics_value(FILE *to, const char *name, const char *type, const char *help, uint64_t value);
/* A histogram whose bucket n ends at `least` * 2^n seconds; the last one has no end. */
void metrics_histogram(FILE *to, const char *name, const char *help, const uint64_t *counts, unsigned bucket_count,
                       double least, double sum);

#endif
