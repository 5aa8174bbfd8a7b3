/* SPDX-License-Identifier: MIT
 *
 * outbox.c - see outbox.h. Invariant: a block is owned exactly while it holds bytes that have not left.
 */
#include "outbox.h"

#include "check.h"

#include <string.h>

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
	static_assert(sizeof *outbox <= 256, "it lies in the smallest block");
	rc_pool_give(pool, outbox->sending, outbox->sending_capacity);
	rc_pool_give(pool, outbox->filling, outbox->filling_capacity);
	rc_pool_give(pool, outbox, 256);
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
}
