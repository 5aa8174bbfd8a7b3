/* SPDX-License-Identifier: MIT
 *
 * quote.c - strings as RFC 8259 wants them, whatever the bytes: a table of what is written.
 */
#include "lib/quote.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

static char *written(const char *text)
{
	char *out = NULL;
	size_t size;
	FILE *to = open_memstream(&out, &size);
	cr_assert_not_null(to);
	quote_json(to, text);
	fclose(to);
	return out;
}

Test(json, strings)
{
	static const char *const cases[][2] = {
		{ "", "\"\"" },
		{ "a\"b\\c/", "\"a\\\"b\\\\c/\"" },
		{ "\x01\n\x1f\x7f", "\"\\u0001\\u000a\\u001f\\u007f\"" },
		{ "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"" },
		/* not UTF-8: alone, cut, overlong, a surrogate, beyond the last */
		{ "\x80z", "\"\\ufffdz\"" },
		{ "\xe2\x82", "\"\\ufffd\\ufffd\"" },
		{ "\xc0\xaf", "\"\\ufffd\\ufffd\"" },
		{ "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
		{ "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
		{ "\xffq", "\"\\ufffdq\"" },
	};
	for (size_t index = 0; index < sizeof cases / sizeof *cases; index++) {
		char *out = written(cases[index][0]);
		cr_assert_str_eq(out, cases[index][1], "case %zu: %s", index, out);
		free(out);
	}
}

/* Every pair of bytes: always JSON. */
Test(json, any_bytes)
{
	for (unsigned pair = 0x0101; pair <= 0xffff; pair++) {
		char text[] = { (char)(pair >> 8), (char)pair, 'x', 0 };
		char *out = written(text);
		json_t *read = json_loads(out, JSON_DECODE_ANY, NULL);
		cr_assert_not_null(read, "%04x: %s", pair, out);
		json_decref(read);
		free(out);
	}
}
