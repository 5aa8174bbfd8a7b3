/* SPDX-License-Identifier: MIT
 *
 * process.h - what another process costs, as /proc tells it.
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

#endif
