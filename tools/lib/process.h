/* SPDX-License-Identifier: MIT
 *
 * process.h - what a process costs, another or this one, as /proc tells it.
 */
#ifndef LIB_PROCESS_H
#define LIB_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

struct process_cost {
	bool found;      /* the process is there and may be read */
	uint64_t cpu_ns; /* all threads that live, io_uring's included */
	uint64_t rss_size;
	bool softirq_found;  /* ksoftirqd can be seen from here */
	uint64_t softirq_ns; /* of all processors: network work that no process was charged for */
};

struct process_cost process_cost(unsigned pid);

/* What Prometheus' clients tell of the process they are in. */
struct process_figures {
	double cpu_seconds, started_seconds; /* of processor time; since 1970 */
	uint64_t resident_size, virtual_size;
	uint64_t fds, fds_max; /* UINT64_MAX: not known */
};
void process_figures(struct process_figures *figures);

#endif
