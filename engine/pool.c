/* SPDX-License-Identifier: MIT
 *
 * pool.c - see pool.h. Invariant: used_size is the sum of the capacities handed out, free_size of those in the lists.
 */
#include "pool.h"

#include "check.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST_SHIFT 8
static_assert(RC_POOL_BLOCK_MIN == 1 << SMALLEST_SHIFT, "one size, said twice");

static unsigned class_of(size_t size)
{
	if (size <= (size_t)1 << SMALLEST_SHIFT)
		return 0;
	return (unsigned)(64 - __builtin_clzll(size - 1)) - SMALLEST_SHIFT;
}

void rc_pool_init(struct rc_pool *pool, size_t free_size_max, size_t used_size_max)
{
	memset(pool, 0, sizeof *pool);
	pool->free_size_max = free_size_max;
	pool->used_size_max = pool->large_size_max = used_size_max;
}

void rc_pool_destroy(struct rc_pool *pool)
{
	RC_ASSERT(pool->used_size == 0);
	for (unsigned i = 0; i < RC_POOL_CLASSES; i++) {
		while (pool->free[i]) {
			void *block = pool->free[i];
			memcpy(&pool->free[i], block, sizeof(void *));
			free(block);
		}
	}
	pool->free_size = 0;
}

bool rc_pool_allows(const struct rc_pool *pool, size_t size)
{
	unsigned class = class_of(size);
	if (class >= RC_POOL_CLASSES)
		return false;
	size_t block_size = (size_t)1 << (class + SMALLEST_SHIFT), used_size = pool->used_size + block_size;
	return used_size <= pool->used_size_max && (block_size <= RC_POOL_SMALL || used_size <= pool->large_size_max);
}

void *rc_pool_take(struct rc_pool *pool, size_t size, size_t *capacity)
{
	if (!rc_pool_allows(pool, size))
		return NULL;
	unsigned class = class_of(size);
	size_t block_size = (size_t)1 << (class + SMALLEST_SHIFT);
	void *block = pool->free[class];
	if (block) {
		memcpy(&pool->free[class], block, sizeof(void *));
		pool->free_size -= block_size;
	} else if (!(block = malloc(block_size))) {
		return NULL;
	}
	pool->used_size += block_size;
	*capacity = block_size;
	return block;
}

void rc_pool_give(struct rc_pool *pool, void *block, size_t capacity)
{
	if (!block)
		return;
	unsigned class = class_of(capacity);
	RC_ASSERT(capacity == (size_t)1 << (class + SMALLEST_SHIFT));
	RC_ASSERT(pool->used_size >= capacity);
	pool->used_size -= capacity;
	if (pool->free_size + capacity > pool->free_size_max) {
		free(block);
		return;
	}
	memcpy(block, &pool->free[class], sizeof(void *));
	pool->free[class] = block;
	pool->free_size += capacity;
}
