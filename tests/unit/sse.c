/* SPDX-License-Identifier: MIT
 *
 * sse.c - server-sent events (WHATWG HTML, section 9.2.6): whatever the message, its reader gets its lines and nothing
 * else; and their ids, there and back.
 */
#include "sse.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "seed.h"

static const struct rc_event_id none;

/* The event in a block of its own size, so that a sanitizer sees a byte too many. */
static char *event_of(struct rc_event_id id, const char *text, size_t size)
{
	size_t room = rc_sse_write(NULL, id, (const uint8_t *)text, size);
	char *event = malloc(room);
	cr_assert_eq(rc_sse_write((uint8_t *)event, id, (const uint8_t *)text, size), room);
	event = realloc(event, room + 1);
	event[room] = 0;
	return event;
}

Test(sse, events)
{
	static const struct {
		const char *text, *event;
	} expected[] = {
		{ "", "data: \n\n" },
		{ "one", "data: one\n\n" },
		{ "one\ntwo", "data: one\ndata: two\n\n" },
		{ "one\r\ntwo", "data: one\ndata: two\n\n" },
		{ "one\rtwo", "data: one\ndata: two\n\n" },
		{ "\n\r", "data: \ndata: \ndata: \n\n" },
		{ "\r\n\r\n", "data: \ndata: \ndata: \n\n" },
		{ "a\n\nid: 7\nevent: x", "data: a\ndata: \ndata: id: 7\ndata: event: x\n\n" },
		{ ": no comment", "data: : no comment\n\n" },
	};
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		char *event = event_of(none, expected[i].text, strlen(expected[i].text));
		cr_expect_str_eq(event, expected[i].event);
		free(event);
	}
	char *event = event_of((struct rc_event_id){ 0x19a3c0ffee, 42 }, "x", 1);
	cr_expect_str_eq(event, "id: 19a3c0ffee-2a\ndata: x\n\n");
	free(event);
}

/* A reader after the standard: fields up to an empty line, data joined by line feeds. */
static char *read_event(const char *event)
{
	char *data = calloc(1, strlen(event) + 1);
	unsigned lines = 0;
	for (const char *at = event; *at != '\n'; at = strchr(at, '\n') + 1) {
		cr_assert_eq(strncmp(at, "data: ", 6), 0, "a line that is no data: %.20s", at);
		cr_assert_eq(strcspn(at, "\r\n"), (size_t)(strchr(at, '\n') - at));
		if (lines++)
			strcat(data, "\n");
		strncat(data, at + 6, (size_t)(strchr(at, '\n') - at) - 6);
	}
	return data;
}

Test(sse, no_message_can_write_a_field_of_its_own)
{
	uint64_t random = seed_of("sse");
	for (unsigned round = 0; round < 20000; round++) {
		static const char letters[] = "\r\n\n\rid: ev0";
		char text[24] = { 0 }, wanted[24] = { 0 };
		size_t size = chance(&random) % (sizeof text - 1), length = 0;
		for (size_t i = 0; i < size; i++)
			text[i] = letters[chance(&random) % (sizeof letters - 1)];
		for (size_t i = 0; i < size; i++)
			if (text[i] != '\n' || !i || text[i - 1] != '\r')
				wanted[length++] = text[i] == '\r' ? '\n' : text[i];
		char *event = event_of(none, text, size), *data = read_event(event);
		cr_assert_str_eq(data, wanted);
		free(event);
		free(data);
	}
}

Test(sse, ids)
{
	struct rc_event_id id = rc_event_id("19a3c0ffee-2a");
	cr_expect_eq(id.epoch, 0x19a3c0ffee);
	cr_expect_eq(id.number, 42);
	id = rc_event_id("ffffffffffffffff-ffffffffffffffff");
	cr_expect_eq(id.number, UINT64_MAX);
	static const char *const wrong[] = { NULL,
		                             "",
		                             "-",
		                             "1",
		                             "1-",
		                             "-1",
		                             "1-2-3",
		                             "1-2 ",
		                             " 1-2",
		                             "0x1-2",
		                             "1-+2",
		                             "A-1",
		                             "10000000000000000-1",
		                             "1-10000000000000000" };
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		id = rc_event_id(wrong[i]);
		cr_expect(!id.epoch && !id.number, "%s", wrong[i]);
	}
}
