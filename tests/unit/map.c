/* SPDX-License-Identifier: MIT
 *
 * map.c - where what others publish goes: rules, patterns and targets, each as a table of inputs and verdicts.
 */
#include "backplane/map.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *value_of(const void *context, const char *name, size_t name_size, size_t *size)
{
	(void)context;
	if (name_size == 4 && memcmp(name, "user", 4) == 0)
		return *size = 3, "ann";
	if (name_size == 3 && memcmp(name, "bad", 3) == 0)
		return *size = 2, "a\n";
	if (name_size == 4 && memcmp(name, "long", 4) == 0)
		return *size = 513, "";
	if (name_size == 5 && memcmp(name, "empty", 5) == 0)
		return *size = 0, "";
	return NULL;
}

Test(map, where_it_goes)
{
	static const struct {
		const char *rule, *source, *target; /* a null target: nowhere */
		bool slash;
	} rows[] = {
		{ "orders=topic/orders", "orders", "topic/orders", false },
		{ "orders=topic/orders", "order", NULL, false },
		{ "orders=topic/orders", "orders.x", NULL, false },
		{ "a.*.c=topic/{1}", "a.b.c", "topic/b", false },
		{ "a.*.c=topic/{1}", "a.b.d.c", NULL, false },
		{ "a.*.*=room/{2}-{1}", "a.b.c", "room/c-b", false },
		{ "a.>=user/{1}", "a.b.c", "user/b.c", false },
		{ "a.>=user/{1}", "a", NULL, false },
		{ ">=all", "anything.at.all", "all", false },
		{ "x/#=all", "x/", "all", true },
		{ "x/a.#=topic/t{user}", "x/a", "topic/tann", true },
		{ "x/a.#=topic/{1}", "x/a", NULL, true },
		{ "x/#.z=topic/{1}", "x/a.b.z", "topic/a.b", true },
		{ "x/#.b.#=topic/{1}+{2}", "x/a.b.b.c", "topic/a+b.c", true },
		{ "x.y/*=topic/{1}", "x.y/a/b", "topic/a/b", true },
		{ "x/*=topic/{1}", "y/a", NULL, true },
		{ "a=user/{user}", "a", "user/ann", false },
		{ "a=user/{nobody}", "a", NULL, false },
		{ "a=user/{bad}", "a", NULL, false },
		{ "a=user/{long}", "a", NULL, false },
		{ "a=user/{empty}", "a", NULL, false },
		{ "a=topic/{1}", "a", NULL, false },
		{ "b=c=topic/x", "b=c", "topic/x", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct backplane_map map;
		struct option_list list = { .items = { rows[i].rule }, .count = 1 };
		const char *item;
		char target[MAP_TARGET_MAX + 1] = "";
		cr_assert_null(map_read(&map, &list, false, &item), "%s", rows[i].rule);
		map.slash = rows[i].slash;
		size_t size = map_find(&map, rows[i].source, strlen(rows[i].source), value_of, NULL, target);
		target[size] = '\0';
		cr_assert_str_eq(target, rows[i].target ? rows[i].target : "", "%s: %s", rows[i].rule, rows[i].source);
	}
}

Test(map, the_first_rule_counts)
{
	struct backplane_map map;
	struct option_list list = { .items = { "a.b=room/one", "a.*=room/{1}", "*.*=all" }, .count = 3 };
	const char *item;
	char target[MAP_TARGET_MAX];
	cr_assert_null(map_read(&map, &list, false, &item));
	cr_assert_eq(map_find(&map, "a.b", 3, value_of, NULL, target), 8);
	cr_assert_arr_eq(target, "room/one", 8);
	cr_assert_eq(map_find(&map, "a.c", 3, value_of, NULL, target), 6);
	cr_assert_eq(map_find(&map, "x.c", 3, value_of, NULL, target), 3);
	cr_assert(map_has(&map, "x.c", 3) && !map_has(&map, "x", 1));
}

Test(map, rules_that_are_none)
{
	static const char *const rules[] = { "a",         "=all",      "a=",          "a=topic/",   "a=topics/x",
		                             "a=all/x",   "a=user/{",  "a=user/{x",   "a=user/x}",  "a=user/{}",
		                             "a=user/{{", "a=room/}{", "a=user/{x{y", "a=user/{}x}" };
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		struct backplane_map map;
		struct option_list list = { .items = { rules[i] }, .count = 1 };
		const char *item = NULL;
		cr_assert(map_read(&map, &list, false, &item) && item == rules[i], "%s", rules[i]);
	}
	struct backplane_map map;
	struct option_list list = { .count = MAP_RULES_MAX + 1 };
	const char *item;
	for (unsigned i = 0; i <= MAP_RULES_MAX; i++)
		list.items[i] = "a=topic/a";
	cr_assert_not_null(map_read(&map, &list, false, &item));
	list.count--;
	cr_assert_null(map_read(&map, &list, true, &item));
	list.items[0] = "a=room/x";
	cr_assert_not_null(map_read(&map, &list, true, &item));
}

/* What a stranger may choose is the source: one of many words costs no more than a moment. */
Test(map, long_sources_are_bounded, .timeout = 10)
{
	char source[1024];
	struct map_match match;
	for (size_t i = 0; i < sizeof source; i++)
		source[i] = i % 2 ? '.' : 'a';
	cr_assert_not(map_matches("#.x.#.y", 7, source, sizeof source, false, &match));
	cr_assert_not(map_matches("#.x.#.y", 7, source, 255, false, &match));
	cr_assert(map_matches("#.a.#", 5, source, 255, false, &match));
}
