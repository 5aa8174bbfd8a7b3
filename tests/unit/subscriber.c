/* SPDX-License-Identifier: MIT
 *
 * subscriber.c - who wants what: lists, audiences and the table against a plain table of yes and no, and that a round
 * which walks an audience in slices misses nobody.
 */
#include "subscriber.h"

#include "seed.h"

#include <criterion/criterion.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS = 40, TOPICS = 60 };

static struct rc_subscribers set;
static uint32_t first[SLOTS];
static bool model[SLOTS][TOPICS];
static uint32_t model_count;

static void begin(void)
{
	cr_assert_eq(rc_subscribers_init(&set, 1), 0);
	memset(first, 0, sizeof first);
	memset(model, 0, sizeof model);
	model_count = 0;
}

static void end(void)
{
	rc_subscribers_destroy(&set);
}

/* Where many share one home, some stretch of the table is full. */
static uint32_t longest_run(void)
{
	uint32_t run = 0, longest = 0;
	for (uint32_t i = 0; i < set.table_size; i++) {
		run = set.table[i] ? run + 1 : 0;
		longest = RC_MAX(longest, run);
	}
	return longest;
}

/* A connection that chose its topics: their numbers differ by the size of the table, which once was one place. */
Test(subscriber, chosen_topics_cost_what_others_do)
{
	static uint32_t lists[128];
	cr_assert_eq(rc_subscribers_init(&set, 77), 0);
	for (uint32_t slot = 0; slot < 128; slot++)
		for (uint32_t i = 0; i < 64; i++)
			cr_assert(rc_subscribers_add(&set, slot, &lists[slot], i * 16384, 1, 0));
	cr_expect_lt(longest_run(), 60, "%u in a row", longest_run());
	end();
}

/* Topics whose numbers fall into one place of a table with seed 0. */
Test(subscriber, crafted_topics_cost_what_others_do)
{
	enum { COUNT = 200 };
	static uint32_t topics[COUNT], slots[COUNT];
	unsigned count = 0;
	for (uint32_t topic = 0; topic < 50000 && count < COUNT; topic++) {
		for (uint32_t slot = 0; slot < SLOTS && count < COUNT; slot++) {
			uint64_t key = (uint64_t)topic << 32 | slot;
			if (XXH3_64bits_withSeed(&key, sizeof key, 0) & 0xfff)
				continue;
			topics[count] = topic;
			slots[count++] = slot;
		}
	}
	cr_assert_eq(count, COUNT);
	for (uint64_t seed = 0; seed < 4; seed++) {
		memset(first, 0, sizeof first);
		cr_assert_eq(rc_subscribers_init(&set, seed * UINT64_C(0x9e3779b97f4a7c15)), 0);
		for (unsigned i = 0; i < COUNT; i++)
			cr_assert(rc_subscribers_add(&set, slots[i], &first[slots[i]], topics[i], 1, 0));
		if (seed)
			cr_expect_lt(longest_run(), 40, "seed %lu: %u in a row", (unsigned long)seed, longest_run());
		else
			cr_expect_geq(longest_run(), COUNT, "they are not crafted: %u", longest_run());
		rc_subscribers_destroy(&set);
	}
}

/* Numbers on both sides of a chunk's end, and the last one. */
static uint32_t number_of(uint32_t topic)
{
	return topic == 0 ? RC_TOPICS_MAX - 1 : topic < 20 ? topic : RC_AUDIENCE_CHUNK - 40 + topic;
}

static struct rc_subscription *add(uint32_t slot, uint32_t topic, uint64_t epoch, uint64_t from)
{
	struct rc_subscription *record = rc_subscribers_add(&set, slot, &first[slot], number_of(topic), epoch, from);
	cr_assert(record);
	model[slot][topic] = true;
	model_count++;
	return record;
}

static uint32_t member_count(uint32_t topic)
{
	const struct rc_audience *audience = rc_audience_at(&set, number_of(topic));
	return audience ? atomic_load(&audience->member_count) : 0;
}

/* Returns the slot that moved, after a look at where it should have come from. */
static uint32_t take_out(uint32_t slot, uint32_t topic)
{
	struct rc_subscription *record = rc_subscribers_find(&set, slot, number_of(topic));
	cr_assert(record);
	const struct rc_audience *audience = rc_audience_at(&set, number_of(topic));
	uint32_t last = member_count(topic) - 1, index = record->member_index;
	uint32_t expected = index == last ? UINT32_MAX : audience->members[last].slot;
	uint32_t moved = rc_subscribers_remove(&set, record, &first[slot]);
	cr_assert_eq(moved, expected);
	cr_assert_eq(member_count(topic), last);
	cr_assert(moved == UINT32_MAX || audience->members[index].slot == moved);
	model[slot][topic] = false;
	model_count--;
	return moved;
}

static void check_lists(void)
{
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		uint32_t wanted = 0;
		for (uint32_t topic = 0; topic < TOPICS; topic++) {
			const struct rc_subscription *record = rc_subscribers_find(&set, slot, number_of(topic));
			cr_assert_eq(record != NULL, model[slot][topic], "slot %u, topic %u", slot, topic);
			cr_assert(!record || (record->slot == slot && record->topic == number_of(topic)));
			wanted += model[slot][topic];
		}
		for (uint32_t at = first[slot]; at; wanted--) {
			const struct rc_subscription *record = rc_subscription_at(&set, at - 1);
			cr_assert(wanted && record->slot == slot);
			cr_assert_eq(rc_subscribers_find(&set, slot, record->topic), record);
			at = record->next;
		}
		cr_assert_eq(wanted, 0, "%u are missing in the list of slot %u", wanted, slot);
	}
}

static void check_audiences(void)
{
	for (uint32_t topic = 0; topic < TOPICS; topic++) {
		const struct rc_audience *audience = rc_audience_at(&set, number_of(topic));
		uint32_t wanted = 0;
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			wanted += model[slot][topic];
		cr_assert_eq(member_count(topic), wanted);
		cr_assert(!audience || wanted <= audience->member_capacity);
		cr_assert(wanted || !audience || !audience->members, "an empty audience costs nothing");
		for (uint32_t index = 0; index < wanted; index++) {
			const struct rc_member *member = &audience->members[index];
			const struct rc_subscription *record = rc_subscription_at(&set, member->subscription);
			cr_assert(model[member->slot][topic]);
			cr_assert(record->slot == member->slot && record->topic == number_of(topic));
			cr_assert_eq(record->member_index, index, "so no two members are the same");
		}
	}
}

Test(subscriber, random_use)
{
	uint64_t seed = seed_of("subscriber");
	begin();
	uint32_t count_max = 0;
	for (unsigned round = 0; round < 60000; round++) {
		bool few = round / 10000 % 2;
		uint32_t slot = (uint32_t)below(&seed, few ? 3 : SLOTS),
			 topic = (uint32_t)below(&seed, few ? 5 : TOPICS);
		/* Rising and falling, so that the table grows, thins out, and fills again. */
		bool present = model[slot][topic], adds = below(&seed, 10) < (round / 4000 % 2 ? 3u : 8u);
		if (!present && adds) {
			const struct rc_subscription *record = add(slot, topic, topic + 1, round);
			cr_assert(record->from == round && !record->resumes);
		} else if (present && !adds) {
			take_out(slot, topic);
		}
		count_max = model_count > count_max ? model_count : count_max;
		cr_assert_eq(set.count, model_count);
		cr_assert_eq(set.made_count, count_max, "records are used again");
		cr_assert_leq(set.count * 2, set.table_size);
		if (round % 500 == 0) {
			check_lists();
			check_audiences();
		}
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		for (uint32_t topic = 0; topic < TOPICS; topic++)
			if (model[slot][topic])
				take_out(slot, topic);
	check_lists();
	check_audiences();
	cr_expect_leq(set.table_size, 4 * count_max + 64, "the table grew with what was in it");
	end();
}

Test(subscriber, many_of_one_topic_and_many_of_one_slot, .init = begin, .fini = end)
{
	enum { MANY = 3 * RC_SUBSCRIPTION_CHUNK };
	uint32_t list = 0;
	uint32_t *lists = calloc(MANY, sizeof *lists);
	for (uint32_t i = 0; i < MANY; i++) {
		cr_assert(rc_subscribers_add(&set, 5, &list, i, 1, 0));
		cr_assert(i == 5 || rc_subscribers_add(&set, i, &lists[i], 5, 1, 0));
	}
	cr_expect_eq(set.count, 2 * MANY - 1);
	cr_expect_eq(atomic_load(&rc_audience_at(&set, 5)->member_count), MANY);
	cr_expect_null(rc_subscribers_find(&set, 6, 6));
	while (list)
		rc_subscribers_remove(&set, rc_subscription_at(&set, list - 1), &list);
	for (uint32_t i = 0; i < MANY; i++)
		if (i != 5)
			rc_subscribers_remove(&set, rc_subscribers_find(&set, i, 5), &lists[i]);
	cr_expect_eq(set.count, 0);
	cr_expect_eq(atomic_load(&rc_audience_at(&set, 5)->member_count), 0);
	free(lists);
}

Test(subscriber, counters_belong_to_one_life_of_a_topic, .init = begin, .fini = end)
{
	cr_expect_null(rc_audience_at(&set, number_of(3)));
	add(0, 3, 77, 0);
	struct rc_audience *audience = rc_audience_at(&set, number_of(3));
	cr_expect_eq(atomic_load(&audience->birth), 77);
	atomic_store(&audience->deliveries, 4);
	atomic_store(&audience->dropped, 3);
	atomic_store(&audience->conflated, 2);
	atomic_store(&audience->slow_closed, 1);
	take_out(0, 3);
	add(1, 3, 77, 0);
	cr_expect_eq(atomic_load(&audience->deliveries), 4, "the topic is the same");
	take_out(1, 3);
	add(1, 3, 78, 0);
	cr_expect_eq(atomic_load(&audience->birth), 78);
	cr_expect_eq(atomic_load(&audience->deliveries), 0);
	cr_expect_eq(atomic_load(&audience->dropped), 0);
	cr_expect_eq(atomic_load(&audience->conflated), 0);
	cr_expect_eq(atomic_load(&audience->slow_closed), 0);
}

/* ---- a round walks an audience a few members at a time, and subscriptions come and go in between ---- */

static bool seen[SLOTS];

static void walk_some(struct rc_audience *audience, uint64_t budget)
{
	for (; audience->walk_left && budget; audience->walk_left--, budget--) {
		uint32_t count = atomic_load(&audience->member_count);
		if (!count)
			break;
		if (audience->walk_at >= count)
			audience->walk_at = 0;
		seen[audience->members[audience->walk_at++].slot] = true;
	}
}

static void change_some(uint64_t *seed, struct rc_audience *audience, bool *stays)
{
	for (uint64_t changes = below(seed, 6); changes; changes--) {
		uint32_t slot = (uint32_t)below(seed, SLOTS);
		if (!model[slot][1]) {
			add(slot, 1, 1, 0);
			continue;
		}
		uint32_t moved = take_out(slot, 1);
		stays[slot] = false;
		if (moved != UINT32_MAX && audience->walked)
			seen[moved] = true; /* the fan-out sees to it at once */
	}
}

Test(subscriber, a_walk_in_slices_misses_nobody)
{
	uint64_t seed = seed_of("subscriber walk");
	begin();
	for (unsigned round = 0; round < 3000; round++) {
		bool stays[SLOTS];
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			if (!model[slot][1] && below(&seed, 2))
				add(slot, 1, 1, 0);
			stays[slot] = model[slot][1];
		}
		struct rc_audience *audience = rc_audience_at(&set, number_of(1));
		uint32_t count = audience ? atomic_load(&audience->member_count) : 0;
		if (!count)
			continue;
		memset(seen, 0, sizeof seen);
		audience->walked = true;
		audience->walk_left = count;
		audience->walk_at = (uint32_t)below(&seed, count);
		while (audience->walk_left && member_count(1)) {
			walk_some(audience, 1 + below(&seed, 12));
			change_some(&seed, audience, stays);
		}
		audience->walked = false;
		audience->walk_left = 0;
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			cr_assert(seen[slot] || !stays[slot], "round %u: slot %u was passed over", round, slot);
	}
	end();
}
