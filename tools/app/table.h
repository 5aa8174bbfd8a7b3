/* SPDX-License-Identifier: MIT
 *
 * table.h - things found by name: a hash table of nodes that lie inside the things themselves. Names come from
 * strangers, so the hash has a seed that they cannot know. No lock: whoever owns the table has one.
 */
#ifndef APP_TABLE_H
#define APP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app_node {
	struct app_node *next;
	uint64_t hash;
	const char *name; /* the thing's own */
	size_t name_size;
};

struct app_table {
	struct app_node **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	uint64_t seed;
};

bool app_table_init(struct app_table *table, uint64_t seed);
void app_table_destroy(struct app_table *table); /* the nodes are the caller's */
uint64_t app_table_hash(const struct app_table *table, const void *name, size_t size);
struct app_node *app_table_find(const struct app_table *table, const char *name, size_t size);
/* node->name and name_size are set; no node of that name is there. */
void app_table_add(struct app_table *table, struct app_node *node);
void app_table_remove(struct app_table *table, struct app_node *node);

/* Visits all, in no order; the node that is visited may be removed meanwhile. */
void app_table_each(struct app_table *table, void (*visit)(void *context, struct app_node *node), void *context);

#endif
