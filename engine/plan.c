/* SPDX-License-Identifier: MIT
 *
 * plan.c - see plan.h. Invariant: the ranges are the taken frames that are not conflated, in order, without the first
 * `partial` bytes.
 */
#include "plan.h"

#include "check.h"

#include <string.h>

static const struct rc_mark *wanted(const struct rc_interest *interest, uint32_t topic, uint64_t number)
{
	static const struct rc_mark every;
	if (!interest->marks)
		return topic == interest->topic ? &every : NULL;
	if (topic >= interest->mark_count)
		return NULL;
	const struct rc_mark *mark = &interest->marks[topic];
	return mark->round == interest->round && number >= mark->from ? mark : NULL;
}

/* Adds a frame to the ranges. False when it does not fit. */
static bool add(struct rc_plan *plan, const struct rc_log *log, const struct rc_entry *entry, uint32_t skip)
{
	uint64_t size = entry->size - skip;
	if (plan->size && plan->size + size > RC_PLAN_SIZE_MAX)
		return false;
	uint8_t *at = rc_log_at(log, entry->position) + skip;
	struct rc_range *last = plan->range_count ? &plan->ranges[plan->range_count - 1] : NULL;
	if (last && (uint8_t *)last->at + last->size == at) {
		last->size += size;
	} else {
		if (plan->range_count == RC_PLAN_RANGES_MAX)
			return false;
		plan->ranges[plan->range_count++] = (struct rc_range){ at, size };
	}
	plan->size += size;
	return true;
}

void rc_plan_make(struct rc_plan *plan, const struct rc_log *log, const struct rc_interest *interest, uint64_t begin,
                  uint64_t end, uint32_t partial)
{
	plan->begin = begin;
	plan->end = end = RC_MIN(end, begin + RC_PLAN_WINDOW);
	plan->size = 0;
	plan->partial = partial;
	plan->range_count = plan->frame_count = plan->conflated_count = plan->taken_count = 0;
	plan->single = !interest->marks;
	plan->topic = interest->topic;

	for (uint64_t number = begin; number < end; number++) {
		const struct rc_entry *entry = rc_log_entry(log, number);
		const struct rc_mark *mark = wanted(interest, entry->topic, number);
		bool rest = partial && number == begin;
		if (!mark && !rest)
			continue;
		uint16_t offset = (uint16_t)(number - begin);
		if (!rest && mark->conflate &&
		    atomic_load_explicit(&rc_topic_at(log->topics, entry->topic)->newest, memory_order_acquire) != number) {
			plan->taken[plan->taken_count++] = (uint16_t)(offset | RC_PLAN_CONFLATED);
			plan->conflated_count++;
			continue;
		}
		if (plan->frame_count == RC_PLAN_FRAMES_MAX || !add(plan, log, entry, rest ? partial : 0)) {
			plan->end = number;
			return;
		}
		plan->taken[plan->taken_count++] = offset;
		plan->frame_count++;
	}
}

struct rc_progress rc_plan_progress(const struct rc_plan *plan, const struct rc_log *log, uint64_t sent)
{
	RC_ASSERT(sent <= plan->size);
	if (sent == plan->size)
		return (struct rc_progress){ .cursor = plan->end, .taken_count = plan->taken_count };
	uint64_t left = sent;
	for (uint16_t i = 0;; i++) {
		RC_ASSERT(i < plan->taken_count);
		if (plan->taken[i] & RC_PLAN_CONFLATED)
			continue;
		uint64_t number = plan->begin + plan->taken[i];
		uint32_t before = number == plan->begin ? plan->partial : 0;
		uint32_t size = rc_log_entry(log, number)->size - before;
		if (left >= size) {
			left -= size;
			continue;
		}
		return (struct rc_progress){
			.cursor = number,
			.partial = left || before ? before + (uint32_t)left : 0,
			.taken_count = i,
		};
	}
}
