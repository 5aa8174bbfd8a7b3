/* SPDX-License-Identifier: MIT
 *
 * table.c - see table.h.
 */
#include "table.h"

#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define BUCKETS_FIRST 64

bool rc_table_init(struct rc_table *table, uint64_t seed)
{
	*table = (struct rc_table){ .bucket_count = BUCKETS_FIRST, .seed = seed };
	table->buckets = calloc(BUCKETS_FIRST, sizeof(struct rc_node *));
	return table->buckets;
}

void rc_table_destroy(struct rc_table *table)
{
	free(table->buckets);
	*table = (struct rc_table){ 0 };
}

uint64_t rc_table_hash(const struct rc_table *table, const void *name, size_t size)
{
	return XXH3_64bits_withSeed(name, size, table->seed);
}

static struct rc_node **bucket_of(const struct rc_table *table, uint64_t hash)
{
	return &table->buckets[hash & (table->bucket_count - 1)];
}

struct rc_node *rc_table_find(const struct rc_table *table, const char *name, size_t size)
{
	uint64_t hash = rc_table_hash(table, name, size);
	struct rc_node *node = *bucket_of(table, hash);
	while (node && (node->hash != hash || node->name_size != size || memcmp(node->name, name, size) != 0))
		node = node->next;
	return node;
}

/* Without memory it only becomes slower. */
static void grow(struct rc_table *table)
{
	struct rc_node **before = table->buckets, **buckets = calloc(table->bucket_count * 2, sizeof(struct rc_node *));
	size_t count = table->bucket_count;
	if (!buckets)
		return;
	table->buckets = buckets;
	table->bucket_count *= 2;
	for (size_t i = 0; i < count; i++) {
		for (struct rc_node *node = before[i], *next; node; node = next) {
			next = node->next;
			struct rc_node **bucket = bucket_of(table, node->hash);
			node->next = *bucket;
			*bucket = node;
		}
	}
	free(before);
}

void rc_table_add(struct rc_table *table, struct rc_node *node)
{
	if (table->count >= table->bucket_count)
		grow(table);
	node->hash = rc_table_hash(table, node->name, node->name_size);
	struct rc_node **bucket = bucket_of(table, node->hash);
	node->next = *bucket;
	*bucket = node;
	table->count++;
}

void rc_table_remove(struct rc_table *table, struct rc_node *node)
{
	struct rc_node **link = bucket_of(table, node->hash);
	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	table->count--;
}

void rc_table_each(struct rc_table *table, void (*visit)(void *context, struct rc_node *node), void *context)
{
	for (size_t i = 0; i < table->bucket_count; i++) {
		for (struct rc_node *node = table->buckets[i], *next; node; node = next) {
			next = node->next;
			visit(context, node);
		}
	}
}
