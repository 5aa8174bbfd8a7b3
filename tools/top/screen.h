/* SPDX-License-Identifier: MIT
 *
 * screen.h - what `ringcast top` shows of two looks, on a terminal or as a line. Nothing that a server says commands
 * the terminal.
 */
#ifndef TOP_SCREEN_H
#define TOP_SCREEN_H

#include "nodes.h"

/* Two looks at one node, or at the sum of several. */
struct screen {
	const json_t *before, *now;
	double seconds; /* between them */
	const struct node *nodes;
	unsigned node_count;
};

/* The whole terminal, drawn anew. */
void screen_print(const struct screen *screen);

/* One line; of several nodes one for all and one a node. */
void screen_print_line(const struct screen *screen);

#endif
