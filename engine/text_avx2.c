/* SPDX-License-Identifier: MIT
 *
 * text_avx2.c - the kernels in vectors of 32 bytes. Empty on other architectures.
 */
#if defined(__x86_64__)
#include "text_kernels.h"

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

typedef __m256i V;
#define WIDTH 32

/* clang-format off */
static inline V v_load(const uint8_t *from) { return _mm256_loadu_si256((const __m256i *)(const void *)from); }
static inline void v_store(uint8_t *to, V v) { _mm256_storeu_si256((__m256i *)(void *)to, v); }
static inline V v_xor(V a, V b) { return _mm256_xor_si256(a, b); }
static inline V v_or(V a, V b) { return _mm256_or_si256(a, b); }
static inline V v_zero(void) { return _mm256_setzero_si256(); }
static inline V v_splat(uint32_t word) { return _mm256_set1_epi32((int)word); }
static inline V v_ending(uint64_t low, uint64_t high) { return _mm256_set_epi64x((int64_t)high, (int64_t)low, 0, 0); }
static inline bool v_high(V v) { return _mm256_movemask_epi8(v) != 0; }
static inline bool v_any(V v) { return !_mm256_testz_si256(v, v); }
/* clang-format on */

static inline V look_up(const uint8_t *table, V index)
{
	return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)table)),
	                           index);
}

/* `lanes` holds the 16 bytes that come before each half of `v`. */
static inline V broken(V lanes, V v)
{
	_Alignas(16) static const uint8_t first_high[16] = { RC_U8_BY_FIRST_HIGH };
	_Alignas(16) static const uint8_t first_low[16] = { RC_U8_BY_FIRST_LOW };
	_Alignas(16) static const uint8_t second_high[16] = { RC_U8_BY_SECOND_HIGH };
	const V low_half = _mm256_set1_epi8(0x0F);
	const V back1 = _mm256_alignr_epi8(v, lanes, 15);
	const V back2 = _mm256_alignr_epi8(v, lanes, 14);
	const V back3 = _mm256_alignr_epi8(v, lanes, 13);
	const V pair = _mm256_and_si256(
	    _mm256_and_si256(look_up(first_high, _mm256_and_si256(_mm256_srli_epi16(back1, 4), low_half)),
	                     look_up(first_low, _mm256_and_si256(back1, low_half))),
	    look_up(second_high, _mm256_and_si256(_mm256_srli_epi16(v, 4), low_half)));
	/* The top bit stays set where a lead byte two or three back asks for this byte. */
	const V third = _mm256_subs_epu8(back2, _mm256_set1_epi8((char)(0xE0 - 0x80)));
	const V fourth = _mm256_subs_epu8(back3, _mm256_set1_epi8((char)(0xF0 - 0x80)));
	const V asked = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)RC_U8_FOLLOWS));
	return _mm256_xor_si256(asked, pair);
}

static inline V v_broken(V previous, V v)
{
	return broken(_mm256_permute2x128_si256(previous, v, 0x21), v);
}

/* 16 to 31 bytes: the first and the last 16, each a half of a vector. */
static inline __attribute__((always_inline)) bool judge_short(struct rc_utf8 *state, uint8_t *to, const uint8_t *from,
                                                              size_t size, uint32_t mask, const bool write)
{
	const uint32_t end_mask = rc_mask_rotate(mask, size);
	const __m128i first = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)from),
	                                    _mm_set1_epi32((int)mask));
	const __m128i last = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)(from + size - 16)),
	                                   _mm_set1_epi32((int)end_mask));
	const uint32_t before_last = rc_word_before(from, size - 16, mask);
	const uint32_t ending = rc_load32(from + size - 4) ^ end_mask;
	if (write) {
		_mm_storeu_si128((__m128i *)(void *)to, first);
		_mm_storeu_si128((__m128i *)(void *)(to + size - 16), last);
	}
	if (_mm_movemask_epi8(_mm_or_si128(first, last)) == 0)
		return true;
	const V lanes = _mm256_set_epi32((int)before_last, 0, 0, 0, 0, 0, 0, 0);
	return !v_any(broken(lanes, _mm256_set_m128i(last, first))) && rc_utf8_keep_open(state, ending);
}

#define short_unmask rc_unmask_words

#include "text_walk.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool available(void)
{
	return __builtin_cpu_supports("avx2");
}

const struct rc_kernels rc_kernels_avx2 = { "avx2", available, unmask, check, unmask_utf8 };
#endif
