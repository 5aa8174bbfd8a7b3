/* SPDX-License-Identifier: MIT
 *
 * live.h - the line of figures that `ringcast serve` shows while it runs. On a terminal it is overwritten each second;
 * elsewhere another is added every ten seconds.
 */
#ifndef SERVE_LIVE_H
#define SERVE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "ringcast.h"
#include "ringcast_stats.h"

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
/* Prints a line; call it once a period. Never blocks: the reader of a pipe misses lines while it sleeps. */
void serve_live_show(struct serve_live *live);
/* Leaves the line standing. */
void serve_live_end(struct serve_live *live);

#endif
