/* SPDX-License-Identifier: MIT
 *
 * session_placed.c - payloads that come right where the session gathers them: the events are those of the same bytes
 * taken otherwise, and nobody gets memory that it did not get before.
 */
#include "seed.h"
#include "session_feed.h"

#define STREAM_SIZE_MAX (3 * RC_MIB)

static struct rc_pool pool;
static struct rc_session_rules rules;
static uint8_t *stream;

static void begin(void)
{
	rc_pool_init(&pool, 0, 256 * RC_MIB);
	rules = (struct rc_session_rules){ .message_size_max = 1 * RC_MIB, .fragments_max = 1024, .pool = &pool };
	stream = malloc(STREAM_SIZE_MAX);
}

static void end(void)
{
	free(stream);
	rc_pool_destroy(&pool);
}

TestSuite(session_placed, .init = begin, .fini = end);

static size_t put(size_t at, uint8_t opcode, bool fin, size_t size, uint32_t mask)
{
	static const char characters[] = "abcdef\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80.."; /* 17 bytes */
	struct rc_frame frame = { .size = size, .mask = mask, .opcode = opcode, .fin = fin, .masked = true };
	at += rc_frame_write(stream + at, &frame);
	/* Whole rounds of all characters, and ASCII after them. */
	for (size_t i = 0; i < size; i++) {
		uint8_t byte = i < size / 17 * 17 ? (uint8_t)characters[i % 17] : 'x';
		stream[at + i] = byte ^ (uint8_t)(mask >> 8 * (i % 4));
	}
	return at + size;
}

/* Feeds the stream in pieces, and puts some of them where they belong. Returns how many bytes went that way. */
static size_t feed_placing(struct transcript *t, struct rc_session *s, size_t size, uint64_t *random)
{
	size_t placed = 0;
	for (size_t done = 0; done < size;) {
		size_t left = size - done, piece = 1 + below(random, 40000);
		uint8_t *to;
		size_t room = below(random, 4) ? rc_session_place(s, &rules, &to) : 0;
		struct rc_event event;
		if (!room) {
			piece = RC_MIN(piece, left);
			feed(t, s, &rules, stream + done, piece, done);
			done += piece;
			continue;
		}
		piece = below(random, 3) ? 1 + below(random, room) : room;
		piece = RC_MIN(piece, left);
		memcpy(to, stream + done, piece);
		done += piece;
		placed += piece;
		if (rc_session_placed(s, &rules, piece, &event) != RC_EVENT_NONE)
			note_event(t, &event);
		if (event.kind == RC_EVENT_FAIL)
			t->failed_at = done;
	}
	return placed;
}

Test(session_placed, the_events_are_the_same)
{
	struct transcript *whole = malloc(sizeof *whole), *t = malloc(sizeof *t);
	uint64_t random = seed_of("session_placed");
	size_t placed = 0;
	for (unsigned round = 0; round < 60; round++) {
		size_t size = 0;
		for (unsigned i = 0; i < 4; i++) {
			unsigned frames = 1 + (unsigned)below(&random, 3);
			uint8_t opcode = below(&random, 2) ? RC_FRAME_TEXT : RC_FRAME_BINARY;
			for (unsigned k = 0; k < frames; k++) {
				size_t part = below(&random, below(&random, 2) ? 200 : 200000);
				size = put(size, k ? RC_FRAME_CONTINUATION : opcode, k + 1 == frames, part,
				           (uint32_t)chance(&random));
				if (below(&random, 3) == 0)
					size = put(size, RC_FRAME_PING, true, below(&random, 100), 0x12345678);
			}
		}
		if (below(&random, 2))
			stream[below(&random, size)] ^= 0x80;
		rules.ahead = below(&random, 2) ? 1 * RC_MIB : 0;
		feed_cut(whole, &rules, stream, size, NULL, 0, 0);
		struct rc_session s = { 0 };
		memset(t, 0, sizeof *t);
		placed += feed_placing(t, &s, size, &random);
		rc_session_reset(&s, &pool);
		cr_expect_str_eq(t->text, whole->text, "round %u: %s, and not %s", round, t->text, whole->text);
		cr_expect_eq(pool.used_size, 0);
	}
	cr_expect_gt(placed, 1 * RC_MIB, "too little came where it belongs to prove anything");
	free(whole);
	free(t);
}

Test(session_placed, what_has_no_place)
{
	struct rc_session s = { 0 };
	struct transcript *t = calloc(1, sizeof *t);
	uint8_t *to;
	cr_expect_eq(rc_session_place(&s, &rules, &to), 0, "at rest");
	put(0, RC_FRAME_BINARY, true, RC_PLACED_SIZE_MIN + 100, 7);
	feed(t, &s, &rules, stream, 2, 0);
	cr_expect_eq(rc_session_place(&s, &rules, &to), 0, "half a header");
	feed(t, &s, &rules, stream + 2, 6, 0);
	cr_expect_eq(rc_session_place(&s, &rules, &to), 0, "a header alone");
	cr_expect_eq(pool.used_size, 0);
	feed(t, &s, &rules, stream + 8, 100, 0);
	cr_expect_eq(rc_session_place(&s, &rules, &to), RC_PLACED_SIZE_MIN, "all of the rest");
	feed(t, &s, &rules, stream + 108, 1, 0);
	cr_expect_eq(rc_session_place(&s, &rules, &to), 0, "a short rest");
	rc_session_reset(&s, &pool);
	put(0, RC_FRAME_PING, true, 125, 7);
	feed(t, &s, &rules, stream, 20, 0);
	cr_expect_eq(rc_session_place(&s, &rules, &to), 0, "a control frame");
	rc_session_reset(&s, &pool);
	pool.used_size_max = 64 * RC_KIB;
	put(0, RC_FRAME_BINARY, true, 500000, 7);
	feed(t, &s, &rules, stream, 60000, 0);
	cr_expect_eq(rc_session_place(&s, &rules, &to), 0, "memory is out");
	feed(t, &s, &rules, stream + 60000, 1000, 0);
	cr_expect_str_eq(t->text, "", "which is no reason to end what still fits");
	rc_session_reset(&s, &pool);
	free(t);
}

/* The largest message declared gets four times what it has filled, or what its peer filled before. */
Test(session_placed, declaring_much_takes_little)
{
	struct rc_session s = { 0 };
	struct transcript *t = calloc(1, sizeof *t);
	uint8_t *to, header[RC_FRAME_HEADER_MAX + 1];
	rules.message_size_max = RC_MESSAGE_SIZE_LIMIT;
	struct rc_frame frame = {
		.size = RC_MESSAGE_SIZE_LIMIT, .opcode = RC_FRAME_BINARY, .fin = true, .masked = true
	};
	size_t size = rc_frame_write(header, &frame);
	header[size] = 1;
	feed(t, &s, &rules, header, size, 0);
	feed(t, &s, &rules, header + size, 1, 0);
	for (size_t had = 1; had < 8 * RC_MIB;) {
		size_t room = rc_session_place(&s, &rules, &to);
		struct rc_event event;
		cr_assert_gt(room, 0);
		cr_expect_leq(pool.used_size, RC_MAX(64 * RC_KIB, 4 * had + RC_PLACED_SIZE_MIN));
		memset(to, 0, room);
		cr_expect_eq(rc_session_placed(&s, &rules, room, &event), RC_EVENT_NONE);
		had += room;
	}
	rc_session_reset(&s, &pool);
	rules.ahead = 256 * RC_KIB;
	feed(t, &s, &rules, header, size, 0);
	cr_expect_eq(pool.used_size, 0);
	cr_expect_geq(rc_session_place(&s, &rules, &to), 256 * RC_KIB);
	cr_expect_leq(pool.used_size, 512 * RC_KIB);
	rc_session_reset(&s, &pool);
	free(t);
}
