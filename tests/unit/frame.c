/* SPDX-License-Identifier: MIT
 *
 * frame.c - frame headers (RFC 6455, section 5.2), close codes and close payloads (sections 5.5.1 and 7.4).
 */
#include "frame.h"
#include "ringcast.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The header in a block of its own size, so that a sanitizer sees a byte read past it. */
static int read_exactly(struct rc_frame *frame, const void *bytes, size_t size)
{
	uint8_t *block = malloc(size ? size : 1);
	memcpy(block, bytes, size);
	int result = rc_frame_read(frame, block, size);
	free(block);
	return result;
}

Test(frame, what_is_written_is_read_and_no_prefix_is)
{
	static const uint64_t sizes[] = { 0, 1, 125, 126, 127, 255, 256, 65535, 65536, 65537, 1u << 31, INT64_MAX };
	static const uint8_t opcodes[] = { 0, 1, 2, 8, 9, 10 };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		for (unsigned k = 0; k < 6 * 8 * 4; k++) {
			struct rc_frame frame = { .size = sizes[i],
				                  .opcode = opcodes[k % 6],
				                  .rsv = (uint8_t)(k / 6 % 8 << 4) };
			frame.fin = k / 48 & 1;
			frame.masked = k / 96;
			frame.mask = frame.masked ? 0xa0b0c0d0 + k : 0;
			uint8_t bytes[RC_FRAME_HEADER_MAX];
			size_t size = rc_frame_write(bytes, &frame);
			cr_assert_eq(size, rc_frame_header_size(sizes[i]) + (frame.masked ? 4 : 0));
			struct rc_frame read;
			cr_assert_eq(read_exactly(&read, bytes, size), (int)size);
			cr_assert_eq(read.size, frame.size);
			cr_assert_eq(read.mask, frame.mask);
			cr_assert_eq(read.opcode, frame.opcode);
			cr_assert_eq(read.rsv, frame.rsv);
			cr_assert_eq(read.fin, frame.fin);
			cr_assert_eq(read.masked, frame.masked);
			for (size_t part = 0; part < size; part++) {
				cr_assert_eq(read_exactly(&read, bytes, part), 0, "size %llu, part %zu",
				             (unsigned long long)sizes[i], part);
				cr_assert_leq(read.size, frame.size, "the size of a part is the least it can become");
			}
		}
	}
}

Test(frame, bytes_of_the_specification)
{
	static const struct {
		struct rc_frame frame;
		const char *bytes;
		size_t size;
	} cases[] = {
		{ { .size = 5, .opcode = 1, .fin = true }, "\x81\x05", 2 },
		{ { .size = 3, .opcode = 1 }, "\x01\x03", 2 },
		{ { .size = 2, .opcode = 0, .fin = true }, "\x80\x02", 2 },
		{ { .size = 256, .opcode = 2, .fin = true }, "\x82\x7e\x01\x00", 4 },
		{ { .size = 65536, .opcode = 2, .fin = true }, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10 },
		{ { .size = 5, .opcode = 1, .fin = true, .rsv = RC_FRAME_RSV1 }, "\xc1\x05", 2 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t bytes[RC_FRAME_HEADER_MAX];
		cr_expect_eq(rc_frame_write(bytes, &cases[i].frame), cases[i].size);
		cr_expect_arr_eq(bytes, cases[i].bytes, cases[i].size);
	}
	struct rc_frame frame;
	cr_expect_eq(read_exactly(&frame, "\x81\x85\x37\xfa\x21\x3d", 6), 6);
	cr_expect_arr_eq(&frame.mask, "\x37\xfa\x21\x3d", 4, "the mask stays in the order of its bytes");
}

Test(frame, lengths_have_one_form)
{
	static const struct {
		const char *bytes;
		size_t size;
		int result;
	} cases[] = {
		{ "\x82\x7e\x00\x7d", 4, -1 },
		{ "\x82\x7e\x00\x00", 4, -1 },
		{ "\x82\x7e\x00\x7e", 4, 4 },
		{ "\x82\x7e\xff\xff", 4, 4 },
		{ "\x82\x7e\x00", 3, 0 },
		{ "\x82\xfe\x00\x7d", 4, -1 }, /* the mask is not waited for */
		{ "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10, -1 },
		{ "\x82\x7f\x00\x00\x00\x00\x00\x00", 8, -1 }, /* whatever the last two are */
		{ "\x82\x7f\x00\x00\x00\x00\x00", 7, 0 },
		{ "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10, 10 },
		{ "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10, 10 },
		{ "\x82\x7f\x80\x00\x00\x00\x00\x01\x00\x00", 10, -1 },
		{ "\x82\x7f\x80", 3, -1 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_frame frame;
		cr_expect_eq(read_exactly(&frame, cases[i].bytes, cases[i].size), cases[i].result, "case %zu", i);
	}
}

Test(frame, close_codes)
{
	static const struct {
		unsigned first, last;
		bool valid;
	} ranges[] = {
		{ 0, 999, false },     { 1000, 1003, true }, { 1004, 1006, false },  { 1007, 1014, true },
		{ 1015, 2999, false }, { 3000, 4999, true }, { 5000, 65535, false },
	};
	for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
		for (unsigned code = ranges[i].first; code <= ranges[i].last; code++)
			cr_assert_eq(rc_close_code_valid(code), ranges[i].valid, "code %u", code);
}

Test(frame, close_payload)
{
	uint8_t to[RC_CONTROL_SIZE_MAX];
	cr_expect_eq(rc_close_payload(to, RC_CLOSE_NO_CODE, "unsaid", 6), 0);
	cr_expect_eq(rc_close_payload(to, 1000, NULL, 0), 2);
	cr_expect_arr_eq(to, "\x03\xe8", 2);
	cr_expect_eq(rc_close_payload(to, 1001, "bye", 3), 5);
	cr_expect_arr_eq(to,
	                 "\x03\xe9"
	                 "bye",
	                 5);
}

/* A reason is cut before the character that does not fit, whatever its size and place. */
Test(frame, close_reason_is_cut_at_a_character)
{
	static const char *const characters[] = { "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
	for (size_t i = 0; i < 4; i++) {
		size_t step = strlen(characters[i]);
		for (size_t before = 110; before <= 130; before++) {
			char *reason = malloc(before + step);
			memset(reason, 'x', before);
			memcpy(reason + before, characters[i], step);
			uint8_t to[RC_CONTROL_SIZE_MAX];
			size_t kept = before + step <= 123 ? before + step : before < 123 ? before : 123;
			cr_expect_eq(rc_close_payload(to, 1000, reason, before + step), 2 + kept, "%zu + %zu", before,
			             step);
			cr_expect_arr_eq(to + 2, reason, kept);
			free(reason);
		}
	}
}
