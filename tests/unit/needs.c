/* SPDX-License-Identifier: MIT
 *
 * Which options are without effect: needs.h.
 */
#include "lib/needs.h"

#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

static struct {
	bool flag, other;
	const char *text;
	struct option_list list;
	unsigned count;
	uint64_t time_ns;
	size_t size;
	double number;
	int choice;
} set;

static const struct option_entry options[] = {
	{ "flag", OPTION_FLAG, &set.flag, NULL, "" },        { "other", OPTION_FLAG, &set.other, NULL, "" },
	{ "text", OPTION_TEXT, &set.text, "TEXT", "" },      { "list", OPTION_LIST, &set.list, "WORD", "" },
	{ "count", OPTION_COUNT, &set.count, "N", "" },      { "time", OPTION_NS, &set.time_ns, "TIME", "" },
	{ "size", OPTION_SIZE, &set.size, "SIZE", "" },      { "number", OPTION_NUMBER, &set.number, "X", "" },
	{ "mode", OPTION_CHOICE, &set.choice, "a|b|c", "" }, { 0 },
};

static const struct option_need needs[] = {
	{ "text", "flag" },       { "list", "flag|other" },
	{ "count", "mode=b" },    { "time", "mode=b|mode=c|other" },
	{ "size", "!flag" },      { "other", "!mode" },
	{ "number", "flag" },     { "nowhere", "flag" },
	{ "flag", "!nowhere|x" }, { 0 },
};

static const char *found(const char *dashes)
{
	static char words[NEEDS_WORDS_SIZE];
	return needs_find(needs, options, needs_is_set, NULL, dashes, words) ? words : "";
}

Test(needs, nothing_was_given)
{
	memset(&set, 0, sizeof set);
	cr_assert_str_eq(found("--"), "");
	cr_assert_not(needs_find(NULL, options, needs_is_set, NULL, "", (char[NEEDS_WORDS_SIZE]){ 0 }));
}

Test(needs, what_is_missing_is_named)
{
	memset(&set, 0, sizeof set);
	set.text = "x";
	cr_assert_str_eq(found("--"), "--text has no effect without --flag: add that, or leave --text out");
	set.flag = true;
	cr_assert_str_eq(found("--"), "");
	set.flag = false;
	set.text = NULL;
	set.list.count = 1;
	cr_assert_str_eq(found(""), "list has no effect without flag or other: add that, or leave list out");
	set.other = true;
	cr_assert_str_eq(found(""), "");
}

Test(needs, the_word_of_a_choice)
{
	memset(&set, 0, sizeof set);
	set.count = 1;
	cr_assert_str_eq(found("--"), "--count has no effect without --mode b: add that, or leave --count out");
	set.choice = 1;
	cr_assert_str_eq(found("--"), "");
	set.time_ns = 1;
	cr_assert_str_eq(found("--"), "");
	set.count = 0;
	set.choice = 0;
	cr_assert_str_eq(found("--"),
	                 "--time has no effect without --mode b or --mode c or --other: add that, or leave --time out");
}

Test(needs, what_stands_in_the_way_is_named)
{
	memset(&set, 0, sizeof set);
	set.size = 1;
	cr_assert_str_eq(found("--"), "");
	set.flag = true;
	cr_assert_str_eq(found("--"), "--size has no effect beside --flag: leave one of them out");
	set.flag = false;
	set.choice = 2;
	set.other = true;
	cr_assert_str_eq(found("--"), "--other has no effect beside --mode: leave one of them out");
}

Test(needs, long_names_are_cut_and_not_overrun)
{
	static char name[300], many[2000];
	char words[NEEDS_WORDS_SIZE];
	memset(name, 'n', sizeof name - 1);
	for (size_t at = 0; at + 300 < sizeof many; at += 300) {
		memset(many + at, 'm', 299);
		many[at + 299] = '|';
	}
	bool given = true;
	const struct option_entry long_options[] = { { name, OPTION_FLAG, &given, NULL, "" }, { 0 } };
	const struct option_need long_needs[] = { { name, many }, { 0 } };
	cr_assert(needs_find(long_needs, long_options, needs_is_set, NULL, "--", words));
	cr_assert_lt(strlen(words), sizeof words);
}
