/* SPDX-License-Identifier: MIT
 *
 * session_deflate.c - messages marked as compressed (RFC 7692, section 6): where the mark may stand, that it belongs to
 * the message and not to a frame, that what is compressed is not judged as text, and that none of this depends on how
 * the bytes came.
 */
#include "session_feed.h"

static struct rc_pool pool;

static void begin(void)
{
	rc_pool_init(&pool, 0, 64 * RC_MIB);
}
static void end(void)
{
	rc_pool_destroy(&pool);
}

TestSuite(session_deflate, .init = begin, .fini = end);

#define MASK "\x80\x00\x00\x00\x00" /* and no payload */

/* "text(...)" for plain messages and "TEXT(...)" for compressed ones. */
static void feed_all(char *to, size_t to_size, const struct rc_session_rules *rules, const uint8_t *bytes, size_t size,
                     size_t step)
{
	struct rc_session session = { 0 };
	size_t used = 0;
	to[0] = 0;
	for (size_t at = 0; at < size; at += step) {
		size_t piece = RC_MIN(step, size - at);
		uint8_t *block = malloc(piece), *from = block;
		memcpy(block, bytes + at, piece);
		struct rc_event event;
		while (rc_session_next(&session, rules, &from, block + piece, &event) != RC_EVENT_NONE) {
			struct transcript one = { .size = 0 };
			note_event(&one, &event);
			if (event.kind == RC_EVENT_MESSAGE && event.compressed)
				for (char *c = one.text; *c != '('; c++)
					*c = (char)(*c - 'a' + 'A');
			used += (size_t)snprintf(to + used, to_size - used, "%s%s", used ? " " : "", one.text);
		}
		free(block);
	}
	rc_session_reset(&session, &pool);
	cr_assert_eq(pool.used_size, 0);
}

struct row {
	const char *bytes;
	size_t size;
	const char *events;
};
#define ROW(bytes, events)                                                                                             \
	{                                                                                                              \
		bytes, sizeof(bytes) - 1, events                                                                       \
	}

static void check(const struct row *rows, size_t count, bool deflate)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t step = 1; step <= rows[i].size; step++) {
			char events[1024];
			const struct rc_session_rules rules = {
				.message_size_max = 100, .fragments_max = 4, .deflate = deflate, .pool = &pool
			};
			feed_all(events, sizeof events, &rules, (const uint8_t *)rows[i].bytes, rows[i].size, step);
			cr_expect_str_eq(events, rows[i].events, "row %zu in steps of %zu: %s instead of %s", i, step,
			                 events, rows[i].events);
		}
	}
}

Test(session_deflate, where_the_mark_may_stand)
{
	static const struct row rows[] = {
		ROW("\xc1\x81\0\0\0\0x", "TEXT(x)"),
		ROW("\xc2\x81\0\0\0\0x", "BINARY(x)"),
		ROW("\xc1" MASK, "TEXT()"),
		ROW("\x81\x81\0\0\0\0x\xc1\x81\0\0\0\0y\x81\x81\0\0\0\0z", "text(x) TEXT(y) text(z)"),
		/* on the first frame only, for all of them */
		ROW("\x41\x81\0\0\0\0x\x80\x81\0\0\0\0y", "TEXT(xy)"),
		ROW("\x42\x81\0\0\0\0x\x00\x81\0\0\0\0y\x80" MASK "\x82\x81\0\0\0\0z", "BINARY(xy) binary(z)"),
		ROW("\x41" MASK "\x89" MASK "\x80\x81\0\0\0\0y", "ping() TEXT(y)"),
		ROW("\x01\x81\0\0\0\0x\x80\x81\0\0\0\0y\x41\x81\0\0\0\0z\x80" MASK, "text(xy) TEXT(z)"),
		ROW("\x41\x81\0\0\0\0x\xc0\x81\0\0\0\0y", "fail(1002)"),
		ROW("\x41\x81\0\0\0\0x\x40\x81\0\0\0\0y", "fail(1002)"),
		ROW("\x01\x81\0\0\0\0x\xc0\x81\0\0\0\0y", "fail(1002)"),
		ROW("\xc0\x81\0\0\0\0x", "fail(1002)"),
		/* not on control frames, and no other bit anywhere */
		ROW("\xc9" MASK, "fail(1002)"),
		ROW("\xca" MASK, "fail(1002)"),
		ROW("\xc8" MASK, "fail(1002)"),
		ROW("\xc3" MASK, "fail(1002)"),
		ROW("\x41\x81\0\0\0\0x\xc9" MASK, "fail(1002)"),
		ROW("\xa1\x81\0\0\0\0x", "fail(1002)"),
		ROW("\x91\x81\0\0\0\0x", "fail(1002)"),
		ROW("\xe1\x81\0\0\0\0x", "fail(1002)"),
		ROW("\xd1\x81\0\0\0\0x", "fail(1002)"),
		ROW("\xf2\x81\0\0\0\0x", "fail(1002)"),
	};
	check(rows, sizeof rows / sizeof *rows, true);
}

Test(session_deflate, nowhere_without_the_extension)
{
	static const struct row rows[] = {
		ROW("\xc1\x81\0\0\0\0x", "fail(1002)"),
		ROW("\xc2" MASK, "fail(1002)"),
		ROW("\x41\x81\0\0\0\0x\x80\x81\0\0\0\0y", "fail(1002)"),
		ROW("\x81\x81\0\0\0\0x\xc1\x81\0\0\0\0y", "text(x) fail(1002)"),
	};
	check(rows, sizeof rows / sizeof *rows, false);
}

Test(session_deflate, what_is_compressed_is_no_text_yet)
{
	static const struct row rows[] = {
		ROW("\xc1\x82\0\0\0\0\xff\xfe", "TEXT(\\ff\\fe)"),
		ROW("\x41\x81\0\0\0\0\xff\x80\x81\0\0\0\0\xc3", "TEXT(\\ff\\c3)"),
		ROW("\xc1\x81\0\0\0\0\xe2\x81\x82\0\0\0\0\x82\xac", "TEXT(\\e2) fail(1007)"),
		ROW("\x41\x81\0\0\0\0\xff\x80" MASK "\x81\x82\0\0\0\0\xff\xfe", "TEXT(\\ff) fail(1007)"),
		ROW("\x41\x81\0\0\0\0\xff\x88\x83\0\0\0\0\x03\xe8\xff", "fail(1007)"),
		ROW("\xc1\x82\x01\x02\x03\x04xx", "TEXT(yz)"),
	};
	check(rows, sizeof rows / sizeof *rows, true);
}

/* Noise does not shrink: a message of the largest size comes a little larger, and no more than that. */
Test(session_deflate, sizes)
{
	static const struct {
		size_t size_max, size;
		bool compressed, taken;
	} rows[] = {
		{ 100, 100, false, true },
		{ 100, 101, false, false },
		{ 100, 105, true, true },
		{ 100, 200, true, false },
		{ 1 * RC_MIB, 1 * RC_MIB, false, true },
		{ 1 * RC_MIB, 1 * RC_MIB + 1, false, false },
		{ 1 * RC_MIB, 1 * RC_MIB + 5 * (RC_MIB / 127 + 1), true, true },
		{ 1 * RC_MIB, 2 * RC_MIB, true, false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (unsigned cut = 0; cut < 2; cut++) {
			const struct rc_session_rules rules = {
				.message_size_max = rows[i].size_max, .fragments_max = 4, .deflate = true, .pool = &pool
			};
			char events[128];
			uint8_t *bytes = calloc(1, rows[i].size + 64);
			size_t first = cut ? rows[i].size / 2 : rows[i].size, size;
			struct rc_frame frame = { .fin = !cut,
				                  .opcode = RC_FRAME_BINARY,
				                  .masked = true,
				                  .size = first,
				                  .rsv = rows[i].compressed ? RC_FRAME_RSV1 : 0 };
			size = rc_frame_write(bytes, &frame) + first;
			if (cut) {
				frame = (struct rc_frame){ .fin = true, .masked = true, .size = rows[i].size - first };
				size += rc_frame_write(bytes + size, &frame) + rows[i].size - first;
			}
			feed_all(events, sizeof events, &rules, bytes, size, 16 * RC_KIB);
			cr_expect_eq(strncmp(events,
			                     rows[i].taken ? rows[i].compressed ? "BINARY(" : "binary(" : "fail(1009)",
			                     7),
			             0, "row %zu: %s", i, events);
			free(bytes);
		}
	}
}
