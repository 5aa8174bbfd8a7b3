/* SPDX-License-Identifier: MIT
 *
 * json.c - see json.h.
 */
#include "json.h"

void rc_json_string(FILE *to, const char *text)
{
	putc('"', to);
	for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++) {
		if (*byte == '"' || *byte == '\\')
			fprintf(to, "\\%c", *byte);
		else if (*byte < 0x20 || *byte == 0x7f)
			fprintf(to, "\\u%04x", *byte);
		else
			putc(*byte, to);
	}
	putc('"', to);
}
