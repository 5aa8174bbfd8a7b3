/* SPDX-License-Identifier: MIT
 *
 * pool.h - blocks for what only some connections need: a handshake in pieces, a message in pieces, bytes waiting to be
 * sent. One pool a worker, so no locks. Sizes are powers of two from 256 bytes up; a bounded number of free bytes is
 * kept for reuse, and the bytes in use are bounded too.
 */
#ifndef RC_POOL_H
#define RC_POOL_H

#include <stdbool.h>
#include <stddef.h>

#define RC_POOL_CLASSES 24
#define RC_POOL_BLOCK_MIN 256 /* bytes of the smallest block */
#define RC_POOL_SMALL 16384   /* up to here a block is small */

struct rc_pool {
	void *free[RC_POOL_CLASSES]; /* lists, linked through the first word of each block */
	size_t free_size, free_size_max;
	size_t used_size, used_size_max;
	size_t large_size_max; /* a block that is not small is given out up to this use only; init: used_size_max */
};

void rc_pool_init(struct rc_pool *pool, size_t free_size_max, size_t used_size_max);
void rc_pool_destroy(struct rc_pool *pool); /* every block must have been given back */

/* A block of at least `size` bytes, its real size in *capacity; null when the bound is reached or memory is out. */
void *rc_pool_take(struct rc_pool *pool, size_t size, size_t *capacity);

/* Whether the bounds allow a block of this size now. */
bool rc_pool_allows(const struct rc_pool *pool, size_t size);

/* Gives back a block with the capacity it was taken with. Null is allowed. */
void rc_pool_give(struct rc_pool *pool, void *block, size_t capacity);

#endif
