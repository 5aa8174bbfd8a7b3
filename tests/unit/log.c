/* SPDX-License-Identifier: MIT
 *
 * log.c - the log's rules, one by one: how frames lie, what is recycled and who may hold it back, what outlives it, and
 * that any entry is found in few steps. log_random.c mixes them.
 */
#include "log_model.h"

#include <sys/mman.h>

static struct model m;

static void small(void)
{
	model_begin(&m, RC_LOG_SIZE_MIN, 4096, 1, 1 << 20);
}
static void end(void)
{
	model_end(&m);
}

static void append(unsigned name, size_t size)
{
	cr_assert_gt(model_append(&m, name, size, RC_TEXT), 0);
}

static uint64_t floor_to(uint64_t floor)
{
	m.floors[0] = floor;
	return floor;
}

static const struct rc_entry *newest(void)
{
	return rc_log_entry(&m.log, m.head - 1);
}

Test(log, a_frame_is_the_shortest_header_and_the_payload)
{
	static const struct {
		size_t size;
		enum rc_opcode opcode;
		uint8_t header[10];
		size_t header_size;
	} cases[] = {
		{ 0, RC_TEXT, { 0x81, 0 }, 2 },
		{ 1, RC_BINARY, { 0x82, 1 }, 2 },
		{ 125, RC_TEXT, { 0x81, 125 }, 2 },
		{ 126, RC_TEXT, { 0x81, 126, 0, 126 }, 4 },
		{ 65535, RC_BINARY, { 0x82, 126, 255, 255 }, 4 },
		{ 65536, RC_TEXT, { 0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0 }, 10 },
	};
	model_begin(&m, 1 * RC_MIB, 64, 0, 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		cr_assert_eq(model_append(&m, 0, cases[i].size, cases[i].opcode), (int64_t)i + 1);
		const uint8_t *at = rc_log_frame(&m.log, newest());
		cr_expect_eq(newest()->size, cases[i].header_size + cases[i].size);
		cr_expect(memcmp(at, cases[i].header, cases[i].header_size) == 0, "%zu bytes", cases[i].size);
	}
	model_end(&m);
}

Test(log, at_most_a_quarter_of_the_log)
{
	for (uint64_t size = RC_LOG_SIZE_MIN; size <= 4 * RC_MIB; size *= 2) {
		const size_t size_max = size / 4 - RC_FRAME_HEADER_MAX;
		model_begin(&m, size, 64, 1, 0);
		cr_expect_eq(model_append(&m, 0, size_max + 1, RC_TEXT), -EMSGSIZE);
		cr_expect_eq(model_append(&m, 0, SIZE_MAX, RC_TEXT), -EMSGSIZE);
		model_check_all(&m);
		cr_expect_eq(m.topics.topic_count, 0, "nothing is left of it");
		for (unsigned i = 0; i < 20; i++, floor_to(m.head))
			cr_expect_eq(model_append(&m, 0, size_max, RC_TEXT), i + 1);
		model_end(&m);
	}
}

Test(log, less_than_2_GiB_in_the_largest_log)
{
	static struct rc_topics topics;
	static const struct rc_topic_options options;
	static struct rc_entry entries[64];
	_Atomic uint64_t floors[1];
	struct rc_log log;
	const uint64_t size = (uint64_t)64 << 30;
	uint8_t *bytes = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int error = 0;
	unsigned held_by;
	if (bytes == MAP_FAILED)
		cr_skip_test("no room for 64 GiB of addresses");
	cr_assert_eq(rc_topics_init(&topics, &options, 0, 1, 1), 0);
	rc_log_init(&log, &topics, bytes, size, entries, 64, floors, 1);
	struct rc_topic *topic = rc_topics_get(&topics, "t", 1, rc_topic_hash(&topics, "t", 1), &error);
	cr_expect_eq(append_raw(&log, topic, RC_TEXT, bytes, ((size_t)1 << 31) - 14, 0, 0, &held_by), -EMSGSIZE);
	cr_expect_eq(append_raw(&log, topic, RC_TEXT, bytes, (size_t)1 << 32, 0, 0, &held_by), -EMSGSIZE);
	cr_expect_eq(append_raw(&log, topic, RC_TEXT, bytes, (size_t)5 << 30, 0, 0, &held_by), -EMSGSIZE);
	rc_topics_destroy(&topics);
	munmap(bytes, size);
}

Test(log, frames_stand_side_by_side_and_never_wrap, .init = small, .fini = end)
{
	const size_t large = 16000;
	for (unsigned i = 0; i < 4; i++, floor_to(m.head))
		append(0, large);
	cr_expect_eq(newest()->position, 3 * (large + 4));
	const size_t left = RC_LOG_SIZE_MIN - 4 * (large + 4);
	append(1, left - 4 - 100 - 2);
	append(2, 100);
	cr_expect_eq(newest()->position + newest()->size, RC_LOG_SIZE_MIN, "up to the last byte");
	floor_to(m.head);
	append(2, 100);
	cr_expect_eq(newest()->position, RC_LOG_SIZE_MIN);
	cr_expect_eq(rc_log_frame(&m.log, newest()), m.log.bytes);
	for (unsigned i = 0; i < 3; i++, floor_to(m.head))
		append(0, large);
	append(1, large - 102);
	cr_expect_eq(newest()->position + newest()->size, RC_LOG_SIZE_MIN + 4 * (large + 4));
	append(1, left - 4 + 1);
	cr_expect_eq(newest()->position, 2 * RC_LOG_SIZE_MIN, "one byte too many, so all of it at the beginning");
}

Test(log, held_back_by_a_floor_and_by_nothing_else)
{
	model_begin(&m, RC_LOG_SIZE_MIN, 4096, 3, 0);
	const size_t segment = RC_LOG_SIZE_MIN / RC_LOG_SEGMENTS;
	while (m.end < RC_LOG_SIZE_MIN)
		append(0, segment / 2 - 4);
	m.floors[0] = m.floors[2] = m.head;
	m.floors[1] = 1;
	unsigned held_by = 0;
	const struct rc_log before = m.log;
	struct rc_topic *topic = model_find(&m, 0);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(append_raw(&m.log, topic, RC_TEXT, "x", 1, 0, 0, &held_by), -EAGAIN);
	cr_expect_eq(held_by, 1);
	cr_expect_eq(m.log.refused, 3);
	m.log.refused = 0;
	cr_expect_eq(atomic_load(&m.log.wanted), m.end + 3, "where it would have ended");
	atomic_store(&m.log.wanted, 0);
	cr_expect(memcmp(&before, &m.log, sizeof before) == 0, "nothing else has changed");
	m.floors[1] = 2;
	append(0, 1);
	cr_expect_eq(atomic_load(&m.log.tail), 2, "a segment, and no more, was recycled");
	append(0, segment - 3 - 4);
	cr_expect_eq(atomic_load(&m.log.tail), 2);
	cr_expect_eq(model_append(&m, 0, 0, RC_TEXT), -EAGAIN, "the next segment");
	m.floors[1] = UINT64_MAX;
	cr_expect_gt(append_raw(&m.log, topic, RC_TEXT, "", 0, 0, 0, &held_by), 0, "a reader that has gone");
	model_end(&m);
}

/* Whoever is not too far back is never in the way of a message, however large and wherever the log's end. */
Test(log, who_holds_a_message_back_is_too_far)
{
	const size_t large = RC_LOG_SIZE_MIN / 4 - RC_FRAME_HEADER_MAX;
	for (unsigned start = 0; start < 64; start++) {
		model_begin(&m, RC_LOG_SIZE_MIN, 4096, 1, 0);
		for (unsigned i = 0; i < 64 + start; i++, floor_to(m.head))
			append(0, 1000);
		const uint64_t reader = floor_to(m.head);
		append(1, 1);
		while (!rc_log_too_far(&m.log, rc_log_entry(&m.log, reader), reader, m.head, atomic_load(&m.log.end))) {
			bool fits = model_append(&m, 0, large, RC_TEXT) > 0;
			cr_assert(fits || rc_log_too_far(&m.log, rc_log_entry(&m.log, reader), reader, m.head,
			                                 atomic_load(&m.log.end)),
			          "from %u, %lu bytes back", start, m.end - rc_log_entry(&m.log, reader)->position);
			if (fits && model_append(&m, 0, 1900, RC_TEXT) < 0)
				break;
		}
		model_end(&m);
	}
}

Test(log, the_index_may_be_full_before_the_bytes)
{
	model_begin(&m, RC_LOG_SIZE_MIN, 128, 1, 0);
	for (unsigned i = 0; i < 128; i++)
		append(i % 3, 0);
	cr_expect_eq(m.tail, 0);
	cr_expect_eq(model_append(&m, 0, 0, RC_TEXT), -EAGAIN);
	floor_to(1);
	cr_expect_eq(model_append(&m, 0, 0, RC_TEXT), -EAGAIN, "it is recycled in 64 pieces: by two here");
	floor_to(2);
	append(0, 0);
	append(0, 0);
	cr_expect_eq(m.tail, 2);
	cr_expect_eq(model_append(&m, 0, 0, RC_TEXT), -EAGAIN);
	cr_expect_eq(m.log.segments_recycled, 0);
	model_check_all(&m);
	model_end(&m);
}

/* Fills the log with another topic until nothing older is left in it. */
static void push_out(void)
{
	for (uint64_t head = m.head; m.tail < head; floor_to(m.head))
		append(4, 1000);
}

Test(log, the_last_value_outlives_the_log, .init = small, .fini = end)
{
	append(1, 50);
	append(1, 60);
	append(0, 70);
	const struct rc_topic *topic = model_find(&m, 1);
	const uint64_t epoch = topic->epoch;
	cr_expect_null(topic->kept, "it is still in the log");
	push_out();
	model_check_all(&m);
	cr_expect_eq(model_find(&m, 1), topic);
	cr_expect_eq(topic->kept_size, 62);
	cr_expect_eq(atomic_load(&topic->newest), RC_NONE);
	cr_expect_null(model_find(&m, 0), "nobody asked for that one to be kept");
	append(1, 80);
	cr_expect_null(topic->kept, "there is a newer one");
	cr_expect_eq(m.topics.kept_size, 0);
	cr_expect_eq(newest()->sequence, 3, "its sequence goes on");
	cr_expect_eq(topic->epoch, epoch);
	append(0, 1);
	cr_expect_eq(newest()->sequence, 1, "that one's begins anew");
	model_check_all(&m);
}

/* The message that makes room for itself by recycling its own topic's last one. */
Test(log, a_message_may_push_out_its_predecessor)
{
	for (unsigned name = 0; name < 2; name++) {
		model_begin(&m, RC_LOG_SIZE_MIN, 64, 1, 1 << 20);
		append(name, 10);
		for (unsigned i = 0; i < 63; i++)
			append(2, 0);
		floor_to(m.head);
		append(name, 20);
		cr_expect_eq(newest()->sequence, 2);
		cr_expect_eq(newest()->previous, 0);
		cr_expect_eq(newest()->before, 1, "though the log has it no more");
		cr_expect_eq(m.topics.kept_size, 0);
		model_check_all(&m);
		model_end(&m);
	}
}

Test(log, a_topic_lives_as_long_as_its_entries_or_its_subscribers, .init = small, .fini = end)
{
	append(0, 10);
	const uint32_t id = model_find(&m, 0)->id;
	const uint64_t epoch = model_find(&m, 0)->epoch;
	model_subscribe(&m, 0);
	push_out();
	cr_assert(model_find(&m, 0));
	append(0, 10);
	cr_expect_eq(newest()->sequence, 2);
	model_unsubscribe(&m, 0);
	cr_assert(model_find(&m, 0), "the log has a message of it");
	push_out();
	cr_assert_null(model_find(&m, 0));
	append(2, 10);
	cr_expect_eq(model_find(&m, 2)->id, id, "its number is used again");
	cr_expect_gt(model_find(&m, 2)->epoch, epoch);
	append(0, 10);
	cr_expect_eq(newest()->sequence, 1);
	model_check_all(&m);
}

/* ---- steps ---- */

enum { ENTRIES = 16384, STEPS_MAX = 3 * 14 };

/* The way back from the newest entry, with as long jumps as there are. Marks the entries on it and returns the last. */
static uint64_t way_to(const struct rc_topic *topic, uint64_t number_min, bool *on_way, unsigned *steps)
{
	memset(on_way, 0, ENTRIES);
	for (uint64_t at = atomic_load(&topic->newest);; ++*steps) {
		const struct rc_entry *entry = rc_log_entry(&m.log, at);
		on_way[at % ENTRIES] = true;
		if (entry->jump && at - entry->jump >= number_min)
			at -= entry->jump;
		else if (entry->previous && at - entry->previous >= number_min)
			at -= entry->previous;
		else
			return at;
	}
}

/* What is not on that way is made useless: whoever looks for an entry must not need it. */
static void expect_way(const struct rc_topic *topic, uint64_t number_min)
{
	static struct rc_entry saved[ENTRIES];
	static bool on_way[ENTRIES];
	unsigned steps = 0;
	uint64_t found = way_to(topic, number_min, on_way, &steps);
	cr_expect_leq(steps, STEPS_MAX, "%u steps to %lu in [%lu, %lu)", steps, number_min, m.tail, m.head);
	memcpy(saved, m.entries, sizeof saved);
	for (size_t i = 0; i < ENTRIES; i++)
		if (!on_way[i])
			m.entries[i].previous = m.entries[i].jump = 0;
	cr_expect_eq(rc_log_first_from(&m.log, topic, number_min), found);
	memcpy(m.entries, saved, sizeof saved);
	cr_expect_eq(rc_log_first_from(&m.log, topic, number_min), found);
	cr_expect_eq(rc_log_first_sequence(&m.log, topic, rc_log_entry(&m.log, found)->sequence, 0), found);
}

static void find_any(bool holes)
{
	uint64_t seed = seed_of("log");
	model_begin(&m, 1 * RC_MIB, ENTRIES, 1, 0);
	m.holes = holes ? seed | 1 : 0;
	for (unsigned i = 0; i < 3 * ENTRIES + ENTRIES / 2; i++, floor_to(m.head)) {
		append(i % 7 == 0 ? 1 : i % 500 == 1 ? 2 : 0, i % 5);
		if (i % 1500 != 1499 && i != ENTRIES - 1 && i != ENTRIES)
			continue;
		for (unsigned name = 0; name < 3; name++)
			expect_way(model_find(&m, name), m.tail);
		for (unsigned tries = 0; tries < 20; tries++)
			expect_way(model_find(&m, tries % 3), m.head - 1000 - below(&seed, m.head - 1000 - m.tail));
	}
	model_end(&m);
}

Test(log, any_entry_is_found_in_few_steps)
{
	find_any(false);
}

/* Jumps are as far as the messages between them, however far apart their numbers are. */
Test(log, holes_cost_no_steps)
{
	find_any(true);
}
