/* SPDX-License-Identifier: MIT
 *
 * latency.h - the flags that `serve` and `app` share for where microseconds count: where the workers run and on
 * what, how they sleep, and where the log lies. Each command has its own rows for them; what they mean stands here
 * once.
 */
#ifndef LIB_LATENCY_H
#define LIB_LATENCY_H

#include <stdbool.h>

#include "ringcast.h"

#define LATENCY_CPUS_MAX 1024
#define LATENCY_HUGE_PAGES "off|transparent|reserved" /* in the order of enum rc_huge_pages */
#define LATENCY_RINGS "auto|uring|epoll"              /* in that of enum rc_ring_kind */
#define LATENCY_ANY_NODE UINT32_MAX

/* What the rows fill in. */
struct latency {
	const char *cpus_text; /* "2,3,6-8", or null */
	unsigned numa_node;    /* or LATENCY_ANY_NODE */
	unsigned priority;
	bool log_prefault, log_lock;
	int log_huge_pages;
	unsigned spin_us, round_interval_us;
	bool busy_poll;
	int ring;

	unsigned cpus[LATENCY_CPUS_MAX];
	unsigned cpu_count;
};

void latency_defaults(struct latency *latency);

/* Reads the list of processors. Returns null, or what was expected instead. */
const char *latency_parse(struct latency *latency);

bool latency_equal(const struct latency *a, const struct latency *b);

/* The configuration points to `latency` until the server is made. */
void latency_apply(const struct latency *latency, struct rc_config *config);

#endif
