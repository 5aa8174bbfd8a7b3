/* SPDX-License-Identifier: MIT
 *
 * pool.c - blocks: their sizes, their bounds, and that none is handed out twice.
 */
#include "pool.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

Test(pool, sizes_are_powers_of_two)
{
	static const size_t cases[][2] = { { 0, 256 },       { 1, 256 },        { 256, 256 },
		                           { 257, 512 },     { 4096, 4096 },    { 4097, 8192 },
		                           { 65536, 65536 }, { 65537, 131072 }, { 1 << 20, 1 << 20 } };
	struct rc_pool pool;
	rc_pool_init(&pool, 1 << 20, SIZE_MAX / 2);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t capacity = 0;
		uint8_t *block = rc_pool_take(&pool, cases[i][0], &capacity);
		cr_assert(block);
		cr_expect_eq(capacity, cases[i][1], "%zu gives %zu", cases[i][0], capacity);
		cr_expect_eq(pool.used_size, capacity);
		memset(block, 0xaa, capacity);
		rc_pool_give(&pool, block, capacity);
		cr_expect_eq(pool.used_size, 0);
	}
	rc_pool_destroy(&pool);
}

Test(pool, used_bytes_are_bounded)
{
	struct rc_pool pool;
	rc_pool_init(&pool, 0, 1024);
	size_t capacity, count = 0;
	void *blocks[8];
	while ((blocks[count] = rc_pool_take(&pool, 256, &capacity)))
		count++;
	cr_expect_eq(count, 4);
	cr_expect_eq(pool.used_size, 1024);
	rc_pool_give(&pool, blocks[--count], 256);
	cr_expect_null(rc_pool_take(&pool, 257, &capacity), "512 bytes do not fit in 256");
	blocks[count++] = rc_pool_take(&pool, 256, &capacity);
	cr_expect(blocks[3]);
	while (count)
		rc_pool_give(&pool, blocks[--count], 256);
	cr_expect_null(rc_pool_take(&pool, 1025, &capacity));
	cr_expect_null(rc_pool_take(&pool, (size_t)1 << 40, &capacity), "no class is that large");
	cr_expect_eq(pool.free_size, 0, "nothing is kept with a bound of 0");
	rc_pool_destroy(&pool);
}

Test(pool, free_bytes_are_bounded_and_used_again)
{
	struct rc_pool pool;
	rc_pool_init(&pool, 1024, 1 << 20);
	size_t capacity;
	void *a = rc_pool_take(&pool, 512, &capacity), *b = rc_pool_take(&pool, 512, &capacity);
	void *c = rc_pool_take(&pool, 512, &capacity);
	rc_pool_give(&pool, a, 512);
	rc_pool_give(&pool, b, 512);
	rc_pool_give(&pool, c, 512);
	cr_expect_eq(pool.free_size, 1024, "the third went back to the system");
	cr_expect_eq(rc_pool_take(&pool, 300, &capacity), b, "the last given is the first taken");
	cr_expect_eq(rc_pool_take(&pool, 300, &capacity), a);
	cr_expect_eq(pool.free_size, 0);
	rc_pool_give(&pool, a, 512);
	rc_pool_give(&pool, b, 512);
	rc_pool_give(&pool, NULL, 0);
	rc_pool_destroy(&pool);
}

/* Each block is filled with a mark of its own: a block handed out twice would show another's. */
Test(pool, random_use)
{
	enum { SLOTS = 64 };
	struct {
		uint8_t *block;
		size_t capacity;
	} slots[SLOTS] = { 0 };
	const char *seed_text = getenv("RC_SEED");
	unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : (unsigned)time(NULL);
	printf("# pool: RC_SEED=%u\n", seed);
	struct rc_pool pool;
	rc_pool_init(&pool, 64 * 1024, 512 * 1024);
	size_t used = 0, refused = 0;
	for (int round = 0; round < 20000; round++) {
		size_t i = (size_t)rand_r(&seed) % SLOTS;
		if (slots[i].block) {
			for (size_t k = 0; k < slots[i].capacity; k += 64)
				cr_assert_eq(slots[i].block[k], (uint8_t)i);
			rc_pool_give(&pool, slots[i].block, slots[i].capacity);
			used -= slots[i].capacity;
			slots[i].block = NULL;
		} else {
			size_t size = (size_t)1 << rand_r(&seed) % 17;
			slots[i].block = rc_pool_take(&pool, size, &slots[i].capacity);
			refused += !slots[i].block;
			if (slots[i].block) {
				used += slots[i].capacity;
				memset(slots[i].block, (int)i, slots[i].capacity);
			}
		}
		cr_assert_eq(pool.used_size, used);
		cr_assert_leq(used, pool.used_size_max);
		cr_assert_leq(pool.free_size, pool.free_size_max);
	}
	cr_expect_gt(refused, 0, "the bound was met");
	for (size_t i = 0; i < SLOTS; i++)
		rc_pool_give(&pool, slots[i].block, slots[i].capacity);
	rc_pool_destroy(&pool);
}
