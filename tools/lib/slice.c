/* SPDX-License-Identifier: MIT
 *
 * slice.c - see slice.h. Invariant: nothing is read behind the end of the text, whatever it holds.
 */
#include "slice.h"

#include <string.h>

static const char *skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
		at++;
	return at;
}

static const char *skip_string(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		at += *at == '\\' && at + 1 < end;
	return at < end ? at + 1 : end;
}

static const char *skip_value(const char *at, const char *end)
{
	size_t depth = 0;
	if (at < end && *at == '"')
		return skip_string(at, end);
	for (; at < end; at++) {
		if (*at == '"')
			at = skip_string(at, end) - 1;
		else if (*at == '[' || *at == '{')
			depth++;
		else if (!depth && strchr(",]} \t\r\n", *at))
			break;
		else if ((*at == ']' || *at == '}') && !--depth)
			return at + 1;
	}
	return at;
}

struct slice slice_value(const char *text, size_t size)
{
	const char *end = text + size, *at = skip_space(text, end);
	return (struct slice){ at, (size_t)(skip_value(at, end) - at) };
}

struct slice slice_member(struct slice object, const char *name)
{
	const char *end = object.text + object.size, *at = object.text + 1;
	size_t name_size = strlen(name);
	while ((at = skip_space(at, end)) < end && *at == '"') {
		const char *begin = at + 1;
		at = skip_string(at, end);
		bool found = (size_t)(at - 1 - begin) == name_size && memcmp(begin, name, name_size) == 0;
		at = skip_space(at, end);
		struct slice value = slice_value(at + 1, at < end ? (size_t)(end - at - 1) : 0);
		if (found)
			return value;
		at = skip_space(value.text + value.size, end);
		at += at < end && *at == ',';
	}
	return (struct slice){ 0 };
}

struct slice slice_next(struct slice array, struct slice before)
{
	const char *end = array.text + array.size;
	const char *at = skip_space(before.text ? before.text + before.size : array.text + 1, end);
	if (before.text && at < end && *at == ',')
		at = skip_space(at + 1, end);
	if (at >= end || *at == ']')
		return (struct slice){ 0 };
	return slice_value(at, (size_t)(end - at));
}
