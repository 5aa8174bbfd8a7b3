/* SPDX-License-Identifier: MIT
 *
 * random.h - numbers that look random and repeat with their seed: xoshiro256** (Blackman and Vigna, public domain
 * algorithm), its state filled by SplitMix64. For demonstrations and load, never for secrets.
 */
#ifndef LIB_RANDOM_H
#define LIB_RANDOM_H

#include <stdint.h>

static inline void random_seed(uint64_t state[4], uint64_t seed)
{
	for (int index = 0; index < 4; index++) {
		uint64_t mixed = seed += 0x9e3779b97f4a7c15;
		mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
		mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
		state[index] = mixed ^ mixed >> 31;
	}
}

static inline uint64_t random_rotate(uint64_t value, int by)
{
	return value << by | value >> (64 - by);
}

static inline uint64_t random_next(uint64_t state[4])
{
	uint64_t result = random_rotate(state[1] * 5, 7) * 9, shifted = state[1] << 17;
	state[2] ^= state[0];
	state[3] ^= state[1];
	state[1] ^= state[2];
	state[0] ^= state[3];
	state[2] ^= shifted;
	state[3] = random_rotate(state[3], 45);
	return result;
}

/* 0 <= result < count; the bias is below count / 2^32. */
static inline uint32_t random_below(uint64_t state[4], uint32_t count)
{
	return (uint32_t)((random_next(state) >> 32) * count >> 32);
}

/* 0 <= result < 1 */
static inline double random_share(uint64_t state[4])
{
	return (double)(random_next(state) >> 11) * 0x1p-53;
}

#endif
