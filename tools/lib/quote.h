/* SPDX-License-Identifier: MIT
 *
 * quote.h - the one thing about writing JSON by hand that goes wrong: strings (RFC 8259, section 7).
 */
#ifndef LIB_QUOTE_H
#define LIB_QUOTE_H

#include <stdio.h>

/* Writes a quoted string. A topic may be called anything: bytes that are not UTF-8 become U+FFFD, so that the whole
 * stays JSON. */
void quote_json(FILE *to, const char *text);

#endif
