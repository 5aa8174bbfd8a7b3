/* SPDX-License-Identifier: MIT
 *
 * text.h - whether bytes from outside are text, and a character as UTF-8. What a peer, a file or a user of the command
 * hands in is asked here before it becomes a name that others see.
 */
#ifndef LIB_TEXT_H
#define LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The size of the UTF-8 sequence that begins at `text` (RFC 3629), or 0 when there is none within `size` bytes. */
size_t text_sequence_size(const char *text, size_t size);

bool text_is_utf8(const char *text, size_t size);
/* UTF-8 without control characters: C0, DEL and C1. An empty text is no name. */
bool text_is_name(const char *text, size_t size);

/* Writes a character as UTF-8, of 1 to 4 bytes. Returns their number. */
unsigned text_write_utf8(char *to, unsigned point);

#endif
