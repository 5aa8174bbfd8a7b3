/* SPDX-License-Identifier: MIT
 *
 * plan.c - plans against a naive reading of the log, entry by entry: which frames, in which form and which ranges, up
 * to which bound, and where a cursor stands for every number of bytes that may have left.
 */
#include "plan_model.h"

static struct rc_plan plan;

/* ---- comparing ---- */

static void check_bytes(void)
{
	uint64_t done = 0;
	size_t range = 0, at = 0;
	for (unsigned i = 0; i < naive.taken_count; i++) {
		if (naive.taken[i].conflated)
			continue;
		frame_of(naive.taken[i].number, naive.taken[i].encoded);
		for (uint32_t k = 0; k < naive.taken[i].size;) {
			cr_assert_lt(range, plan.range_count);
			size_t some = RC_MIN(naive.taken[i].size - k, plan.ranges[range].size - at);
			cr_assert(memcmp((uint8_t *)plan.ranges[range].at + at, m.frame + naive.taken[i].skip + k,
			                 some) == 0);
			k += (uint32_t)some;
			at += some;
			done += some;
			if (at == plan.ranges[range].size) {
				range++;
				at = 0;
			}
		}
	}
	cr_assert_eq(done, plan.size);
	cr_assert_eq(range, plan.range_count, "a range holds more than the frames");
}

/* `at` is a place in naive.taken from where to look for the frame in which `sent` falls. */
static void check_progress(uint64_t sent, unsigned *at)
{
	struct rc_progress progress = rc_plan_progress(&plan, &m.log, sent);
	if (sent == naive.size) {
		cr_assert_eq(progress.cursor, naive.end);
		cr_assert_eq(progress.partial, 0);
		cr_assert_eq(progress.taken_count, naive.taken_count);
		cr_assert_eq(progress.synced, naive.synced);
		return;
	}
	while (naive.taken[*at].conflated || naive.taken[*at].begin + naive.taken[*at].size <= sent)
		++*at;
	uint32_t done = (uint32_t)(sent - naive.taken[*at].begin) + naive.taken[*at].skip;
	uint32_t partial = done && naive.taken[*at].encoded ? done | RC_PARTIAL_ENCODED : done;
	cr_assert_eq(progress.cursor, naive.taken[*at].number, "%lu of %lu bytes", sent, naive.size);
	cr_assert_eq(progress.partial, partial, "%lu of %lu bytes", sent, naive.size);
	cr_assert_eq(progress.taken_count, *at);
	/* Once something of a frame has left, its rest will leave before anything else. */
	bool synced = naive.taken[*at].synced_before;
	if (sent != naive.taken[*at].begin && !naive.taken[*at].skip)
		synced = is_synced_behind(naive.taken[*at].number, synced, naive.taken[*at].encoded);
	cr_assert_eq(progress.synced, synced);
}

static void check_all_progress(void)
{
	unsigned at = 0;
	if (naive.size <= 20000) {
		for (uint64_t sent = 0; sent <= naive.size; sent++)
			check_progress(sent, &at);
		return;
	}
	/* Around every frame's ends, and some places inside. */
	for (unsigned i = 0; i < naive.taken_count; i += naive.taken_count / 100 + 1) {
		for (uint64_t k = 0; !naive.taken[i].conflated && k < naive.taken[i].size;) {
			check_progress(naive.taken[i].begin + k, &at);
			k += k + 2 < naive.taken[i].size ? naive.taken[i].size / 3 + 1 : 1;
		}
	}
	check_progress(naive.size - 1, &at);
	check_progress(naive.size, &at);
}

static void check_plan(uint64_t begin, uint64_t end, uint32_t partial, bool by_set)
{
	naive_plan(begin, end, partial, by_set);
	cr_assert_eq(plan.begin, naive.begin);
	cr_assert_eq(plan.end, naive.end, "[%lu, %lu) instead of %lu", begin, plan.end, naive.end);
	cr_assert_eq(plan.size, naive.size);
	cr_assert_eq(plan.partial, partial);
	cr_assert_eq(plan.frame_count, naive.frame_count);
	cr_assert_eq(plan.conflated_count, naive.conflated_count);
	cr_assert_eq(plan.taken_count, naive.taken_count);
	cr_assert_eq(plan.range_count, naive.range_count, "what touches is one range");
	for (unsigned i = 0; i < naive.taken_count; i++)
		cr_assert_eq(plan.taken[i], (naive.taken[i].number - naive.begin) |
		                                (naive.taken[i].conflated ? RC_PLAN_CONFLATED : 0) |
		                                (naive.taken[i].encoded ? RC_PLAN_ENCODED : 0));
	check_bytes();
	check_all_progress();
}

/* ---- making ---- */

static struct rc_interest interest_in(uint32_t topic)
{
	return (struct rc_interest){
		.topic = topic,
		.encoding = form.states ? &form.encoding : NULL,
		.encoded_size_min = wants_form.used ? wants_form.size_min : UINT32_MAX,
		.cohort = wants_form.cohort,
		.synced = wants_form.synced,
	};
}

/* What is wanted, along the chains of its topics. */
static void make_by_chains(uint64_t begin, uint64_t end, uint32_t partial)
{
	struct rc_want *list = malloc(MODEL_NAMES * sizeof *list);
	struct rc_interest interest = interest_in(0);
	interest.wants = list;
	for (uint32_t i = 0; i < m.log.topics->made_count; i++)
		if (wants[i].wanted)
			list[interest.want_count++] =
			    (struct rc_want){ .from = wants[i].from, .topic = i, .conflate = wants[i].conflate };
	rc_plan_make(&plan, &m.log, &interest, begin, end, partial);
	cr_assert(!plan.single);
	free(list);
}

/* The same, looked up entry by entry; what another slot wants is not for it. */
static void make_by_set(uint64_t begin, uint64_t end, uint32_t partial)
{
	enum { SLOT = 7 };
	struct rc_subscribers *set = calloc(1, sizeof *set);
	uint32_t first = 0, of_other = 0;
	cr_assert(set && rc_subscribers_init(set, 5) == 0);
	for (uint32_t i = 0; i < MODEL_NAMES; i++) {
		rc_subscribers_add(set, SLOT + 1, &of_other, i, 1, 0);
		if (wants[i].wanted)
			rc_subscribers_add(set, SLOT, &first, i, 1, wants[i].from)->conflate = wants[i].conflate;
		else if (i % 3 == 0)
			rc_subscribers_add(set, SLOT, &first, i, 1, 0)->resumes = true;
	}
	struct rc_interest interest = interest_in(0);
	interest.set = set;
	interest.slot = SLOT;
	interest.conflates = true;
	rc_plan_make(&plan, &m.log, &interest, begin, end, partial);
	cr_assert(!plan.single);
	rc_subscribers_destroy(set);
	free(set);
}

static void check_several(uint64_t begin, uint64_t end, uint32_t partial)
{
	make_by_set(begin, end, partial);
	check_plan(begin, end, partial, true);
	make_by_chains(begin, end, partial);
	check_plan(begin, end, partial, false);
}

static void make_single(uint32_t topic, uint64_t begin, uint64_t end)
{
	memset(wants, 0, sizeof wants);
	wants[topic].wanted = true;
	const struct rc_interest interest = interest_in(topic);
	rc_plan_make(&plan, &m.log, &interest, begin, end, 0);
	cr_assert(plan.single && plan.topic == topic);
	check_plan(begin, end, 0, false);
}

/* Topic numbers 0 and 1 in the log; both are wanted. */
static void begin_log(uint64_t size, uint64_t entry_count)
{
	model_begin(&m, size, entry_count, 0, 0);
	memset(wants, 0, sizeof wants);
	for (unsigned name = 0; name < 2; name++) {
		model_subscribe(&m, name);
		cr_assert_eq(m.names[name].id, name);
		wants[name].wanted = true;
	}
}

static void append(unsigned name, size_t size)
{
	cr_assert_gt(model_append(&m, name, size, RC_TEXT), 0);
}

/* ---- the bounds ---- */

Test(plan, what_is_not_wanted_costs_no_window)
{
	begin_log(1 * RC_MIB, 8192);
	for (unsigned i = 0; i < RC_PLAN_WINDOW + 10; i++)
		append(0, 0);
	append(1, 1);
	make_single(1, 0, m.head);
	cr_expect_eq(plan.begin, RC_PLAN_WINDOW + 10);
	cr_expect_eq(plan.end, m.head);
	cr_expect_eq(plan.size, 3);
	make_single(1, 0, m.head - 1);
	cr_expect_eq(plan.end, m.head - 1);
	cr_expect_eq(plan.size, 0);
	cr_expect_eq(rc_plan_progress(&plan, &m.log, 0).cursor, m.head - 1);
	make_single(1, m.head, m.head);
	cr_expect_eq(plan.size + plan.range_count, 0);

	/* All of a window's entries left out but the last. */
	wants[0].wanted = wants[0].conflate = true;
	uint64_t begin = m.head - 2 - (RC_PLAN_WINDOW - 1);
	check_several(begin, m.head, 0);
	cr_expect_eq(plan.conflated_count, RC_PLAN_WINDOW - 1);
	cr_expect_eq(plan.size, 2);
	model_end(&m);
}

Test(plan, frames_of_one_send)
{
	begin_log(1 * RC_MIB, 8192);
	for (unsigned i = 0; i < RC_PLAN_FRAMES_MAX; i++)
		append(0, 1);
	append(1, 5);
	make_single(0, 0, m.head);
	cr_expect_eq(plan.frame_count, RC_PLAN_FRAMES_MAX);
	cr_expect_eq(plan.range_count, 1);
	cr_expect_eq(plan.end, m.head, "what is not wanted takes no room");
	append(0, 1);
	make_single(0, 0, m.head);
	cr_expect_eq(plan.end, m.head - 1, "the first that does not fit");
	model_end(&m);
}

Test(plan, ranges_of_one_send)
{
	begin_log(1 * RC_MIB, 8192);
	for (unsigned i = 0; i < RC_PLAN_RANGES_MAX; i++) {
		append(0, i);
		append(0, i);
		append(1, 3);
	}
	make_single(0, 0, m.head);
	cr_expect_eq(plan.range_count, RC_PLAN_RANGES_MAX);
	cr_expect_eq(plan.end, m.head);
	append(0, 1);
	make_single(0, 0, m.head);
	cr_expect_eq(plan.end, m.head - 1);
	make_single(0, plan.end, m.head);
	cr_expect_eq(plan.frame_count, 1);
	model_end(&m);
}

Test(plan, bytes_of_one_send)
{
	enum { HALF = RC_PLAN_SIZE_MAX / 2 };
	begin_log(4 * RC_MIB, 8192);
	append(0, HALF - 10);
	append(0, HALF - 10);
	make_single(0, 0, m.head);
	cr_expect_eq(plan.size, RC_PLAN_SIZE_MAX);
	append(0, 0);
	make_single(0, 0, m.head);
	cr_expect_eq(plan.end, 2, "the bound is reached");
	make_single(0, 1, m.head);
	cr_expect_eq(plan.end, 3);
	append(0, HALF - 10 - 1);
	make_single(0, 1, m.head);
	cr_expect_eq(plan.end, 3, "one byte too many");
	append(0, 700 * RC_KIB);
	append(0, 1);
	make_single(0, 4, m.head);
	cr_expect_eq(plan.frame_count, 1, "a larger frame goes alone");
	cr_expect_gt(plan.size, 700 * RC_KIB);
	wants[0].conflate = true;
	check_several(0, m.head, 0);
	cr_expect_eq(plan.size, 3);
	check_several(4, m.head, 100);
	cr_expect_eq(plan.end, 5, "its rest is too large as well");
	model_end(&m);
}

Test(plan, the_rings_end_parts_what_touches)
{
	begin_log(RC_LOG_SIZE_MIN, 512);
	const size_t quarter = RC_LOG_SIZE_MIN / 4;
	for (unsigned i = 0; i < 3; i++)
		append(0, quarter - 4 - 20);
	append(0, quarter - 14);
	append(0, 66);
	append(0, 0);
	cr_assert_eq(m.end, RC_LOG_SIZE_MIN);
	append(0, 10);
	append(0, 20);
	uint64_t begin = m.head - 4;
	make_single(0, begin, m.head);
	cr_expect_eq(plan.frame_count, 4);
	cr_expect_eq(plan.range_count, 2);
	cr_expect_eq((uint8_t *)plan.ranges[0].at + plan.ranges[0].size, m.log.bytes + RC_LOG_SIZE_MIN);
	cr_expect_eq(plan.ranges[1].at, m.log.bytes);
	model_end(&m);
}

Test(plan, the_rest_of_a_frame_goes_first_whoever_wants_it)
{
	begin_log(RC_LOG_SIZE_MIN, 512);
	append(0, 100);
	append(1, 100);
	append(0, 100);
	append(1, 100);
	wants[0].wanted = false;
	for (uint32_t partial = 1; partial < 102; partial++) {
		wants[0].conflate = wants[0].wanted = partial % 2;
		wants[1].from = partial % 3 ? 0 : 3;
		check_several(0, m.head, partial);
		cr_assert_eq(plan.taken[0], 0);
		cr_assert_eq(plan.ranges[0].at, m.log.bytes + partial);
	}
	model_end(&m);
}

/* ---- chance ---- */

static void fill_log(uint64_t *seed)
{
	static const uint64_t sizes[] = { 64 * RC_KIB, 256 * RC_KIB, 2 * RC_MIB };
	model_begin(&m, sizes[below(seed, 3)], below(seed, 2) ? 8192 : 512, 0, 1 << 20);
	const size_t size_max = m.log.size / 4 - RC_FRAME_HEADER_MAX;
	size_t small = 1 + below(seed, 300);
	unsigned names = 1 + (unsigned)below(seed, MODEL_NAMES), run = 0, name = 0;
	for (uint64_t left = 200 + below(seed, 3000); left; left--) {
		if (!run) {
			name = (unsigned)below(seed, names);
			run = 1 + (unsigned)below(seed, below(seed, 2) ? 2 : 30);
		}
		run--;
		append(name, below(seed, 100) ? below(seed, small) : below(seed, size_max));
	}
}

static void choose_wants(uint64_t *seed)
{
	memset(wants, 0, sizeof wants);
	wants_form.used = form.states && below(seed, 4);
	wants_form.size_min = (uint32_t)below(seed, 100);
	wants_form.cohort = below(seed, 2) ? (uint32_t)below(seed, MODEL_NAMES) : UINT32_MAX;
	wants_form.synced = below(seed, 2);
	for (unsigned i = 0; i < MODEL_NAMES; i++) {
		wants[i].wanted = below(seed, 3);
		wants[i].conflate = below(seed, 4) == 0;
		wants[i].from = below(seed, 3) ? 0 : m.tail + below(seed, m.head - m.tail + 1);
	}
}

Test(plan, random_windows)
{
	uint64_t seed = seed_of("plan");
	for (unsigned run = 0; run < 60; run++) {
		fill_log(&seed);
		if (run % 3)
			form_begin(&seed);
		for (unsigned tries = 0; tries < 30; tries++) {
			choose_wants(&seed);
			uint64_t begin = m.tail + below(&seed, m.head - m.tail);
			uint64_t end = below(&seed, 2) ? m.head : begin + below(&seed, m.head - begin + 1);
			uint32_t partial = 0;
			if (below(&seed, 3) == 0) {
				make_single((uint32_t)below(&seed, m.log.topics->made_count), begin, end);
				continue;
			}
			if (end > begin && below(&seed, 3) == 0) {
				bool encoded = form.states && form.states[begin] >= RC_EXTENT_MADE && below(&seed, 2);
				partial = 1 + (uint32_t)below(&seed, frame_size_of(begin, encoded) - 1);
				partial |= encoded ? RC_PARTIAL_ENCODED : 0;
			}
			check_several(begin, end, partial);
		}
		form_end();
		model_end(&m);
	}
}

/* ---- a subscriber with short sends, from a cursor to the head ---- */

struct stream {
	uint64_t cursor;
	uint32_t partial;
	uint64_t taken, conflated; /* entries */
	uint64_t size;
	uint8_t *bytes;
};

static void take_bytes(struct stream *stream, uint64_t sent)
{
	for (unsigned i = 0; sent; i++) {
		size_t some = RC_MIN(plan.ranges[i].size, sent);
		memcpy(stream->bytes + stream->size, plan.ranges[i].at, some);
		stream->size += some;
		sent -= some;
	}
}

static void send_some(struct stream *stream, uint64_t *seed)
{
	make_by_chains(stream->cursor, m.head, stream->partial);
	uint64_t sent = below(seed, 3) ? below(seed, plan.size + 1) : plan.size;
	if (below(seed, 4) == 0)
		sent = RC_MIN(sent, 3);
	take_bytes(stream, sent);
	struct rc_progress progress = rc_plan_progress(&plan, &m.log, sent);
	for (unsigned i = 0; i < progress.taken_count; i++)
		stream->conflated += (plan.taken[i] & RC_PLAN_CONFLATED) != 0;
	stream->taken += progress.taken_count;
	cr_assert(progress.cursor >= stream->cursor);
	stream->cursor = progress.cursor;
	stream->partial = progress.partial;
	wants_form.synced = progress.synced;
}

Test(plan, short_sends_lose_and_repeat_nothing)
{
	uint64_t seed = seed_of("plan stream");
	for (unsigned run = 0; run < 60; run++) {
		fill_log(&seed);
		if (run % 3)
			form_begin(&seed);
		choose_wants(&seed);
		uint64_t wanted = 0, conflated = 0, done = 0;
		bool synced = wants_form.synced;
		struct stream stream = { .cursor = m.tail + below(&seed, m.head - m.tail),
			                 .bytes = malloc(m.log.size) };
		const uint64_t begin = stream.cursor;
		while (stream.cursor < m.head)
			send_some(&stream, &seed);
		for (uint64_t number = begin; number < m.head; number++) {
			if (!is_wanted(number))
				continue;
			wanted++;
			if (is_left_out(number)) {
				conflated++;
				synced = false;
				continue;
			}
			bool encoded = is_encoded(number, synced);
			synced = is_synced_behind(number, synced, encoded);
			size_t size = frame_of(number, encoded);
			cr_assert(done + size <= stream.size && memcmp(stream.bytes + done, m.frame, size) == 0);
			done += size;
		}
		cr_assert_eq(done, stream.size);
		cr_assert_eq(stream.taken, wanted);
		cr_assert_eq(stream.conflated, conflated);
		cr_assert_eq(wants_form.synced, synced);
		free(stream.bytes);
		form_end();
		model_end(&m);
	}
}
