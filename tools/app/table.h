/* SPDX-License-Identifier: MIT
 *
 * table.h - things found by name: a hash table of nodes that lie inside the things themselves. Names come from
 * strangers, so the hash has a seed that they cannot know. No lock: whoever owns the table has one.
 */
#ifndef RC_APP_TABLE_H
#define RC_APP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rc_node {
	struct rc_node *next;
	uint64_t hash;
	const char *name; /* the thing's own */
	size_t name_size;
};

struct rc_table {
	struct rc_node **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	uint64_t seed;
};

bool rc_table_init(struct rc_table *table, uint64_t seed);
void rc_table_destroy(struct rc_table *table); /* the nodes are the caller's */
uint64_t rc_table_hash(const struct rc_table *table, const void *name, size_t size);
struct rc_node *rc_table_find(const struct rc_table *table, const char *name, size_t size);
/* node->name and name_size are set; no node of that name is there. */
void rc_table_add(struct rc_table *table, struct rc_node *node);
void rc_table_remove(struct rc_table *table, struct rc_node *node);

/* Visits all, in no order; the node that is visited may be removed meanwhile. */
void rc_table_each(struct rc_table *table, void (*visit)(void *context, struct rc_node *node), void *context);

#endif
