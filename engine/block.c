/* SPDX-License-Identifier: MIT
 *
 * block.c - see block.h. It must not know topics, nor the order of messages.
 *
 * Invariants: a block is free, idle, built in, or full; no two places are in one block; nothing behind `used` is of an
 * entry.
 */
#include "block.h"

#include "check.h"
#include "frame.h"

#include <errno.h>
#include <string.h>

#define INDEX_BITS 8
static_assert(RC_BLOCKS <= 1 << INDEX_BITS, "a place's name holds its block's number");
static_assert(RC_PLACES_MAX < RC_BLOCKS, "blocks of publishers that never came back leave some to the others");

static uint16_t number_of(const struct rc_blocks *blocks, const struct rc_block *block)
{
	return (uint16_t)(block - blocks->all + 1);
}

/* Returns the new first of the list. */
static uint16_t push(struct rc_blocks *blocks, uint16_t first, struct rc_block *block)
{
	block->next = first;
	return number_of(blocks, block);
}

void rc_blocks_init(struct rc_blocks *blocks, uint8_t *bytes, uint64_t offset, uint64_t block_size)
{
	memset(blocks, 0, sizeof *blocks);
	blocks->bytes = bytes;
	blocks->offset = offset;
	blocks->block_size = block_size;
	for (unsigned i = RC_BLOCKS; i-- > 0;)
		blocks->free_first = push(blocks, blocks->free_first, &blocks->all[i]);
}

bool rc_block_has_room(const struct rc_blocks *blocks, const struct rc_block *block, size_t size)
{
	return blocks->block_size - block->used >= rc_frame_header_size(size) + size;
}

/* From now on only its entries keep it. */
static void retire(struct rc_blocks *blocks, struct rc_block *block)
{
	block->active = false;
	blocks->active_count--;
	if (!block->live)
		blocks->free_first = push(blocks, blocks->free_first, block);
}

static void give_back(struct rc_blocks *blocks, struct rc_block *block)
{
	/* Only who holds the lock puts one there; others take it away. release: who takes it sees what is used of it */
	if (!atomic_load_explicit(&blocks->handy, memory_order_relaxed))
		atomic_store_explicit(&blocks->handy, number_of(blocks, block), memory_order_release);
	else
		blocks->idle_first = push(blocks, blocks->idle_first, block);
}

/* Its number + 1. */
static uint32_t take_handy(struct rc_blocks *blocks)
{
	/* Looking first leaves the cache line to others. acquire: we see what the last one who built there has left */
	return atomic_load_explicit(&blocks->handy, memory_order_relaxed)
	           ? atomic_exchange_explicit(&blocks->handy, 0, memory_order_acquire)
	           : 0;
}

struct rc_block *rc_blocks_handy(struct rc_blocks *blocks)
{
	uint32_t number = take_handy(blocks);
	return number ? &blocks->all[number - 1] : NULL;
}

struct rc_block *rc_blocks_take(struct rc_blocks *blocks, struct rc_block *in_hand, size_t size, int *error)
{
	struct rc_block *block;
	uint32_t number = take_handy(blocks);
	if (number)
		blocks->idle_first = push(blocks, blocks->idle_first, &blocks->all[number - 1]);
	if (in_hand)
		blocks->idle_first = push(blocks, blocks->idle_first, in_hand);
	while (blocks->idle_first) {
		block = &blocks->all[blocks->idle_first - 1];
		blocks->idle_first = block->next;
		if (!block->live)
			block->used = 0;
		if (rc_block_has_room(blocks, block, size))
			return block;
		retire(blocks, block);
	}
	*error = blocks->active_count == RC_PLACES_MAX ? -ENOBUFS : -EAGAIN;
	if (*error == -ENOBUFS || !blocks->free_first)
		return NULL;
	block = &blocks->all[blocks->free_first - 1];
	blocks->free_first = block->next;
	block->used = 0;
	block->active = true;
	blocks->active_count++;
	return block;
}

uint64_t rc_block_begin(struct rc_blocks *blocks, struct rc_block *block, size_t size, uint64_t now_ns)
{
	uint64_t place = ++block->count << INDEX_BITS | (uint64_t)(block - blocks->all);
	uint64_t data = block->used + rc_frame_header_size(size);
	RC_ASSERT(data + size <= blocks->block_size);
	/* release: who sees one of them sees that the place before is over */
	atomic_store_explicit(&block->began_ns, now_ns, memory_order_release);
	atomic_store_explicit(&block->data, data, memory_order_release);
	atomic_store_explicit(&block->size_max, size, memory_order_release);
	atomic_store_explicit(&block->holder, place, memory_order_release);
	return place;
}

struct rc_block *rc_blocks_find(struct rc_blocks *blocks, uint64_t place)
{
	struct rc_block *block = &blocks->all[place & ((1 << INDEX_BITS) - 1) & (RC_BLOCKS - 1)];
	bool is_held = place && atomic_load_explicit(&block->holder, memory_order_acquire) == place;
	return is_held ? block : NULL;
}

bool rc_blocks_see(const struct rc_blocks *blocks, uint64_t place, struct rc_place_seen *seen)
{
	const struct rc_block *block = &blocks->all[place & ((1 << INDEX_BITS) - 1) & (RC_BLOCKS - 1)];
	if (!place || atomic_load_explicit(&block->holder, memory_order_acquire) != place)
		return false;
	/* acquire: were one of them the next place's, the last look would find this one over */
	seen->began_ns = atomic_load_explicit(&block->began_ns, memory_order_acquire);
	seen->size_max = atomic_load_explicit(&block->size_max, memory_order_acquire);
	uint64_t data = atomic_load_explicit(&block->data, memory_order_acquire);
	seen->data = blocks->bytes + blocks->offset + (uint64_t)(block - blocks->all) * blocks->block_size + data;
	return atomic_load_explicit(&block->holder, memory_order_relaxed) == place;
}

uint64_t rc_block_finish(struct rc_blocks *blocks, struct rc_block *block, enum rc_opcode opcode, size_t size)
{
	const struct rc_frame frame = { .fin = true, .opcode = (uint8_t)opcode, .size = size };
	uint8_t *data = rc_block_data(blocks, block);
	size_t header_size = rc_frame_header_size(size);
	uint64_t begin = atomic_load_explicit(&block->data, memory_order_relaxed) - header_size;
	/* A small message in a place that was meant for more: a gap before it would make a send of its own range. */
	if (begin != block->used && size <= RC_CONTROL_SIZE_MAX)
		data = memmove(data - (begin - block->used), data, size);
	rc_frame_write(data - header_size, &frame);
	return (uint64_t)(data - header_size - blocks->bytes);
}

void rc_block_end(struct rc_blocks *blocks, struct rc_block *block, uint64_t end)
{
	if (end) {
		block->used = end - blocks->offset - (uint64_t)(block - blocks->all) * blocks->block_size;
		block->live++;
	}
	atomic_store_explicit(&block->holder, 0, memory_order_relaxed);
	give_back(blocks, block);
}

void rc_blocks_forget(struct rc_blocks *blocks, uint64_t at)
{
	struct rc_block *block = &blocks->all[(at - blocks->offset) / blocks->block_size];
	RC_ASSERT(block->live);
	if (!--block->live && !block->active)
		blocks->free_first = push(blocks, blocks->free_first, block);
}

void rc_blocks_check(const struct rc_blocks *blocks)
{
	unsigned active_count = 0, free_count = 0, listed_count = 0;
	for (unsigned i = 0; i < RC_BLOCKS; i++) {
		const struct rc_block *block = &blocks->all[i];
		active_count += block->active;
		free_count += !block->active && !block->live;
		RC_ASSERT(block->active || !atomic_load_explicit(&block->holder, memory_order_relaxed));
	}
	for (uint16_t at = blocks->free_first; at; at = blocks->all[at - 1].next)
		listed_count++;
	RC_ASSERT(free_count == listed_count);
	RC_ASSERT(active_count == blocks->active_count && active_count <= RC_PLACES_MAX);
}
