/* SPDX-License-Identifier: MIT
 *
 * session.c - the rules of RFC 6455, sections 5, 7 and 8, as a table of streams and what a receiver must make of them.
 * Every row is fed in both roles: whole, byte by byte, at every cut in two, and, where it is short, in three. The
 * events must be the same, and a wrong byte must be found by the very call that brought it.
 */
#include "session_feed.h"

#define FRAMES_MAX 8
#define STREAM_SIZE 4096
#define CUT_IN_THREE_MAX 48

/* A frame without mask, as bytes. It is masked for a session in the role of a server. */
struct bytes {
	const char *text;
	size_t size;
};
#define B(literal)                                                                                                     \
	{                                                                                                              \
		literal, sizeof(literal) - 1                                                                           \
	}
#define F(header, payload)                                                                                             \
	{                                                                                                              \
		B(header), B(payload)                                                                                  \
	}

struct row {
	const char *rule;
	struct {
		struct bytes header, payload;
	} frames[FRAMES_MAX];
	const char *events;
	size_t wrong; /* of a stream that fails: its bytes, unmasked, up to and with the wrong one */
};

#define A61 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A62 A61 "a"
#define A75 A62 "aaaaaaaaaaaaa"
#define A124 A62 A62
#define A125 A124 "a"
#define A126 A125 "a"

/* In the table messages may have 200 bytes and 4 fragments. */
static const struct row rows[] = {
	/* 5.6: data frames */
	{ "text", { F("\x81\x05", "Hello") }, "text(Hello)", 0 },
	{ "binary is not judged", { F("\x82\x03", "\x00\xff\x80") }, "binary(\\00\\ff\\80)", 0 },
	{ "empty text", { F("\x81\x00", "") }, "text()", 0 },
	{ "empty binary", { F("\x82\x00", "") }, "binary()", 0 },
	{ "a row of messages",
	  { F("\x81\x01", "a"), F("\x82\x01", "b"), F("\x81\x00", ""), F("\x81\x01", "c") },
	  "text(a) binary(b) text() text(c)",
	  0 },
	{ "an incomplete message is no event", { F("\x81\x01", "a"), F("\x81\x05", "Hell") }, "text(a)", 0 },

	/* 5.2: lengths */
	{ "7 bit length, most", { F("\x82\x7d", A125) }, "binary(125 * a)", 0 },
	{ "16 bit length, least", { F("\x82\x7e\x00\x7e", A126) }, "binary(126 * a)", 0 },
	{ "16 bit length, too short", { F("\x82\x7e\x00\x7d", A125) }, "fail(1002)", 4 },
	{ "16 bit length of 0", { F("\x82\x7e\x00\x00", "") }, "fail(1002)", 4 },
	{ "64 bit length, too short", { F("\x82\x7f\0\0\0\0\0\0\xff\xff", "aa") }, "fail(1009)", 2 },

	/* 5.2: reserved bits and opcodes */
	{ "RSV1", { F("\xc1\x01", "a") }, "fail(1002)", 1 },
	{ "RSV2", { F("\xa1\x01", "a") }, "fail(1002)", 1 },
	{ "RSV3", { F("\x91\x01", "a") }, "fail(1002)", 1 },
	{ "RSV1 of a Ping", { F("\xc9\x00", "") }, "fail(1002)", 1 },
	{ "RSV1 of a continuation", { F("\x01\x01", "a"), F("\xc0\x01", "a") }, "fail(1002)", 4 },
	{ "opcode 3", { F("\x83\x00", "") }, "fail(1002)", 1 },
	{ "opcode 4", { F("\x84\x00", "") }, "fail(1002)", 1 },
	{ "opcode 5", { F("\x85\x00", "") }, "fail(1002)", 1 },
	{ "opcode 6", { F("\x86\x00", "") }, "fail(1002)", 1 },
	{ "opcode 7", { F("\x87\x00", "") }, "fail(1002)", 1 },
	{ "opcode 11", { F("\x8b\x00", "") }, "fail(1002)", 1 },
	{ "opcode 12", { F("\x8c\x00", "") }, "fail(1002)", 1 },
	{ "opcode 13", { F("\x8d\x00", "") }, "fail(1002)", 1 },
	{ "opcode 14", { F("\x8e\x00", "") }, "fail(1002)", 1 },
	{ "opcode 15", { F("\x8f\x00", "") }, "fail(1002)", 1 },
	{ "opcode 3 without FIN", { F("\x03\x00", "") }, "fail(1002)", 1 },
	{ "what came before a fault", { F("\x81\x01", "a"), F("\x83\x00", "") }, "text(a) fail(1002)", 4 },

	/* 5.4: fragments */
	{ "two fragments", { F("\x01\x03", "Hel"), F("\x80\x02", "lo") }, "text(Hello)", 0 },
	{ "empty fragments",
	  { F("\x02\x00", ""), F("\x00\x01", "a"), F("\x00\x00", ""), F("\x80\x00", "") },
	  "binary(a)",
	  0 },
	{ "nothing but empty fragments", { F("\x01\x00", ""), F("\x80\x00", "") }, "text()", 0 },
	{ "two messages in fragments",
	  { F("\x01\x01", "a"), F("\x80\x01", "b"), F("\x02\x01", "c"), F("\x80\x01", "d"), F("\x81\x01", "e") },
	  "text(ab) binary(cd) text(e)",
	  0 },
	{ "continuation of nothing", { F("\x80\x01", "a") }, "fail(1002)", 1 },
	{ "continuation of nothing, without FIN", { F("\x00\x01", "a") }, "fail(1002)", 1 },
	{ "continuation of a whole message", { F("\x81\x01", "a"), F("\x80\x01", "a") }, "text(a) fail(1002)", 4 },
	{ "continuation after the last",
	  { F("\x01\x00", ""), F("\x80\x00", ""), F("\x80\x00", "") },
	  "text() fail(1002)",
	  5 },
	{ "text inside a text", { F("\x01\x01", "a"), F("\x81\x01", "a") }, "fail(1002)", 4 },
	{ "binary inside a text", { F("\x01\x01", "a"), F("\x02\x01", "a") }, "fail(1002)", 4 },
	{ "most fragments",
	  { F("\x01\x01", "a"), F("\x00\x01", "b"), F("\x00\x01", "c"), F("\x80\x01", "d"), F("\x81\x01", "e") },
	  "text(abcd) text(e)",
	  0 },
	{ "a fragment too many",
	  { F("\x01\x00", ""), F("\x00\x00", ""), F("\x00\x00", ""), F("\x00\x00", ""), F("\x80\x00", "") },
	  "fail(1009)",
	  9 },

	/* 5.5: control frames */
	{ "Ping", { F("\x89\x05", "Hello") }, "ping(Hello)", 0 },
	{ "Pong", { F("\x8a\x05", "Hello") }, "pong(Hello)", 0 },
	{ "empty Ping and Pong", { F("\x89\x00", ""), F("\x8a\x00", "") }, "ping() pong()", 0 },
	{ "longest Ping", { F("\x89\x7d", A125) }, "ping(125 * a)", 0 },
	{ "Ping of 126 bytes", { F("\x89\x7e\x00\x7e", A126) }, "fail(1002)", 2 },
	{ "Pong with a 64 bit length", { F("\x8a\x7f\0\0\0\0\0\x01\0\0", "") }, "fail(1002)", 2 },
	{ "Close of 126 bytes", { F("\x88\x7e\x00\x7e", A126) }, "fail(1002)", 2 },
	{ "Ping without FIN", { F("\x09\x00", "") }, "fail(1002)", 1 },
	{ "Pong without FIN", { F("\x0a\x00", "") }, "fail(1002)", 1 },
	{ "Close without FIN", { F("\x08\x00", "") }, "fail(1002)", 1 },
	{ "control frames inside a message",
	  { F("\x01\x02", "\xe2\x82"), F("\x89\x02", "\xff\x80"), F("\x8a\x00", ""), F("\x80\x01", "\xac") },
	  "ping(\\ff\\80) pong() text(\\e2\\82\\ac)",
	  0 },
	{ "Close inside a message", { F("\x01\x02", "\xe2\x82"), F("\x88\x03", "\x03\xe8!") }, "close(1000,!)", 0 },

	/* 5.5.1 and 7.4: Close */
	{ "Close without code", { F("\x88\x00", "") }, "close(1005)", 0 },
	{ "Close of one byte", { F("\x88\x01", "\x03") }, "fail(1002)", 2 },
	{ "Close with code", { F("\x88\x02", "\x03\xe8") }, "close(1000)", 0 },
	{ "longest Close", { F("\x88\x7d", "\x0f\xa0" A62 A61) }, "close(4000,123 * a)", 0 },
	{ "Close with reason",
	  { F("\x88\x06", "\x03\xe9"
	                  "bye!") },
	  "close(1001,bye!)",
	  0 },
	{ "nothing comes after Close", { F("\x88\x00", ""), F("\x81\x01", "a"), F("\x83\x00", "") }, "close(1005)", 0 },
	{ "reason is not UTF-8", { F("\x88\x04", "\x03\xe8\xc3\x28") }, "fail(1007)", 6 },
	{ "reason ends inside a character", { F("\x88\x04", "\x03\xe8\xe2\x82") }, "fail(1007)", 6 },

	/* 8.1: text */
	{ "two, three and four bytes",
	  { F("\x81\x09", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80") },
	  "text(\\c3\\a4\\e2\\82\\ac\\f0\\9f\\98\\80)",
	  0 },
	{ "cut inside a character",
	  { F("\x01\x02", "\xf0\x9f"), F("\x80\x02", "\x98\x80") },
	  "text(\\f0\\9f\\98\\80)",
	  0 },
	{ "the next message begins anew", { F("\x82\x01", "\xe2"), F("\x81\x01", "a") }, "binary(\\e2) text(a)", 0 },
	{ "ends inside a character", { F("\x81\x02", "\xe2\x82") }, "fail(1007)", 4 },
	{ "ends inside a character, fragments", { F("\x01\x02", "\xe2\x82"), F("\x80\x00", "") }, "fail(1007)", 6 },
	{ "a lone continuation byte",
	  { F("\x81\x03", "a\x80"
	                  "b") },
	  "fail(1007)",
	  4 },
	{ "overlong", { F("\x81\x03", "a\xc0\x80") }, "fail(1007)", 4 },
	{ "overlong in three", { F("\x81\x03", "\xe0\x80\x80") }, "fail(1007)", 4 },
	{ "surrogate", { F("\x81\x03", "\xed\xa0\x80") }, "fail(1007)", 4 },
	{ "past U+10FFFF", { F("\x81\x04", "\xf4\x90\x80\x80") }, "fail(1007)", 4 },
	{ "wrong across fragments", { F("\x01\x01", "\xe0"), F("\x80\x02", "\x80\x80") }, "fail(1007)", 6 },
	{ "wrong before the frame is complete", { F("\x81\x05", "a\xff") }, "fail(1007)", 4 },
	{ "wrong before the message is", { F("\x01\x02", "a\xff") }, "fail(1007)", 4 },

	/* 7.1.7 and the size limit of 200, judged by the header, over all fragments */
	{ "largest message", { F("\x02\x7d", A125), F("\x80\x4b", A75) }, "binary(200 * a)", 0 },
	{ "one byte too many", { F("\x82\x7e\x00\xc9", "") }, "fail(1009)", 4 },
	{ "one byte too many, fragments", { F("\x02\x7d", A125), F("\x80\x4c", "") }, "fail(1009)", 129 },
	{ "64 bit length", { F("\x82\x7f\0\0\0\0\0\x01\0\0", "") }, "fail(1009)", 2 },
};

static struct rc_pool pool;
static struct rc_session_rules rules;

static void begin(void)
{
	rc_pool_init(&pool, 4 * RC_MIB, 256 * RC_MIB);
	rules = (struct rc_session_rules){ .message_size_max = 200, .fragments_max = 4, .pool = &pool };
}

static void end(void)
{
	rc_pool_destroy(&pool);
}

TestSuite(session, .init = begin, .fini = end);

static size_t append(uint8_t *to, size_t at, const void *bytes, size_t size)
{
	cr_assert(at + size <= STREAM_SIZE);
	if (size)
		memcpy(to + at, bytes, size);
	return at + size;
}

/* The row as bytes, masked where the receiver is a server; *wrong becomes a position in them. */
static size_t encode(uint8_t *to, const struct row *row, bool masked, size_t *wrong)
{
	size_t at = 0, plain = 0;
	*wrong = row->wrong;
	for (size_t i = 0; i < FRAMES_MAX && row->frames[i].header.size; i++) {
		struct bytes header = row->frames[i].header, payload = row->frames[i].payload;
		size_t begin_at = at;
		at = append(to, at, header.text, header.size);
		if (masked) {
			uint8_t mask[4] = { (uint8_t)(0x12 + i), 0x34, 0xd6, (uint8_t)(0x78 * i) };
			to[begin_at + 1] |= 0x80;
			at = append(to, at, mask, 4);
			for (size_t k = 0; k < payload.size; k++) {
				uint8_t byte = (uint8_t)payload.text[k] ^ mask[k % 4];
				at = append(to, at, &byte, 1);
			}
			if (row->wrong > plain + header.size)
				*wrong += 4;
			/* A text that ends too early is known by the mask when it has no payload. */
			if (row->wrong == plain + header.size && payload.size == 0 && strstr(row->events, "1007"))
				*wrong += 4;
		} else {
			at = append(to, at, payload.text, payload.size);
		}
		plain += header.size + payload.size;
	}
	return at;
}

static void expect(const struct row *row, const struct transcript *t, const char *how, size_t first, size_t second)
{
	cr_expect_str_eq(t->text, row->events, "%s, as a %s, %s %zu %zu:\n  got      %s\n  expected %s", row->rule,
	                 rules.client ? "client" : "server", how, first, second, t->text, row->events);
}

static void run(const struct row *row)
{
	uint8_t *stream = malloc(STREAM_SIZE);
	struct transcript *t = malloc(sizeof *t);
	size_t wrong, size = encode(stream, row, !rules.client, &wrong);
	feed_cut(t, &rules, stream, size, NULL, 0, 0);
	expect(row, t, "whole", 0, 0);
	feed_cut(t, &rules, stream, size, NULL, 0, 1);
	expect(row, t, "byte by byte", 0, 0);
	cr_expect_eq(t->failed_at, wrong, "%s, as a %s: failed at byte %zu, not %zu", row->rule,
	             rules.client ? "client" : "server", t->failed_at, wrong);
	for (size_t first = 0; first <= size; first++) {
		size_t cuts[2] = { first, first };
		feed_cut(t, &rules, stream, size, cuts, 1, 0);
		expect(row, t, "cut at", first, 0);
		for (cuts[1] = first; size <= CUT_IN_THREE_MAX && cuts[1] <= size; cuts[1]++) {
			feed_cut(t, &rules, stream, size, cuts, 2, 0);
			expect(row, t, "cut at", first, cuts[1]);
		}
	}
	free(t);
	free(stream);
}

Test(session, every_rule_as_a_server)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		run(&rows[i]);
}

Test(session, every_rule_as_a_client)
{
	rules.client = true;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		run(&rows[i]);
}

/* Section 5.1: which role masks. */
Test(session, masking_is_judged_by_the_role)
{
	static const struct {
		bool client;
		struct bytes stream;
		const char *events;
	} cases[] = {
		{ false, B("\x81\x85\x12\x34\x56\x78\x5a\x51\x3a\x14\x7d"), "text(Hello)" },
		{ false, B("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "text(Hello)" },
		{ false, B("\x82\x81\x00\x00\x00\x00z"), "binary(z)" },
		{ false, B("\x81\x05Hello"), "fail(1002)" },
		{ false, B("\x81\x05"), "fail(1002)" },
		{ false, B("\x81\x00"), "fail(1002)" },
		{ false, B("\x89\x00"), "fail(1002)" },
		{ false, B("\x88\x00"), "fail(1002)" },
		{ true, B("\x81\x05Hello"), "text(Hello)" },
		{ true, B("\x81\x85\x12\x34\x56\x78\x5a\x51\x3a\x14\x7d"), "fail(1002)" },
		{ true, B("\x81\x85"), "fail(1002)" },
		{ true, B("\x8a\x80\x00\x00\x00\x00"), "fail(1002)" },
	};
	struct transcript *t = malloc(sizeof *t);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		rules.client = cases[i].client;
		for (size_t step = 0; step < 3; step++) {
			feed_cut(t, &rules, (const uint8_t *)cases[i].stream.text, cases[i].stream.size, NULL, 0, step);
			cr_expect_str_eq(t->text, cases[i].events, "case %zu, step %zu: %s", i, step, t->text);
		}
	}
	free(t);
}

/* Section 7.4: all 65536 codes, and the first byte that cannot begin a valid one. */
Test(session, close_codes)
{
	rules.client = true;
	struct transcript *t = malloc(sizeof *t);
	bool begins[256] = { false };
	for (unsigned code = 0; code < 65536; code++)
		begins[code >> 8] |= rc_close_code_valid(code);
	for (unsigned code = 0; code < 65536; code++) {
		uint8_t stream[] = { 0x88, 2, (uint8_t)(code >> 8), (uint8_t)code };
		char expected[32];
		bool valid = rc_close_code_valid(code);
		snprintf(expected, sizeof expected, valid ? "close(%u)" : "fail(1002)", code);
		for (size_t step = 0; step < 2; step++) {
			feed_cut(t, &rules, stream, sizeof stream, NULL, 0, step);
			cr_assert_str_eq(t->text, expected, "code %u, step %zu: %s", code, step, t->text);
		}
		cr_assert_eq(t->failed_at, valid ? 0 : begins[code >> 8] ? 4 : 3, "code %u", code);
	}
	free(t);
}
