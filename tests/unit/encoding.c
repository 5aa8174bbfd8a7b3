/* SPDX-License-Identifier: MIT
 *
 * encoding.c - an encoding of the log: who makes a frame, what is kept of it, and that no byte is written over while a
 * reader's floor is not above it. What was written over is never taken for a frame, however far back a reader begins.
 */
#include "encoding.h"

#include "check.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SIZE = 64 * 1024, EXTENTS = 512, SEGMENT = SIZE / RC_LOG_SEGMENTS, FLOORS = 2 };

static struct rc_encoding encoding;
static struct rc_log log_; /* of it an encoding reads nothing but the floors */
static _Atomic uint64_t floors[FLOORS];
static uint8_t bytes[SIZE], payload[SIZE];
static struct rc_extent extents[EXTENTS];

static void set_floors(uint64_t first, uint64_t second)
{
	atomic_store(&floors[0], first);
	atomic_store(&floors[1], second);
}

static void begin(void)
{
	memset(bytes, 0xdb, sizeof bytes);
	memset(extents, 0, sizeof extents);
	log_ = (struct rc_log){ .floors = floors, .floor_count = FLOORS };
	set_floors(0, 0);
	rc_encoding_init(&encoding, bytes, SIZE, extents, EXTENTS);
}

TestSuite(encoding, .init = begin);

/* Bytes that tell which entry they are of. */
static void fill(uint64_t number, size_t size)
{
	for (size_t i = 0; i < size; i++)
		payload[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
}

static bool put(uint64_t number, size_t size, bool fresh)
{
	cr_assert(rc_extent_claim(&encoding, number));
	fill(number, size);
	rc_encoding_put(&encoding, &log_, number, payload, 2, payload + 2, size - 2, fresh);
	enum rc_extent_state state = rc_extent_state(&encoding, number);
	cr_assert(state == RC_EXTENT_REFUSED || state == (fresh ? RC_EXTENT_FRESH : RC_EXTENT_MADE));
	return state != RC_EXTENT_REFUSED;
}

static bool is_whole(uint64_t number, size_t size)
{
	const struct rc_extent *extent = rc_extent_of(&encoding, number);
	fill(number, size);
	return extent->size == size && memcmp(bytes + (extent->position & (SIZE - 1)), payload, size) == 0;
}

Test(encoding, nobody_has_looked)
{
	for (uint64_t number = 0; number < 3 * EXTENTS; number++)
		cr_assert_eq(rc_extent_state(&encoding, number), RC_EXTENT_NONE);
}

Test(encoding, one_claims_an_entry)
{
	for (uint64_t number = 0; number < 3 * EXTENTS; number++) {
		cr_assert(rc_extent_claim(&encoding, number), "%lu", number);
		cr_assert(!rc_extent_claim(&encoding, number), "%lu", number);
		cr_assert_eq(rc_extent_state(&encoding, number), RC_EXTENT_CLAIMED);
		rc_extent_refuse(&encoding, number);
		cr_assert_eq(rc_extent_state(&encoding, number), RC_EXTENT_REFUSED);
		cr_assert(!rc_extent_claim(&encoding, number));
		cr_assert_eq(rc_extent_state(&encoding, number + EXTENTS), RC_EXTENT_NONE,
		             "another entry at the same index");
	}
}

Test(encoding, frames_stand_side_by_side)
{
	uint64_t position = 0;
	for (uint64_t number = 0; number < 20; number++) {
		cr_assert(put(number, 10 + number, number % 2));
		cr_expect_eq(rc_extent_of(&encoding, number)->position, position);
		position += 10 + number;
	}
	for (uint64_t number = 0; number < 20; number++)
		cr_assert(is_whole(number, 10 + number));
	cr_expect_eq(encoding.made_count, 20);
	cr_expect_eq(encoding.made_size, position);
}

Test(encoding, a_frame_never_wraps)
{
	for (uint64_t number = 0; number < 4; number++)
		cr_assert(put(number, SIZE / 4 - 10, false));
	set_floors(10, 10);
	cr_assert(put(10, 41, false));
	cr_expect_eq(rc_extent_of(&encoding, 10)->position, SIZE);
	cr_assert(is_whole(10, 41));
}

Test(encoding, too_large_a_frame_is_refused)
{
	cr_expect(put(0, SIZE / 4, false));
	cr_expect(!put(1, SIZE / 4 + 1, false));
	cr_expect(put(2, 100, false));
}

Test(encoding, the_lowest_floor_holds_the_bytes)
{
	uint64_t number = 0;
	while (put(number, SEGMENT, false))
		number++;
	cr_assert_eq(number, RC_LOG_SEGMENTS);
	set_floors(1000, 0);
	cr_expect(!put(number + 1, SEGMENT, false), "one floor has not moved");
	set_floors(1, 1000);
	cr_expect(put(number + 2, SEGMENT, false), "entry 0 is below both");
	cr_expect(!put(number + 3, SEGMENT, false), "entry 1 is not");
	for (uint64_t i = 1; i < number; i++)
		cr_assert(is_whole(i, SEGMENT), "%lu", i);
}

/* Workers make what they come to: an older entry may be put behind a newer one. */
Test(encoding, a_segment_is_as_new_as_its_newest_entry)
{
	cr_assert(put(70, SEGMENT / 2, false));
	cr_assert(put(3, SEGMENT / 2, false));
	for (uint64_t number = 100; number < 100 + RC_LOG_SEGMENTS - 1; number++)
		cr_assert(put(number, SEGMENT, false));
	set_floors(70, 70);
	cr_expect(!put(200, SEGMENT, false));
	cr_expect(is_whole(70, SEGMENT / 2));
	set_floors(71, 71);
	cr_expect(put(201, SEGMENT, false));
}

/* The log keeps a message longer than an encoding may keep its frame: who begins further back gets the log's form. */
Test(encoding, what_was_written_over_is_refused)
{
	for (uint64_t number = 0; number < 3 * RC_LOG_SEGMENTS; number++) {
		set_floors(number, number);
		cr_assert(put(number, SEGMENT - 5, number % 8 == 0));
		for (uint64_t i = 0; i <= number; i++) {
			enum rc_extent_state state = rc_extent_state(&encoding, i);
			cr_assert(state == RC_EXTENT_REFUSED || is_whole(i, SEGMENT - 5), "entry %lu of %lu", i,
			          number);
		}
		cr_assert_neq(rc_extent_state(&encoding, number), RC_EXTENT_REFUSED);
		cr_assert(!rc_extent_claim(&encoding, 0), "and is not made again");
	}
	cr_expect_eq(rc_extent_state(&encoding, 0), RC_EXTENT_REFUSED);
}

Test(encoding, chance)
{
	static size_t sizes[100000];
	uint64_t seed = seed_of("encoding");
	uint64_t kept = 0;
	for (uint64_t number = 0; number < 20000; number++) {
		uint64_t first = atomic_load(&floors[0]), second = atomic_load(&floors[1]);
		if (below(&seed, 4) == 0)
			set_floors(first + below(&seed, number - first + 1),
			           second + below(&seed, number - second + 1));
		/* No reader is further back than the index reaches. */
		uint64_t oldest = number >= EXTENTS ? number - EXTENTS + 1 : 0;
		set_floors(RC_MAX(atomic_load(&floors[0]), oldest), RC_MAX(atomic_load(&floors[1]), oldest));
		sizes[number] = 2 + below(&seed, below(&seed, 50) ? 600 : SIZE / 4);
		if (below(&seed, 10) == 0)
			continue;
		kept += put(number, sizes[number], below(&seed, 5) == 0);
		uint64_t floor = RC_MIN(atomic_load(&floors[0]), atomic_load(&floors[1]));
		for (uint64_t i = floor; i <= number; i++) {
			enum rc_extent_state state = rc_extent_state(&encoding, i);
			cr_assert(state < RC_EXTENT_MADE || is_whole(i, sizes[i]), "entry %lu at %lu, floor %lu", i,
			          number, floor);
		}
	}
	cr_expect_gt(kept, 10000);
}
