/* SPDX-License-Identifier: MIT
 *
 * json.h - the one thing about writing JSON by hand that goes wrong: strings (RFC 8259, section 7).
 */
#ifndef RC_JSON_H
#define RC_JSON_H

#include <stdio.h>

/* Writes a quoted string. What is no UTF-8 (a topic may be called anything) becomes U+FFFD, so that the whole stays
 * JSON. */
void rc_json_string(FILE *to, const char *text);

#endif
