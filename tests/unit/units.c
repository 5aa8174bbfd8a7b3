/* SPDX-License-Identifier: MIT
 *
 * units.c - quantities as the flags take them, what is refused in which words, how figures are printed, and URLs put
 * together from names.
 */
#include "lib/units.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lib/options.h"
#include "lib/url.h"
#include "ringcast.h"

#define UNTOUCHED 0xdeadbeef

struct accepted {
	const char *text;
	uint64_t value;
};

struct refused {
	const char *text;
	const char *because; /* the beginning of the words */
};

typedef const char *parser(const char *text, uint64_t *value);

static void check(const char *what, parser *parse, const struct accepted *good, const struct refused *bad)
{
	for (; good->text; good++) {
		uint64_t value = UNTOUCHED;
		const char *error = parse(good->text, &value);
		cr_expect_null(error, "%s '%s': %s", what, good->text, error ? error : "");
		cr_expect_eq(value, good->value, "%s '%s' gives %llu", what, good->text, (unsigned long long)value);
	}
	for (; bad->text; bad++) {
		uint64_t value = UNTOUCHED;
		const char *error = parse(bad->text, &value);
		cr_assert(error, "%s '%s' was taken as %llu", what, bad->text, (unsigned long long)value);
		cr_expect(!strncmp(error, bad->because, strlen(bad->because)), "%s '%s': %s", what, bad->text, error);
		cr_expect_eq(value, UNTOUCHED, "%s '%s' changed the value", what, bad->text);
	}
}

Test(units, times)
{
	static const struct accepted good[] = {
		{ "0", 0 },
		{ "0.0", 0 },
		{ "1ns", 1 },
		{ "250ms", 250000000 },
		{ "25s", 25000000000 },
		{ "2m", 120000000000 },
		{ "1h", 3600000000000 },
		{ "1.5s", 1500000000 },
		{ "0.1s", 100000000 },
		{ "0.000000001s", 1 },
		{ "3US", 3000 },
		{ "18446744073709551615ns", UINT64_MAX },
		{ NULL, 0 },
	};
	static const struct refused bad[] = {
		{ "", "expected a number" },
		{ "s", "expected a number" },
		{ "-1s", "expected a number" },
		{ "+1s", "expected a number" },
		{ " 1s", "expected a number" },
		{ ".5s", "expected a number" },
		{ "25", "expected a unit" },
		{ "25 s", "expected a unit" },
		{ "25sec", "expected a unit" },
		{ "1.2.3s", "expected a unit" },
		{ "0x10s", "expected a unit" },
		{ "0.5ns", "not a whole number" },
		{ "18446744073709551616ns", "too large" },
		{ "18446744074s", "too large" },
		{ "99999999999999999999999h", "too large" },
		{ "0.1234567890123s", "too many digits" },
		{ NULL, NULL },
	};
	check("time", units_parse_time, good, bad);
}

Test(units, sizes)
{
	static const struct accepted good[] = {
		{ "0", 0 },           { "1", 1 },
		{ "512", 512 },       { "64k", 65536 },
		{ "64K", 65536 },     { "1m", 1048576 },
		{ "1g", 1073741824 }, { "1.5m", 1572864 },
		{ "0.5k", 512 },      { "17179869183g", 18446744072635809792u },
		{ NULL, 0 },
	};
	static const struct refused bad[] = {
		{ "", "expected a number" },     { "k", "expected a number" },
		{ "-1k", "expected a number" },  { "64kb", "expected bytes" },
		{ "64 k", "expected bytes" },    { "1t", "expected bytes" },
		{ "0.3k", "not a whole" },       { "1.5", "not a whole" },
		{ "17179869184g", "too large" }, { NULL, NULL },
	};
	check("size", units_parse_size, good, bad);
}

Test(units, counts)
{
	static const struct accepted good[] = { { "0", 0 }, { "007", 7 }, { "4294967296", 4294967296 }, { NULL, 0 } };
	static const struct refused bad[] = {
		{ "", "expected a number" },
		{ "1k", "expected a whole number" },
		{ "1.5", "not a whole number" },
		{ "1e3", "expected a whole number" },
		{ "18446744073709551616", "too large" },
		{ NULL, NULL },
	};
	check("count", units_parse_count, good, bad);
}

Test(units, numbers)
{
	double number = 0;
	cr_expect_null(units_parse_number("20", &number));
	cr_expect_eq(number, 20);
	cr_expect_null(units_parse_number("0.25", &number));
	cr_expect_eq(number, 0.25);
	static const char *const bad[] = { "", "-1", "x", "1x", "inf", "nan", "1e999", " 1" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		cr_expect(units_parse_number(bad[i], &number), "'%s' was taken as a number", bad[i]);
		cr_expect_eq(number, 0.25, "'%s' changed the value", bad[i]);
	}
}

Test(units, figures_have_three_digits)
{
	static const struct {
		char *(*format)(char *, uint64_t);
		uint64_t value;
		const char *text;
	} cases[] = {
		{ units_format_time, 0, "0 ns" },
		{ units_format_time, 999, "999 ns" },
		{ units_format_time, 1000, "1.00 us" },
		{ units_format_time, 12345, "12.3 us" },
		{ units_format_time, 999499, "999 us" },
		{ units_format_time, 999500, "1.00 ms" },
		{ units_format_time, 9996000, "10.0 ms" },
		{ units_format_time, 1200000000, "1.20 s" },
		{ units_format_size, 0, "0 B" },
		{ units_format_size, 1023, "1023 B" },
		{ units_format_size, 1024, "1.00 KiB" },
		{ units_format_size, 65536, "64.0 KiB" },
		{ units_format_size, 5 << 20, "5.00 MiB" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[UNITS_SIZE];
		cr_expect_str_eq(cases[i].format(text, cases[i].value), cases[i].text);
	}
	char text[UNITS_SIZE];
	cr_expect_str_eq(units_format_count(text, 980), "980");
	cr_expect_str_eq(units_format_count(text, 12345), "12.3k");
	cr_expect_str_eq(units_format_count(text, 999600), "1.00M");
	cr_expect_str_eq(units_format_time(text, UINT64_MAX), "18446744074 s", "the longest still fits");
}

Test(units, choices_match_whole_words)
{
	cr_expect_eq(option_choice(OPTION_POLICIES, "close"), RC_POLICY_CLOSE);
	cr_expect_eq(option_choice(OPTION_POLICIES, "conflate"), RC_POLICY_CONFLATE);
	cr_expect_eq(option_choice(OPTION_POLICIES, "con"), -1);
	cr_expect_eq(option_choice(OPTION_POLICIES, "close|skip"), -1);
	cr_expect_eq(option_choice(OPTION_POLICIES, ""), -1);
}

static const struct subcommand command = { .name = "test", .usage = "", .about = "", .examples = "" };

struct targets {
	bool flag;
	struct option_list list;
	unsigned ms;
	size_t size;
	int choice;
};

static int parse(struct targets *targets, char **argv, int *operand)
{
	const struct option_entry options[] = {
		{ "flag", OPTION_FLAG, &targets->flag, NULL, "" },
		{ "list", OPTION_LIST, &targets->list, "X", "" },
		{ "time", OPTION_MS, &targets->ms, "T", "" },
		{ "size", OPTION_SIZE, &targets->size, "S", "" },
		{ "choice", OPTION_CHOICE, &targets->choice, "left|right", "" },
		{ 0 },
	};
	int argc = 0;
	while (argv[argc])
		argc++;
	return options_parse(&command, options, argc, argv, operand);
}

Test(options, fill_their_targets)
{
	struct targets targets = { 0 };
	int operand = 0;
	char *argv[] = { "test",   "--flag", "--list=a", "--time", "250ms", "--list", "b",
		         "--size", "64k",    "--choice", "right",  "url",   NULL };
	cr_assert_eq(parse(&targets, argv, &operand), -1);
	cr_expect_str_eq(argv[operand], "url");
	cr_expect(targets.flag);
	cr_expect_eq(targets.list.count, 2);
	cr_expect_str_eq(targets.list.items[1], "b");
	cr_expect_eq(targets.ms, 250);
	cr_expect_eq(targets.size, 65536);
	cr_expect_eq(targets.choice, 1);
}

Test(options, wrong_ones_are_usage_errors)
{
	static char *const cases[][2] = {
		{ "--unknown", NULL },    { "--time", NULL }, { "--time", "25" },       { "--time", "1us" },
		{ "--time", "5000000s" }, { "--size", "x" },  { "--choice", "middle" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct targets targets = { 0 };
		int operand;
		char *argv[] = { "test", cases[i][0], cases[i][1], NULL };
		cr_expect_eq(parse(&targets, argv, &operand), EXIT_USAGE, "%s %s", cases[i][0], cases[i][1]);
	}
}

Test(url, bases)
{
	static const struct {
		const char *url;
		size_t size;
	} cases[] = {
		{ "ws://127.0.0.1:8080", 19 },
		{ "ws://127.0.0.1:8080/topic/a", 19 },
		{ "ws://[::1]:80?x=1", 13 },
		{ "ws+unix:/run/x.sock:", 20 },
		{ "ws+unix:/run/x.sock:/topic/a", 20 },
		{ "ws+unix:/run/x.sock", 0 },
		{ "http://127.0.0.1", 0 },
		{ "127.0.0.1:8080", 0 },
		{ "ws://", 0 },
		{ "", 0 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		cr_expect_eq(url_base_size(cases[i].url), cases[i].size, "%s", cases[i].url);
}

Test(url, names_are_encoded)
{
	static const struct {
		const char *name, *url;
	} cases[] = {
		{ "l2update:skl-usd", "ws://h:1/topic/l2update:skl-usd" },
		{ "depth@100ms", "ws://h:1/topic/depth@100ms" },
		{ "a,b", "ws://h:1/topic/a%2Cb" },
		{ "a/b?c#d", "ws://h:1/topic/a%2Fb%3Fc%23d" },
		{ "100 %", "ws://h:1/topic/100%20%25" },
		{ "\xc3\xa9", "ws://h:1/topic/%C3%A9" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *url = url_join("ws://h:1/old", 8, "/topic/", cases[i].name, strlen(cases[i].name));
		cr_assert(url);
		cr_expect_str_eq(url, cases[i].url);
		free(url);
	}
}
