/* SPDX-License-Identifier: MIT
 *
 * cohort.c - a topic's shared compressor, read by inflaters that join wherever they may: each must understand
 * everything from a beginning on, without the messages before it.
 */
#include "cohort.h"

#include "check.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { ROOM = 64 * 1024 };

static struct rc_cohort *cohort;
static struct rc_pool pool;
static uint8_t to[ROOM];

static void begin(void)
{
	rc_pool_init(&pool, 0, 64 * RC_MIB);
	cohort = rc_cohort_new(RC_WINDOW_15, 6);
	cr_assert(cohort);
}

static void end(void)
{
	rc_cohort_free(cohort);
	rc_pool_destroy(&pool);
}

TestSuite(cohort, .init = begin, .fini = end);

static size_t message(char *text, uint64_t number)
{
	return (size_t)sprintf(text, "{\"type\":\"ticker\",\"sequence\":%lu,\"price\":\"%lu.%02lu\",\"side\":\"%s\"}",
	                       number, 30000 + number * 7919 % 100, number % 97, number % 3 ? "buy" : "sell");
}

static size_t add(uint64_t number, bool *fresh)
{
	char text[256];
	size_t size = message(text, number);
	return rc_cohort_add(cohort, number, to, sizeof to, (const uint8_t *)text, size, fresh);
}

static void read_by(struct rc_inflater *inflater, size_t size, uint64_t number)
{
	struct rc_inflated_message read;
	char text[256];
	size_t expected = message(text, number);
	cr_assert_eq(rc_inflate_message(inflater, &pool, to, size, 1 * RC_MIB, true, &read), RC_INFLATED, "%lu",
	             number);
	cr_assert(read.size == expected && memcmp(read.data, text, expected) == 0, "%lu", number);
	rc_pool_give(&pool, read.data, read.capacity);
}

Test(cohort, begins_with_a_beginning_and_then_goes_on)
{
	struct rc_inflater *inflater = rc_inflater_new(15);
	size_t first = 0, rest = 0;
	for (uint64_t number = 10; number < 1010; number++) {
		bool fresh;
		size_t size = add(number, &fresh);
		cr_assert(size);
		cr_assert_eq(fresh, number == 10);
		read_by(inflater, size, number);
		*(number == 10 ? &first : &rest) += size;
	}
	cr_expect_lt(rest / 999, first / 2, "what it has said before is not said again");
	rc_inflater_free(inflater);
}

Test(cohort, what_comes_too_late_stays_plain)
{
	bool fresh;
	cr_assert(add(5, &fresh));
	cr_expect_eq(add(5, &fresh), 0);
	cr_expect_eq(add(4, &fresh), 0);
	cr_assert(add(6, &fresh));
	cr_expect_not(fresh, "nobody has read it, so nothing is broken");
}

Test(cohort, what_does_not_fit_breaks_it)
{
	bool fresh;
	uint8_t noise[3000];
	uint64_t seed = 1;
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)chance(&seed);
	cr_assert(add(0, &fresh));
	cr_expect_eq(rc_cohort_add(cohort, 1, to, 1000, noise, sizeof noise, &fresh), 0);
	cr_assert(add(2, &fresh));
	cr_expect(fresh);
	struct rc_inflater *inflater = rc_inflater_new(15);
	cr_assert(add(3, &fresh));
	cr_expect_not(fresh);
	rc_inflater_free(inflater);
}

Test(cohort, newcomers_get_a_beginning_but_not_too_often)
{
	bool fresh;
	uint64_t number = 0, last = 0;
	cr_assert(add(number++, &fresh));
	for (unsigned joins = 0; joins < 500; joins++) {
		rc_cohort_join(cohort, number);
		cr_assert(add(number++, &fresh));
		if (!fresh)
			continue;
		cr_assert_geq(number - 1 - last, RC_COHORT_FRESH_MESSAGES);
		last = number - 1;
	}
	cr_expect_eq(last, 500 / RC_COHORT_FRESH_MESSAGES * RC_COHORT_FRESH_MESSAGES);
	uint64_t after = last + 500;
	for (bool once = false; number < after;) {
		cr_assert(add(number++, &fresh));
		cr_assert(!fresh || !once, "one is enough for all");
		once |= fresh;
	}
}

/* Messages are encoded some time after they were published: who joins meanwhile is not served by a beginning that lies
 * before it. */
Test(cohort, a_beginning_before_a_newcomer_does_not_serve_it)
{
	bool fresh;
	uint64_t number = 0;
	while (number < 2 * RC_COHORT_FRESH_MESSAGES)
		cr_assert(add(number++, &fresh));
	rc_cohort_join(cohort, number + 3);
	uint64_t served = 0;
	for (unsigned i = 0; i < 3 * RC_COHORT_FRESH_MESSAGES; i++) {
		cr_assert(add(number, &fresh));
		if (fresh)
			served = number;
		number++;
	}
	cr_expect_geq(served, 2 * RC_COHORT_FRESH_MESSAGES + 3);
}

/* Readers that join at every place, in all classes of windows: each understands all that follows its first beginning.
 */
Test(cohort, standing_and_late_readers)
{
	enum { READERS = 60, MESSAGES = 3000 };
	static const unsigned bits[] = { 8, 9, 12, 15 };
	uint64_t seed = seed_of("cohort");
	for (unsigned window = 0; window < RC_WINDOW_COUNT; window++) {
		struct rc_inflater *readers[READERS] = { 0 };
		bool in_step[READERS] = { 0 };
		uint64_t from[READERS];
		unsigned served = 0;
		rc_cohort_free(cohort);
		cohort = rc_cohort_new((enum rc_window)window, 6);
		for (unsigned i = 0; i < READERS; i++)
			from[i] = i ? below(&seed, MESSAGES - 200) : 0;
		for (uint64_t number = 0; number < MESSAGES; number++) {
			bool fresh;
			for (unsigned i = 0; i < READERS; i++)
				if (from[i] == number && (readers[i] = rc_inflater_new(bits[window])))
					rc_cohort_join(cohort, number);
			size_t size = add(number, &fresh);
			cr_assert(size);
			for (unsigned i = 0; i < READERS; i++) {
				if (!readers[i])
					continue;
				served += fresh && !in_step[i];
				in_step[i] |= fresh;
				if (in_step[i])
					read_by(readers[i], size, number);
			}
		}
		cr_expect_eq(served, READERS);
		for (unsigned i = 0; i < READERS; i++)
			rc_inflater_free(readers[i]);
	}
}
