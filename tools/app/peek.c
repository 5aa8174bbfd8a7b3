/* SPDX-License-Identifier: MIT
 *
 * peek.c - see peek.h. It does not have to see what is wrong with a message: what it takes for an id is only said back
 * to the sender.
 */
#include "peek.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"

struct scan {
	const char *text;
	size_t at, size;
};

static void skip_space(struct scan *scan)
{
	while (scan->at < scan->size && memchr(" \t\r\n", scan->text[scan->at], 4))
		scan->at++;
}

/* Behind a quoted text that begins here. Returns the size of what is between the quotes; -1: it does not end, or has an
 * escape, and is skipped all the same. */
static int take_text(struct scan *scan)
{
	size_t begin = ++scan->at;
	bool plain = true;
	for (; scan->at < scan->size && scan->text[scan->at] != '"'; scan->at++) {
		if (scan->text[scan->at] != '\\')
			continue;
		plain = false;
		scan->at++;
	}
	if (scan->at >= scan->size)
		return -1;
	scan->at++;
	return plain ? (int)(scan->at - 1 - begin) : -1;
}

static json_t *take_id(struct scan *scan)
{
	char digits[24];
	skip_space(scan);
	const char *begin = scan->text + scan->at;
	if (scan->at < scan->size && *begin == '"') {
		int size = take_text(scan);
		return size >= 0 && size <= APP_MESSAGE_ID_MAX ? json_stringn(begin + 1, (size_t)size) : NULL;
	}
	size_t size = 0;
	while (scan->at + size < scan->size && size < sizeof digits - 1 && memchr("-0123456789", begin[size], 11))
		size++;
	/* A number of which more may follow is not known. */
	if (!size || scan->at + size == scan->size || !memchr(",} \t\r\n", begin[size], 6))
		return NULL;
	memcpy(digits, begin, size);
	digits[size] = 0;
	return json_integer(strtoll(digits, NULL, 10));
}

json_t *app_peek_id(const void *bytes, size_t size)
{
	struct scan scan = { .text = bytes, .size = size < APP_PEEK_MAX ? size : APP_PEEK_MAX };
	unsigned depth = 0;
	while (scan.at < scan.size) {
		char byte = scan.text[scan.at];
		if (byte != '"') {
			depth += byte == '{' || byte == '[';
			depth -= depth && (byte == '}' || byte == ']');
			scan.at++;
			continue;
		}
		const char *key = scan.text + scan.at + 1;
		int key_size = take_text(&scan);
		skip_space(&scan);
		if (depth == 1 && key_size == 2 && memcmp(key, "id", 2) == 0 && scan.at < scan.size &&
		    scan.text[scan.at] == ':') {
			scan.at++;
			return take_id(&scan);
		}
	}
	return NULL;
}
