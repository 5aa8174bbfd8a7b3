/* SPDX-License-Identifier: MIT
 *
 * slots.c - see slots.h. It must not know a ring, nor what a descriptor is.
 *
 * Invariant: a number below made_count is in use, or it is in exactly one of the two lists; only in use has it a
 * descriptor.
 */
#include "slots.h"

#include "check.h"

#include <errno.h>
#include <stdlib.h>

bool rc_slots_open(struct slots *slots, uint32_t count)
{
	*slots = (struct slots){ .slot_count = count };
	slots->descriptors = calloc(count, sizeof *slots->descriptors);
	slots->next = calloc(count, sizeof *slots->next);
	return slots->descriptors && slots->next;
}

void rc_slots_close(struct slots *slots)
{
	free(slots->descriptors);
	free(slots->next);
	*slots = (struct slots){ 0 };
}

int rc_slots_add(struct slots *slots, int descriptor)
{
	uint32_t slot = slots->free_first ? slots->free_first - 1 : slots->made_count;
	if (slot == slots->slot_count)
		return -ENFILE;
	if (slots->free_first)
		slots->free_first = slots->next[slot];
	else
		slots->made_count++;
	slots->descriptors[slot] = descriptor;
	return (int)slot;
}

static void make_free(struct slots *slots, uint32_t slot)
{
	slots->next[slot] = slots->free_first;
	slots->free_first = slot + 1;
}

static int take_descriptor(struct slots *slots, uint32_t slot)
{
	int descriptor = slots->descriptors[slot];
	RC_ASSERT(descriptor >= 0);
	slots->descriptors[slot] = -1;
	return descriptor;
}

int rc_slots_remove(struct slots *slots, uint32_t slot)
{
	int descriptor = take_descriptor(slots, slot);
	make_free(slots, slot);
	return descriptor;
}

int rc_slots_begin_closing(struct slots *slots, uint32_t slot)
{
	slots->next[slot] = 0;
	if (slots->closing_first)
		slots->next[slots->closing_last - 1] = slot + 1;
	else
		slots->closing_first = slot + 1;
	slots->closing_last = slot + 1;
	return take_descriptor(slots, slot);
}

void rc_slots_end_closing(struct slots *slots)
{
	RC_ASSERT(slots->closing_first);
	uint32_t slot = slots->closing_first - 1;
	slots->closing_first = slots->next[slot];
	make_free(slots, slot);
}
