/* SPDX-License-Identifier: MIT
 *
 * quote.c - see quote.h.
 */
#include "quote.h"

/* The size of the UTF-8 sequence at `byte` (RFC 3629), or 0 when it is none. The text ends with a zero byte. */
static unsigned sequence_size(const unsigned char *byte)
{
	static const struct {
		unsigned char first, last, low, high; /* of the first byte, and of the second */
		unsigned size;
	} forms[] = {
		{ 0x01, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	for (unsigned form = 0; form < sizeof forms / sizeof *forms; form++) {
		if (*byte < forms[form].first || *byte > forms[form].last)
			continue;
		if (forms[form].size > 1 && (byte[1] < forms[form].low || byte[1] > forms[form].high))
			return 0;
		for (unsigned index = 2; index < forms[form].size; index++)
			if ((byte[index] & 0xc0) != 0x80)
				return 0;
		return forms[form].size;
	}
	return 0;
}

void quote_json(FILE *to, const char *text)
{
	putc('"', to);
	for (const unsigned char *byte = (const unsigned char *)text; *byte;) {
		unsigned size = sequence_size(byte);
		if (*byte == '"' || *byte == '\\')
			fprintf(to, "\\%c", *byte);
		else if (*byte < 0x20 || *byte == 0x7f)
			fprintf(to, "\\u%04x", *byte);
		else if (!size)
			fputs("\\ufffd", to);
		else
			fwrite(byte, 1, size, to);
		byte += size ? size : 1;
	}
	putc('"', to);
}
