/* SPDX-License-Identifier: MIT
 *
 * wheel.c - the timer wheel against a plain list of deadlines.
 */
#include "wheel.h"

#include "seed.h"

#include <criterion/criterion.h>
#include <string.h>

enum { SLOTS = 200 };
#define FAR (RC_WHEEL_BUCKETS - 1) /* ticks ahead that the wheel tells apart */
#define NEVER UINT64_MAX

static struct rc_wheel wheel;
static struct rc_wheel_link links[SLOTS];

static void begin(uint64_t now)
{
	memset(links, 0, sizeof links);
	rc_wheel_init(&wheel, links, now);
}

static uint32_t next(uint64_t now)
{
	uint32_t slot;
	return rc_wheel_next(&wheel, now, &slot) ? slot : SLOTS;
}

Test(wheel, nothing_is_set)
{
	begin(5000);
	cr_expect_eq(rc_wheel_first(&wheel), NEVER);
	cr_expect_eq(next(5000), SLOTS);
	cr_expect_eq(next(9000), SLOTS);
	rc_wheel_clear(&wheel, 3);
	cr_expect_eq(rc_wheel_first(&wheel), NEVER);
}

Test(wheel, every_distance_from_every_place)
{
	for (uint64_t now = 4096; now < 4096 + RC_WHEEL_BUCKETS; now += now % 64 == 62 ? 1 : 3) {
		begin(now);
		for (uint64_t ahead = 0; ahead <= FAR; ahead++) {
			rc_wheel_set(&wheel, 1, now + ahead);
			cr_assert_eq(rc_wheel_first(&wheel), now + ahead, "from %lu, %lu ahead", now, ahead);
		}
		for (uint64_t ahead = FAR + 1; ahead < UINT64_MAX / 4; ahead *= 3) {
			rc_wheel_set(&wheel, 1, now + ahead);
			cr_assert_eq(rc_wheel_first(&wheel), now + FAR, "further is reported at the end of the turn");
		}
	}
}

Test(wheel, due_at_its_tick_and_not_before)
{
	begin(100);
	rc_wheel_set(&wheel, 7, 130);
	cr_expect_eq(next(129), SLOTS);
	cr_expect_eq(next(130), 7);
	cr_expect_eq(next(130), SLOTS, "taken out when it was reported");
	cr_expect_eq(rc_wheel_first(&wheel), NEVER);
	rc_wheel_set(&wheel, 7, 20);
	cr_expect_eq(rc_wheel_first(&wheel), 130, "the past is now");
	cr_expect_eq(next(130), 7);
}

Test(wheel, moved_and_cleared)
{
	begin(0);
	rc_wheel_set(&wheel, 0, 10);
	rc_wheel_set(&wheel, 1, 10);
	rc_wheel_set(&wheel, 2, 10);
	rc_wheel_set(&wheel, 1, 12);
	rc_wheel_clear(&wheel, 2);
	rc_wheel_clear(&wheel, 2);
	cr_expect_eq(next(11), 0);
	cr_expect_eq(next(11), SLOTS);
	cr_expect_eq(next(5000), 1);
	cr_expect_eq(next(5000), SLOTS);
	cr_expect_eq(wheel.now, 5000);
	cr_expect_eq(next(400), SLOTS, "time that goes back changes nothing");
	cr_expect_eq(wheel.now, 5000);
}

static uint64_t deadlines[SLOTS]; /* as the wheel may tell them apart, or NEVER */

static uint64_t first_deadline(void)
{
	uint64_t first = NEVER;
	for (unsigned i = 0; i < SLOTS; i++)
		first = deadlines[i] < first ? deadlines[i] : first;
	return first;
}

static uint64_t random_tick(uint64_t *seed, uint64_t now)
{
	switch (below(seed, 6)) {
	case 0:
		return now - below(seed, now < 50 ? now + 1 : 50);
	case 1:
		return now + FAR - 2 + below(seed, 4);
	case 2:
		return now + below(seed, 1 << 20);
	default:
		return now + below(seed, RC_WHEEL_BUCKETS);
	}
}

static void turn(uint64_t now)
{
	uint64_t before = 0;
	for (uint32_t slot; (slot = next(now)) != SLOTS;) {
		cr_assert_leq(deadlines[slot], now);
		cr_assert_geq(deadlines[slot], before, "earlier ones come first");
		before = deadlines[slot];
		deadlines[slot] = NEVER;
	}
	cr_assert_gt(first_deadline(), now, "one was not reported");
	cr_assert_eq(wheel.now, now);
}

Test(wheel, random_use)
{
	uint64_t seed = seed_of("wheel");
	for (unsigned run = 0; run < 20; run++) {
		uint64_t now = run ? chance(&seed) >> (run + 1) : 0;
		begin(now);
		memset(deadlines, 0xff, sizeof deadlines);
		for (unsigned round = 0; round < 4000; round++) {
			uint32_t slot = (uint32_t)below(&seed, run % 2 ? 8 : SLOTS);
			if (below(&seed, 4) == 0) {
				now += below(&seed, 8) ? below(&seed, 40) : below(&seed, 3 * RC_WHEEL_BUCKETS);
				turn(now);
			} else if (below(&seed, 4) == 0) {
				rc_wheel_clear(&wheel, slot);
				deadlines[slot] = NEVER;
			} else {
				uint64_t tick = random_tick(&seed, now);
				rc_wheel_set(&wheel, slot, tick);
				deadlines[slot] = tick < now ? now : tick > now + FAR ? now + FAR : tick;
			}
			cr_assert_eq(rc_wheel_first(&wheel), first_deadline());
		}
	}
}
