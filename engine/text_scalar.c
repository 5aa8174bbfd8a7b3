/* SPDX-License-Identifier: MIT
 *
 * text_scalar.c - the reference, against which the vector kernels are tested: it follows the standard a byte at a time.
 * It is plain on purpose; nearly every x86-64 processor since 2015 and every aarch64 one has something faster.
 */
#include "text_kernels.h"

static bool available(void)
{
	return true;
}

static void unmask(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	const uint64_t key = rc_mask64(mask);
	size_t at = 0;
	for (; size - at >= 32; at += 8)
		rc_store64(to + at, rc_load64(from + at) ^ key);
	rc_unmask_words(to + at, from + at, size - at, mask);
}

static bool check(struct rc_utf8 *state, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (!rc_utf8_step(state, bytes[i]))
			return false;
	}
	return true;
}

static bool unmask_utf8(struct rc_utf8 *state, uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	for (size_t i = 0; i < size; i++) {
		to[i] = from[i] ^ (uint8_t)mask;
		mask = rc_mask_rotate(mask, 1);
		if (!rc_utf8_step(state, to[i]))
			return false;
	}
	return true;
}

const struct rc_kernels rc_kernels_scalar = { "scalar", available, unmask, check, unmask_utf8 };
