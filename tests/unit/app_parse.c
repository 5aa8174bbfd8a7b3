/* SPDX-License-Identifier: MIT
 *
 * app_parse.c - the parser of `ringcast app`: what it takes, what it refuses, its bounds, and that it reads no byte too
 * many. What comes of a text is held against what the JSON library makes of it.
 */
#include "app/parse.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* In memory of its size, so that a sanitizer sees a byte too many. */
static json_t *parse(const char *text, size_t size, const struct app_parse_bounds *bounds)
{
	char *copy = malloc(size ? size : 1);
	memcpy(copy, text, size);
	json_t *value = app_parse(copy, size, bounds);
	free(copy);
	return value;
}

static void expect(const char *text, size_t size, bool taken)
{
	json_t *value = parse(text, size, NULL);
	json_t *known = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	cr_expect_eq(value != NULL, taken, "%.*s", (int)size, text);
	cr_expect_eq(known != NULL, taken, "by the library: %.*s", (int)size, text);
	cr_expect(!value || json_equal(value, known), "another value: %.*s", (int)size, text);
	json_decref(value);
	json_decref(known);
}

Test(app_parse, what_is_taken)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		" \t\r\n[ ] \n",
		"{\"a\":1}",
		"{ \"a\" : [ 1 , 2 ] , \"b\" : { } }",
		"{\"\":\"\"}",
		"[true,false,null]",
		"[0,-0,10,-1,9223372036854775807,-9223372036854775808]",
		"[0.5,-0.0,1e5,1E+5,1e-5,1.25e2,1e-400,123456789012345678901234567890.0]",
		"[0.1000000000000000055511151231257827021181583404541015625000000000000000000000000000]",
		"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
		"[\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\\u0000\"]",
		"{\"\\u0061\":1,\"b\\nc\":\"x\"}",
		"[\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"]",
		"[\"seven..\",\"eight...\",\"nine....\",\"sixteen........\\\"\"]",
		"[[[[[[[[[[]]]]]]]]]]",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		expect(texts[i], strlen(texts[i]), true);
}

Test(app_parse, what_is_refused)
{
	static const char *const texts[] = {
		"",
		" ",
		"1",
		"\"a\"",
		"true",
		"null",
		"{",
		"[",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"[1 2]",
		"[[1]x]",
		"[[[1]x]",
		"{]",
		"[}",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{a:1}",
		"{'a':1}",
		"{\"a\" 1}",
		"{\"a\":1 \"b\":2}",
		"{\"a\":1,\"a\":2}",
		"{\"a\":1,\"\\u0061\":2}",
		"{\"\\u0000\":1}",
		"{1:2}",
		"[]x",
		"[][]",
		"{}{}",
		"[01]",
		"[-]",
		"[-01]",
		"[+1]",
		"[.5]",
		"[1.]",
		"[1.e5]",
		"[1e]",
		"[1e+]",
		"[0x10]",
		"[1_0]",
		"[9223372036854775808]",
		"[-9223372036854775809]",
		"[99999999999999999999]",
		"[1e400]",
		"[-1e400]",
		"[NaN]",
		"[Infinity]",
		"[tru]",
		"[truex]",
		"[True]",
		"[nul]",
		"[\"a]",
		"[\"\\\"]",
		"[\"\\",
		"[\"\\x\"]",
		"[\"\\U0041\"]",
		"[\"\\u004\"]",
		"[\"\\u004g\"]",
		"[\"\\ud83d\"]",
		"[\"\\ude00\"]",
		"[\"\\ud83dx\"]",
		"[\"\\ud83d\\u0041\"]",
		"[\"\\ud83d\\ud83d\"]",
		"[\"\n\"]",
		"[\"\x1f\"]",
		"[\"a\\nb\x01\"]",
		"[\"\xff\"]",
		"[\"\xc0\x80\"]",
		"[\"\xed\xa0\x80\"]",
		"[1]\xff",
		"\xef\xbb\xbf[]",
		"/**/[]",
		"[1//\n]",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		expect(texts[i], strlen(texts[i]), false);
	expect("[1]\0", 4, false);
	expect("[\"\0\"]", 5, false);
	/* Of these the library overlooks the zero byte. */
	cr_expect_null(parse("[1\0]", 4, NULL));
	cr_expect_null(parse("[true\0,2]", 9, NULL));
}

/* Each beginning of a text is no text, and is read no further. */
Test(app_parse, what_is_cut_off)
{
	static const char text[] =
	    "{\"type\":\"a\\n\\ud83d\\ude00b\",\"n\":[-12.5e+3,true,null,{\"k\":[]}],\"long text\":\"0123456789\"}";
	for (size_t size = 0; size < sizeof text - 1; size++)
		expect(text, size, false);
	expect(text, sizeof text - 1, true);
}

Test(app_parse, bounds)
{
	const struct app_parse_bounds bounds = { .depth_max = 3, .values_max = 5 };
	static const struct {
		const char *text;
		bool taken;
	} cases[] = {
		{ "[[[1]]]", true },         { "[[[[]]]]", false },      { "[[],[],[]]", false },
		{ "[1,2,3,4,5]", true },     { "[1,2,3,4,5,6]", false }, { "{\"a\":[[]]}", true },
		{ "[\",[{,[{,[{\"]", true }, { "[{},[],[1]]", false },   { "[{},[1]]", true },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *value = parse(cases[i].text, strlen(cases[i].text), &bounds);
		cr_expect_eq(value != NULL, cases[i].taken, "%s", cases[i].text);
		json_decref(value);
	}
}

/* As deep as a stack may be made by whoever has the API's key. */
Test(app_parse, as_deep_as_the_library)
{
	char text[2 * (JSON_PARSER_MAX_DEPTH + 1)];
	for (size_t depth = JSON_PARSER_MAX_DEPTH; depth <= JSON_PARSER_MAX_DEPTH + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		expect(text, 2 * depth, depth == JSON_PARSER_MAX_DEPTH);
	}
}

Test(app_parse, one_behind_the_other)
{
	static const char text[] = " {\"a\":1}\n[2]{}";
	size_t at = 0, used, count = 0;
	json_t *value;
	while ((value = app_parse_value(text + at, sizeof text - 1 - at, NULL, &used))) {
		json_decref(value);
		at += used;
		count++;
	}
	cr_expect_eq(count, 3);
	cr_expect_eq(at, sizeof text - 1);
}

/* What could be text, with a byte changed, left out or doubled. */
Test(app_parse, at_random)
{
	static const char *const pieces[] = { "{",  "}",     "[",    "]",    ",",     ":", "\"a\"", "\"\\u00e9\"",
		                              "1",  "-2.5",  "1e3",  "true", "null",  " ", "\"b\"", "\\",
		                              "\"", "\\ud8", "\xc3", "\xa9", "\"\":", "0", "[1,2]", "{\"c\":3}" };
	uint64_t seed = seed_of("app_parse");
	for (unsigned turn = 0; turn < 50000; turn++) {
		char text[256] = "[";
		size_t size = 1;
		for (unsigned i = below(&seed, 12); i; i--) {
			const char *piece = pieces[below(&seed, sizeof pieces / sizeof *pieces)];
			size += strlen(strcpy(text + size, piece));
		}
		text[size++] = ']';
		json_t *known = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
		expect(text, size, known != NULL);
		json_decref(known);
	}
}
