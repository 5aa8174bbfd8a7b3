/* SPDX-License-Identifier: MIT
 *
 * session_memory.c - what a session keeps, for how long, and how much a peer can make it take; and the sizes that the
 * table of session.c is too small for.
 */
#include "session_feed.h"

static struct rc_pool pool;
static struct rc_session_rules rules;

static void begin(void)
{
	rc_pool_init(&pool, 0, 256 * RC_MIB);
	rules = (struct rc_session_rules){ .message_size_max = 1 * RC_MIB, .fragments_max = 1024, .pool = &pool };
}

static void end(void)
{
	rc_pool_destroy(&pool);
}

TestSuite(session_memory, .init = begin, .fini = end);

static size_t write_frame(uint8_t *to, uint8_t opcode, bool fin, const uint8_t *payload, size_t size)
{
	struct rc_frame frame = { .size = size, .mask = 0xa1b2c3d4, .opcode = opcode, .fin = fin, .masked = true };
	size_t header = rc_frame_write(to, &frame);
	for (size_t i = 0; i < size; i++)
		to[header + i] = payload[i] ^ (uint8_t)(frame.mask >> 8 * (i % 4));
	return header + size;
}

/* A text of `size` bytes with characters of one, two and three bytes. */
static uint8_t *make_text(size_t size)
{
	uint8_t *text = malloc(size + 3);
	size_t at = 0;
	while (at < size) {
		static const char *const characters[] = { "a", "\xc3\xa4", "\xe2\x82\xac", "7" };
		const char *next = characters[at * 7 % 4];
		if (at + strlen(next) > size)
			next = "a";
		memcpy(text + at, next, strlen(next));
		at += strlen(next);
	}
	return text;
}

Test(session_memory, large_messages_in_any_pieces)
{
	static const size_t sizes[] = { 125, 126, 127, 65535, 65536, 65537, 200000, 1 * RC_MIB };
	static const size_t steps[] = { 0, 1, 3, 16 * RC_KIB, 65536 + 13 };
	struct transcript *t = malloc(sizeof *t), *whole = malloc(sizeof *whole);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		uint8_t *text = make_text(sizes[i]), *stream = malloc(sizes[i] + 64);
		size_t size = write_frame(stream, RC_FRAME_TEXT, true, text, sizes[i]);
		size += write_frame(stream + size, RC_FRAME_BINARY, true, (const uint8_t *)"end", 3);
		memset(whole, 0, sizeof *whole);
		note_event(whole,
		           &(struct rc_event){ .kind = RC_EVENT_MESSAGE, .opcode = 1, .data = text, .size = sizes[i] });
		note(whole, " binary(end)");
		for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
			feed_cut(t, &rules, stream, size, NULL, 0, steps[k]);
			cr_expect_str_eq(t->text, whole->text, "size %zu, step %zu", sizes[i], steps[k]);
		}
		free(stream);
		free(text);
	}
	free(whole);
	free(t);
}

Test(session_memory, size_limit_at_its_bound)
{
	static const size_t limits[] = { 1, 125, 126, 65535, 65536, 100000 };
	struct transcript *t = malloc(sizeof *t);
	uint8_t *payload = calloc(1, 100001), *stream = malloc(100100);
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		rules.message_size_max = limits[i];
		for (size_t over = 0; over < 2; over++) {
			size_t size = limits[i] + over, half = size / 2, first;
			size_t whole = write_frame(stream, RC_FRAME_BINARY, true, payload, size);
			for (size_t step = 0; step < 2; step++) {
				feed_cut(t, &rules, stream, whole, NULL, 0, step);
				cr_expect_eq(strcmp(t->text, "fail(1009)") == 0, over, "limit %zu: %s", limits[i],
				             t->text);
			}
			first = write_frame(stream, RC_FRAME_BINARY, false, payload, half);
			whole = first + write_frame(stream + first, RC_FRAME_CONTINUATION, true, payload, size - half);
			feed_cut(t, &rules, stream, whole, NULL, 0, 1000);
			cr_expect_eq(strcmp(t->text, "fail(1009)") == 0, over, "limit %zu, fragments", limits[i]);
		}
	}
	free(stream);
	free(payload);
	free(t);
}

Test(session_memory, fragment_limit_at_its_bound)
{
	struct transcript *t = malloc(sizeof *t);
	uint8_t stream[32 * 6];
	for (unsigned count = 1; count <= 30; count++) {
		size_t size = 0;
		for (unsigned i = 0; i < count; i++)
			size += write_frame(stream + size, i ? RC_FRAME_CONTINUATION : RC_FRAME_BINARY, i + 1 == count,
			                    NULL, 0);
		rules.fragments_max = count;
		feed_cut(t, &rules, stream, size, NULL, 0, 0);
		cr_expect_str_eq(t->text, "binary()", "%u fragments", count);
		rules.fragments_max = count - 1;
		feed_cut(t, &rules, stream, size, NULL, 0, 0);
		cr_expect_str_eq(t->text, count == 1 ? "binary()" : "fail(1009)", "%u fragments, one less allowed",
		                 count);
	}
	free(t);
}

/* One session serves all connections at rest: whatever came before, nothing of it may show. */
Test(session_memory, whole_messages_leave_no_trace)
{
	struct rc_session s = { 0 };
	struct transcript *t = calloc(1, sizeof *t);
	uint8_t stream[64];
	for (int i = 0; i < 4; i++) {
		size_t size = write_frame(stream, (uint8_t[]){ 1, 2, 9, 10 }[i], true, (const uint8_t *)"hello", 5);
		feed(t, &s, &rules, stream, size, 0);
		cr_expect(rc_session_at_rest(&s));
		cr_expect_eq(pool.used_size, 0);
	}
	cr_expect_str_eq(t->text, "text(hello) binary(hello) ping(hello) pong(hello)");
	free(t);
}

Test(session_memory, rest_ends_with_the_first_byte_and_returns_with_the_last)
{
	struct rc_session s = { 0 };
	struct transcript *t = calloc(1, sizeof *t);
	uint8_t stream[64];
	size_t size = write_frame(stream, RC_FRAME_TEXT, true, (const uint8_t *)"hello", 5);
	for (size_t i = 0; i < size; i++) {
		feed(t, &s, &rules, stream + i, 1, i);
		cr_expect_eq(rc_session_at_rest(&s), i + 1 == size);
	}
	cr_expect_eq(pool.used_size, 0, "the block went back with the call after the message");
	feed(t, &s, &rules, stream, write_frame(stream, RC_FRAME_TEXT, false, NULL, 0), 0);
	cr_expect_not(rc_session_at_rest(&s), "a message is open");
	rc_session_reset(&s, &pool);
	cr_expect(rc_session_at_rest(&s));
	free(t);
}

Test(session_memory, a_close_inside_a_message_gives_its_block_back)
{
	struct rc_session s = { 0 };
	struct transcript *t = calloc(1, sizeof *t);
	uint8_t stream[64];
	feed(t, &s, &rules, stream, write_frame(stream, RC_FRAME_TEXT, false, (const uint8_t *)"hello", 5), 0);
	cr_expect_gt(pool.used_size, 0);
	feed(t, &s, &rules, stream, write_frame(stream, RC_FRAME_CLOSE, true, NULL, 0), 0);
	cr_expect_str_eq(t->text, "close(1005)");
	cr_expect_eq(pool.used_size, 0);
	free(t);
}

Test(session_memory, over_until_reset)
{
	struct rc_session s = { 0 };
	struct transcript *t = calloc(1, sizeof *t);
	uint8_t wrong[] = { 0x83 }, stream[64];
	size_t size = write_frame(stream, RC_FRAME_TEXT, true, (const uint8_t *)"hello", 5);
	feed(t, &s, &rules, wrong, 1, 0);
	feed(t, &s, &rules, stream, size, 0);
	feed(t, &s, &rules, NULL, 0, 0);
	cr_expect_str_eq(t->text, "fail(1002)");
	cr_expect_not(rc_session_at_rest(&s));
	rc_session_reset(&s, &pool);
	feed(t, &s, &rules, stream, size, 0);
	cr_expect_str_eq(t->text, "fail(1002) text(hello)");
	free(t);
}

/* A peer that declares the largest message pays for its memory with a quarter of it in bytes. */
Test(session_memory, declaring_much_takes_little)
{
	rules.message_size_max = RC_MESSAGE_SIZE_LIMIT;
	struct rc_session s = { 0 };
	struct transcript *t = calloc(1, sizeof *t);
	uint8_t *bytes = calloc(1, 64 * RC_KIB), header[RC_FRAME_HEADER_MAX];
	struct rc_frame frame = {
		.size = RC_MESSAGE_SIZE_LIMIT, .opcode = RC_FRAME_BINARY, .fin = true, .masked = true
	};
	feed(t, &s, &rules, header, rc_frame_write(header, &frame), 0);
	cr_expect_eq(pool.used_size, 0, "nothing for a header alone");
	for (size_t sent = 0; sent < 4 * RC_MIB; sent += 64 * RC_KIB) {
		feed(t, &s, &rules, bytes, 64 * RC_KIB, 0);
		cr_expect_leq(pool.used_size, 4 * (sent + 64 * RC_KIB));
	}
	cr_expect_eq(t->size, 0);
	rc_session_reset(&s, &pool);

	frame.size = 1000;
	feed(t, &s, &rules, header, rc_frame_write(header, &frame), 0);
	feed(t, &s, &rules, bytes, 1, 0);
	cr_expect_eq(pool.used_size, 2048, "a small one is taken once, as it is declared, with room for a header");
	rc_session_reset(&s, &pool);
	free(bytes);
	free(t);
}

Test(session_memory, no_memory_is_1011)
{
	struct transcript *t = malloc(sizeof *t);
	uint8_t *payload = calloc(1, 200000), *stream = malloc(200064);
	size_t size = write_frame(stream, RC_FRAME_BINARY, true, payload, 200000);
	static const size_t bounds[] = { 0, 256, 64 * RC_KIB, 64 * RC_KIB + 128 * RC_KIB };
	for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
		pool.used_size_max = bounds[i];
		feed_cut(t, &rules, stream, size, NULL, 0, 1000);
		cr_expect_str_eq(t->text, "fail(1011)", "with %zu bytes: %s", bounds[i], t->text);
		feed_cut(t, &rules, stream, size, NULL, 0, 0);
		cr_expect_str_eq(t->text, "binary(200000 * ?)", "a message in place needs none: %s", t->text);
	}
	free(stream);
	free(payload);
	free(t);
}
