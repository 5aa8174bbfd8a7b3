/* SPDX-License-Identifier: MIT
 *
 * text.c - see text.h.
 */
#include "text.h"

size_t text_sequence_size(const char *text, size_t size)
{
	static const struct {
		unsigned char first, last, low, high; /* of the first byte, and of the second */
		unsigned char size;
	} forms[] = {
		{ 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	const unsigned char *byte = (const unsigned char *)text;
	for (unsigned form = 0; size && form < sizeof forms / sizeof *forms; form++) {
		if (*byte < forms[form].first || *byte > forms[form].last)
			continue;
		if (forms[form].size > size)
			return 0;
		if (forms[form].size > 1 && (byte[1] < forms[form].low || byte[1] > forms[form].high))
			return 0;
		for (unsigned index = 2; index < forms[form].size; index++)
			if ((byte[index] & 0xc0) != 0x80)
				return 0;
		return forms[form].size;
	}
	return 0;
}

bool text_is_utf8(const char *text, size_t size)
{
	for (size_t at = 0, step; at < size; at += step)
		if (!(step = text_sequence_size(text + at, size - at)))
			return false;
	return true;
}

bool text_is_name(const char *text, size_t size)
{
	for (size_t at = 0, step; at < size; at += step) {
		unsigned char byte = (unsigned char)text[at];
		step = text_sequence_size(text + at, size - at);
		if (!step || byte < ' ' || byte == 0x7f || (byte == 0xc2 && (unsigned char)text[at + 1] < 0xa0))
			return false;
	}
	return size > 0;
}

unsigned text_write_utf8(char *to, unsigned point)
{
	if (point < 0x80) {
		to[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		to[0] = (char)(0xc0 | point >> 6);
		to[1] = (char)(0x80 | (point & 63));
		return 2;
	}
	if (point < 0x10000) {
		to[0] = (char)(0xe0 | point >> 12);
		to[1] = (char)(0x80 | (point >> 6 & 63));
		to[2] = (char)(0x80 | (point & 63));
		return 3;
	}
	to[0] = (char)(0xf0 | point >> 18);
	to[1] = (char)(0x80 | (point >> 12 & 63));
	to[2] = (char)(0x80 | (point >> 6 & 63));
	to[3] = (char)(0x80 | (point & 63));
	return 4;
}
