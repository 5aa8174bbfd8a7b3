/* SPDX-License-Identifier: MIT
 *
 * figures.h - the state of the server in numbers and names, as JSON and for Prometheus. It reads and changes nothing.
 */
#ifndef APP_FIGURES_H
#define APP_FIGURES_H

#include <stddef.h>
#include <stdio.h>

#include "out.h"

struct app;

/* An object: of this node alone. */
void app_figures_own(struct app *app, struct app_out *out);
/* That, with its name and how its backplane is: what the other nodes are told. */
void app_figures_node(struct app *app, struct app_out *out);
/* Of this node, or on several the sums of all, and each node's own in "nodes". */
void app_figures_stats(struct app *app, struct app_out *out);
/* The metrics that only this command has: `more` of lib/metrics.h, with the app as its context. */
void app_figures_metrics(void *context, FILE *to);
/* app_figures_stats() as a member of /stats: `more_stats`. */
void app_figures_members(void *context, FILE *to);
/* At most `max` of them, and how many there are. */
void app_figures_rooms(struct app *app, struct app_out *out, size_t max);
/* The same of users; `user` is one, or null for all. */
void app_figures_presence(struct app *app, struct app_out *out, const char *user, size_t max);

/* Where the clients of users are from, or those of one. */
void app_figures_clients(struct app *app, struct app_out *out, const char *user, size_t max);

#endif
