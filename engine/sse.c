/* SPDX-License-Identifier: MIT
 *
 * sse.c - see sse.h. Invariant: no line break of the message reaches the stream without "data: " behind it, so no
 * message can end its event or write a field of its own.
 */
#include "sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t put(uint8_t *to, size_t at, const void *bytes, size_t size)
{
	if (to && size)
		memcpy(to + at, bytes, size);
	return at + size;
}

/* Where the line that begins here ends: at a CR, an LF, or the end of all. */
static const uint8_t *line_end(const uint8_t *at, const uint8_t *end)
{
	const uint8_t *feed = memchr(at, '\n', (size_t)(end - at));
	const uint8_t *stop = feed ? feed : end, *back = memchr(at, '\r', (size_t)(stop - at));
	return back ? back : stop;
}

size_t rc_sse_begin(uint8_t *to, struct rc_event_id id)
{
	char line[48];
	if (!id.epoch)
		return 0;
	int size = snprintf(line, sizeof line, "id: %llx-%llx\n", (unsigned long long)id.epoch,
	                    (unsigned long long)id.number);
	return put(to, 0, line, (size_t)size);
}

size_t rc_sse_write(uint8_t *to, struct rc_event_id id, const uint8_t *text, size_t size)
{
	static const uint8_t none;
	const uint8_t *at = size ? text : &none, *end = at + size;
	size_t used = rc_sse_begin(to, id);
	for (;;) {
		const uint8_t *stop = line_end(at, end);
		used = put(to, used, "data: ", 6);
		used = put(to, used, at, (size_t)(stop - at));
		used = put(to, used, "\n", 1);
		if (stop == end)
			break;
		at = stop + (*stop == '\r' && stop + 1 < end && stop[1] == '\n' ? 2 : 1);
	}
	return put(to, used, "\n", 1);
}

struct rc_event_id rc_event_id(const char *text)
{
	const struct rc_event_id none = { 0 };
	static const char digits[] = "0123456789abcdef";
	size_t first = text ? strspn(text, digits) : 0;
	if (!first || first > 16 || text[first] != '-')
		return none;
	size_t second = strspn(text + first + 1, digits);
	if (!second || second > 16 || text[first + 1 + second])
		return none;
	return (struct rc_event_id){ strtoull(text, NULL, 16), strtoull(text + first + 1, NULL, 16) };
}
