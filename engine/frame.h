/* SPDX-License-Identifier: MIT
 *
 * frame.h - frame headers (RFC 6455, section 5.2) and the rules of close codes (section 7.4), both ways, both roles.
 */
#ifndef RC_FRAME_H
#define RC_FRAME_H

#include "bounds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RC_FRAME_CONTINUATION = 0,
	RC_FRAME_TEXT = 1,
	RC_FRAME_BINARY = 2,
	RC_FRAME_CLOSE = 8,
	RC_FRAME_PING = 9,
	RC_FRAME_PONG = 10,
};
#define RC_FRAME_RSV1 0x40 /* in the first byte: the message is compressed (RFC 7692) */

struct rc_frame {
	uint64_t size; /* of the payload */
	uint32_t mask; /* in memory order; 0 when not masked */
	uint8_t opcode;
	uint8_t rsv; /* the three reserved bits as they stand in the first byte */
	bool fin;
	bool masked;
};

/* Reads a header from at most `size` bytes. Returns its length; 0 when more bytes are needed; or -1, as soon as that is
 * sure, when the payload's size is not in its shortest form or has its top bit set. All else is for the session to
 * judge. When it returns 0, the fields hold what the bytes so far say: the size is the least that it can become, and
 * fields of missing bytes are 0. Only the fields of the first byte stay unchanged when there is no byte at all. */
int rc_frame_read(struct rc_frame *frame, const uint8_t *bytes, size_t size);

/* Writes a header of at most RC_FRAME_HEADER_MAX bytes and returns its length. */
size_t rc_frame_write(uint8_t *to, const struct rc_frame *frame);

/* The length of the header of an unmasked frame with this payload. */
static inline size_t rc_frame_header_size(uint64_t size)
{
	return size < 126 ? 2 : size < 65536 ? 4 : 10;
}

/* Whether a code may stand in a Close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999. */
bool rc_close_code_valid(unsigned code);

/* Writes the payload of a Close frame (code and reason, cut at a character to fit RC_CONTROL_SIZE_MAX) and returns its
 * length; RC_CLOSE_NO_CODE gives the empty one. */
size_t rc_close_payload(uint8_t *to, uint16_t code, const char *reason, size_t reason_size);

#endif
