/* SPDX-License-Identifier: MIT
 *
 * app_parts.c - the small pure parts of `ringcast app`: rates, the window of ids, the store, names, JSON as it is
 * written.
 */
#include "app/bucket.h"
#include "app/out.h"
#include "app/store.h"
#include "app/table.h"
#include "app/window.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

/* ---- rates ---- */

static unsigned take_all(struct app_bucket *bucket, uint32_t rate, uint32_t burst, uint64_t now_ns)
{
	unsigned count = 0;
	while (count < 100000 && app_bucket_take(bucket, 1, rate, burst, now_ns))
		count++;
	return count;
}

Test(app_bucket, a_burst_and_then_the_rate)
{
	struct app_bucket bucket = app_bucket_full(20, 5 * SECOND);
	cr_expect_eq(take_all(&bucket, 10, 20, 5 * SECOND), 20);
	cr_expect_eq(take_all(&bucket, 10, 20, 5 * SECOND + 99999999), 0, "a nanosecond before the next");
	cr_expect_eq(take_all(&bucket, 10, 20, 5 * SECOND + 100000000), 1);
	cr_expect_eq(take_all(&bucket, 10, 20, 6 * SECOND), 9);
	cr_expect_eq(take_all(&bucket, 10, 20, 1000 * SECOND), 20, "never more than the burst");
}

Test(app_bucket, nothing_is_lost_to_rounding)
{
	struct app_bucket bucket = app_bucket_full(2, 0);
	unsigned count = 0;
	/* A third of a token a look: three looks, a token. */
	for (uint64_t now = 0; now < 300 * SECOND; now += SECOND / 9)
		count += app_bucket_take(&bucket, 1, 3, 2, now);
	cr_expect_geq(count, 899);
	cr_expect_leq(count, 902);
}

Test(app_bucket, extremes)
{
	struct app_bucket bucket = app_bucket_full(UINT32_MAX, 0);
	cr_expect(app_bucket_take(&bucket, 1, UINT32_MAX, UINT32_MAX, UINT64_MAX));
	cr_expect(app_bucket_take(&bucket, 1, 0, 0, 0), "a rate of 0 is no limit");
	bucket = app_bucket_full(2, 100 * SECOND);
	cr_expect_eq(take_all(&bucket, 1, 2, 100 * SECOND), 2);
	cr_expect_not(app_bucket_take(&bucket, 1, 1, 2, 1 * SECOND), "time that goes back brings nothing");
	cr_expect_not(app_bucket_take(&bucket, 1, 1, 2, 100 * SECOND), "and is not counted twice");
	cr_expect(app_bucket_take(&bucket, 1, 1, 2, 101 * SECOND));
	/* A reload may make the burst smaller than what is in it. */
	bucket = app_bucket_full(100, 0);
	cr_expect_eq(take_all(&bucket, 1, 5, 0), 5);
}

Test(app_bucket, what_costs_more)
{
	struct app_bucket bucket = app_bucket_full(20, 0);
	cr_expect(app_bucket_take(&bucket, 15, 10, 20, 0));
	cr_expect_not(app_bucket_take(&bucket, 6, 10, 20, 0), "five are left");
	cr_expect(app_bucket_take(&bucket, 5, 10, 20, 0), "and still there");
	cr_expect_not(app_bucket_take(&bucket, 1000, 10, 20, 1999999999));
	cr_expect(app_bucket_take(&bucket, 1000, 10, 20, 2 * SECOND), "never for ever: a full bucket is enough");
	cr_expect_not(app_bucket_take(&bucket, 1, 10, 20, 2 * SECOND));
	app_bucket_drain(&bucket, 5);
	cr_expect_eq(bucket.level, 0);
	cr_expect(app_bucket_take(&bucket, 1, 10, 20, 3 * SECOND));
	app_bucket_drain(&bucket, 5);
	cr_expect_eq(bucket.level, 4 * APP_BUCKET_UNIT);
	app_bucket_drain(&bucket, UINT32_MAX);
	cr_expect_eq(bucket.level, 0);
}

/* ---- ids ---- */

Test(app_window, at_its_bounds)
{
	static struct app_window window;
	for (uint64_t i = 1; i <= APP_WINDOW_COUNT; i++)
		cr_expect(app_window_add(&window, i, 100, 50));
	for (uint64_t i = 1; i <= APP_WINDOW_COUNT; i++)
		cr_expect_not(app_window_add(&window, i, 100, 50), "%llu is among the last", (unsigned long long)i);
	cr_expect_not(app_window_add(&window, 1, 149, 50));
	cr_expect(app_window_add(&window, 1, 150, 50), "too old to count");
	cr_expect(app_window_add(&window, 1000, 100, 50));
	cr_expect(app_window_add(&window, 2, 100, 50), "pushed out by one more than there is room for");
}

/* ---- the store ---- */

static void expect_contents(struct app_store *store, const char *expected)
{
	char got[64] = "";
	for (const struct app_stored *each = store->first; each; each = each->next)
		strncat(got, each->bytes, each->size);
	cr_expect_str_eq(got, expected);
}

static const struct app_budget_limits unbounded;

static bool add_from(uint64_t sender, struct app_store *store, const struct app_store_limits *limits,
                     struct app_budget *budget, uint64_t now_ns, const char *text)
{
	const struct app_item item = { .at_ns = now_ns, .sender = sender, .bytes = text, .size = strlen(text) };
	return app_store_add(store, limits, budget, &unbounded, now_ns, &item);
}

#define add(store, limits, now_ns, text) add_from(1, store, limits, &budget, now_ns, text)

Test(app_store, bounds)
{
	struct app_store store = { 0 };
	struct app_budget budget;
	cr_assert(app_budget_init(&budget, 1));
	const struct app_store_limits limits = { .count_max = 3, .size_max = 10, .age_ns = 100 };
	cr_expect(add(&store, &limits, 0, "a"));
	cr_expect(add(&store, &limits, 0, "b"));
	cr_expect(add(&store, &limits, 0, "c"));
	expect_contents(&store, "abc");
	cr_expect(add(&store, &limits, 0, "d"));
	expect_contents(&store, "bcd");
	cr_expect(add(&store, &limits, 0, "12345678")); /* with two more bytes it is full */
	expect_contents(&store, "cd12345678");
	cr_expect(add(&store, &limits, 0, "e"));
	expect_contents(&store, "d12345678e");
	cr_expect(add(&store, &limits, 0, "0123456789"));
	expect_contents(&store, "0123456789");
	cr_expect_not(add(&store, &limits, 0, "0123456789x"), "alone over the bound");
	expect_contents(&store, "0123456789");
	cr_expect_eq(store.dropped, 6);
	app_store_expire(&store, &limits, &budget, 100);
	cr_expect_eq(store.count, 1);
	app_store_expire(&store, &limits, &budget, 101);
	cr_expect_eq(store.count, 0);
	cr_expect_eq(store.size, 0);
	cr_expect_null(app_store_take(&store, &budget));
	cr_expect_eq(budget.used, 0);
	cr_expect_eq(budget.senders.count, 0);
	cr_expect_not(add(&store, &(struct app_store_limits){ .size_max = 10 }, 0, "x"), "a store of nothing");
	app_store_clear(&store, &budget);
	app_budget_destroy(&budget);
}

Test(app_store, nobody_takes_the_part_of_another)
{
	struct app_store store = { 0 };
	struct app_budget budget;
	cr_assert(app_budget_init(&budget, 1));
	const struct app_store_limits limits = { .count_max = 8, .size_max = 1000 };
	for (unsigned i = 0; i < 8; i++)
		add_from(1, &store, &limits, &budget, i, &"a\0b\0c\0d\0e\0f\0g\0h"[i * 2]);
	expect_contents(&store, "abcdefgh"); /* all of it, while nobody else needs it */
	for (uint64_t sender = 2; sender < 5; sender++)
		for (unsigned i = 0; i < 4; i++)
			add_from(sender, &store, &limits, &budget, 10 * sender + i,
			         &"2\0"
			          "3\0"
			          "4"[(sender - 2) * 2]);
	expect_contents(&store, "gh223344"); /* a quarter each; whoever sends more pushes out its own */
	for (uint64_t sender = 5; sender < 50; sender++)
		cr_expect_not(add_from(sender, &store, &limits, &budget, 100, "x"), "all parts are taken");
	expect_contents(&store, "gh223344");
	cr_expect(add_from(1, &store, &limits, &budget, 100, "i"));
	expect_contents(&store, "h223344i");
	cr_expect_eq(budget.senders.count, 4);
	app_store_clear(&store, &budget);
	cr_expect_eq(budget.used + budget.senders.count, 0);
	app_budget_destroy(&budget);
}

Test(app_store, what_comes_back_keeps_its_place_and_its_time)
{
	struct app_store store = { 0 };
	struct app_budget budget;
	cr_assert(app_budget_init(&budget, 1));
	const struct app_store_limits limits = { .count_max = 8, .size_max = 1000, .age_ns = 100 };
	for (unsigned i = 0; i < 3; i++) {
		const struct app_item item = { .at_ns = (uint64_t[]){ 30, 10, 20 }[i], .bytes = &"cab"[i], .size = 1 };
		cr_expect(app_store_add(&store, &limits, &budget, &unbounded, 50, &item));
	}
	expect_contents(&store, "abc");
	app_store_expire(&store, &limits, &budget, 111);
	expect_contents(&store, "bc");
	app_store_clear(&store, &budget);
	app_budget_destroy(&budget);
}

Test(app_store, one_budget_for_all)
{
	struct app_store stores[50] = { 0 };
	struct app_budget budget;
	cr_assert(app_budget_init(&budget, 1));
	const struct app_store_limits limits = { .count_max = 100, .size_max = 100000 };
	const struct app_budget_limits bounds = { .size_max = 10 * (APP_STORE_OVERHEAD + 100),
		                                  .share_max = 3 * (APP_STORE_OVERHEAD + 100) };
	char bytes[100] = { 0 };
	unsigned kept[6] = { 0 };
	static const unsigned expected[6] = { 0, 3, 3, 3, 1, 0 };
	for (unsigned i = 0; i < 300; i++) {
		const struct app_item item = { .sender = i / 50, .bytes = bytes, .size = sizeof bytes };
		kept[i / 50] += app_store_add(&stores[i % 50], &limits, &budget, &bounds, 0, &item);
	}
	/* The application has no share, and is not among those that have one. */
	cr_expect_eq(kept[0], 10);
	for (unsigned i = 0; i < 50; i++)
		app_store_clear(&stores[i], &budget);
	memset(kept, 0, sizeof kept);
	for (unsigned i = 50; i < 300; i++) {
		const struct app_item item = { .sender = i / 50, .bytes = bytes, .size = sizeof bytes };
		kept[i / 50] += app_store_add(&stores[i % 50], &limits, &budget, &bounds, 0, &item);
	}
	for (unsigned sender = 1; sender < 6; sender++)
		cr_expect_eq(kept[sender], expected[sender], "%u: %u", sender, kept[sender]);
	for (unsigned i = 0; i < 50; i++)
		app_store_clear(&stores[i], &budget);
	cr_expect_eq(budget.used + budget.senders.count, 0);
	app_budget_destroy(&budget);
}

Test(app_store, against_a_model)
{
	/* Random sizes against an array that is shifted. */
	struct app_store store = { 0 };
	struct app_budget budget;
	cr_assert(app_budget_init(&budget, 1));
	const struct app_store_limits limits = { .count_max = 7, .size_max = 40, .age_ns = 20 };
	struct {
		uint64_t at;
		size_t size;
	} model[8];
	size_t count = 0, total = 0;
	unsigned seed = 1;
	for (uint64_t now = 0; now < 5000; now += (uint64_t)(rand_r(&seed) % 4)) {
		size_t size = (size_t)(rand_r(&seed) % 45);
		char bytes[45] = { 0 };
		const struct app_item item = { .at_ns = now, .number = now, .sender = 1, .bytes = bytes, .size = size };
		bool added = app_store_add(&store, &limits, &budget, &unbounded, now, &item);
		cr_assert_eq(added, size <= 40);
		while (added && count && (now - model[0].at > 20 || count == 7 || total + size > 40)) {
			total -= model[0].size;
			memmove(model, model + 1, --count * sizeof *model);
		}
		if (added) {
			model[count].at = now;
			model[count++].size = size;
			total += size;
		}
		if (rand_r(&seed) % 5 == 0 && count) {
			struct app_stored *taken = app_store_take(&store, &budget);
			cr_assert_eq(taken->size, model[0].size);
			cr_assert_eq(taken->number, model[0].at);
			free(taken);
			total -= model[0].size;
			memmove(model, model + 1, --count * sizeof *model);
		}
		cr_assert_eq(store.count, count);
		cr_assert_eq(store.size, total);
	}
	app_store_clear(&store, &budget);
	app_budget_destroy(&budget);
}

/* ---- names ---- */

struct thing {
	struct app_node node;
	char name[16];
	bool visited;
};

static void visit(void *context, struct app_node *node)
{
	struct app_table *table = context;
	((struct thing *)node)->visited = true;
	app_table_remove(table, node);
}

Test(app_table, many)
{
	static struct thing things[5000];
	struct app_table table;
	cr_assert(app_table_init(&table, 42));
	for (int i = 0; i < 5000; i++) {
		snprintf(things[i].name, sizeof things[i].name, "t%d", i);
		things[i].node.name = things[i].name;
		things[i].node.name_size = strlen(things[i].name);
		app_table_add(&table, &things[i].node);
	}
	for (int i = 0; i < 5000; i += 2)
		app_table_remove(&table, &things[i].node);
	for (int i = 0; i < 5000; i++) {
		struct app_node *found = app_table_find(&table, things[i].name, strlen(things[i].name));
		cr_assert_eq(found, i % 2 ? &things[i].node : NULL, "%d", i);
	}
	cr_expect_null(app_table_find(&table, "t", 1));
	app_table_each(&table, visit, &table);
	cr_expect_eq(table.count, 0);
	for (int i = 0; i < 5000; i++)
		cr_assert_eq(things[i].visited, i % 2 == 1);
	app_table_destroy(&table);
}

/* Names that a peer chose because they fall into one bucket of a table with seed 0. */
Test(app_table, crafted_names_cost_what_others_do)
{
	enum { COUNT = 200 };
	static struct crafted {
		struct app_node node;
		char name[16];
	} crafted[COUNT];
	struct app_table table = { 0 };
	uint64_t number = 0;
	for (unsigned i = 0; i < COUNT; i++) {
		struct crafted *one = &crafted[i];
		do
			one->node.name_size = (size_t)snprintf(one->name, sizeof one->name, "x%lx",
			                                       (unsigned long)number++);
		while (app_table_hash(&table, one->name, one->node.name_size) & 0xfff);
		one->node.name = one->name;
	}
	for (uint64_t seed = 0; seed < 4; seed++) {
		size_t longest = 0;
		cr_assert(app_table_init(&table, seed * UINT64_C(0x9e3779b97f4a7c15)));
		for (unsigned i = 0; i < COUNT; i++)
			app_table_add(&table, &crafted[i].node);
		for (size_t i = 0; i < table.bucket_count; i++) {
			size_t count = 0;
			for (const struct app_node *node = table.buckets[i]; node; node = node->next)
				count++;
			longest = count > longest ? count : longest;
		}
		if (seed)
			cr_expect_lt(longest, 20, "seed %lu: %zu in one bucket", (unsigned long)seed, longest);
		else
			cr_expect_eq(longest, COUNT, "they are not crafted: %zu", longest);
		app_table_destroy(&table);
	}
}

/* ---- JSON ---- */

Test(app_out, values_come_out_as_they_went_in)
{
	static const char *const cases[] = {
		"{}",
		"[]",
		"[1,-1,9223372036854775807,-9223372036854775808]",
		"{\"a\":[{\"b\":null},true,false]}",
		"[0.1,1.1,1e300,5e-324,0.3,1.0,-0.0,123456789.123]",
		"\"\"",
		"\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0000\\u001f\xc3\xa9\"",
		"\"\xf0\x9f\x98\x80\"",
	};
	struct app_out out = { 0 };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *value = json_loads(cases[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		cr_assert(value, "%s", cases[i]);
		app_out_clear(&out);
		app_out_value(&out, value);
		json_t *again = json_loadb(out.bytes, out.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		cr_expect(json_equal(value, again), "%s became %.*s", cases[i], (int)out.size, out.bytes);
		if (i != 4)
			cr_expect(out.size == strlen(cases[i]) && !memcmp(out.bytes, cases[i], out.size),
			          "%s became %.*s", cases[i], (int)out.size, out.bytes);
		json_decref(value);
		json_decref(again);
	}
	app_out_clear(&out);
	app_out_number(&out, UINT64_MAX);
	app_out_number(&out, 0);
	app_out_type(&out, "t", NULL);
	cr_expect(out.size == 32 && !memcmp(out.bytes, "184467440737095516150{\"type\":\"t\"", 32), "%.*s",
	          (int)out.size, out.bytes);
	app_out_free(&out);
}
