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
	uint8_t pong_count;    /* answers to Pings among what waits */
	bool late_pong_waits;  /* and one more, kept until they have left */
	uint8_t late_pong_size;
	uint8_t late_pong[RC_CONTROL_SIZE_MAX];
};

/* Null without memory. */
struct rc_outbox *rc_outbox_new(struct rc_pool *pool);
void rc_outbox_free(struct rc_outbox *outbox, struct rc_pool *pool);

/* Makes room for `size` more bytes after all that waits and returns where to write them; they count at once. Null when
 * more than size_max would wait (*full is set) or memory is out; nothing has changed then. */
uint8_t *rc_outbox_add(struct rc_outbox *outbox, struct rc_pool *pool, size_t size, size_t size_max, bool *full);

/* Takes over a block of the pool whose bytes [begin, end) are to be sent, so that a large message is not copied. False
 * when others wait to be filled up, or with *full as above: the block is then still the caller's. */
bool rc_outbox_adopt(struct rc_outbox *outbox, uint8_t *block, size_t capacity, size_t begin, size_t end,
                     size_t size_max, bool *full);

/* The same before everything else that waits: the rest of a frame, the response before what was sent meanwhile. Nothing
 * may have been taken by rc_outbox_next() that has not left. Null without memory. */
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
