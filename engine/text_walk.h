/* SPDX-License-Identifier: MIT
 *
 * text_walk.h - the way over a span in vectors, written once. A kernel's file defines the vector and its operations,
 * then includes this, and gets unmask(), check() and unmask_utf8(). It knows no instruction set.
 *
 *   V, WIDTH               the vector, and its size: a power of two from 16 to 64
 *   v_load v_store v_xor v_or v_zero
 *   v_splat(word)          the word in every four bytes
 *   v_ending(low, high)    the two words of eight bytes as the last 16, zeros before them
 *   v_high(v)              whether any byte is 0x80 or more
 *   v_broken(prev, v)      not zero where a byte of v breaks a rule of UTF-8, prev being the vector before it
 *   v_any(v)               whether any bit is set
 *   short_unmask(...)      unmask() of fewer than WIDTH bytes
 *   judge_short(...)       judge_long() of 16 to WIDTH - 1 bytes; not called where WIDTH is 16
 *
 * Invariant: a span is covered by whole vectors and by a last one, which ends where the span ends and overlaps them. A
 * large span also has a first one, which begins where the span begins and overlaps them. Both are loaded before
 * anything is stored, and stored after everything else, because in place the bytes that they share with other vectors
 * change in between. The bytes before a vector that its judgement needs are loaded early for the same reason.
 */
#include "text_kernels.h"

#define BLOCK (4 * WIDTH)

/* From this size on stores are made aligned, after a first vector that the aligned ones overlap: a store that crosses
 * a cache line costs as much as two, and stores are what bounds all of this (in place 1.3 times as fast at 16 KB, 1.6
 * times from 64 KB). Loads are not worth it. Below, the extra vector costs as much as it saves. */
#define ALIGN_SIZE 1024

static_assert(WIDTH >= 16 && WIDTH % 4 == 0, "the mask stands the same way in every vector");
static_assert(ALIGN_SIZE >= 2 * WIDTH, "the first and the last vector fit side by side");

/* From 1 to WIDTH: what the first vector covers. */
static inline size_t to_aligned(const uint8_t *bytes)
{
	return WIDTH - (uintptr_t)bytes % WIDTH;
}

static void unmask(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	if (size < WIDTH) {
		short_unmask(to, from, size, mask);
		return;
	}
	const V last = v_xor(v_load(from + size - WIDTH), v_splat(rc_mask_rotate(mask, size)));
	const V first = v_xor(v_load(from), v_splat(mask));
	size_t at = size >= ALIGN_SIZE ? to_aligned(to) : 0;
	const V key = v_splat(rc_mask_rotate(mask, at));
	for (; size - at > BLOCK; at += BLOCK) {
		const V a = v_load(from + at), b = v_load(from + at + WIDTH);
		const V c = v_load(from + at + 2 * WIDTH), d = v_load(from + at + 3 * WIDTH);
		v_store(to + at, v_xor(a, key));
		v_store(to + at + WIDTH, v_xor(b, key));
		v_store(to + at + 2 * WIDTH, v_xor(c, key));
		v_store(to + at + 3 * WIDTH, v_xor(d, key));
	}
	for (; size - at > WIDTH; at += WIDTH)
		v_store(to + at, v_xor(v_load(from + at), key));
	v_store(to, first);
	v_store(to + size - WIDTH, last);
}

/* At least WIDTH bytes that begin with a whole sequence. `to` is not touched unless `write`. */
static inline __attribute__((always_inline)) bool judge_long(struct rc_utf8 *state, uint8_t *to, const uint8_t *from,
                                                             size_t size, uint32_t mask, const bool write)
{
	const uint32_t end_mask = rc_mask_rotate(mask, size);
	const V last = v_xor(v_load(from + size - WIDTH), v_splat(end_mask));
	const uint32_t before_last = rc_word_before(from, size - WIDTH, mask);
	const uint32_t ending = rc_load32(from + size - 4) ^ end_mask;
	V first = v_zero(), previous = v_zero(), broken = v_zero();
	size_t at = 0;
	if (write && size >= ALIGN_SIZE) {
		first = v_xor(v_load(from), v_splat(mask));
		if (v_high(first))
			broken = v_broken(v_zero(), first);
		at = to_aligned(to);
		previous = v_ending(0, (uint64_t)rc_word_before(from, at, mask) << 32);
	}
	const V key = v_splat(rc_mask_rotate(mask, at));
	for (; size - at > BLOCK; at += BLOCK) {
		const V a = v_xor(v_load(from + at), key), b = v_xor(v_load(from + at + WIDTH), key);
		const V c = v_xor(v_load(from + at + 2 * WIDTH), key), d = v_xor(v_load(from + at + 3 * WIDTH), key);
		if (write) {
			v_store(to + at, a);
			v_store(to + at + WIDTH, b);
			v_store(to + at + 2 * WIDTH, c);
			v_store(to + at + 3 * WIDTH, d);
		}
		/* The previous vector counts too: it may have left a sequence open. */
		if (v_high(v_or(v_or(v_or(a, b), v_or(c, d)), previous))) {
			broken = v_or(broken, v_or(v_broken(previous, a), v_broken(a, b)));
			broken = v_or(broken, v_or(v_broken(b, c), v_broken(c, d)));
		}
		previous = d;
	}
	for (; size - at > WIDTH; at += WIDTH) {
		const V v = v_xor(v_load(from + at), key);
		if (write)
			v_store(to + at, v);
		if (v_high(v_or(v, previous)))
			broken = v_or(broken, v_broken(previous, v));
		previous = v;
	}
	if (write) {
		if (size >= ALIGN_SIZE)
			v_store(to, first);
		v_store(to + size - WIDTH, last);
	}
	if (v_high(v_or(last, previous)))
		broken = v_or(broken, v_broken(v_ending(0, (uint64_t)before_last << 32), last));
	return !v_any(broken) && rc_utf8_keep_open(state, ending);
}

static inline __attribute__((always_inline)) bool judge(struct rc_utf8 *state, uint8_t *to, const uint8_t *from,
                                                        size_t size, uint32_t mask, const bool write)
{
	for (; RC_UNLIKELY(state->open_size) && size; size--, from++, mask = rc_mask_rotate(mask, 1)) {
		const uint8_t byte = *from ^ (uint8_t)mask;
		if (write)
			*to++ = byte;
		if (!rc_utf8_step(state, byte))
			return false;
	}
	if (size >= WIDTH)
		return judge_long(state, to, from, size, mask, write);
#if WIDTH > 16
	if (size >= 16)
		return judge_short(state, to, from, size, mask, write);
#endif
	const struct rc_ending ending = rc_unmask_few(to, from, size, mask, write);
	if (RC_LIKELY(!((ending.low | ending.high) & RC_HIGH_BITS)))
		return true;
	return !v_any(v_broken(v_zero(), v_ending(ending.low, ending.high))) &&
	       rc_utf8_keep_open(state, (uint32_t)(ending.high >> 32));
}

static bool check(struct rc_utf8 *state, const uint8_t *bytes, size_t size)
{
	return judge(state, NULL, bytes, size, 0, false);
}

static bool unmask_utf8(struct rc_utf8 *state, uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	return judge(state, to, from, size, mask, true);
}
