/* SPDX-License-Identifier: MIT
 *
 * text_neon.c - the kernels in vectors of 16 bytes, which every aarch64 has. Empty on other architectures.
 */
#if defined(__aarch64__)
#include "text_kernels.h"

#include <arm_neon.h>

typedef uint8x16_t V;
#define WIDTH 16

/* clang-format off */
static inline V v_load(const uint8_t *from) { return vld1q_u8(from); }
static inline void v_store(uint8_t *to, V v) { vst1q_u8(to, v); }
static inline V v_xor(V a, V b) { return veorq_u8(a, b); }
static inline V v_or(V a, V b) { return vorrq_u8(a, b); }
static inline V v_zero(void) { return vdupq_n_u8(0); }
static inline V v_splat(uint32_t word) { return vreinterpretq_u8_u32(vdupq_n_u32(word)); }
static inline V v_ending(uint64_t low, uint64_t high)
{
	return vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)));
}
static inline bool v_high(V v) { return vmaxvq_u8(v) >= 0x80; }
static inline bool v_any(V v) { return vmaxvq_u32(vreinterpretq_u32_u8(v)) != 0; }
/* clang-format on */

static inline V v_broken(V previous, V v)
{
	static const uint8_t first_high[16] = { RC_U8_BY_FIRST_HIGH };
	static const uint8_t first_low[16] = { RC_U8_BY_FIRST_LOW };
	static const uint8_t second_high[16] = { RC_U8_BY_SECOND_HIGH };
	const V back1 = vextq_u8(previous, v, 15);
	const V back2 = vextq_u8(previous, v, 14);
	const V back3 = vextq_u8(previous, v, 13);
	const V pair = vandq_u8(vandq_u8(vqtbl1q_u8(vld1q_u8(first_high), vshrq_n_u8(back1, 4)),
	                                 vqtbl1q_u8(vld1q_u8(first_low), vandq_u8(back1, vdupq_n_u8(0x0F)))),
	                        vqtbl1q_u8(vld1q_u8(second_high), vshrq_n_u8(v, 4)));
	/* The top bit is left where a lead two or three back asks for this byte. */
	const V third = vqsubq_u8(back2, vdupq_n_u8(0xE0 - 0x80)), fourth = vqsubq_u8(back3, vdupq_n_u8(0xF0 - 0x80));
	return veorq_u8(vandq_u8(vorrq_u8(third, fourth), vdupq_n_u8(RC_U8_FOLLOWS)), pair);
}

#define short_unmask rc_unmask_words

#include "text_walk.h"

static bool available(void)
{
	return true;
}

const struct rc_kernels rc_kernels_neon = { "neon", available, unmask, check, unmask_utf8 };
#endif
