/* SPDX-License-Identifier: MIT
 *
 * outbox.c - see outbox.h. Invariant, which rc_outbox_check() asserts: a block is owned exactly while it holds bytes
 * that have not left, and these lie within it.
 */
#include "outbox.h"

#include "check.h"

#include <string.h>

#define BLOCK_SIZE_MIN 256 /* what the pool gives at least */

struct rc_outbox *rc_outbox_new(struct rc_pool *pool)
{
	size_t capacity;
	struct rc_outbox *outbox = rc_pool_take(pool, sizeof *outbox, &capacity);
	if (outbox)
		memset(outbox, 0, sizeof *outbox);
	return outbox;
}

void rc_outbox_free(struct rc_outbox *outbox, struct rc_pool *pool)
{
	if (!outbox)
		return;
	static_assert(sizeof *outbox <= BLOCK_SIZE_MIN, "it lies in the smallest block");
	rc_pool_give(pool, outbox->sending, outbox->sending_capacity);
	rc_pool_give(pool, outbox->filling, outbox->filling_capacity);
	rc_pool_give(pool, outbox, BLOCK_SIZE_MIN);
}

uint8_t *rc_outbox_add(struct rc_outbox *outbox, struct rc_pool *pool, size_t size, size_t size_max, bool *full)
{
	size_t waiting = rc_outbox_size(outbox);
	*full = waiting > size_max || size > size_max - waiting;
	if (*full)
		return NULL;
	size_t waits = outbox->filling_end - outbox->filling_begin;
	if (outbox->filling_end + size > outbox->filling_capacity) {
		size_t capacity;
		uint8_t *block = rc_pool_take(pool, waits + size, &capacity);
		if (!block)
			return NULL;
		if (waits)
			memcpy(block, outbox->filling + outbox->filling_begin, waits);
		rc_pool_give(pool, outbox->filling, outbox->filling_capacity);
		outbox->filling = block;
		outbox->filling_capacity = capacity;
		outbox->filling_begin = 0;
		outbox->filling_end = waits;
	}
	uint8_t *at = outbox->filling + outbox->filling_end;
	outbox->filling_end += size;
	RC_VERIFY(rc_outbox_check(outbox));
	return at;
}

bool rc_outbox_adopt(struct rc_outbox *outbox, uint8_t *block, size_t capacity, size_t begin, size_t end,
                     size_t size_max, bool *full)
{
	*full = rc_outbox_size(outbox) + end - begin > size_max;
	if (*full || outbox->filling)
		return false;
	outbox->filling = block;
	outbox->filling_capacity = capacity;
	outbox->filling_begin = begin;
	outbox->filling_end = end;
	RC_VERIFY(rc_outbox_check(outbox));
	return true;
}

uint8_t *rc_outbox_add_first(struct rc_outbox *outbox, struct rc_pool *pool, size_t size)
{
	RC_ASSERT(outbox->sending_begin == outbox->sending_end);
	size_t capacity;
	uint8_t *block = rc_pool_take(pool, size, &capacity);
	if (!block)
		return NULL;
	rc_pool_give(pool, outbox->sending, outbox->sending_capacity);
	outbox->sending = block;
	outbox->sending_begin = 0;
	outbox->sending_end = size;
	outbox->sending_capacity = capacity;
	RC_VERIFY(rc_outbox_check(outbox));
	return block;
}

const struct rc_range *rc_outbox_next(struct rc_outbox *outbox, struct rc_pool *pool)
{
	if (outbox->sending_begin == outbox->sending_end) {
		rc_pool_give(pool, outbox->sending, outbox->sending_capacity);
		outbox->sending = outbox->filling;
		outbox->sending_begin = outbox->filling_begin;
		outbox->sending_end = outbox->filling_end;
		outbox->sending_capacity = outbox->filling_capacity;
		outbox->filling = NULL;
		outbox->filling_begin = outbox->filling_end = outbox->filling_capacity = 0;
	}
	outbox->range.at = outbox->sending ? outbox->sending + outbox->sending_begin : NULL;
	outbox->range.size = outbox->sending_end - outbox->sending_begin;
	RC_VERIFY(rc_outbox_check(outbox));
	return &outbox->range;
}

void rc_outbox_sent(struct rc_outbox *outbox, struct rc_pool *pool, size_t size)
{
	RC_ASSERT(size <= outbox->sending_end - outbox->sending_begin);
	outbox->sending_begin += size;
	if (outbox->sending_begin == outbox->sending_end) {
		rc_pool_give(pool, outbox->sending, outbox->sending_capacity);
		outbox->sending = NULL;
		outbox->sending_begin = outbox->sending_end = outbox->sending_capacity = 0;
	}
	RC_VERIFY(rc_outbox_check(outbox));
}

static void check_block(const uint8_t *block, size_t begin, size_t end, size_t capacity)
{
	if (block)
		RC_ASSERT(begin < end && end <= capacity && capacity >= BLOCK_SIZE_MIN);
	else
		RC_ASSERT(begin == 0 && end == 0 && capacity == 0);
}

void rc_outbox_check(const struct rc_outbox *outbox)
{
	check_block(outbox->sending, outbox->sending_begin, outbox->sending_end, outbox->sending_capacity);
	check_block(outbox->filling, outbox->filling_begin, outbox->filling_end, outbox->filling_capacity);
	RC_ASSERT(!outbox->sending || outbox->sending != outbox->filling);
	RC_ASSERT(outbox->late_pong_size <= sizeof outbox->late_pong);
}
