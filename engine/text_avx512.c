/* SPDX-License-Identifier: MIT
 *
 * text_avx512.c - the kernels in vectors of 64 bytes, for processors from Ice Lake and Zen 4 on (VBMI): older ones with
 * AVX-512 slow down when they use all of it, and are served by text_avx2.c. Empty on other architectures.
 */
#if defined(__x86_64__)
#include "text_kernels.h"

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512vbmi"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,avx512f,avx512bw,avx512vl,avx512vbmi")
#endif

typedef __m512i V;
#define WIDTH 64

/* clang-format off */
static inline V v_load(const uint8_t *from) { return _mm512_loadu_si512(from); }
static inline void v_store(uint8_t *to, V v) { _mm512_storeu_si512(to, v); }
static inline V v_xor(V a, V b) { return _mm512_xor_si512(a, b); }
static inline V v_or(V a, V b) { return _mm512_or_si512(a, b); }
static inline V v_zero(void) { return _mm512_setzero_si512(); }
static inline V v_splat(uint32_t word) { return _mm512_set1_epi32((int)word); }
static inline V v_ending(uint64_t low, uint64_t high)
{
	return _mm512_maskz_broadcast_i32x4((__mmask16)0xF000, _mm_set_epi64x((int64_t)high, (int64_t)low));
}
static inline bool v_high(V v) { return _mm512_movepi8_mask(v) != 0; }
static inline bool v_any(V v) { return _mm512_test_epi32_mask(v, v) != 0; }
/* clang-format on */

/* Only the low four bits of each index count: the table stands there four times, and higher bits are ignored. */
static inline V look_up(const uint8_t *table, V index)
{
	return _mm512_permutexvar_epi8(index,
	                               _mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)(const void *)table)));
}

static inline V v_broken(V previous, V v)
{
	_Alignas(16) static const uint8_t first_high[16] = { RC_U8_BY_FIRST_HIGH };
	_Alignas(16) static const uint8_t first_low[16] = { RC_U8_BY_FIRST_LOW };
	_Alignas(16) static const uint8_t second_high[16] = { RC_U8_BY_SECOND_HIGH };
	enum { AND3 = 0x80, OR_AND_C = 0xA8 };
	const V top = _mm512_set1_epi8((char)RC_U8_FOLLOWS);
	/* The bytes one, two and three back: a shift over lanes needs the lane before next to each lane. */
	const V lanes = _mm512_alignr_epi64(v, previous, 6);
	const V back1 = _mm512_alignr_epi8(v, lanes, 15);
	const V back2 = _mm512_alignr_epi8(v, lanes, 14);
	const V back3 = _mm512_alignr_epi8(v, lanes, 13);
	const V pair = _mm512_ternarylogic_epi32(look_up(first_high, _mm512_srli_epi16(back1, 4)),
	                                         look_up(first_low, back1),
	                                         look_up(second_high, _mm512_srli_epi16(v, 4)), AND3);
	/* The top bit stays set where a lead byte two or three back asks for this byte. */
	const V third = _mm512_subs_epu8(back2, _mm512_set1_epi8((char)(0xE0 - 0x80)));
	const V fourth = _mm512_subs_epu8(back3, _mm512_set1_epi8((char)(0xF0 - 0x80)));
	return _mm512_xor_si512(_mm512_ternarylogic_epi32(third, fourth, top, OR_AND_C), pair);
}

static inline __m256i unmask256(const uint8_t *from, uint32_t mask)
{
	return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)from), _mm256_set1_epi32((int)mask));
}

/* Below 64 bytes: words, and from 32 on two vectors of half the width that overlap. */
static inline void short_unmask(uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	if (size < 32) {
		rc_unmask_words(to, from, size, mask);
		return;
	}
	const __m256i first = unmask256(from, mask), last = unmask256(from + size - 32, rc_mask_rotate(mask, size));
	_mm256_storeu_si256((__m256i *)(void *)to, first);
	_mm256_storeu_si256((__m256i *)(void *)(to + size - 32), last);
}

/* 16 to 63 bytes: judged at the end of one vector, whose other bytes are not loaded; stored in two that overlap, as a
 * store with a mask costs more than all the rest. */
static inline __attribute__((always_inline)) bool judge_short(struct rc_utf8 *state, uint8_t *to, const uint8_t *from,
                                                              size_t size, uint32_t mask, const bool write)
{
	const uint32_t end_mask = rc_mask_rotate(mask, size);
	const uint32_t ending = rc_load32(from + size - 4) ^ end_mask;
	const __mmask64 there = ~UINT64_C(0) << (64 - size);
	const void *start = (const void *)((uintptr_t)from + size - 64); /* before the span, so not a sum of pointers */
	const V v = _mm512_xor_si512(_mm512_maskz_loadu_epi8(there, start),
	                             _mm512_maskz_mov_epi8(there, v_splat(end_mask)));
	if (write && size >= 32) {
		const __m256i first = unmask256(from, mask);
		_mm256_storeu_si256((__m256i *)(void *)to, first);
		_mm256_storeu_si256((__m256i *)(void *)(to + size - 32), _mm512_extracti64x4_epi64(v, 1));
	} else if (write) {
		const __m128i first = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)from),
		                                    _mm_set1_epi32((int)mask));
		_mm_storeu_si128((__m128i *)(void *)to, first);
		_mm_storeu_si128((__m128i *)(void *)(to + size - 16), _mm512_extracti32x4_epi32(v, 3));
	}
	if (!v_high(v))
		return true;
	return !v_any(v_broken(v_zero(), v)) && rc_utf8_keep_open(state, ending);
}

#include "text_walk.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool available(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vl");
}

const struct rc_kernels rc_kernels_avx512 = { "avx512", available, unmask, check, unmask_utf8 };
#endif
