/* SPDX-License-Identifier: MIT
 *
 * slots.c - the slots that are no places in the kernel's table: reuse, a full table, and the order of closing; then all
 * of it by chance, against a model that only remembers.
 */
#include "slots.h"

#include "seed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>

static struct slots slots;

/* Descriptors 100, 101 ... in slots 0, 1 ... of a table of `count`, `used` of them. */
static void begin(uint32_t count, uint32_t used)
{
	cr_assert(rc_slots_open(&slots, count));
	for (uint32_t i = 0; i < used; i++)
		cr_assert_eq(rc_slots_add(&slots, 100 + (int)i), (int)i);
}

static void end(void)
{
	rc_slots_close(&slots);
}

TestSuite(slots, .fini = end);

Test(slots, numbers_rise_until_the_table_is_full)
{
	begin(3, 3);
	for (uint32_t i = 0; i < 3; i++)
		cr_expect_eq(slots.descriptors[i], 100 + (int)i);
	cr_expect_eq(rc_slots_add(&slots, 103), -ENFILE);
	cr_expect_eq(slots.made_count, 3);
}

Test(slots, what_was_removed_is_free_at_once)
{
	begin(3, 3);
	cr_expect_eq(rc_slots_remove(&slots, 1), 101);
	cr_expect_eq(slots.descriptors[1], -1);
	cr_expect_eq(rc_slots_add(&slots, 104), 1);
	cr_expect_eq(slots.descriptors[1], 104);
	cr_expect_eq(rc_slots_add(&slots, 105), -ENFILE);
}

Test(slots, what_closes_is_not_free_before_its_end)
{
	begin(2, 2);
	cr_expect_eq(rc_slots_begin_closing(&slots, 0), 100);
	cr_expect_eq(slots.descriptors[0], -1);
	cr_expect_eq(rc_slots_add(&slots, 102), -ENFILE, "the caller still knows it by its old use");
	rc_slots_end_closing(&slots);
	cr_expect_eq(rc_slots_add(&slots, 102), 0);
}

Test(slots, closes_end_in_the_order_they_began)
{
	begin(4, 4);
	cr_expect_eq(rc_slots_begin_closing(&slots, 2), 102);
	cr_expect_eq(rc_slots_begin_closing(&slots, 0), 100);
	rc_slots_end_closing(&slots);
	cr_expect_eq(rc_slots_begin_closing(&slots, 3), 103);
	cr_expect_eq(rc_slots_add(&slots, 104), 2, "the first to begin is free, and nothing else");
	cr_expect_eq(rc_slots_add(&slots, 105), -ENFILE);
	rc_slots_end_closing(&slots);
	cr_expect_eq(rc_slots_add(&slots, 105), 0);
	rc_slots_end_closing(&slots);
	cr_expect_eq(rc_slots_add(&slots, 106), 3);
	cr_expect_eq(slots.closing_first, 0);
}

Test(slots, freed_numbers_come_before_new_ones)
{
	begin(8, 3);
	rc_slots_begin_closing(&slots, 1);
	cr_expect_eq(rc_slots_add(&slots, 110), 3, "one that closes is not taken");
	rc_slots_end_closing(&slots);
	rc_slots_remove(&slots, 0);
	cr_expect_eq(rc_slots_add(&slots, 111), 0);
	cr_expect_eq(rc_slots_add(&slots, 112), 1);
	cr_expect_eq(rc_slots_add(&slots, 113), 4);
}

Test(slots, any_order_against_a_model)
{
	enum { COUNT = 12, STEPS = 20000 };
	uint64_t seed = seed_of("slots");
	int held[COUNT];         /* descriptor, 0: free, -1: closing */
	uint32_t closing[COUNT]; /* in their order */
	unsigned in_use = 0, closing_count = 0;
	for (unsigned i = 0; i < COUNT; i++)
		held[i] = 0;
	begin(COUNT, 0);
	for (int step = 0; step < STEPS; step++) {
		uint32_t slot = (uint32_t)below(&seed, COUNT);
		switch (below(&seed, 5)) {
		case 0:
		case 1: {
			int descriptor = 1000 + step, got = rc_slots_add(&slots, descriptor);
			if (in_use + closing_count == COUNT) {
				cr_assert_eq(got, -ENFILE, "step %d", step);
				break;
			}
			cr_assert(got >= 0 && got < COUNT && held[got] == 0, "step %d: slot %d is not free", step, got);
			held[got] = descriptor;
			in_use++;
			break;
		}
		case 2:
			if (held[slot] <= 0)
				break;
			cr_assert_eq(rc_slots_begin_closing(&slots, slot), held[slot], "step %d", step);
			held[slot] = -1;
			closing[closing_count++] = slot;
			in_use--;
			break;
		case 3:
			if (!closing_count)
				break;
			rc_slots_end_closing(&slots);
			held[closing[0]] = 0;
			closing_count--;
			for (unsigned i = 0; i < closing_count; i++)
				closing[i] = closing[i + 1];
			break;
		case 4:
			if (held[slot] <= 0)
				break;
			cr_assert_eq(rc_slots_remove(&slots, slot), held[slot], "step %d", step);
			held[slot] = 0;
			in_use--;
			break;
		}
		for (uint32_t i = 0; i < slots.made_count; i++)
			cr_assert_eq(slots.descriptors[i], held[i] > 0 ? held[i] : -1, "step %d, slot %u", step, i);
	}
}
