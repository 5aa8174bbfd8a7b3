/* SPDX-License-Identifier: MIT
 *
 * live.h - the line of figures that `ringcast serve` shows while it runs: one that is written over each second on a
 * terminal, one that is added every ten seconds elsewhere.
 */
#ifndef SERVE_LIVE_H
#define SERVE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "ringcast.h"

struct serve_live {
	rc_server *server;
	bool terminal;
	uint64_t period_ns;
	/* As of the last line. */
	uint64_t at_ns;
	uint64_t cpu_ns;
	struct rc_stats stats;
};

void serve_live_begin(struct serve_live *live, rc_server *server);
/* Prints a line: call it once a period. Never blocks: a reader of a pipe that sleeps misses lines. */
void serve_live_show(struct serve_live *live);
/* Leaves the line standing. */
void serve_live_end(struct serve_live *live);

#endif
