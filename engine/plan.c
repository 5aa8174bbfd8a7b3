/* SPDX-License-Identifier: MIT
 *
 * plan.c - see plan.h. Invariant: the ranges are the taken frames that are not conflated, in order, without the first
 * `partial` bytes.
 */
#include "plan.h"

#include "check.h"

#include <string.h>

/* ---- what is wanted, one entry after the other ---- */

struct source {
	const struct rc_log *log;
	const struct rc_interest *interest;
	uint64_t number, end;       /* the entry that comes next, `end` when none does */
	bool conflate;              /* it counts only if it is its topic's newest, or its key's */
	const struct rc_feed *feed; /* its subscription's, or null */
};

static uint64_t first_of(const struct rc_log *log, uint32_t topic, uint64_t from, uint64_t end)
{
	uint64_t number = rc_log_first_from(log, rc_topic_at(log->topics, topic), from);
	return number < end ? number : end;
}

/* Wants are a heap by their next entry, which stands in `from`. Moves the one at `at` down to where it belongs. */
static void sift(struct rc_want *wants, uint32_t count, uint32_t at)
{
	const struct rc_want want = wants[at];
	for (;;) {
		uint32_t child = 2 * at + 1;
		if (child >= count)
			break;
		child += child + 1 < count && wants[child + 1].from < wants[child].from;
		if (want.from <= wants[child].from)
			break;
		wants[at] = wants[child];
		at = child;
	}
	wants[at] = want;
}

static void show_first_want(struct source *source)
{
	const struct rc_interest *interest = source->interest;
	source->number = interest->want_count ? interest->wants[0].from : source->end;
	source->conflate = interest->want_count && interest->wants[0].conflate;
	source->feed = interest->want_count ? interest->wants[0].feed : NULL;
}

/* An entry of this want; `end` for one that is not for it now. */
static uint64_t within(const struct rc_want *want, uint64_t number, uint64_t end)
{
	return rc_feed_ends_before(want->feed, number) ? end : number;
}

static void begin_wants(struct source *source, uint64_t begin)
{
	struct rc_want *wants = source->interest->wants;
	uint32_t count = source->interest->want_count;
	for (uint32_t i = 0; i < count; i++)
		wants[i].from = within(&wants[i],
		                       first_of(source->log, wants[i].topic, RC_MAX(wants[i].from, begin), source->end),
		                       source->end);
	for (uint32_t i = count / 2; i-- > 0;)
		sift(wants, count, i);
	show_first_want(source);
}

/* The next entry of a window in which the slot has a subscription. */
static void look_up(struct source *source, uint64_t number)
{
	const struct rc_interest *interest = source->interest;
	for (; number < source->end; number++) {
		uint32_t topic = rc_log_entry(source->log, number)->topic;
		const struct rc_subscription *record = rc_subscribers_find(interest->set, interest->slot, topic);
		if (!record || record->resumes || number < record->from)
			continue;
		source->feed = rc_feed_of(interest->set, record);
		if (rc_feed_ends_before(source->feed, number))
			continue;
		source->conflate = interest->conflates &&
		                   (record->conflate || rc_topic_conflates(rc_topic_at(source->log->topics, topic)));
		break;
	}
	source->number = number;
}

static void begin_source(struct source *source, uint64_t begin)
{
	source->conflate = false;
	source->feed = NULL;
	if (source->interest->wants)
		begin_wants(source, begin);
	else if (source->interest->set)
		look_up(source, begin);
	else
		source->number = first_of(source->log, source->interest->topic, begin, source->end);
}

static void advance(struct source *source)
{
	const struct rc_interest *interest = source->interest;
	if (interest->set) {
		look_up(source, source->number + 1);
		return;
	}
	source->number = rc_log_next(source->log, source->number, source->end);
	if (!interest->wants)
		return;
	interest->wants[0].from = within(&interest->wants[0], source->number, source->end);
	sift(interest->wants, interest->want_count, 0);
	show_first_want(source);
}

/* ---- the plan ---- */

struct rc_range rc_plan_frame(const struct rc_log *log, const struct rc_encoding *encoding, uint64_t number,
                              bool encoded)
{
	if (encoded) {
		const struct rc_extent *extent = rc_extent_of(encoding, number);
		return (struct rc_range){ encoding->bytes + (extent->position & (encoding->size - 1)), extent->size };
	}
	const struct rc_entry *entry = rc_log_entry(log, number);
	return (struct rc_range){ rc_log_frame(log, entry), entry->size };
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

static void begin_plan(struct rc_plan *plan, const struct rc_interest *interest, uint64_t begin, uint32_t partial)
{
	plan->begin = begin;
	plan->size = 0;
	plan->partial = partial;
	plan->encoding = interest->encoding;
	plan->cohort = interest->cohort;
	plan->synced = interest->synced;
	plan->range_count = plan->frame_count = plan->conflated_count = plan->taken_count = 0;
	plan->single = !interest->wants && !interest->set;
	plan->topic = interest->topic;
	plan->left_out = plan->bare = false;
	plan->encoded_only = interest->encoded_only;
}

/* Whether its subscriber can do without it. */
static bool is_conflated(const struct source *source, uint64_t number)
{
	const struct rc_log *log = source->log;
	const struct rc_feed *feed = source->feed;
	if (feed && number < feed->until && rc_log_is_superseded(log, number, feed->until, feed->state))
		return true;
	if (!source->conflate)
		return false;
	const struct rc_aside *aside = rc_log_aside(log, number);
	if (aside && aside->key)
		return rc_log_is_superseded(log, number, source->end, false);
	const struct rc_topic *topic = rc_topic_at(log->topics, rc_log_entry(log, number)->topic);
	return atomic_load_explicit(&topic->newest, memory_order_acquire) != number;
}

/* Takes an entry, or leaves it out. False: it does not fit, and the plan ends before it. */
static bool take(struct rc_plan *plan, const struct source *source, bool *synced)
{
	const struct rc_log *log = source->log;
	const struct rc_interest *interest = source->interest;
	uint64_t number = source->number;
	const struct rc_entry *entry = rc_log_entry(log, number);
	if (interest->self && rc_log_except(log, number) == interest->self) {
		plan->left_out = true;
		*synced = false; /* what comes after it in the cohort refers to it */
		return true;
	}
	if (source->feed && entry->sequence <= source->feed->had) {
		plan->left_out = true;
		*synced = false;
		return true;
	}
	uint32_t offset = (uint32_t)(number - plan->begin);
	if ((source->conflate || source->feed) && is_conflated(source, number)) {
		plan->taken[plan->taken_count++] = offset | RC_PLAN_CONFLATED;
		plan->conflated_count++;
		*synced = false;
		return true;
	}
	bool encoded = goes_encoded(interest, entry, number, *synced);
	if (interest->encoded_only && !encoded) {
		plan->bare = true;
		return false;
	}
	if (plan->frame_count == RC_PLAN_FRAMES_MAX ||
	    !add(plan, rc_plan_frame(log, interest->encoding, number, encoded)))
		return false;
	plan->taken[plan->taken_count++] = offset | (encoded ? RC_PLAN_ENCODED : 0);
	plan->frame_count++;
	*synced = stays_synced(*synced, encoded, entry->topic, plan->cohort);
	return true;
}

void rc_plan_make(struct rc_plan *plan, const struct rc_log *log, const struct rc_interest *interest, uint64_t begin,
                  uint64_t end, uint32_t partial)
{
	struct source source = { .log = log, .interest = interest, .end = end };
	bool synced = interest->synced;
	if (interest->set)
		source.end = RC_MIN(end, begin + RC_PLAN_WINDOW);
	begin_plan(plan, interest, begin, partial);
	if (partial)
		take_rest(plan, log);
	begin_source(&source, begin + (partial != 0));
	if (!partial && source.number < source.end)
		plan->begin = source.number;
	while (source.number < source.end && source.number - plan->begin <= RC_PLAN_OFFSET &&
	       plan->taken_count < RC_PLAN_TAKEN_MAX && take(plan, &source, &synced))
		advance(&source);
	plan->end = source.number;
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
