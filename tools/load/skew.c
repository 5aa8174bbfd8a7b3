/* SPDX-License-Identifier: MIT
 *
 * skew.c - see skew.h.
 */
#include "skew.h"

#include <string.h>

void load_skew_begin(struct load_skew *skew, uint32_t base)
{
	memset(skew, 0, sizeof *skew);
	skew->base = base;
}

static void thin_out(struct load_skew *skew)
{
	for (unsigned index = 0; index < LOAD_SKEW_SAMPLES / 2; index++)
		skew->samples[index] = skew->samples[2 * index];
	memset(&skew->samples[LOAD_SKEW_SAMPLES / 2], 0, sizeof skew->samples / 2);
	skew->shift++;
}

void load_skew_sample(struct load_skew *skew, uint32_t offset, uint64_t now_ns)
{
	while (offset >> skew->shift >= LOAD_SKEW_SAMPLES)
		thin_out(skew);
	if (offset & ((1u << skew->shift) - 1))
		return;
	struct load_arrival *arrival = &skew->samples[offset >> skew->shift];
	if (!arrival->count++)
		arrival->first_ns = now_ns;
	arrival->last_ns = now_ns;
}

void load_skew_merge(struct load_skew *into, struct load_skew *from)
{
	while (into->shift < from->shift)
		thin_out(into);
	while (from->shift < into->shift)
		thin_out(from);
	for (unsigned index = 0; index < LOAD_SKEW_SAMPLES; index++) {
		struct load_arrival *to = &into->samples[index];
		const struct load_arrival *with = &from->samples[index];
		if (with->count && (!to->count || with->first_ns < to->first_ns))
			to->first_ns = with->first_ns;
		if (with->last_ns > to->last_ns)
			to->last_ns = with->last_ns;
		to->count += with->count;
	}
}

void load_skew_result(const struct load_skew *skew, uint64_t subscribers, struct histogram *out)
{
	histogram_clear(out);
	for (unsigned index = 0; index < LOAD_SKEW_SAMPLES; index++) {
		const struct load_arrival *arrival = &skew->samples[index];
		if (subscribers && arrival->count == subscribers)
			histogram_add(out, arrival->last_ns - arrival->first_ns);
	}
}
