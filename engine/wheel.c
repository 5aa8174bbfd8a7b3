/* SPDX-License-Identifier: MIT
 *
 * wheel.c - see wheel.h. Invariant: a slot is in the list of at most one bucket, and a bucket's bit is set exactly
 * while its list is not empty.
 */
#include "wheel.h"

#include <string.h>

#define IN_BUCKET UINT32_C(0x80000000)

void rc_wheel_init(struct rc_wheel *wheel, struct rc_wheel_link *links, uint64_t now)
{
	memset(wheel, 0, sizeof *wheel);
	wheel->links = links;
	wheel->now = now;
}

static void set_full(struct rc_wheel *wheel, uint32_t bucket)
{
	uint64_t bit = UINT64_C(1) << (bucket % 64);
	if (wheel->buckets[bucket])
		wheel->full[bucket / 64] |= bit;
	else
		wheel->full[bucket / 64] &= ~bit;
}

void rc_wheel_clear(struct rc_wheel *wheel, uint32_t slot)
{
	struct rc_wheel_link *link = &wheel->links[slot];
	if (!link->previous)
		return;
	if (link->next)
		wheel->links[link->next - 1].previous = link->previous;
	if (link->previous & IN_BUCKET) {
		uint32_t bucket = link->previous & ~IN_BUCKET;
		wheel->buckets[bucket] = link->next;
		set_full(wheel, bucket);
	} else {
		wheel->links[link->previous - 1].next = link->next;
	}
	*link = (struct rc_wheel_link){ 0 };
}

void rc_wheel_set(struct rc_wheel *wheel, uint32_t slot, uint64_t tick)
{
	rc_wheel_clear(wheel, slot);
	if (tick < wheel->now)
		tick = wheel->now;
	if (tick - wheel->now >= RC_WHEEL_BUCKETS)
		tick = wheel->now + RC_WHEEL_BUCKETS - 1;
	uint32_t bucket = (uint32_t)(tick % RC_WHEEL_BUCKETS);
	struct rc_wheel_link *link = &wheel->links[slot];
	link->next = wheel->buckets[bucket];
	link->previous = IN_BUCKET | bucket;
	if (link->next)
		wheel->links[link->next - 1].previous = slot + 1;
	wheel->buckets[bucket] = slot + 1;
	set_full(wheel, bucket);
}

/* Looks at as many buckets as that, and perhaps at a few more. */
static uint64_t first_within(const struct rc_wheel *wheel, uint64_t count)
{
	for (uint64_t passed = 0; passed < count;) {
		uint32_t bucket = (uint32_t)((wheel->now + passed) % RC_WHEEL_BUCKETS);
		uint64_t bits = wheel->full[bucket / 64] >> (bucket % 64);
		if (bits)
			return wheel->now + passed + (uint64_t)__builtin_ctzll(bits);
		passed += 64 - bucket % 64;
	}
	return UINT64_MAX;
}

uint64_t rc_wheel_first(const struct rc_wheel *wheel)
{
	return first_within(wheel, RC_WHEEL_BUCKETS);
}

bool rc_wheel_next(struct rc_wheel *wheel, uint64_t now, uint32_t *slot)
{
	uint64_t turns = now < wheel->now ? 0 : now - wheel->now + 1;
	uint64_t first = first_within(wheel, turns < RC_WHEEL_BUCKETS ? turns : RC_WHEEL_BUCKETS);
	if (first > now) {
		wheel->now = now > wheel->now ? now : wheel->now;
		return false;
	}
	wheel->now = first;
	*slot = wheel->buckets[first % RC_WHEEL_BUCKETS] - 1;
	rc_wheel_clear(wheel, *slot);
	return true;
}
