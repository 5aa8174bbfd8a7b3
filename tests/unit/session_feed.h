/* SPDX-License-Identifier: MIT
 *
 * session_feed.h - feeds a stream to a session in pieces and writes down what came out of it, as text that can be
 * compared: "text(Hello) ping() close(1000,bye) fail(1002)". Each piece lies in a heap block of exactly its size and
 * is gone after it, so that a sanitizer sees every byte read beside it or too late.
 */
#ifndef RC_TESTS_SESSION_FEED_H
#define RC_TESTS_SESSION_FEED_H

#include "check.h"
#include "session.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRANSCRIPT_SIZE 8192

struct transcript {
	char text[TRANSCRIPT_SIZE];
	size_t size;
	size_t failed_at; /* bytes given when the FAIL came */
};

__attribute__((format(printf, 2, 3))) static inline void note(struct transcript *t, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(t->text + t->size, sizeof t->text - t->size, format, arguments);
	va_end(arguments);
	cr_assert(size >= 0 && t->size + (size_t)size < sizeof t->text, "the transcript is full");
	t->size += (size_t)size;
}

/* Short payloads as they are, long ones as size, first byte and sum. */
static inline void note_bytes(struct transcript *t, const uint8_t *bytes, size_t size)
{
	if (size > 48) {
		uint32_t sum = 2166136261u;
		bool same = true;
		for (size_t i = 0; i < size; i++) {
			sum = (sum ^ bytes[i]) * 16777619u;
			same &= bytes[i] == bytes[0];
		}
		note(t, "%zu * %c", size, bytes[0] >= ' ' && bytes[0] < 0x7f ? bytes[0] : '?');
		if (!same)
			note(t, " sum %08x", sum);
		return;
	}
	for (size_t i = 0; i < size; i++)
		note(t, bytes[i] >= ' ' && bytes[i] < 0x7f ? "%c" : "\\%02x", bytes[i]);
}

static inline void note_event(struct transcript *t, const struct rc_event *event)
{
	static const char *const names[] = { "none", "", "ping", "pong", "close", "fail" };
	const char *name = names[event->kind];
	if (event->kind == RC_EVENT_MESSAGE)
		name = event->opcode == RC_FRAME_TEXT ? "text" : "binary";
	note(t, "%s%s(", t->size ? " " : "", name);
	if (event->kind == RC_EVENT_CLOSE)
		note(t, event->size ? "%u," : "%u", event->code);
	if (event->kind == RC_EVENT_FAIL)
		note(t, "%u", event->code);
	else
		note_bytes(t, event->data, event->size);
	note(t, ")");
}

/* Feeds one piece to a session that may be over already. */
static inline void feed(struct transcript *t, struct rc_session *s, const struct rc_session_rules *rules,
                        const uint8_t *bytes, size_t size, size_t given)
{
	uint8_t *block = malloc(size ? size : 1), *at = block;
	cr_assert(block);
	if (size)
		memcpy(block, bytes, size);
	struct rc_event event;
	bool over = s->over;
	while (rc_session_next(s, rules, &at, block + size, &event) != RC_EVENT_NONE) {
		cr_assert(!over, "an event after CLOSE or FAIL");
		cr_assert(at <= block + size);
		note_event(t, &event);
		over = event.kind == RC_EVENT_CLOSE || event.kind == RC_EVENT_FAIL;
		if (event.kind == RC_EVENT_FAIL) {
			cr_assert(event.why && *event.why && strlen(event.why) <= RC_CONTROL_SIZE_MAX - 2);
			t->failed_at = given + size;
		} else {
			memset(event.data, 0xdd, event.size); /* it may be changed */
		}
	}
	cr_assert(event.kind == RC_EVENT_NONE && at == block + size, "bytes are left after NONE");
	free(block);
}

/* The pieces end at the given cuts, in rising order, and at the end. A step above 0 cuts every so many bytes. */
static inline void feed_cut(struct transcript *t, const struct rc_session_rules *rules, const uint8_t *bytes,
                            size_t size, const size_t *cuts, size_t cut_count, size_t step)
{
	struct rc_session s = { 0 };
	memset(t, 0, sizeof *t);
	size_t done = 0;
	for (size_t i = 0; i < cut_count; i++) {
		feed(t, &s, rules, bytes + done, cuts[i] - done, done);
		done = cuts[i];
	}
	while (step && size - done > step) {
		feed(t, &s, rules, bytes + done, step, done);
		done += step;
	}
	feed(t, &s, rules, bytes + done, size - done, done);
	rc_session_reset(&s, rules->pool);
	cr_assert(rc_session_at_rest(&s));
	cr_assert_eq(rules->pool->used_size, 0);
}

#endif
