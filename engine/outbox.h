/* SPDX-License-Identifier: MIT
 *
 * outbox.h - what belongs to one connection alone: answers, direct messages, and the rest of a frame that was cut
 * short. It exists only while something waits.
 *
 *      sending   |#####sent#####|======waits======|        given to the ring, so it stays where it is
 *      filling   |========waits, after it========|        grows
 */
#ifndef RC_OUTBOX_H
#define RC_OUTBOX_H

#include "plan.h"
#include "pool.h"

#include <stdint.h>

struct rc_outbox {
	uint8_t *sending, *filling;
	size_t sending_begin, sending_end, sending_capacity;
	size_t filling_begin, filling_end, filling_capacity;
	struct rc_range range; /* what rc_outbox_next() gave */
	uint8_t pong_count;    /* Pongs among what waits */
	bool late_pong_waits;  /* one more Pong is kept until those have left */
	uint8_t late_pong_size;
	uint8_t late_pong[RC_CONTROL_SIZE_MAX];
};

/* Null when memory is out. */
struct rc_outbox *rc_outbox_new(struct rc_pool *pool);
void rc_outbox_free(struct rc_outbox *outbox, struct rc_pool *pool);

/* Makes room for `size` more bytes behind all that waits and returns where to write them; they count as waiting at
 * once. Null when more than size_max would wait (*full is set) or when memory is out; nothing has changed then. */
uint8_t *rc_outbox_add(struct rc_outbox *outbox, struct rc_pool *pool, size_t size, size_t size_max, bool *full);

/* Takes over a block of the pool whose bytes [begin, end) are to be sent, so that a large message is not copied. False
 * when more than size_max would wait (*full is set), or when other bytes wait that are not being sent yet; the block is
 * then still the caller's. */
bool rc_outbox_adopt(struct rc_outbox *outbox, uint8_t *block, size_t capacity, size_t begin, size_t end,
                     size_t size_max, bool *full);

/* As rc_outbox_add(), but before all that waits: for the rest of a frame, or for a response that must precede what was
 * queued meanwhile. All bytes that rc_outbox_next() gave must have left. Null when memory is out. */
uint8_t *rc_outbox_add_first(struct rc_outbox *outbox, struct rc_pool *pool, size_t size);

/* The bytes to send next; its size is 0 when nothing waits. Valid until rc_outbox_sent(). */
const struct rc_range *rc_outbox_next(struct rc_outbox *outbox, struct rc_pool *pool);

/* `size` of those bytes have left. */
void rc_outbox_sent(struct rc_outbox *outbox, struct rc_pool *pool, size_t size);

/* Asserts the invariant of outbox.c. */
void rc_outbox_check(const struct rc_outbox *outbox);

static inline size_t rc_outbox_size(const struct rc_outbox *outbox)
{
	return outbox->sending_end - outbox->sending_begin + outbox->filling_end - outbox->filling_begin;
}

#endif
