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
	return mark->generation == interest->generation && number >= mark->from ? mark : NULL;
}

struct rc_range rc_plan_frame(const struct rc_log *log, const struct rc_encoding *encoding, uint64_t number,
                              bool encoded)
{
	if (encoded) {
		const struct rc_extent *extent = rc_extent_of(encoding, number);
		return (struct rc_range){ encoding->bytes + (extent->position & (encoding->size - 1)), extent->size };
	}
	const struct rc_entry *entry = rc_log_entry(log, number);
	return (struct rc_range){ rc_log_at(log, entry->position), entry->size };
}

/* Whether an entry goes in its encoding's form. A member of a cohort can read on from the frame it read last, or begin
 * where the compressor began anew; in between it gets the log's form. */
static bool goes_encoded(const struct rc_interest *interest, const struct rc_entry *entry, uint64_t number, bool synced)
{
	if (!interest->encoding || entry->size < interest->encoded_size_min)
		return false;
	if (interest->cohort != UINT32_MAX && interest->cohort != entry->topic)
		return false;
	enum rc_extent_state state = rc_extent_state(interest->encoding, number);
	return state == RC_EXTENT_FRESH || (state == RC_EXTENT_MADE && (interest->cohort == UINT32_MAX || synced));
}

/* Whether a member of a cohort is in step behind a frame. It is not behind one in the log's form: another worker may
 * encode that entry the next moment, and the frames after it then refer to it. */
static bool stays_synced(bool synced, bool encoded, uint32_t topic, uint32_t cohort)
{
	return topic == cohort ? encoded : synced;
}

/* Adds a frame to the ranges. False when it does not fit. */
static bool add(struct rc_plan *plan, struct rc_range frame)
{
	if (plan->size && plan->size + frame.size > RC_PLAN_SIZE_MAX)
		return false;
	struct rc_range *last = plan->range_count ? &plan->ranges[plan->range_count - 1] : NULL;
	if (last && (uint8_t *)last->at + last->size == (uint8_t *)frame.at) {
		last->size += frame.size;
	} else {
		if (plan->range_count == RC_PLAN_RANGES_MAX)
			return false;
		plan->ranges[plan->range_count++] = frame;
	}
	plan->size += frame.size;
	return true;
}

/* Takes the rest of the frame at the beginning. */
static void take_rest(struct rc_plan *plan, const struct rc_log *log)
{
	bool encoded = plan->partial & RC_PARTIAL_ENCODED;
	uint32_t done = plan->partial & RC_PARTIAL_SIZE;
	struct rc_range frame = rc_plan_frame(log, plan->encoding, plan->begin, encoded);
	bool fits = add(plan, (struct rc_range){ (uint8_t *)frame.at + done, frame.size - done });
	RC_ASSERT(fits);
	plan->taken[plan->taken_count++] = encoded ? RC_PLAN_ENCODED : 0;
	plan->frame_count++;
}

void rc_plan_make(struct rc_plan *plan, const struct rc_log *log, const struct rc_interest *interest, uint64_t begin,
                  uint64_t end, uint32_t partial)
{
	plan->begin = begin;
	plan->end = end = RC_MIN(end, begin + RC_PLAN_WINDOW);
	plan->size = 0;
	plan->partial = partial;
	plan->encoding = interest->encoding;
	plan->cohort = interest->cohort;
	plan->synced = interest->synced;
	plan->range_count = plan->frame_count = plan->conflated_count = plan->taken_count = 0;
	plan->single = !interest->marks;
	plan->topic = interest->topic;
	plan->left_out = plan->bare = false;
	plan->encoded_only = interest->encoded_only;
	bool synced = interest->synced;
	uint64_t number = begin;
	if (partial) {
		take_rest(plan, log);
		number++;
	}
	for (; number < end; number++) {
		const struct rc_entry *entry = rc_log_entry(log, number);
		const struct rc_mark *mark = wanted(interest, entry->topic, number);
		if (!mark)
			continue;
		if (interest->self && atomic_load_explicit(&entry->except, memory_order_relaxed) == interest->self) {
			plan->left_out = true;
			synced = false; /* what comes after it in the cohort refers to it */
			continue;
		}
		uint16_t offset = (uint16_t)(number - begin);
		if (mark->conflate && atomic_load_explicit(&rc_topic_at(log->topics, entry->topic)->newest,
		                                           memory_order_acquire) != number) {
			plan->taken[plan->taken_count++] = (uint16_t)(offset | RC_PLAN_CONFLATED);
			plan->conflated_count++;
			synced = false;
			continue;
		}
		bool encoded = goes_encoded(interest, entry, number, synced);
		if (interest->encoded_only && !encoded) {
			plan->bare = true;
			plan->end = number;
			break;
		}
		if (plan->frame_count == RC_PLAN_FRAMES_MAX ||
		    !add(plan, rc_plan_frame(log, interest->encoding, number, encoded))) {
			plan->end = number;
			break;
		}
		plan->taken[plan->taken_count++] = (uint16_t)(offset | (encoded ? RC_PLAN_ENCODED : 0));
		plan->frame_count++;
		synced = stays_synced(synced, encoded, entry->topic, plan->cohort);
	}
	plan->synced_end = synced;
}

struct rc_progress rc_plan_progress(const struct rc_plan *plan, const struct rc_log *log, uint64_t sent)
{
	RC_ASSERT(sent <= plan->size);
	uint64_t left = sent;
	bool synced = plan->synced;
	if (sent == plan->size)
		return (struct rc_progress){ .cursor = plan->end,
			                     .taken_count = plan->taken_count,
			                     .synced = plan->synced_end };
	for (uint16_t i = 0;; i++) {
		RC_ASSERT(i < plan->taken_count);
		bool encoded = plan->taken[i] & RC_PLAN_ENCODED;
		if (plan->taken[i] & RC_PLAN_CONFLATED) {
			synced = false;
			continue;
		}
		uint64_t number = plan->begin + (plan->taken[i] & RC_PLAN_OFFSET);
		uint32_t before = number == plan->begin ? plan->partial & RC_PARTIAL_SIZE : 0;
		uint64_t size = rc_plan_frame(log, plan->encoding, number, encoded).size - before;
		if (left >= size) {
			left -= size;
			if (!before)
				synced = stays_synced(synced, encoded, rc_log_entry(log, number)->topic, plan->cohort);
			continue;
		}
		uint32_t done = before + (uint32_t)left;
		if (done && !before)
			synced = stays_synced(synced, encoded, rc_log_entry(log, number)->topic, plan->cohort);
		return (struct rc_progress){
			.cursor = number,
			.partial = done ? done | (encoded ? RC_PARTIAL_ENCODED : 0) : 0,
			.taken_count = i,
			.synced = synced && !plan->left_out, /* it may lie before the cursor */
		};
	}
}
