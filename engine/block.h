/* SPDX-License-Identifier: MIT
 *
 * block.h - where publishers build messages in place: a part of the log's memory, cut in blocks of one size.
 *
 *      block     | frame | frame | place that is being built in |  free          `used` ends where the place begins
 *      state     free: in no use        active: takes places, one at a time        full: only its entries keep it
 *
 * Only one publisher at a time builds in a block, so what he writes can only ever meet his own place, however late he
 * writes it: the block takes no other place before he has given his back. Who never does keeps that one block, and so
 * many publishers are there at a time as blocks may be active. A full block is free again when the log has forgotten
 * the last entry in it.
 *
 * Threads: with the log's lock, but for rc_blocks_handy(), rc_blocks_find(), rc_blocks_see(), and a block that was
 * taken, which is the caller's alone until a place begins in it.
 */
#ifndef RC_BLOCK_H
#define RC_BLOCK_H

#include "bounds.h"

#include <stdatomic.h>

struct rc_block {
	_Atomic uint64_t holder; /* the place that somebody builds in, or 0 */
	uint64_t count;          /* of places so far: part of their names, so that an old one is told from a new one */
	uint64_t used;
	/* Of the place, also for whoever is about to learn that it is over: */
	_Atomic uint64_t began_ns;
	_Atomic uint64_t data;   /* where its payload begins ... */
	_Atomic size_t size_max; /* ... and what it may have */
	uint64_t live;           /* entries of the log in this block */
	uint16_t next;           /* of the same list, number + 1 */
	bool active;
};

struct rc_blocks {
	uint8_t *bytes;  /* the log's: blocks lie somewhere behind the ring */
	uint64_t offset; /* of the first block */
	uint64_t block_size;
	struct rc_block all[RC_BLOCKS];
	uint16_t free_first, idle_first; /* number + 1; idle: active, and nobody builds in it */
	unsigned active_count;
	_Atomic uint32_t handy; /* the idle block that was built in last, number + 1; not in the list */
};

void rc_blocks_init(struct rc_blocks *blocks, uint8_t *bytes, uint64_t offset, uint64_t block_size);

/* A place, as it was while it was being built in. */
struct rc_place_seen {
	uint64_t began_ns;
	const uint8_t *data;
	size_t size_max;
};

/* Takes an idle block, without the lock; null when none is at hand. */
struct rc_block *rc_blocks_handy(struct rc_blocks *blocks);

bool rc_block_has_room(const struct rc_blocks *blocks, const struct rc_block *block, size_t size);

/* Takes a block with room for a payload of this size, with the lock; `in_hand` is one that proved too full, or null.
 * Null with *error -ENOBUFS (RC_PLACES_MAX are being built in) or -EAGAIN (all blocks are full of what the log has). */
struct rc_block *rc_blocks_take(struct rc_blocks *blocks, struct rc_block *in_hand, size_t size, int *error);

/* Begins a place in a block that one of the two returned, and that has room. Returns its name, never 0. */
uint64_t rc_block_begin(struct rc_blocks *blocks, struct rc_block *block, size_t size, uint64_t now_ns);

/* The block of a place that is being built in, or null. Any thread. */
struct rc_block *rc_blocks_find(struct rc_blocks *blocks, uint64_t place);

/* Looks at a place. False: it is over. Any thread; another one may end the place at any moment, and a next one begin
 * there. What is seen stays a part of the block, whoever writes to it by then. */
bool rc_blocks_see(const struct rc_blocks *blocks, uint64_t place, struct rc_place_seen *seen);

/* Makes a frame of the first `size` bytes of a place and returns where it stands, from the log's bytes. */
uint64_t rc_block_finish(struct rc_blocks *blocks, struct rc_block *block, enum rc_opcode opcode, size_t size);

/* The place is over. `end` is behind the frame that stays, from the log's bytes, or 0: nothing stays. */
void rc_block_end(struct rc_blocks *blocks, struct rc_block *block, uint64_t end);

/* The log has forgotten an entry whose frame stands there. */
void rc_blocks_forget(struct rc_blocks *blocks, uint64_t at);

/* Asserts that lists, counts and states agree. */
void rc_blocks_check(const struct rc_blocks *blocks);

static inline uint8_t *rc_block_data(const struct rc_blocks *blocks, const struct rc_block *block)
{
	return blocks->bytes + blocks->offset + (uint64_t)(block - blocks->all) * blocks->block_size + block->data;
}

#endif
