/* SPDX-License-Identifier: MIT
 *
 * beats.c - leases by what nodes say beside the stream (tools/backplane/beats.h): who holds one, who ends, and what
 * neither silence nor strangers may do.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "backplane/beats.h"

#define TTL_MS 3000
#define SELF 0x11

struct seen {
	unsigned count;
	bool self, other;
};

static void see(void *context, uint64_t node)
{
	struct seen *seen = context;
	seen->count++;
	seen->self |= node == SELF;
	seen->other |= node == 0x22;
}

static struct seen look(struct beats *beats, uint64_t now_ms, bool *held)
{
	struct seen seen = { 0 };
	*held = beats_visit(beats, TTL_MS, now_ms, see, &seen);
	return seen;
}

static void hear(struct beats *beats, uint64_t node, uint64_t now_ms)
{
	char text[BEATS_SIZE + 1];
	const struct beats other = { .self = node };
	beats_write(&other, text);
	beats_hear(beats, text, BEATS_SIZE, now_ms);
}

Test(beats, who_is_heard_holds_a_lease)
{
	struct beats beats;
	bool held;
	cr_assert_eq(beats_begin(&beats, SELF, 1000), 0);
	cr_expect(beats_are_due(&beats, 1000));
	beats.sent_ms = 1000;
	cr_expect_not(beats_are_due(&beats, 1999));
	cr_expect(beats_are_due(&beats, 2000));
	for (uint64_t now = 1000; now <= 8000; now += 1000) {
		hear(&beats, SELF, now);
		if (now <= 3000)
			hear(&beats, 0x22, now);
		const struct seen seen = look(&beats, now, &held);
		cr_expect(held && seen.self, "its own at %lu", (unsigned long)now);
		cr_expect_eq(seen.other, now <= 3000 + TTL_MS, "the other's at %lu", (unsigned long)now);
	}
	beats_end(&beats);
}

Test(beats, who_hears_nothing_drops_nobody)
{
	struct beats beats;
	bool held;
	cr_assert_eq(beats_begin(&beats, SELF, 1000), 0);
	hear(&beats, SELF, 1000);
	hear(&beats, 0x22, 1000);
	for (uint64_t now = 1300; now < 60000; now += 300)
		cr_expect(look(&beats, now, &held).other && held, "at %lu", (unsigned long)now);
	/* It hears itself again: others dropped it meanwhile, which is told once, and they have their time. */
	hear(&beats, SELF, 60000);
	cr_expect(look(&beats, 60000, &held).other);
	cr_expect_not(held);
	hear(&beats, SELF, 60900);
	cr_expect(look(&beats, 60900, &held).other && held);
	hear(&beats, SELF, 62500);
	hear(&beats, SELF, 63500);
	cr_expect_not(look(&beats, 63500, &held).other);
	cr_expect(held);
	beats_end(&beats);
}

Test(beats, strangers_are_bounded)
{
	static const char *const bad[] = { "",
		                           "RCB1",
		                           "RCB10000000000000000",
		                           "RCB1zzzzzzzzzzzzzzzz",
		                           "RCB1000000000000002",
		                           "XXXX0000000000000022",
		                           "RCB1 000000000000022",
		                           "RCB1-000000000000022" };
	struct beats beats;
	bool held;
	cr_assert_eq(beats_begin(&beats, SELF, 1000), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		beats_hear(&beats, bad[i], strlen(bad[i]), 1000);
	cr_expect_eq(look(&beats, 1000, &held).count, 1, "no beat, no node");
	for (uint64_t node = 100; node < 100 + 2 * BEATS_NODES_MAX; node++)
		hear(&beats, node, 1000);
	cr_expect_eq(look(&beats, 1000, &held).count, BEATS_NODES_MAX);
	hear(&beats, SELF, 4500);
	hear(&beats, SELF, 7600);
	hear(&beats, SELF, 9000);
	cr_expect_eq(look(&beats, 11000, &held).count, 1, "they end like others");
	beats_end(&beats);
}
