/* SPDX-License-Identifier: MIT
 *
 * text.h - unmasking (RFC 6455, section 5.3) and UTF-8 validation (RFC 3629), each alone or both in one pass. Bytes go
 * from `from` to `to`, which are the same pointer (in place) or do not overlap.
 *
 * A payload may come in any pieces. The mask is passed so that its first byte in memory order belongs to from[0]:
 * rc_mask_rotate() moves it on by the bytes already done. The validator carries its state in struct rc_utf8, zeroed at
 * the beginning of a message, over pieces and fragments. No byte outside the given span is read or written.
 */
#ifndef RC_TEXT_H
#define RC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of a sequence that the last piece left open, oldest first. */
struct rc_utf8 {
	uint8_t open[3];
	uint8_t open_size;
};

static inline uint32_t rc_mask_rotate(uint32_t mask, size_t by)
{
	unsigned bits = (unsigned)(by & 3) * 8; /* little endian: the first byte of the mask is its lowest */
	return mask >> bits | mask << (-bits & 31);
}

/* XOR with the mask; the client role masks with it too. */
void rc_unmask(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask);

/* False as soon as the bytes so far cannot begin a valid text; the state is then of no more use. */
bool rc_utf8_check(struct rc_utf8 *state, const uint8_t *bytes, size_t size);

/* rc_unmask() and rc_utf8_check() of the result, in one pass. When it returns false `to` is partly written. */
bool rc_unmask_utf8(struct rc_utf8 *state, uint8_t *to, const uint8_t *from, size_t size, uint32_t mask);

/* True when no sequence is open: asked at the end of a message. */
static inline bool rc_utf8_complete(const struct rc_utf8 *state)
{
	return state->open_size == 0;
}

/* Whether all of this is one valid text. */
static inline bool rc_utf8_valid(const void *bytes, size_t size)
{
	struct rc_utf8 state = { 0 };
	return !size || (rc_utf8_check(&state, bytes, size) && rc_utf8_complete(&state));
}

/* Chooses the kernels by what the processor has, or by `name` ("scalar", "avx2", "avx512", "neon"; null: the best).
 * Returns the name of what was chosen, or null when `name` is unknown or this processor lacks it (nothing changes).
 * Without a call the scalar kernels serve. Before any other thread uses this file. */
const char *rc_text_choose(const char *name);
const char *rc_text_chosen(void);

#endif
