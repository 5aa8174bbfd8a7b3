/* SPDX-License-Identifier: MIT
 *
 * plan.c - plans against a walk that asks of each entry whether the subscriber wants it. What a plan's ranges hold,
 * where it stops, and where a cursor stands after any number of bytes: cut there, the rest must be what a new plan from
 * that cursor begins with, or a client would miss a byte or get one twice.
 */
#include "plan.h"

#include "check.h"
#include "fuzz.h"

#include <stdatomic.h>

#define LOG_SIZE ((size_t)4 * RC_MIB)
#define ENTRIES 8192
#define TOPICS 5
#define FRAMES_SIZE_MAX (LOG_SIZE)

static struct rc_log log_;
static struct rc_topics topics;
static struct rc_topic *topic_at[TOPICS];
static uint8_t bytes[LOG_SIZE], flat[FRAMES_SIZE_MAX], flat_next[FRAMES_SIZE_MAX];
static struct rc_entry entries[ENTRIES];
static _Atomic uint64_t floors[1];
/* Of each topic; what is not wanted has no bound to begin at. */
static struct rc_want wanted[TOPICS];
static bool is_wanted[TOPICS];
static struct rc_plan plan, next;

static void publish(unsigned index, uint32_t size)
{
	static uint8_t payload[256 * RC_KIB];
	static uint32_t number;
	unsigned held_by;
	number++;
	for (uint32_t i = 0; i < size; i++)
		payload[i] = (uint8_t)(number * 13 + i * 5 + (i >> 8));
	atomic_store(&floors[0], rc_log_head(&log_));
	const struct rc_log_message message = {
		.topic = topic_at[index], .opcode = RC_BINARY, .data = payload, .size = size
	};
	HOLDS(rc_log_append(&log_, &message, 0, &held_by) > 0, "not taken");
}

static bool wants(const struct rc_interest *interest, uint64_t number, bool *conflate)
{
	uint32_t topic = rc_log_entry(&log_, number)->topic;
	*conflate = false;
	if (!interest->wants)
		return topic == interest->topic;
	if (!is_wanted[topic] || number < wanted[topic].from)
		return false;
	*conflate = wanted[topic].conflate;
	return true;
}

/* rc_plan_make() uses up what it is told. */
static void make(struct rc_plan *p, const struct rc_interest *interest, uint64_t begin, uint64_t end, uint32_t partial)
{
	struct rc_want list[TOPICS];
	struct rc_interest told = *interest;
	for (unsigned i = 0; i < TOPICS && interest->wants; i++)
		if (is_wanted[i])
			list[told.want_count++] = wanted[i];
	told.wants = interest->wants ? list : NULL;
	rc_plan_make(p, &log_, &told, begin, end, partial);
}

static size_t flatten(uint8_t *to, const struct rc_plan *p)
{
	size_t size = 0;
	HOLDS(p->range_count <= RC_PLAN_RANGES_MAX, "%u ranges", p->range_count);
	for (unsigned i = 0; i < p->range_count; i++) {
		const struct rc_range *range = &p->ranges[i];
		HOLDS(range->size, "an empty range");
		HOLDS(!i || (uint8_t *)range[-1].at + range[-1].size != range->at, "two ranges that touch");
		memcpy(to + size, range->at, range->size);
		size += range->size;
	}
	HOLDS(size == p->size, "%zu bytes, not %llu", size, (unsigned long long)p->size);
	return size;
}

/* The walk. Returns the bytes that the plan must hold. */
static size_t check_plan(const struct rc_plan *p, const struct rc_interest *interest, uint64_t begin, uint64_t end,
                         uint32_t partial)
{
	size_t size = 0, taken = 0, frames = 0;
	HOLDS(p->begin >= begin && p->end >= p->begin && p->end <= end, "the bounds");
	HOLDS(p->begin == begin || !partial, "it begins with the rest of a frame");
	for (uint64_t number = begin; number < p->end; number++) {
		const struct rc_entry *entry = rc_log_entry(&log_, number);
		bool conflate, rest = partial && number == begin;
		if (!wants(interest, number, &conflate) && !rest)
			continue;
		bool left_out = conflate && !rest && atomic_load(&topic_at[entry->topic]->newest) != number;
		HOLDS(number >= p->begin, "an entry before its beginning");
		HOLDS(taken < p->taken_count, "entry %llu is missing", (unsigned long long)number);
		HOLDS(p->taken[taken] == ((number - p->begin) | (left_out ? RC_PLAN_CONFLATED : 0)), "entry %llu",
		      (unsigned long long)number);
		taken++;
		if (left_out)
			continue;
		uint32_t skip = rest ? partial : 0;
		HOLDS(size + entry->size - skip <= p->size &&
		          memcmp(flat + size, rc_log_frame(&log_, entry) + skip, entry->size - skip) == 0,
		      "the bytes of entry %llu", (unsigned long long)number);
		size += entry->size - skip;
		frames++;
	}
	HOLDS(taken == p->taken_count && frames == p->frame_count && taken - frames == p->conflated_count,
	      "the counts");
	HOLDS(size == p->size && (size <= RC_PLAN_SIZE_MAX || frames == 1), "%zu bytes of %zu frames", size, frames);
	bool looked_up = !interest->wants && interest->set;
	if (p->end < end && !(looked_up && p->end - begin >= RC_PLAN_WINDOW)) {
		const struct rc_entry *entry = rc_log_entry(&log_, p->end);
		HOLDS(taken == RC_PLAN_TAKEN_MAX || frames == RC_PLAN_FRAMES_MAX ||
		          p->range_count == RC_PLAN_RANGES_MAX || size + entry->size > RC_PLAN_SIZE_MAX,
		      "it stopped for no reason");
		HOLDS(taken, "and would never go on");
	}
	return size;
}

/* `sent` bytes left, then nothing more. */
static void check_progress(const struct rc_interest *interest, uint64_t end, uint64_t sent)
{
	const struct rc_progress progress = rc_plan_progress(&plan, &log_, sent);
	HOLDS(progress.cursor >= plan.begin && progress.cursor <= plan.end, "the cursor");
	HOLDS(progress.taken_count <= plan.taken_count, "taken");
	if (progress.cursor < plan.end)
		HOLDS(progress.partial < rc_log_entry(&log_, progress.cursor)->size, "a whole frame is no part");
	else
		HOLDS(!progress.partial && sent == plan.size, "at the end too soon");
	/* What of the window lies before the cursor is done with, and nothing else. */
	unsigned passed = 0;
	for (unsigned i = 0; i < plan.taken_count; i++)
		passed += plan.begin + (plan.taken[i] & ~RC_PLAN_CONFLATED) < progress.cursor;
	HOLDS(passed == progress.taken_count, "%u passed, not %u", passed, progress.taken_count);
	make(&next, interest, progress.cursor, end, progress.partial);
	size_t size = flatten(flat_next, &next), rest = plan.size - sent;
	size_t both = RC_MIN(size, rest);
	HOLDS(memcmp(flat + sent, flat_next, both) == 0, "%llu bytes sent: what follows is something else",
	      (unsigned long long)sent);
	HOLDS(both || !rest, "%llu bytes sent, and it stops", (unsigned long long)sent);
}

static void check_from(struct steps *steps)
{
	uint64_t tail = atomic_load(&log_.tail), head = rc_log_head(&log_);
	if (tail == head)
		return;
	uint64_t begin = tail + (uint64_t)step_byte(steps) * (head - tail) / 255;
	uint64_t end = begin + (255 - (uint64_t)step_byte(steps)) * (head - begin) / 255;
	unsigned chosen = step_byte(steps);
	struct rc_interest interest = { .topic = topic_at[chosen % TOPICS]->id };
	if (chosen & 128) {
		interest.wants = wanted;
		for (unsigned i = 0; i < TOPICS; i++) {
			unsigned want = step_byte(steps);
			is_wanted[i] = want & 1;
			wanted[i] = (struct rc_want){ .topic = topic_at[i]->id, .conflate = want & 2 };
			wanted[i].from = begin + (want >> 2) * (end - begin) / 63;
		}
	}
	uint32_t partial = 0;
	if (begin < end && chosen & 32)
		partial = 1 + step_below(steps, 65536) % (rc_log_entry(&log_, begin)->size - 1);
	make(&plan, &interest, begin, end, partial);
	flatten(flat, &plan);
	check_plan(&plan, &interest, begin, end, partial);
	check_progress(&interest, end, plan.size);
	for (unsigned i = step_byte(steps) % 8; plan.size && i; i--)
		check_progress(&interest, end, (uint64_t)step_below(steps, 65536) * plan.size / 65536);
	/* Around every frame's end, where a cursor steps. */
	uint64_t at = 0;
	for (unsigned i = 0; i < plan.taken_count && i < 12; i++) {
		uint64_t number = plan.begin + (plan.taken[i] & ~RC_PLAN_CONFLATED);
		if (plan.taken[i] & RC_PLAN_CONFLATED)
			continue;
		check_progress(&interest, end, at);
		at += rc_log_entry(&log_, number)->size - (number == begin ? partial : 0);
		check_progress(&interest, end, at - 1);
		check_progress(&interest, end, at);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rc_topic_options defaults = { .policy = RC_POLICY_CLOSE };
	static const uint32_t sizes[] = { 0, 3, 125, 126, 1000, 20000, 65535, 65536, 250000 };
	static const char names[] = "abcde";
	struct steps steps = { data, data + size };
	int error;
	if (size > 400)
		return 0;
	HOLDS(rc_topics_init(&topics, &defaults, 0, 1, 1) == 0, "no memory");
	rc_log_init(&log_, &topics, bytes, LOG_SIZE, entries, ENTRIES, floors, 1);
	for (unsigned i = 0; i < TOPICS; i++) {
		topic_at[i] = rc_topics_get(&topics, &names[i], 1, rc_topic_hash(&topics, &names[i], 1), &error);
		topic_at[i]->subscription_count = 1;
		HOLDS(topic_at[i] && topic_at[i]->id == i, "topic %u", i);
	}
	while (steps.at < steps.end) {
		unsigned what = step_byte(&steps), repeat = step_byte(&steps);
		if (what & 128)
			check_from(&steps);
		else if (what & 64)
			publish(what % TOPICS, sizes[repeat % (sizeof sizes / sizeof *sizes)]);
		else /* neighbours of one topic become one range, others do not */
			for (unsigned i = 0; i < repeat * 8; i++)
				publish(what & 32 ? i % TOPICS : what % TOPICS, what & 16 ? 0 : i % 60);
	}
	check_from(&steps);
	rc_topics_destroy(&topics);
	return 0;
}
