/* SPDX-License-Identifier: MIT
 *
 * seed.h - chance for the randomised tests: every run prints its seed, and RC_SEED=number repeats it.
 */
#ifndef RC_TESTS_SEED_H
#define RC_TESTS_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t seed_of(const char *test)
{
	const char *text = getenv("RC_SEED");
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	printf("# %s: RC_SEED=%llu\n", test, (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* splitmix64 */
static inline uint64_t chance(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

/* 0 to bound - 1 */
static inline uint64_t below(uint64_t *seed, uint64_t bound)
{
	return chance(seed) % bound;
}

#endif
