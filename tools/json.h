/* SPDX-License-Identifier: MIT
 *
 * json.h - the one thing about writing JSON by hand that goes wrong: strings (RFC 8259, section 7).
 */
#ifndef RC_JSON_H
#define RC_JSON_H

#include <stdio.h>

/* Writes a quoted string. What is no ASCII goes through as it is: the text is expected to be UTF-8. */
void rc_json_string(FILE *to, const char *text);

#endif
