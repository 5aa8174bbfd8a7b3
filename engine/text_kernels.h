/* SPDX-License-Identifier: MIT
 *
 * text_kernels.h - what the kernels behind text.h share: the table each of them fills in, the rules of one UTF-8
 * sequence, and how a few bytes are unmasked. Internal to text*.c; a new kernel is a new file and a line in text.c.
 *
 * Invariant: struct rc_utf8 holds bytes that some valid text could go on from, so only what follows needs judging.
 */
#ifndef RC_TEXT_KERNELS_H
#define RC_TEXT_KERNELS_H

#include "check.h"
#include "text.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "masks are rotated and words compared low byte first");

struct rc_kernels {
	const char *name;
	bool (*available)(void); /* on this processor */
	void (*unmask)(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask);
	bool (*check)(struct rc_utf8 *state, const uint8_t *bytes, size_t size);
	bool (*unmask_utf8)(struct rc_utf8 *state, uint8_t *to, const uint8_t *from, size_t size, uint32_t mask);
};

extern const struct rc_kernels rc_kernels_scalar, rc_kernels_avx2, rc_kernels_avx512, rc_kernels_neon;

#define RC_HIGH_BITS UINT64_C(0x8080808080808080)

static inline uint64_t rc_load64(const uint8_t *from)
{
	uint64_t word;
	memcpy(&word, from, sizeof word);
	return word;
}

static inline uint32_t rc_load32(const uint8_t *from)
{
	uint32_t word;
	memcpy(&word, from, sizeof word);
	return word;
}

static inline void rc_store64(uint8_t *to, uint64_t word)
{
	memcpy(to, &word, sizeof word);
}
static inline void rc_store32(uint8_t *to, uint32_t word)
{
	memcpy(to, &word, sizeof word);
}
static inline uint64_t rc_mask64(uint32_t mask)
{
	return mask | (uint64_t)mask << 32;
}

/* Takes one byte; the rows are those of RFC 3629, section 4. */
static inline bool rc_utf8_step(struct rc_utf8 *state, uint8_t byte)
{
	if (state->open_size == 0) {
		if (byte < 0x80)
			return true;
		if (byte < 0xC2 || byte > 0xF4)
			return false; /* a tail byte, an overlong pair, or above U+10FFFF whatever follows */
		state->open[0] = byte;
		state->open_size = 1;
		return true;
	}
	uint8_t lead = state->open[0], least = 0x80, most = 0xBF;
	if (state->open_size == 1) {
		if (lead == 0xE0)
			least = 0xA0; /* below: overlong */
		else if (lead == 0xED)
			most = 0x9F; /* above: surrogates */
		else if (lead == 0xF0)
			least = 0x90; /* below: overlong */
		else if (lead == 0xF4)
			most = 0x8F; /* above: past U+10FFFF */
	}
	if (byte < least || byte > most)
		return false;
	unsigned whole = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
	if (state->open_size + 1u == whole)
		state->open_size = 0;
	else
		state->open[state->open_size++] = byte;
	return true;
}

/* Keeps the sequence that the last four bytes of a piece (`ending`, the last one highest) leave open. All pairs of
 * neighbours have been judged, and the piece began with a whole sequence, so what is left to refuse is a last byte that
 * can lead nothing. */
static inline bool rc_utf8_keep_open(struct rc_utf8 *state, uint32_t ending)
{
	uint8_t first = (uint8_t)(ending >> 24), second = (uint8_t)(ending >> 16), third = (uint8_t)(ending >> 8);
	if (RC_LIKELY(first < 0x80))
		return true;
	if (first >= 0xC0) {
		state->open[0] = first;
		state->open_size = 1;
		return first >= 0xC2 && first <= 0xF4;
	}
	if (second >= 0xE0) {
		state->open[0] = second;
		state->open[1] = first;
		state->open_size = 2;
	} else if (third >= 0xF0) {
		state->open[0] = third;
		state->open[1] = second;
		state->open[2] = first;
		state->open_size = 3;
	}
	return true;
}

/* Up to 16 bytes as they would stand at the end of a vector, with zeros before them. */
struct rc_ending {
	uint64_t low, high;
};

/* Unmasks fewer than 16 bytes with the fewest words, the last one overlapping the one before it; everything is loaded
 * before anything is stored, so in place is safe. `to` is not touched unless `write`. */
static inline __attribute__((always_inline)) struct rc_ending
rc_unmask_few(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask, const bool write)
{
	const uint32_t end_mask = rc_mask_rotate(mask, size);
	struct rc_ending ending = { 0, 0 };
	if (size >= 8) {
		const uint64_t first = rc_load64(from) ^ rc_mask64(mask);
		const uint64_t last = rc_load64(from + size - 8) ^ rc_mask64(end_mask);
		const unsigned bits = 4 * (unsigned)(16 - size); /* half of the shift: one by 64 is undefined */
		if (write) {
			rc_store64(to, first);
			rc_store64(to + size - 8, last);
		}
		ending = (struct rc_ending){ first << bits << bits, last };
	} else if (size >= 4) {
		const uint32_t first = rc_load32(from) ^ mask, last = rc_load32(from + size - 4) ^ end_mask;
		if (write) {
			rc_store32(to, first);
			rc_store32(to + size - 4, last);
		}
		ending.high = (uint64_t)last << 32 | (uint32_t)((uint64_t)first << 8 * (8 - size));
	} else {
		for (size_t i = 0; i < size; i++, mask >>= 8) {
			const uint8_t byte = from[i] ^ (uint8_t)mask;
			if (write)
				to[i] = byte;
			ending.high = ending.high >> 8 | (uint64_t)byte << 56;
		}
	}
	return ending;
}

/* The four bytes before `at`, or as many as there are with zeros before them. At least four bytes must be there. */
static inline uint32_t rc_word_before(const uint8_t *from, size_t at, uint32_t mask)
{
	if (at >= 4)
		return rc_load32(from + at - 4) ^ rc_mask_rotate(mask, at);
	return (uint32_t)((uint64_t)(rc_load32(from) ^ mask) << 8 * (4 - at));
}

/* Unmasks fewer than 32 bytes when nothing is to be judged, in the same way. */
static inline void rc_unmask_words(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	if (size < 16) {
		rc_unmask_few(to, from, size, mask, true);
		return;
	}
	const uint64_t key = rc_mask64(mask), end_key = rc_mask64(rc_mask_rotate(mask, size));
	const uint64_t a = rc_load64(from) ^ key, b = rc_load64(from + 8) ^ key;
	const uint64_t c = rc_load64(from + size - 16) ^ end_key, d = rc_load64(from + size - 8) ^ end_key;
	rc_store64(to, a);
	rc_store64(to + 8, b);
	rc_store64(to + size - 16, c);
	rc_store64(to + size - 8, d);
}

/* The rules of UTF-8 over two neighbouring bytes, as bits that say what the pair might break. Three lookups, by the
 * high and the low half of the first byte and by the high half of the second, give three sets; what is in all of them
 * is broken. (The method is Keiser and Lemire's, "Validating UTF-8 in less than one instruction per byte".) FOLLOWS is
 * no fault by itself: it must be set exactly where a byte two or three back asks for a third or fourth byte. */
enum {
	RC_U8_LONE_LEAD = 1,   /* a lead byte, then no tail byte */
	RC_U8_STRAY_TAIL = 2,  /* ASCII, then a tail byte */
	RC_U8_OVERLONG_2 = 4,  /* C0, C1 */
	RC_U8_OVERLONG_3 = 8,  /* E0 80 to 9F */
	RC_U8_OVERLONG_4 = 16, /* F0 80 to 8F, and F5 to FF with the same */
	RC_U8_SURROGATE = 32,  /* ED A0 to BF */
	RC_U8_BEYOND = 64,     /* F4 90 to BF, and F5 to FF with the same */
	RC_U8_FOLLOWS = 128,   /* a tail byte after a tail byte */
	RC_U8_ANY_LOW = RC_U8_LONE_LEAD | RC_U8_STRAY_TAIL | RC_U8_FOLLOWS,   /* the low half has no say */
	RC_U8_ANY_TAIL = RC_U8_STRAY_TAIL | RC_U8_OVERLONG_2 | RC_U8_FOLLOWS, /* true of all of 80 to BF */
	RC_U8_PAST_F4 = RC_U8_ANY_LOW | RC_U8_BEYOND | RC_U8_OVERLONG_4,
};

/* clang-format off */
#define RC_U8_FOUR(x) x, x, x, x

#define RC_U8_BY_FIRST_HIGH                                                   \
	RC_U8_FOUR(RC_U8_STRAY_TAIL), RC_U8_FOUR(RC_U8_STRAY_TAIL),           \
	RC_U8_FOUR(RC_U8_FOLLOWS),                                            \
	/* C */ RC_U8_LONE_LEAD | RC_U8_OVERLONG_2,                           \
	/* D */ RC_U8_LONE_LEAD,                                              \
	/* E */ RC_U8_LONE_LEAD | RC_U8_OVERLONG_3 | RC_U8_SURROGATE,         \
	/* F */ RC_U8_LONE_LEAD | RC_U8_OVERLONG_4 | RC_U8_BEYOND

#define RC_U8_BY_FIRST_LOW                                                    \
	/* 0 */ RC_U8_ANY_LOW | RC_U8_OVERLONG_2 | RC_U8_OVERLONG_3 | RC_U8_OVERLONG_4, \
	/* 1 */ RC_U8_ANY_LOW | RC_U8_OVERLONG_2,                             \
	/* 2 */ RC_U8_ANY_LOW, RC_U8_ANY_LOW,                                 \
	/* 4 */ RC_U8_ANY_LOW | RC_U8_BEYOND,                                 \
	/* 5 */ RC_U8_FOUR(RC_U8_PAST_F4), RC_U8_FOUR(RC_U8_PAST_F4),         \
	/* D */ RC_U8_PAST_F4 | RC_U8_SURROGATE,                              \
	/* E */ RC_U8_PAST_F4, RC_U8_PAST_F4

#define RC_U8_BY_SECOND_HIGH                                                  \
	RC_U8_FOUR(RC_U8_LONE_LEAD), RC_U8_FOUR(RC_U8_LONE_LEAD),             \
	/* 8 */ RC_U8_ANY_TAIL | RC_U8_OVERLONG_3 | RC_U8_OVERLONG_4,         \
	/* 9 */ RC_U8_ANY_TAIL | RC_U8_OVERLONG_3 | RC_U8_BEYOND,             \
	/* A */ RC_U8_ANY_TAIL | RC_U8_SURROGATE | RC_U8_BEYOND,              \
	/* B */ RC_U8_ANY_TAIL | RC_U8_SURROGATE | RC_U8_BEYOND,              \
	RC_U8_FOUR(RC_U8_LONE_LEAD)
/* clang-format on */

#endif
