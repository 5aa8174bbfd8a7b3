/* SPDX-License-Identifier: MIT
 *
 * stats.h - the figures of a running server as JSON, for /stats. It reads nothing but the public statistics.
 */
#ifndef LIB_STATS_H
#define LIB_STATS_H

#include <stdio.h>

#include "health.h"
#include "ringcast.h"

/* What the server's workers run on: "io_uring" or "epoll". */
const char *stats_ring_name(rc_server *server);

/* With what the health's parts say. `more` writes members of the command's own, each with a comma behind it; it may be
 * null. */
void stats_write(FILE *to, rc_server *server, const struct health *health, void (*more)(void *context, FILE *to),
                 void *context);

#endif
