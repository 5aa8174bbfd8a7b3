/* SPDX-License-Identifier: MIT
 *
 * json.h - the one thing about writing JSON by hand that goes wrong: strings (RFC 8259, section 7). And reading it
 * without a tree: a value is a place in the text, and what is not there or malformed is null, at which everything may be
 * called again. The text ends with a zero byte and is never read past it.
 */
#ifndef RC_JSON_H
#define RC_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Writes a quoted string. What is no ASCII goes through as it is: the text is expected to be UTF-8. */
void rc_json_string(FILE *to, const char *text);

/* The value of an object's member, or null. */
const char *rc_json_member(const char *object, const char *name);
/* The first value of an array, and the one after a value; null when there is none. */
const char *rc_json_first(const char *array);
const char *rc_json_next(const char *value);
/* A number; 0 for what is none. */
double rc_json_number(const char *value);
/* A string, without its quotes, cut to `size` with its zero; "" for what is none. Escapes \u00XX of one byte are decoded, of
 * more they show as '?': ours are in UTF-8 as they are. Returns `out`. */
char *rc_json_text(const char *value, char *out, size_t size);

#endif
