/* SPDX-License-Identifier: MIT
 *
 * quote.c - see quote.h.
 */
#include "quote.h"

#include <string.h>

#include "text.h"

void quote_json(FILE *to, const char *text)
{
	putc('"', to);
	for (const char *end = text + strlen(text), *byte = text; byte < end;) {
		size_t size = text_sequence_size(byte, (size_t)(end - byte));
		if (*byte == '"' || *byte == '\\')
			fprintf(to, "\\%c", *byte);
		else if ((unsigned char)*byte < 0x20 || *byte == 0x7f)
			fprintf(to, "\\u%04x", *byte);
		else if (!size)
			fputs("\\ufffd", to);
		else
			fwrite(byte, 1, size, to);
		byte += size ? size : 1;
	}
	putc('"', to);
}
