/* SPDX-License-Identifier: MIT
 *
 * text.c - every byte judged once (engine/text.h): what is valid UTF-8 and when a wrong byte is found, for every kernel
 * this processor has, and that no kernel touches a byte beside its span.
 */
#include "text_check.h"

#include <criterion/criterion.h>
#include <time.h>

/* The tables of "U+FFFD substitution" in the Unicode Standard (section 3.9), and the limits of RFC 3629. */
enum { VALID = -1, OPEN = -2 };
static const struct {
	const char *what, *bytes;
	int verdict; /* VALID, OPEN, or the index of the byte that is wrong */
} cases[] = {
	{ "nothing", "", VALID },
	{ "each length, first", "\x01\xC2\x80\xE0\xA0\x80\xF0\x90\x80\x80", VALID },
	{ "each length, last", "\x7F\xDF\xBF\xEF\xBF\xBF\xF4\x8F\xBF\xBF", VALID },
	{ "around the surrogates", "\xED\x9F\xBF\xEE\x80\x80", VALID },
	{ "noncharacters are characters", "\xEF\xBF\xBE\xEF\xB7\x90", VALID },
	{ "byte order mark", "\xEF\xBB\xBFx", VALID },
	{ "overlong '/', two bytes", "\xC0\xAF", 0 },
	{ "overlong, two bytes, last", "\xC1\xBF", 0 },
	{ "overlong '/', three bytes", "\xE0\x80\xAF", 1 },
	{ "overlong, three bytes, last", "\xE0\x9F\xBF", 1 },
	{ "overlong '/', four bytes", "\xF0\x80\x80\xAF", 1 },
	{ "overlong, four bytes, last", "\xF0\x8F\xBF\xBF", 1 },
	{ "first high surrogate", "\xED\xA0\x80", 1 },
	{ "last low surrogate", "\xED\xBF\xBF", 1 },
	{ "surrogate pair", "\xED\xA0\xBD\xED\xB8\x80", 1 },
	{ "U+110000", "\xF4\x90\x80\x80", 1 },
	{ "U+140000", "\xF5\x80\x80\x80", 0 },
	{ "five bytes", "\xF8\x88\x80\x80\x80", 0 },
	{ "six bytes", "\xFC\x84\x80\x80\x80\x80", 0 },
	{ "FE", "\xFE", 0 },
	{ "FF", "a\xFF", 1 },
	{ "lone tail byte", "a\x80", 1 },
	{ "tail byte too many, two bytes", "\xC3\xA9\xA9", 2 },
	{ "tail byte too many, three bytes", "\xE2\x82\xAC\x80", 3 },
	{ "tail byte too many, four bytes", "\xF0\x9F\x98\x80\x80", 4 },
	{ "truncated, then ASCII", "\xE1\x80\x41", 2 },
	{ "truncated four, then ASCII", "\xF1\x80\x80\x41", 3 },
	{ "truncated, then a lead", "\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", 2 },
	{ "lead, then lead", "\xC2\xC2\x80", 1 },
	{ "ends after a lead of two", "a\xC2", OPEN },
	{ "ends after one of three", "\xE2", OPEN },
	{ "ends after two of three", "\xE2\x98", OPEN },
	{ "ends after one of four", "\xF4", OPEN },
	{ "ends after two of four", "\xF4\x8F", OPEN },
	{ "ends after three of four", "\xF0\x9F\x98", OPEN },
	{ "ends wrong: overlong three", "\xE0\x80", 1 },
	{ "ends wrong: overlong four", "\xF0\x8F", 1 },
	{ "ends wrong: surrogate", "\xED\xA0", 1 },
	{ "ends wrong: above U+10FFFF", "\xF4\x90", 1 },
	{ "ends wrong: lead of nothing", "\xC1", 0 },
};

Test(text, oracle)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		const int expected = cases[i].verdict;
		const struct verdict v = judged((const uint8_t *)cases[i].bytes, strlen(cases[i].bytes));
		cr_expect(expected < 0 ? v.wrong == NEVER && v.complete == (expected == VALID)
		                       : v.wrong == (size_t)expected,
		          "%s", cases[i].what);
	}
}

/* Runs what follows once for each kernel that this processor has. */
#define FOR_EACH_KERNEL(name)                                                                                          \
	for (size_t k_ = 0; k_ < COUNT(text_kernels); k_++)                                                            \
		for (const char *name = rc_text_choose(text_kernels[k_]); name; name = NULL)

Test(text, unicode_cases)
{
	FOR_EACH_KERNEL(kernel)
	{
		for (size_t i = 0; i < COUNT(cases); i++) {
			const uint8_t *bytes = (const uint8_t *)cases[i].bytes;
			for (size_t at = 0; at < 140; at++)
				cr_expect(sequence_agrees(kernel, bytes, strlen(cases[i].bytes), at, at % 3,
				                          (enum way)(at % 3)),
				          "%s: %s at %zu", kernel, cases[i].what, at);
		}
	}
}

/* A byte a piece: refused with the wrong byte, not with the next one. */
Test(text, wrong_byte_is_found_at_once)
{
	FOR_EACH_KERNEL(kernel)
	{
		for (size_t i = 0; i < COUNT(cases); i++) {
			struct rc_utf8 state = { 0 };
			int wrong = -1;
			for (size_t at = 0; cases[i].bytes[at] && wrong < 0; at++) {
				if (!rc_utf8_check(&state, (const uint8_t *)cases[i].bytes + at, 1))
					wrong = (int)at;
			}
			cr_expect_eq(wrong, cases[i].verdict < 0 ? -1 : cases[i].verdict, "%s: %s", kernel,
			             cases[i].what);
		}
	}
}

/* Empty pieces inside a sequence change nothing. */
Test(text, empty_pieces)
{
	FOR_EACH_KERNEL(kernel)
	{
		struct rc_utf8 state = { 0 };
		uint8_t byte[1] = { 0xE2 };
		cr_expect(rc_utf8_check(&state, byte, 1) && rc_utf8_check(&state, byte, 0), "%s", kernel);
		cr_expect(!rc_utf8_complete(&state));
		cr_expect(rc_unmask_utf8(&state, byte, byte, 0, MASK) && byte[0] == 0xE2);
		cr_expect(rc_utf8_check(&state, (const uint8_t *)"\x82\xAC", 2) && rc_utf8_complete(&state));
	}
}

Test(text, all_of_one_and_two_bytes)
{
	FOR_EACH_KERNEL(kernel) cr_expect(check_pairs(kernel));
}
Test(text, all_of_three_bytes)
{
	FOR_EACH_KERNEL(kernel) cr_expect(check_triples(kernel));
}
Test(text, boundaries_of_four_bytes)
{
	FOR_EACH_KERNEL(kernel) cr_expect(check_quads(kernel));
}
Test(text, anywhere_in_long_text)
{
	FOR_EACH_KERNEL(kernel) cr_expect(check_long(kernel));
}
Test(text, unmask_at_every_size_and_alignment)
{
	FOR_EACH_KERNEL(kernel) cr_expect(check_unmask(kernel));
}
Test(text, exact_spans)
{
	FOR_EACH_KERNEL(kernel) cr_expect(check_spans(kernel));
}
Test(text, spans_beside_forbidden_pages)
{
	FOR_EACH_KERNEL(kernel) cr_expect(check_guarded(kernel));
}

Test(text, random_pieces)
{
	const char *given = getenv("SEED");
	const uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
	FOR_EACH_KERNEL(kernel) cr_expect(check_random(kernel, seed, 60000));
}

/* RFC 6455, section 5.7: "Hello" masked with 37 fa 21 3d. */
Test(text, example_of_the_standard)
{
	FOR_EACH_KERNEL(kernel)
	{
		uint8_t text[5] = { 0x7F, 0x9F, 0x4D, 0x51, 0x58 };
		struct rc_utf8 state = { 0 };
		cr_expect(rc_unmask_utf8(&state, text, text, 5, 0x3D21FA37) && memcmp(text, "Hello", 5) == 0, "%s",
		          kernel);
	}
}

Test(text, choice)
{
	cr_expect_str_eq(rc_text_chosen(), "scalar", "before any choice");
	const char *best = rc_text_choose(NULL);
	cr_expect_str_eq(rc_text_chosen(), best);
	cr_expect_null(rc_text_choose("sse9"));
	cr_expect_null(rc_text_choose(""));
	cr_expect_str_eq(rc_text_chosen(), best, "a refused choice changes nothing");
	cr_expect_str_eq(rc_text_choose("scalar"), "scalar");
	cr_expect_str_eq(rc_text_chosen(), "scalar");
#if defined(__x86_64__)
	cr_expect_null(rc_text_choose("neon"));
	cr_expect_eq(rc_text_choose("avx2") != NULL, __builtin_cpu_supports("avx2") != 0);
#endif
}
