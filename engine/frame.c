/* SPDX-License-Identifier: MIT
 *
 * frame.c - see frame.h. It knows one header at a time: whether a frame may stand where it stands is the session's
 * question. Invariant: what rc_frame_write() writes, rc_frame_read() reads back the same.
 */
#include "frame.h"

#include "check.h"
#include "ringcast.h"

#include <string.h>

#define FIN 0x80
#define RSV 0x70
#define OPCODE 0x0f
#define MASKED 0x80
#define SIZE 0x7f
#define SIZE_IN_2 126
#define SIZE_IN_8 127

/* Reads a payload's size of `width` bytes, of which `size` have come. With 0 for each missing byte it is the least that
 * it can become, with 255 the most: if that most is too small, or that least too large, it is wrong whatever follows.
 * Returns the width, 0 while bytes are missing, -1 for a wrong size. */
static int size_read(uint64_t *value, const uint8_t *bytes, size_t size, unsigned width)
{
	uint64_t least = 0, most = 0, shortest = width == 2 ? 126 : 65536;
	if (RC_LIKELY(size >= 2 && width == 2)) { /* nearly always, so without a loop */
		*value = (uint64_t)bytes[0] << 8 | bytes[1];
		return *value < shortest ? -1 : 2;
	}
	for (unsigned i = 0; i < width; i++) {
		least = least << 8 | (i < size ? bytes[i] : 0x00);
		most = most << 8 | (i < size ? bytes[i] : 0xff);
	}
	*value = shortest;
	if (most < shortest || least >> 63)
		return -1;
	*value = RC_MAX(least, shortest);
	return size < width ? 0 : (int)width;
}

int rc_frame_read(struct rc_frame *frame, const uint8_t *bytes, size_t size)
{
	frame->size = 0;
	frame->mask = 0;
	frame->masked = false;
	if (size == 0)
		return 0;
	frame->fin = bytes[0] & FIN;
	frame->rsv = bytes[0] & RSV;
	frame->opcode = bytes[0] & OPCODE;
	if (size == 1)
		return 0;
	frame->masked = bytes[1] & MASKED;
	size_t at = 2;
	unsigned first = bytes[1] & SIZE;
	if (RC_LIKELY(first < SIZE_IN_2)) {
		frame->size = first;
	} else {
		int width = size_read(&frame->size, bytes + 2, size - 2, first == SIZE_IN_2 ? 2 : 8);
		if (width <= 0)
			return width;
		at += (size_t)width;
	}
	if (frame->masked) {
		if (size < at + sizeof frame->mask)
			return 0;
		memcpy(&frame->mask, bytes + at, sizeof frame->mask);
		at += sizeof frame->mask;
	}
	return (int)at;
}

size_t rc_frame_write(uint8_t *to, const struct rc_frame *frame)
{
	size_t at = rc_frame_header_size(frame->size);
	RC_ASSERT(!(frame->size >> 63));
	to[0] = (uint8_t)((frame->fin ? FIN : 0) | (frame->rsv & RSV) | (frame->opcode & OPCODE));
	to[1] = (uint8_t)(at == 2 ? frame->size : at == 4 ? SIZE_IN_2 : SIZE_IN_8);
	for (size_t i = 2; i < at; i++)
		to[i] = (uint8_t)(frame->size >> 8 * (at - 1 - i));
	if (frame->masked) {
		to[1] |= MASKED;
		memcpy(to + at, &frame->mask, sizeof frame->mask);
		at += sizeof frame->mask;
	}
	return at;
}

bool rc_close_code_valid(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

size_t rc_close_payload(uint8_t *to, uint16_t code, const char *reason, size_t reason_size)
{
	if (code == RC_CLOSE_NO_CODE)
		return 0;
	to[0] = (uint8_t)(code >> 8);
	to[1] = (uint8_t)code;
	if (reason_size > RC_CONTROL_SIZE_MAX - 2) {
		reason_size = RC_CONTROL_SIZE_MAX - 2;
		while (reason_size && ((uint8_t)reason[reason_size] & 0xc0) == 0x80)
			reason_size--;
	}
	if (reason_size)
		memcpy(to + 2, reason, reason_size);
	return 2 + reason_size;
}
