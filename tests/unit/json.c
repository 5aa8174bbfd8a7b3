/* SPDX-License-Identifier: MIT
 *
 * json.c - RFC 8259: what is one value and what is not, against a second reader (jansson); and text as strings.
 */
#include "json.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "seed.h"

/* In a block of its own size, so that a sanitizer sees a byte too many. */
static bool is_valid(const char *text, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	memcpy(copy, text, size);
	bool valid = rc_json_valid(copy, size);
	free(copy);
	return valid;
}

Test(json, values)
{
	static const char *const good[] = {
		"0",
		"-0",
		"17",
		"-1.5e+3",
		"0.0E-7",
		"1e999",
		"\"\"",
		"\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
		"\"\\u00e9\\uD83D\\uDE00\"",
		"true",
		"false",
		"null",
		"[]",
		"{}",
		" [ 1 , [ ] , { } ] ",
		"{\"a\":1,\"b\":{\"c\":[null]}}",
		"\t\r\n 1 \n",
		"[[[[]]],{\"\":{}}]",
		"\"\x7f\"",
	};
	static const char *const bad[] = {
		"",
		" ",
		"00",
		"01",
		"-",
		"+1",
		".5",
		"1.",
		"1e",
		"1e+",
		"tru",
		"truee",
		"nul",
		"True",
		"\"",
		"\"\\\"",
		"\"\\x\"",
		"\"\\u12\"",
		"\"\\uD800\"",
		"\"\\uDC00\"",
		"\"\\uD800\\u0041\"",
		"\"\n\"",
		"[",
		"]",
		"[1",
		"[1,]",
		"[,1]",
		"{",
		"}",
		"{\"a\"}",
		"{\"a\":}",
		"{a:1}",
		"{\"a\":1,}",
		"{\"a\" 1}",
		"[1 2]",
		"1 2",
		"{}{}",
		"[}",
		"{]",
		"1,2",
		"\"a\" \"b\"",
		"/**/1",
		"NaN",
		"Infinity",
		"'a'",
		"{\"a\":1}}",
		"\"}\",\"t\":\"",
		"\v1",
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		cr_expect(is_valid(good[i], strlen(good[i])), "%s", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_expect_not(is_valid(bad[i], strlen(bad[i])), "%s", bad[i]);
	cr_expect_not(is_valid("1\0", 2));
	cr_expect_not(is_valid("\"\\\0\"", 4), "a zero byte behind a backslash");
}

Test(json, depth)
{
	for (unsigned depth = RC_JSON_DEPTH_MAX - 1; depth <= RC_JSON_DEPTH_MAX + 1; depth++) {
		char text[2 * (RC_JSON_DEPTH_MAX + 1)];
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		cr_expect_eq(is_valid(text, 2 * depth), depth <= RC_JSON_DEPTH_MAX, "%u", depth);
	}
}

/* Small pieces of JSON in any order: what passes here must pass there, and the other way round. */
Test(json, like_another_reader)
{
	static const char *const pieces[] = { "{", "}",      "[",    "]",    ",", ":",           "\"a\"", "\"b\"",
		                              "1", "-2.5", "true", "null", " ", "\"\\u0041\"", "\"",    "0" };
	uint64_t seed = seed_of("json");
	unsigned agreed = 0;
	for (unsigned round = 0; round < 200000; round++) {
		char text[64] = "";
		unsigned count = 1 + (unsigned)below(&seed, 9);
		for (unsigned i = 0; i < count; i++)
			strcat(text, pieces[below(&seed, sizeof pieces / sizeof *pieces)]);
		json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
		cr_assert_eq(is_valid(text, strlen(text)), value != NULL, "%s", text);
		agreed += value != NULL;
		json_decref(value);
	}
	cr_expect_gt(agreed, 1000);
}

Test(json, strings)
{
	char all[0x80 + 8];
	for (unsigned i = 0; i < 0x80; i++)
		all[i] = (char)i;
	memcpy(all + 0x80, "\xc3\xa9\xf0\x9f\x98\x80!", 8);
	for (size_t size = 0; size <= 0x80 + 7; size = size < 0x80 ? size + 1 : size == 0x80 ? 0x87 : size + 1) {
		size_t room = rc_json_string(NULL, all, size);
		char *text = malloc(room);
		cr_assert_eq(rc_json_string((uint8_t *)text, all, size), room);
		cr_assert(is_valid(text, room));
		json_t *value = json_loadb(text, room, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		cr_assert_eq(json_string_length(value), size);
		cr_assert_eq(memcmp(json_string_value(value), all, size), 0);
		json_decref(value);
		free(text);
	}
}

Test(json, base64)
{
	static const char *const expected[] = { "\"\"", "\"Zg==\"", "\"Zm8=\"", "\"Zm9v\"", "\"Zm9vYg==\"" };
	for (size_t size = 0; size < 5; size++) {
		char text[16] = { 0 };
		size_t room = rc_json_base64(NULL, "foob", size);
		cr_assert_eq(rc_json_base64((uint8_t *)text, "foob", size), room);
		text[room] = 0;
		cr_expect_str_eq(text, expected[size]);
	}
}
