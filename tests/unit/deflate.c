/* SPDX-License-Identifier: MIT
 *
 * deflate.c - one message to and from DEFLATE as RFC 7692 cuts it. The examples of the specification, blocks that end
 * anywhere, windows that are kept to, streams that are wrong, and bombs. What we compress is judged by zlib's own
 * inflate with exactly the window that was agreed.
 */
#include "deflate.h"

#include "bounds.h"
#include "check.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static struct rc_pool pool;

static void begin(void)
{
	rc_pool_init(&pool, 0, 256 * RC_MIB);
}
static void end(void)
{
	rc_pool_destroy(&pool);
}

TestSuite(deflate, .init = begin, .fini = end);

/* Inflates a message from a block of exactly its size, and compares. */
static enum rc_inflated inflate_to(struct rc_inflater *inflater, const void *from, size_t size, size_t size_max,
                                   bool takeover, const void *expected, size_t expected_size)
{
	struct rc_inflated_message message = { .data = (uint8_t *)1, .size = 1, .capacity = 1 };
	uint8_t *block = malloc(size ? size : 1);
	if (size)
		memcpy(block, from, size);
	enum rc_inflated result = rc_inflate_message(inflater, &pool, block, size, size_max, takeover, &message);
	free(block);
	if (result == RC_INFLATED) {
		cr_assert_eq(message.size, expected_size);
		cr_assert(!expected_size || memcmp(message.data, expected, expected_size) == 0);
		rc_pool_give(&pool, message.data, message.capacity);
	} else {
		cr_assert(!message.data && !message.size && !message.capacity, "nothing is kept");
	}
	cr_assert_eq(pool.used_size, 0);
	return result;
}

static enum rc_inflated once(const void *from, size_t size, const void *expected, size_t expected_size)
{
	struct rc_inflater *inflater = rc_inflater_new(15);
	enum rc_inflated result = inflate_to(inflater, from, size, 1 * RC_MIB, false, expected, expected_size);
	rc_inflater_free(inflater);
	return result;
}

/* ---- receiving ---- */

/* RFC 7692, section 7.2.3 */
Test(deflate, the_examples_of_the_specification)
{
	static const struct {
		const char *name, *bytes;
		size_t size;
	} rows[] = {
		{ "one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", 7 },
		{ "no compression", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11 },
		{ "a final block", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8 },
		{ "two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(once(rows[i].bytes, rows[i].size, "Hello", 5), RC_INFLATED, "%s", rows[i].name);
	cr_expect_eq(once("\0", 1, "", 0), RC_INFLATED, "the empty message");

	struct rc_inflater *inflater = rc_inflater_new(15);
	cr_expect_eq(inflate_to(inflater, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 100, true, "Hello", 5), RC_INFLATED);
	cr_expect_eq(inflate_to(inflater, "\xf2\x00\x11\x00\x00", 5, 100, true, "Hello", 5), RC_INFLATED,
	             "from the window");
	rc_inflater_free(inflater);
}

Test(deflate, blocks_that_end_anywhere)
{
	static const struct {
		const char *name, *bytes;
		size_t size;
		const char *text;
	} rows[] = {
		{ "empty blocks before", "\x00\x00\x00\xff\xff\x00\x00\x00\xff\xff\xf2\x48\xcd\xc9\xc9\x07\x00", 17,
		  "Hello" },
		{ "empty blocks behind", "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\x00\x00\x00\xff\xff\x00", 17,
		  "Hello" },
		{ "final, then more", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00", 14, "HelloHello" },
		{ "final twice", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 15, "HelloHello" },
		{ "an empty final block", "\x03\x00\x00", 3, "" },
		{ "stored, final",
		  "\x01\x02\x00\xfd\xff"
		  "ab\x00",
		  8, "ab" },
		{ "nothing but the cut", "\x00\x00\x00\xff\xff\x00", 6, "" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(once(rows[i].bytes, rows[i].size, rows[i].text, strlen(rows[i].text)), RC_INFLATED, "%s",
		             rows[i].name);
}

Test(deflate, malformed)
{
	static const struct {
		const char *name, *bytes;
		size_t size;
	} rows[] = {
		{ "no bytes at all", "", 0 },
		{ "a reserved block type", "\x06", 1 },
		{ "a stored block whose size is not confirmed",
		  "\x00\x05\x00\xfb\xff"
		  "Hello\x00",
		  11 },
		{ "a stored block cut short",
		  "\x00\x05\x00\xfa\xff"
		  "Hel",
		  8 },
		{ "cut within a code", "\xf2\x48\xcd\xc9", 4 },
		{ "cut before the end of the block", "\xf2\x48\xcd\xc9\xc9", 5 },
		{ "final without the byte behind it", "\xf3\x48\xcd\xc9\xc9\x07\x00", 7 },
		{ "the four bytes were not cut off", "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", 11 },
		{ "further back than there is anything", "\xf2\x00\x11\x00\x00", 5 },
		{ "a wrong distance code", "\x63\xf8\x0f\x00", 4 },
		{ "plain text", "Hello", 5 },
		{ "gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10 },
		{ "zlib", "\x78\x9c\xf3\x48\xcd\xc9\xc9\x07\x00\x05\x8c\x01\xf5", 13 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		cr_expect_eq(once(rows[i].bytes, rows[i].size, NULL, 0), RC_INFLATE_MALFORMED, "%s", rows[i].name);
}

/* Each prefix of a message is malformed or, where it ends between two blocks, a message: never something in between. */
Test(deflate, every_prefix_is_judged)
{
	uint8_t from[400], to[600];
	uint64_t seed = 7;
	for (size_t i = 0; i < sizeof from; i++)
		from[i] = (uint8_t)(below(&seed, 3) ? 'a' + below(&seed, 4) : below(&seed, 256));
	struct rc_deflater *deflater = rc_deflater_new(RC_WINDOW_15, 6);
	size_t size = rc_deflate_message(deflater, to, sizeof to, from, sizeof from, true);
	cr_assert(size);
	for (size_t known = 0; known < size; known++)
		cr_expect_eq(once(to, known, NULL, 0), RC_INFLATE_MALFORMED, "%zu of %zu", known, size);
	cr_expect_eq(once(to, size, from, sizeof from), RC_INFLATED);
	rc_deflater_free(deflater);
}

/* The inflater of many connections must show none of them what another one said. */
Test(deflate, nothing_is_left_for_the_next_message)
{
	static const char refers_back[] = "\xf2\x00\x11\x00\x00";
	struct rc_inflater *inflater = rc_inflater_new(15);
	for (unsigned i = 0; i < 4; i++) {
		cr_expect_eq(inflate_to(inflater, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 100, false, "Hello", 5),
		             RC_INFLATED);
		cr_expect_eq(inflate_to(inflater, refers_back, 5, 100, false, NULL, 0), RC_INFLATE_MALFORMED);
		cr_expect_eq(inflate_to(inflater, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 4, false, NULL, 0),
		             RC_INFLATE_TOO_BIG);
		cr_expect_eq(inflate_to(inflater, refers_back, 5, 100, i % 2, NULL, 0), RC_INFLATE_MALFORMED);
	}
	rc_inflater_free(inflater);
}

/* zlib's own compressor as the peer, with every window and both modes, flushed and ended at chance. */
Test(deflate, what_peers_may_send)
{
	uint64_t seed = seed_of("deflate peers");
	static uint8_t text[70000], to[80000];
	for (unsigned run = 0; run < 120; run++) {
		int bits = 9 + (int)below(&seed, 7);
		bool takeover = below(&seed, 2);
		z_stream peer = { 0 };
		cr_assert_eq(deflateInit2(&peer, (int)below(&seed, 10), Z_DEFLATED, -bits, 1 + (int)below(&seed, 9),
		                          Z_DEFAULT_STRATEGY),
		             Z_OK);
		struct rc_inflater *inflater = rc_inflater_new(takeover ? (unsigned)bits : 15);
		for (unsigned messages = 0; messages < 20; messages++) {
			size_t size = below(&seed, 4) ? below(&seed, 500) : below(&seed, sizeof text);
			for (size_t i = 0; i < size; i++)
				text[i] = (uint8_t)('a' + below(&seed, 2 + messages));
			if (!takeover)
				deflateReset(&peer);
			peer.next_out = to;
			peer.avail_out = sizeof to;
			for (size_t done = 0; done < size;) {
				size_t piece = 1 + below(&seed, size - done);
				static const int flushes[] = { Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FULL_FLUSH, Z_PARTIAL_FLUSH,
					                       Z_BLOCK };
				peer.next_in = text + done;
				peer.avail_in = (uInt)piece;
				deflate(&peer, flushes[below(&seed, 5)]);
				cr_assert_eq(peer.avail_in, 0);
				done += piece;
			}
			/* Ending the stream is another way (section 7.2.3.4): then one byte follows. */
			size_t made;
			bool ends = !takeover && below(&seed, 3) == 0;
			int result = deflate(&peer, ends ? Z_FINISH : Z_SYNC_FLUSH);
			made = sizeof to - peer.avail_out;
			if (ends) {
				cr_assert_eq(result, Z_STREAM_END);
				to[made++] = 0;
			} else if (made >= 4 && memcmp(to + made - 4, "\0\0\xff\xff", 4) == 0) {
				made -= 4;
			} else {
				cr_assert_eq(size, 0);
				to[made++] = 0;
			}
			cr_assert_eq(inflate_to(inflater, to, made, sizeof text, takeover, text, size), RC_INFLATED,
			             "run %u, bits %d, takeover %d, message %u of %zu", run, bits, takeover, messages,
			             size);
		}
		deflateEnd(&peer);
		rc_inflater_free(inflater);
	}
}

/* ---- bounds ---- */

Test(deflate, the_limit_is_exact)
{
	static const size_t sizes[] = { 1,    100,   4095,  4096,  4097,           8191,
		                        8192, 65535, 65536, 65537, 1 * RC_MIB - 1, 1 * RC_MIB };
	struct rc_deflater *deflater = rc_deflater_new(RC_WINDOW_15, 6);
	struct rc_inflater *inflater = rc_inflater_new(15);
	uint8_t *text = calloc(1, 1 * RC_MIB), *to = malloc(1 * RC_MIB);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t size = rc_deflate_message(deflater, to, 1 * RC_MIB, text, sizes[i], true);
		cr_assert(size);
		cr_expect_eq(inflate_to(inflater, to, size, sizes[i], false, text, sizes[i]), RC_INFLATED, "%zu",
		             sizes[i]);
		cr_expect_eq(inflate_to(inflater, to, size, sizes[i] + 1, false, text, sizes[i]), RC_INFLATED);
		cr_expect_eq(inflate_to(inflater, to, size, sizes[i] - 1, false, NULL, 0), RC_INFLATE_TOO_BIG, "%zu",
		             sizes[i]);
	}
	rc_deflater_free(deflater);
	rc_inflater_free(inflater);
	free(text);
	free(to);
}

/* 1032 to 1 is what zlib can do: 64 KB that would become 64 MB. */
Test(deflate, a_bomb_takes_no_memory)
{
	static uint8_t zeros[64 * 1024];
	uint8_t *bomb = malloc(128 * RC_KIB);
	z_stream stream = { 0 };
	deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
	stream.next_out = bomb;
	stream.avail_out = 128 * RC_KIB;
	for (unsigned i = 0; i < 1024; i++) {
		stream.next_in = zeros;
		stream.avail_in = sizeof zeros;
		deflate(&stream, i == 1023 ? Z_SYNC_FLUSH : Z_NO_FLUSH);
	}
	size_t size = 128 * RC_KIB - stream.avail_out - 4;
	deflateEnd(&stream);
	rc_pool_destroy(&pool);
	rc_pool_init(&pool, 0,
	             256 * RC_KIB); /* for a limit of 100,000: a block of it, and one half as large to grow from */
	struct rc_inflater *inflater = rc_inflater_new(15);
	cr_expect_eq(inflate_to(inflater, bomb, size, 100000, false, NULL, 0), RC_INFLATE_TOO_BIG);
	rc_pool_destroy(&pool);
	rc_pool_init(&pool, 0, 64 * RC_KIB);
	cr_expect_eq(inflate_to(inflater, bomb, size, 100000, false, NULL, 0), RC_INFLATE_NO_MEMORY);
	cr_expect_eq(inflate_to(inflater, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 100000, false, "Hello", 5), RC_INFLATED);
	rc_inflater_free(inflater);
	free(bomb);
}

/* ---- sending ---- */

static const unsigned reads_with[] = { [RC_WINDOW_8] = 8, [RC_WINDOW_9] = 9, [RC_WINDOW_12] = 12, [RC_WINDOW_15] = 15 };

/* Repeats at every distance, so that a window which is not kept to shows. */
static size_t make_text(uint8_t *text, size_t size, uint64_t *seed)
{
	size_t at = 0;
	while (at < size) {
		size_t span = 1 + below(seed, 300);
		span = RC_MIN(span, size - at);
		size_t back = at ? 1 + below(seed, at) : 0;
		uint64_t kind = below(seed, 5);
		for (size_t i = 0; i < span; i++, at++)
			text[at] = kind && back ? text[at - back] : kind == 4 ? 'x' : (uint8_t)below(seed, 256);
	}
	return size;
}

Test(deflate, a_window_is_kept_to)
{
	static uint8_t text[100000], to[200000], read[100000];
	uint64_t seed = seed_of("deflate windows");
	for (unsigned bits = 8; bits <= 15; bits++)
		cr_assert_leq(reads_with[rc_window_for(bits)], bits, "rounded down");
	for (unsigned window = 0; window < RC_WINDOW_COUNT; window++) {
		for (int level = 1; level <= 9; level++) {
			struct rc_deflater *deflater = rc_deflater_new((enum rc_window)window, level);
			struct rc_inflater *inflater = rc_inflater_new(reads_with[window]);
			cr_assert(deflater && inflater);
			for (unsigned i = 0; i < 12; i++) {
				size_t size = make_text(
				    text, i ? below(&seed, i % 3 ? 2000 : sizeof text) : sizeof text, &seed);
				size_t made = rc_deflate_message(deflater, to, rc_deflate_bound(size), text, size,
				                                 i % 4 == 0);
				cr_assert(made || !size, "the bound is one: %zu bytes, window %u, level %d", size,
				          reads_with[window], level);
				if (!made)
					continue;
				cr_assert_eq(inflate_to(inflater, to, made, sizeof text, true, text, size), RC_INFLATED,
				             "window %u, level %d", reads_with[window], level);
				if (i % 4)
					continue;
				/* zlib reads further back than it says; with a window of exactly this size in one piece
				 * it does not. */
				z_stream stream = { .next_in = to,
					            .avail_in = (uInt)made,
					            .next_out = read,
					            .avail_out = sizeof read };
				cr_assert_eq(inflateInit2(&stream, -(int)reads_with[window]), Z_OK);
				int result = inflate(&stream, Z_SYNC_FLUSH);
				cr_expect(result == Z_OK || result == Z_BUF_ERROR);
				inflateEnd(&stream);
			}
			rc_deflater_free(deflater);
			rc_inflater_free(inflater);
		}
	}
}

Test(deflate, noise_fits_in_the_bound)
{
	static uint8_t noise[70000], to[80000];
	uint64_t seed = seed_of("deflate noise");
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)chance(&seed);
	for (unsigned window = 0; window < RC_WINDOW_COUNT; window++) {
		for (int level = 1; level <= 9; level++) {
			struct rc_deflater *deflater = rc_deflater_new((enum rc_window)window, level);
			for (size_t size = 1; size <= sizeof noise; size += 1 + size / 3)
				cr_expect(rc_deflate_message(deflater, to, rc_deflate_bound(size), noise, size, true),
				          "%zu bytes, window %u, level %d", size, reads_with[window], level);
			rc_deflater_free(deflater);
		}
	}
}

Test(deflate, without_room_it_begins_anew)
{
	uint8_t noise[500], to[600];
	uint64_t seed = 3;
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (uint8_t)chance(&seed);
	struct rc_deflater *deflater = rc_deflater_new(RC_WINDOW_15, 6);
	struct rc_inflater *inflater = rc_inflater_new(15);
	cr_assert(rc_deflate_message(deflater, to, sizeof to, noise, sizeof noise, true));
	cr_expect_eq(rc_deflate_message(deflater, to, 3, noise, sizeof noise, false), 0);
	size_t size = rc_deflate_message(deflater, to, sizeof to, noise, sizeof noise, false);
	cr_expect_eq(inflate_to(inflater, to, size, 1000, false, noise, sizeof noise), RC_INFLATED,
	             "it refers to nothing that came before");
	for (size_t room = 0; room < 20; room++) {
		size_t made = rc_deflate_message(deflater, to, room, (const uint8_t *)"Hello", 5, true);
		cr_expect_leq(made, room);
		if (made)
			cr_expect_eq(inflate_to(inflater, to, made, 1000, false, "Hello", 5), RC_INFLATED);
	}
	rc_deflater_free(deflater);
	rc_inflater_free(inflater);
}

Test(deflate, the_empty_message)
{
	uint8_t to[64];
	struct rc_deflater *deflater = rc_deflater_new(RC_WINDOW_15, 6);
	cr_assert_eq(rc_deflate_message(deflater, to, sizeof to, NULL, 0, true), 1, "section 7.2.3.6");
	cr_expect_eq(to[0], 0);
	rc_deflater_free(deflater);
}
