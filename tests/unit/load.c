/* SPDX-License-Identifier: MIT
 *
 * load.c - the pure parts of the load generator, on which its figures rest: the histogram against sorted values, the
 * head of a message, the book of what was lost, duplicated and reordered against a naive one, the skew of a broadcast.
 */
#include "load/head.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/histogram.h"
#include "lib/random.h"
#include "load/skew.h"
#include "serve/demo.h"

static uint64_t begin_random(const char *test, uint64_t state[4])
{
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	printf("%s: SEED=%" PRIu64 "\n", test, seed);
	fflush(stdout);
	random_seed(state, seed);
	return seed;
}

Test(histogram, buckets_are_in_order_and_touch)
{
	uint64_t top = 0;
	cr_assert_eq(histogram_bucket_top(0), 0);
	for (unsigned bucket = 1; bucket < HISTOGRAM_BUCKETS; bucket++) {
		cr_assert_eq(histogram_bucket(top + 1), bucket, "the first value of bucket %u", bucket);
		uint64_t next = histogram_bucket_top(bucket);
		cr_assert(next > top);
		cr_assert_eq(histogram_bucket(next), bucket, "the last value of bucket %u", bucket);
		top = next;
	}
	cr_assert_eq(top, UINT64_MAX, "the last bucket ends where the values do");
}

Test(histogram, empty_and_single)
{
	static struct histogram histogram;
	cr_expect_eq(histogram_percentile(&histogram, 0.5), 0);
	histogram_add(&histogram, 12345678);
	cr_expect_eq(histogram_percentile(&histogram, 0), 12345678);
	cr_expect_eq(histogram_percentile(&histogram, 0.5), 12345678, "never above the maximum");
	cr_expect_eq(histogram_percentile(&histogram, 1), 12345678);
	cr_expect_eq(histogram.min, 12345678);
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
	return a < b ? -1 : a > b;
}

/* Percentiles of two merged halves, against the sorted values: never below, and above by less than 1 in 128. */
Test(histogram, agrees_with_sorted_values)
{
	enum { COUNT = 20000 };
	static uint64_t values[COUNT];
	static struct histogram halves[2];
	uint64_t state[4];
	begin_random("histogram", state);
	for (unsigned i = 0; i < COUNT; i++) {
		values[i] = random_next(state) >> random_below(state, 64);
		histogram_add(&halves[i % 2], values[i]);
	}
	qsort(values, COUNT, sizeof *values, compare);
	histogram_merge(&halves[0], &halves[1]);
	cr_expect_eq(halves[0].count, COUNT);
	cr_expect_eq(halves[0].min, values[0]);
	cr_expect_eq(halves[0].max, values[COUNT - 1]);
	static const double shares[] = { 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1 };
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
		uint64_t exact = values[(size_t)(shares[i] * COUNT + 0.999999) - 1];
		uint64_t given = histogram_percentile(&halves[0], shares[i]);
		cr_expect(given >= exact && given - exact <= exact / 128, "p%g: %" PRIu64 " for %" PRIu64,
		          shares[i] * 100, given, exact);
	}
}

Test(load, heads_are_read_back)
{
	uint64_t state[4];
	begin_random("heads", state);
	for (unsigned i = 0; i < 10000; i++) {
		struct load_head in = { .topic = (uint32_t)random_next(state) & 0xffffff,
			                .sequence = (uint32_t)random_next(state),
			                .time_ns = random_next(state) };
		struct load_head out;
		char bytes[LOAD_HEAD_SIZE + 1] = "", expected[64];
		load_head_write(bytes, &in);
		snprintf(expected, sizeof expected, "rl%06x%08x%016" PRIx64, in.topic, in.sequence, in.time_ns);
		cr_assert_str_eq(bytes, expected);
		cr_assert(load_head_read((const uint8_t *)bytes, LOAD_HEAD_SIZE, &out));
		cr_assert_eq(out.topic, in.topic);
		cr_assert_eq(out.sequence, in.sequence);
		cr_assert_eq(out.time_ns, in.time_ns);
		cr_assert(!load_head_read((const uint8_t *)bytes, LOAD_HEAD_SIZE - 1, &out));
	}
	struct load_head out;
	cr_expect(!load_head_read((const uint8_t *)"{\"symbol\":\"ACME.017\",\"price\":123.4}", 35, &out));
}

Test(load, the_book_by_hand)
{
	static const struct {
		uint32_t sequences[8];
		unsigned count;
		struct load_tally tally;
	} cases[] = {
		{ { 0, 1, 2, 3 }, 4, { 0, 0, 0 } },
		{ { 0, 2, 3 }, 3, { .lost = 1 } },
		{ { 2 }, 1, { .lost = 2 } },
		{ { 0, 0 }, 2, { .duplicated = 1 } },
		{ { 0, 2, 1, 3 }, 4, { .reordered = 1 } },
		{ { 0, 2, 1, 1 }, 4, { .reordered = 1, .duplicated = 1 } },
		{ { 0, 100, 1 }, 3, { .lost = 99, .duplicated = 1 } }, /* too late to be told from a duplicate */
		{ { 0, 64, 1, 63 }, 4, { .lost = 61, .reordered = 2 } },
		{ { 0, 63, 0 }, 3, { .lost = 62, .duplicated = 1 } },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct load_stream stream = { 0 };
		struct load_tally tally = { 0 };
		for (unsigned j = 0; j < cases[i].count; j++)
			load_stream_take(&stream, cases[i].sequences[j], &tally);
		cr_expect_eq(tally.lost, cases[i].tally.lost, "case %zu: %" PRIu64 " lost", i, tally.lost);
		cr_expect_eq(tally.duplicated, cases[i].tally.duplicated, "case %zu", i);
		cr_expect_eq(tally.reordered, cases[i].tally.reordered, "case %zu", i);
	}
}

/* Messages leave out, repeat and change places within 60 of each other; a naive book has a flag for each. */
Test(load, the_book_agrees_with_a_naive_one)
{
	enum { COUNT = 5000 };
	uint64_t state[4];
	begin_random("book", state);
	for (unsigned round = 0; round < 50; round++) {
		static bool seen[COUNT];
		memset(seen, 0, sizeof seen);
		struct load_stream stream = { 0 };
		struct load_tally tally = { 0 }, naive = { 0 };
		uint32_t head = 0;
		for (unsigned step = 0; head + 64 < COUNT; step++) {
			uint32_t choice = random_below(state, 10), sequence = head;
			if (choice == 0)
				sequence += random_below(state, 40);
			else if (choice < 3 && head)
				sequence -= 1 + random_below(state, head < 60 ? head : 60);
			naive.duplicated += seen[sequence];
			naive.reordered += !seen[sequence] && sequence < head;
			seen[sequence] = true;
			head = sequence >= head ? sequence + 1 : head;
			load_stream_take(&stream, sequence, &tally);
		}
		for (uint32_t sequence = 0; sequence < head; sequence++)
			naive.lost += !seen[sequence];
		cr_assert_eq(stream.next, head);
		cr_assert_eq(tally.lost, naive.lost);
		cr_assert_eq(tally.duplicated, naive.duplicated);
		cr_assert_eq(tally.reordered, naive.reordered);
	}
}

/* Two workers with 3 and 2 subscribers; message n arrives over n + 1 nanoseconds. Far more messages than samples. */
Test(load, skew_is_joined_and_thinned)
{
	static struct load_skew workers[2];
	static struct histogram result;
	enum { BASE = 1000, COUNT = 5 * LOAD_SKEW_SAMPLES };
	load_skew_begin(&workers[0], BASE);
	load_skew_begin(&workers[1], BASE);
	load_skew_note(&workers[0], BASE - 1, 1);
	for (uint32_t n = 0; n < COUNT; n++) {
		uint64_t at = (uint64_t)n * 1000000;
		for (unsigned i = 0; i < 3; i++)
			load_skew_note(&workers[0], BASE + n, at + i);
		/* The second worker stops early: its table is the finer one. */
		if (n < COUNT / 3) {
			load_skew_note(&workers[1], BASE + n, at + 1);
			load_skew_note(&workers[1], BASE + n, at + n + 2);
		}
	}
	cr_expect(workers[0].shift > workers[1].shift);
	load_skew_merge(&workers[0], &workers[1]);
	load_skew_result(&workers[0], 5, &result);
	uint32_t stride = 1u << workers[0].shift;
	cr_expect_eq(result.count, (COUNT / 3 + stride - 1) / stride, "only what all five received");
	cr_expect_eq(result.min, 2);
	cr_expect_eq(result.max, (COUNT / 3 - 1) / stride * stride + 2);
}

Test(demo, repeats_with_its_seed)
{
	static struct serve_demo markets[3];
	unsigned different = 0;
	serve_demo_open(&markets[0], 1, 1000);
	serve_demo_open(&markets[1], 1, 1000);
	serve_demo_open(&markets[2], 2, 1000);
	for (unsigned i = 0; i < 20000; i++) {
		struct serve_demo_trade trades[3];
		char text[3][SERVE_DEMO_MESSAGE_SIZE];
		for (unsigned j = 0; j < 3; j++) {
			serve_demo_next(&markets[j], &trades[j]);
			size_t size = serve_demo_format(&trades[j], 1700000000000000000, text[j]);
			cr_assert(size < SERVE_DEMO_MESSAGE_SIZE);
			cr_assert_eq(size, strlen(text[j]));
			cr_assert(trades[j].price > 0 && trades[j].size > 0);
		}
		cr_assert_str_eq(text[0], text[1]);
		different += strcmp(text[0], text[2]) != 0;
	}
	cr_expect(different > 19000);
}

/* A few instruments have most of the trading, and trading comes in bursts. */
Test(demo, moves_as_a_market_does)
{
	enum { TRADES = 100000 };
	static struct serve_demo market;
	static unsigned trades[SERVE_DEMO_INSTRUMENTS], seconds[1000];
	serve_demo_open(&market, 7, 1000);
	unsigned last = 0;
	for (unsigned i = 0; i < TRADES; i++) {
		struct serve_demo_trade trade;
		serve_demo_next(&market, &trade);
		trades[trade.instrument - market.instruments]++;
		last = (unsigned)(trade.time_ns / 1000000000);
		cr_assert(last < 1000);
		seconds[last]++;
	}
	unsigned busiest = 0, top = 0, silent = 0;
	for (unsigned second = 0; second < last; second++)
		busiest = seconds[second] > busiest ? seconds[second] : busiest;
	for (unsigned i = 0; i < SERVE_DEMO_INSTRUMENTS; i++) {
		top += i < 24 ? trades[i] : 0;
		silent += !trades[i];
	}
	cr_expect(top > TRADES / 3, "a tenth of the instruments have %u of %d trades", top, TRADES);
	cr_expect_eq(silent, 0, "yet each is traded");
	cr_expect(busiest > 2000, "the busiest second has %u, the rate is 1000", busiest);
}
