/* SPDX-License-Identifier: MIT
 *
 * json.c - reading JSON without a tree: members, arrays, numbers and strings as they are, null for all that is not there
 * or malformed, and no byte read behind the end.
 */
#include "json.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char document[] =
    "{ \"a\" : 1.5 , \"total\":{\"n\":-7,\"list\":[1,[2,{\"x\":\"]}\"}],\"three\"]},\n"
    "\"text\":\"q\\\"b\\\\s\\/\\u0041\\n\\u20ac\xe2\x82\xac\",\"none\":null,\"empty\":[],\"yes\":true}";

Test(json, members)
{
	const char *total = rc_json_member(document, "total");
	cr_assert_eq(rc_json_number(rc_json_member(document, "a")), 1.5);
	cr_assert_eq(rc_json_number(rc_json_member(total, "n")), -7);
	cr_assert_not_null(rc_json_member(document, "yes"));
	cr_assert_eq(*rc_json_member(document, "none"), 'n');
	cr_assert_null(rc_json_member(document, "n"), "it is a member of a member");
	cr_assert_null(rc_json_member(document, "tota"), "a name is compared whole");
	cr_assert_null(rc_json_member(document, "totals"));
}

Test(json, arrays)
{
	const char *at = rc_json_first(rc_json_member(rc_json_member(document, "total"), "list"));
	char text[16];
	cr_assert_eq(rc_json_number(at), 1);
	at = rc_json_next(at);
	cr_assert_eq(rc_json_number(rc_json_first(at)), 2);
	cr_assert_str_eq(rc_json_text(rc_json_member(rc_json_next(rc_json_first(at)), "x"), text, sizeof text), "]}");
	at = rc_json_next(at);
	cr_assert_str_eq(rc_json_text(at, text, sizeof text), "three");
	cr_assert_null(rc_json_next(at));
	cr_assert_null(rc_json_first(rc_json_member(document, "empty")));
}

Test(json, strings)
{
	char text[32], small[4];
	const char *value = rc_json_member(document, "text");
	cr_assert_str_eq(rc_json_text(value, text, sizeof text), "q\"b\\s/A\n?\xe2\x82\xac");
	cr_assert_str_eq(rc_json_text(value, small, sizeof small), "q\"b", "cut, with its zero");
	cr_assert_str_eq(rc_json_text(rc_json_member(document, "a"), text, sizeof text), "", "a number is no string");
	cr_assert_eq(rc_json_number(value), 0, "a string is no number");
}

Test(json, nothing)
{
	char text[8];
	cr_assert_null(rc_json_member(NULL, "a"));
	cr_assert_null(rc_json_first(NULL));
	cr_assert_null(rc_json_next(NULL));
	cr_assert_eq(rc_json_number(NULL), 0);
	cr_assert_str_eq(rc_json_text(NULL, text, sizeof text), "");
	cr_assert_null(rc_json_member("[1]", "a"));
	cr_assert_null(rc_json_first("{\"a\":1}"));
}

/* Every beginning of a document, each in memory of its own so that a sanitizer sees a byte too many. */
Test(json, cut_anywhere)
{
	for (size_t size = 0; size < sizeof document; size++) {
		char *text = malloc(size + 1), out[64];
		cr_assert_not_null(text);
		memcpy(text, document, size);
		text[size] = 0;
		for (const char *at = rc_json_first(rc_json_member(rc_json_member(text, "total"), "list")); at;
		     at = rc_json_next(at))
			rc_json_text(at, out, sizeof out);
		rc_json_text(rc_json_member(text, "text"), out, sizeof out);
		rc_json_number(rc_json_member(text, "yes"));
		free(text);
	}
}

/* What the writer makes, the reader gives back. */
Test(json, there_and_back)
{
	static const char said[] = "a\"b\\c\x01\x1f\x7f\n\xc3\xa9{}[],:";
	char *text = NULL, out[64];
	size_t size;
	FILE *to = open_memstream(&text, &size);
	cr_assert_not_null(to);
	rc_json_string(to, said);
	fclose(to);
	cr_assert_str_eq(rc_json_text(text, out, sizeof out), said);
	free(text);
}
