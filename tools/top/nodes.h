/* SPDX-License-Identifier: MIT
 *
 * nodes.h - the servers that `ringcast top` watches: a look at all of them at once, and what they do together as if
 * they were one. A node that does not answer is left out of the sum, and comes back with its next two looks.
 */
#ifndef TOP_NODES_H
#define TOP_NODES_H

#include <jansson.h>
#include <stdbool.h>

#include "source.h"

#define NODES_MAX 64

struct node {
	struct top_source source;
	json_t *before, *now; /* its last two looks, or null; `before` is only there beside `now` */
};

/* Looks at all nodes, and waits for the slowest of them. Returns how many answered. */
unsigned nodes_look(struct node *nodes, unsigned count);

/* What the nodes with two looks say together: counters and lists added, the largest lag. To be freed. Null without
 * memory, or when no node has two looks. */
json_t *nodes_sum(const struct node *nodes, unsigned count, bool before);

void nodes_free(struct node *nodes, unsigned count);

#endif
