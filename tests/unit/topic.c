/* SPDX-License-Identifier: MIT
 *
 * topic.c - topics: their rules, their bounds, how long they live, and the hash table against a plain array.
 */
#include "topic.h"

#include "seed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct rc_topics topics;
static const struct rc_topic_options defaults = { .policy = RC_POLICY_SKIP, .lag_size_max = 1 };

static void begin(void)
{
	cr_assert_eq(rc_topics_init(&topics, &defaults, 1 << 20, 7, 1), 0);
}
static void end(void)
{
	rc_topics_destroy(&topics);
}

static struct rc_topic *get(const char *name, size_t size)
{
	int error = 0;
	struct rc_topic *topic = rc_topics_get(&topics, name, size, rc_topic_hash(&topics, name, size), &error);
	cr_assert(topic, "error %d", error);
	return topic;
}

/* Each rule of the tests is told from the others by its lag limit. */
static int rule(const char *pattern, unsigned mark)
{
	const struct rc_topic_options options = { .policy = RC_POLICY_CLOSE, .lag_ms_max = mark };
	return rc_topics_add_rule(&topics, pattern, &options);
}

Test(topic, the_longest_pattern_that_matches_counts, .init = begin, .fini = end)
{
	static const char *const patterns[] = { "a*", "a.b",    "a.b*", "a.b.c*",    "a.",
		                                "z*", "a.b.cd", "q",    "\x80\xff*", "z" };
	static const struct {
		const char *name;
		size_t size;
		unsigned mark; /* 1 for the first pattern; 0 is the default */
	} cases[] = {
		{ "a", 1, 1 },        { "ab", 2, 1 },       { "a.b", 3, 2 },         { "a.bb", 4, 3 },
		{ "a.b.c", 5, 4 },    { "a.b.cc", 6, 4 },   { "a.b.cd", 6, 7 },      { "a.b.cde", 7, 4 },
		{ "a.", 2, 5 },       { "a.x", 3, 1 },      { "b", 1, 0 },           { "z", 1, 10 },
		{ "zz", 2, 6 },       { "q", 1, 8 },        { "qq", 2, 0 },          { "A", 1, 0 },
		{ "*", 1, 0 },        { "q\0", 2, 0 },      { "\0q", 2, 0 },         { "a\0b", 3, 1 },
		{ "a.b\0", 4, 3 },    { "\x80\xff", 2, 9 }, { "\x80\xff\0x", 4, 9 }, { "\x80", 1, 0 },
		{ "\x7f\xff", 2, 0 },
	};
	for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++)
		cr_assert_eq(rule(patterns[i], i + 1), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct rc_topic *topic = get(cases[i].name, cases[i].size);
		cr_expect_eq(topic->options.lag_ms_max, cases[i].mark, "case %zu (%s): rule %u instead of %u", i,
		             cases[i].name, topic->options.lag_ms_max, cases[i].mark);
		cr_expect_eq(topic->options.policy, cases[i].mark ? RC_POLICY_CLOSE : RC_POLICY_SKIP);
	}
}

Test(topic, a_lone_star_is_the_rule_of_all_that_have_none, .init = begin, .fini = end)
{
	cr_assert_eq(rule("*", 1), 0);
	cr_assert_eq(rule("x*", 2), 0);
	cr_expect_eq(get("anything", 8)->options.lag_ms_max, 1);
	cr_expect_eq(get("\0", 1)->options.lag_ms_max, 1);
	cr_expect_eq(get("xy", 2)->options.lag_ms_max, 2);
}

Test(topic, rules_have_bounds, .init = begin, .fini = end)
{
	char longest[RC_TOPIC_NAME_MAX + 2];
	memset(longest, 'n', sizeof longest);
	longest[RC_TOPIC_NAME_MAX + 1] = 0;
	static const char *const wrong[] = { "", "**", "a*b", "*a" };
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		cr_expect_eq(rule(wrong[i], 1), -EINVAL, "'%s'", wrong[i]);
	cr_expect_eq(rule(longest, 1), -EINVAL);
	longest[RC_TOPIC_NAME_MAX] = 0;
	cr_expect_eq(rule(longest, 1), 0, "a pattern may be as long as a name");
	cr_expect_eq(get(longest, RC_TOPIC_NAME_MAX)->options.lag_ms_max, 1);
	const struct rc_topic_options unknown = { .policy = (enum rc_policy)(RC_POLICY_LAST + 1) };
	cr_expect_eq(rc_topics_add_rule(&topics, "p", &unknown), -EINVAL);
	for (unsigned i = 1; i < RC_TOPIC_RULES_MAX; i++) {
		char pattern[16];
		snprintf(pattern, sizeof pattern, "r%u", i);
		cr_expect_eq(rule(pattern, i), 0);
	}
	cr_expect_eq(rule("one more", 1), -ENOSPC);
	cr_expect_eq(get("r63", 3)->options.lag_ms_max, 63);
}

Test(topic, names_are_bytes_and_have_a_length, .init = begin, .fini = end)
{
	char longest[RC_TOPIC_NAME_MAX + 1];
	memset(longest, 0xfe, sizeof longest);
	int error = 0;
	cr_expect_null(rc_topics_get(&topics, "", 0, rc_topic_hash(&topics, "", 0), &error));
	cr_expect_eq(error, -EINVAL);
	error = 0;
	cr_expect_null(
	    rc_topics_get(&topics, longest, sizeof longest, rc_topic_hash(&topics, longest, sizeof longest), &error));
	cr_expect_eq(error, -EINVAL);
	cr_expect_eq(topics.topic_count, 0);

	struct rc_topic *one = get("a\0b", 3), *other = get("a\0c", 3), *cut = get("a", 1), *zero = get("a\0", 2);
	cr_expect(one != other && one != cut && cut != zero && other != cut && one != zero);
	cr_expect_eq(get("a\0b", 3), one);
	cr_expect_eq(one->name_size, 3);
	cr_expect(memcmp(one->name, "a\0b", 4) == 0, "and a zero byte behind it");
	struct rc_topic *whole = get(longest, RC_TOPIC_NAME_MAX);
	cr_expect_eq(whole->name_size, RC_TOPIC_NAME_MAX);
	cr_expect(memcmp(whole->name, longest, RC_TOPIC_NAME_MAX) == 0);
	cr_expect_eq(topics.topic_count, 5);
}

Test(topic, lives_while_something_holds_it, .init = begin, .fini = end)
{
	struct rc_topic *topic = get("t", 1);
	const uint64_t hash = rc_topic_hash(&topics, "t", 1), epoch = topic->epoch;
	const uint32_t id = topic->id;
	cr_expect_eq(epoch, 7, "the first of the numbers that the caller chose");
	topic->subscription_count = 1;
	rc_topics_release(&topics, topic);
	cr_expect_eq(rc_topics_find(&topics, "t", 1, hash), topic);
	topic->subscription_count = 0;
	topic->entry_count = 1;
	rc_topics_release(&topics, topic);
	cr_expect_eq(rc_topics_find(&topics, "t", 1, hash), topic);
	topic->entry_count = 0;
	topic->worker_mask = 1;
	rc_topic_keep(&topics, topic, (const uint8_t *)"frame", 5, 0);
	rc_topics_release(&topics, topic);
	cr_expect_eq(rc_topics_find(&topics, "t", 1, hash), topic);
	rc_topic_unkeep(&topics, topic);
	cr_expect_eq(topics.kept_size, 0);
	rc_topics_release(&topics, topic);
	cr_expect_null(rc_topics_find(&topics, "t", 1, hash));
	cr_expect_eq(topics.topic_count, 0);

	const struct rc_topic *next = get("u", 1);
	cr_expect_eq(next->id, id, "its number is given to another");
	cr_expect_neq(next->epoch, epoch, "that can be told from it");
	cr_expect_eq(atomic_load(&next->newest), RC_NONE);
	cr_expect_eq(atomic_load(&next->sequence), 0);
	cr_expect_eq(next->worker_mask, 0);
	cr_expect_eq(get("t", 1)->id, id + 1);
}

/* A crowd of topics that nobody made on purpose leaves no more than a chunk and a small table behind. */
Test(topic, who_has_left_takes_no_memory, .init = begin, .fini = end)
{
	enum { COUNT = 100000 };
	static struct rc_topic *all[COUNT];
	char name[16];
	for (unsigned turn = 0; turn < 2; turn++) {
		struct rc_topic *kept = get("kept", 4);
		kept->subscription_count = 1;
		for (unsigned i = 0; i < COUNT; i++)
			all[i] = get(name, (size_t)snprintf(name, sizeof name, "t%u", i));
		uint64_t seed = seed_of("who_has_left_takes_no_memory");
		for (unsigned i = COUNT; i-- > 0;) {
			unsigned other = (unsigned)below(&seed, i + 1);
			struct rc_topic *gone = all[other];
			all[other] = all[i];
			rc_topics_release(&topics, gone);
		}
		unsigned chunks = 0, above = 0;
		for (unsigned i = 0; i < RC_TOPIC_CHUNKS_MAX; i++) {
			chunks += topics.chunks[i] != NULL;
			above = topics.chunks[i] ? i + 1 : above;
		}
		cr_expect_leq(chunks, 2);
		cr_expect_leq(topics.made_count, above * RC_TOPIC_CHUNK, "whoever looks at all looks at them alone");
		cr_expect_leq(topics.bucket_count, 64);
		cr_expect_eq(rc_topics_find(&topics, "kept", 4, rc_topic_hash(&topics, "kept", 4)), kept);
		cr_expect_eq(topics.topic_count, 1);
	}
	/* And one that comes and goes costs no chunk each time. */
	for (unsigned i = 0; i < 1023; i++)
		get(name, (size_t)snprintf(name, sizeof name, "f%u", i));
	rc_topics_release(&topics, get("one", 3));
	const struct rc_topic *chunk = topics.chunks[1];
	for (unsigned i = 0; i < 10; i++) {
		rc_topics_release(&topics, get("one", 3));
		cr_expect(chunk && topics.chunks[1] == chunk);
	}
}

/* How many buckets a search for each topic looks at, all together. */
static uint64_t probes(void)
{
	uint64_t sum = 0;
	const uint32_t mask = topics.bucket_count - 1;
	for (uint32_t i = 0; i <= mask; i++)
		if (topics.buckets[i])
			sum += ((i - (uint32_t)rc_topic_at(&topics, topics.buckets[i] - 1)->hash) & mask) + 1;
	return sum;
}

/* Names that a peer chose because they fall into one place of a table with seed 0. Without the seed of a server, who
 * publishes would look at hundreds of others under the log's lock. */
Test(topic, crafted_names_cost_what_others_do)
{
	enum { COUNT = 20000 };
	static char names[COUNT][16];
	static size_t sizes[COUNT];
	uint64_t number = 0;
	cr_assert_eq(rc_topics_init(&topics, &defaults, 0, 1, 0), 0);
	for (unsigned i = 0; i < COUNT; i++)
		do
			sizes[i] = (size_t)snprintf(names[i], sizeof *names, "x%lx", (unsigned long)number++);
		while (rc_topic_hash(&topics, names[i], sizes[i]) & 0xfff);
	for (uint64_t seed = 0; seed < 4; seed++) {
		rc_topics_destroy(&topics);
		cr_assert_eq(rc_topics_init(&topics, &defaults, 0, 1, seed ? seed * UINT64_C(0x9e3779b97f4a7c15) : 0),
		             0);
		for (unsigned i = 0; i < COUNT; i++)
			get(names[i], sizes[i]);
		if (seed)
			cr_expect_lt(probes(), 3 * COUNT, "%lu probes", (unsigned long)probes());
		else
			cr_expect_gt(probes(), 100 * COUNT, "they are not crafted: %lu probes",
			             (unsigned long)probes());
	}
	end();
}

Test(topic, kept_bytes_are_bounded)
{
	uint8_t frame[60] = { 1 };
	cr_assert_eq(rc_topics_init(&topics, &defaults, 100, 1, 1), 0);
	struct rc_topic *a = get("a", 1), *b = get("b", 1), *c = get("c", 1);
	rc_topic_keep(&topics, a, frame, 60, 0);
	rc_topic_keep(&topics, b, frame, 41, 0);
	cr_expect(a->kept && !b->kept, "101 bytes are one too many");
	rc_topic_keep(&topics, b, frame, 40, 0);
	cr_expect(b->kept && b->kept_size == 40 && memcmp(b->kept, frame, 40) == 0);
	rc_topic_keep(&topics, c, frame, 1, 0);
	cr_expect_null(c->kept);
	rc_topic_unkeep(&topics, a);
	rc_topic_unkeep(&topics, a);
	cr_expect_eq(topics.kept_size, 40);
	rc_topic_keep(&topics, c, frame, 60, 0);
	cr_expect(c->kept);
	cr_expect_eq(topics.kept_size, 100);
	rc_topics_destroy(&topics);
}

Test(topic, at_most_RC_TOPICS_MAX, .init = begin, .fini = end)
{
	int error = 0;
	for (uint32_t i = 0; i < RC_TOPICS_MAX; i++) {
		const struct rc_topic *topic = rc_topics_get(&topics, (const char *)&i, sizeof i, i, &error);
		cr_assert(topic && topic->id == i);
	}
	const uint32_t last = RC_TOPICS_MAX - 1, more = RC_TOPICS_MAX;
	cr_expect_null(rc_topics_get(&topics, (const char *)&more, sizeof more, more, &error));
	cr_expect_eq(error, -ENOSPC);
	struct rc_topic *topic = rc_topics_get(&topics, (const char *)&last, sizeof last, last, &error);
	cr_expect(topic, "one that exists is still found");
	rc_topics_release(&topics, topic);
	topic = rc_topics_get(&topics, (const char *)&more, sizeof more, more, &error);
	cr_expect(topic && topic->id == last);
	cr_expect_eq(topics.made_count, RC_TOPICS_MAX);
}

/* Hashes of a few bits only, so that searches run long, wrap around the table's end, and holes are closed. */
static void random_use(uint64_t *seed, unsigned hash_bits)
{
	enum { NAMES = 300 };
	struct rc_topic *model[NAMES] = { 0 };
	uint64_t hashes[NAMES], epoch_last = 6;
	uint32_t count = 0, count_max = 0;
	begin();
	for (unsigned i = 0; i < NAMES; i++)
		hashes[i] = chance(seed) >> (64 - hash_bits) | (below(seed, 3) ? 0 : (uint64_t)1023);
	for (unsigned round = 0; round < 6000; round++) {
		unsigned i = (unsigned)below(seed, round / 1000 % 2 ? NAMES : NAMES / 4);
		char name[16];
		size_t size = (size_t)snprintf(name, sizeof name, "%u", i);
		int error = 0;
		struct rc_topic *topic = rc_topics_find(&topics, name, size, hashes[i]);
		cr_assert_eq(topic, model[i], "round %u", round);
		if (topic) {
			rc_topics_release(&topics, topic);
			model[i] = NULL;
			count--;
		} else {
			model[i] = rc_topics_get(&topics, name, size, hashes[i], &error);
			cr_assert(model[i] && model[i]->hash == hashes[i]);
			cr_assert_gt(model[i]->epoch, epoch_last, "no epoch is given twice");
			epoch_last = model[i]->epoch;
			count++;
		}
		count_max = count > count_max ? count : count_max;
		cr_assert_eq(topics.topic_count, count);
		cr_assert_eq(topics.made_count, count_max, "numbers are used again");
		cr_assert_leq(count * 2, topics.bucket_count);
		for (unsigned k = 0; k < NAMES && round % 50 == 0; k++) {
			size = (size_t)snprintf(name, sizeof name, "%u", k);
			cr_assert_eq(rc_topics_find(&topics, name, size, hashes[k]), model[k]);
			cr_assert(!model[k] || rc_topic_at(&topics, model[k]->id) == model[k]);
		}
	}
	end();
}

Test(topic, table_against_an_array)
{
	uint64_t seed = seed_of("topic");
	random_use(&seed, 64);
	random_use(&seed, 4);
	random_use(&seed, 1);
}
