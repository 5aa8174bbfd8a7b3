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

bool app_table_init(struct app_table *table, uint64_t seed)
{
	*table = (struct app_table){ .bucket_count = BUCKETS_FIRST, .seed = seed };
	table->buckets = calloc(BUCKETS_FIRST, sizeof(struct app_node *));
	return table->buckets;
}

void app_table_destroy(struct app_table *table)
{
	free(table->buckets);
	*table = (struct app_table){ 0 };
}

uint64_t app_table_hash(const struct app_table *table, const void *name, size_t size)
{
	return XXH3_64bits_withSeed(name, size, table->seed);
}

static struct app_node **bucket_of(const struct app_table *table, uint64_t hash)
{
	return &table->buckets[hash & (table->bucket_count - 1)];
}

struct app_node *app_table_find(const struct app_table *table, const char *name, size_t size)
{
	uint64_t hash = app_table_hash(table, name, size);
	struct app_node *node = *bucket_of(table, hash);
	while (node && (node->hash != hash || node->name_size != size || memcmp(node->name, name, size) != 0))
		node = node->next;
	return node;
}

/* Without memory for more buckets the table only becomes slower. */
static void grow(struct app_table *table)
{
	struct app_node **before = table->buckets,
			**buckets = calloc(table->bucket_count * 2, sizeof(struct app_node *));
	size_t count = table->bucket_count;
	if (!buckets)
		return;
	table->buckets = buckets;
	table->bucket_count *= 2;
	for (size_t i = 0; i < count; i++) {
		for (struct app_node *node = before[i], *next; node; node = next) {
			next = node->next;
			struct app_node **bucket = bucket_of(table, node->hash);
			node->next = *bucket;
			*bucket = node;
		}
	}
	free(before);
}

void app_table_add(struct app_table *table, struct app_node *node)
{
	if (table->count >= table->bucket_count)
		grow(table);
	node->hash = app_table_hash(table, node->name, node->name_size);
	struct app_node **bucket = bucket_of(table, node->hash);
	node->next = *bucket;
	*bucket = node;
	table->count++;
}

void app_table_remove(struct app_table *table, struct app_node *node)
{
	struct app_node **link = bucket_of(table, node->hash);
	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	table->count--;
}

void app_table_each(struct app_table *table, void (*visit)(void *context, struct app_node *node), void *context)
{
	for (size_t i = 0; i < table->bucket_count; i++) {
		for (struct app_node *node = table->buckets[i], *next; node; node = next) {
			next = node->next;
			visit(context, node);
		}
	}
}
