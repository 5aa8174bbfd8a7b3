/* SPDX-License-Identifier: MIT
 *
 * figures_nodes.h - figures and names of all nodes: what the replica knows, and what the other nodes say of themselves
 * while somebody asks. Nothing is exchanged when nobody does.
 */
#ifndef APP_FIGURES_NODES_H
#define APP_FIGURES_NODES_H

#include <stddef.h>

#include "out.h"

struct app;

/* A list of names as it is written. */
struct app_listing {
	struct app_out *out;
	size_t count, max;
};

/* (lock) */
void app_figures_all_rooms(struct app *app, struct app_listing *listing);
void app_figures_all_users(struct app *app, const char *user, struct app_listing *listing);

/* What a listener is called in the figures: HOST:PORT, with this machine's name where the address says none; of a
 * socket in the file system its path. */
void app_figures_name(struct app *app, const char *address, int port);

/* Figures of this node, with its name and how its backplane is: what the others are told. */
void app_figures_node(struct app *app, struct app_out *out);

/* The sums, and "nodes". The others are asked, for whoever asks next. */
void app_figures_nodes(struct app *app, struct app_out *out);

#endif
