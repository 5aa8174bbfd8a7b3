/* SPDX-License-Identifier: MIT
 *
 * parse.h - JSON text (RFC 8259) to the JSON library's values. The library's own parser looks at each byte through
 * several calls, and was more than half of what a message cost. It knows no message.
 *
 * What is taken, what is refused and what comes of it is as by that parser with JSON_REJECT_DUPLICATES and
 * JSON_ALLOW_NUL, but that it overlooks a zero byte right behind a number or a word, which here is refused. The fuzzer
 * holds the one against the other.
 */
#ifndef APP_PARSE_H
#define APP_PARSE_H

#include <jansson.h>
#include <stddef.h>

/* How many arrays and objects may stand in each other, and how many of them and of commas there may be. */
struct app_parse_bounds {
	unsigned depth_max;
	size_t values_max;
};

/* The value that a text, which is UTF-8, begins with, white space before it or not, and in *used where it ends. Null:
 * there is none, it is beyond the bounds, or there is no memory. `bounds` may be null: as deep as the JSON library
 * goes.
 */
json_t *app_parse_value(const char *text, size_t size, const struct app_parse_bounds *bounds, size_t *used);

/* The object or array that is all of a text, UTF-8 or not, with nothing behind it but white space. */
json_t *app_parse(const char *text, size_t size, const struct app_parse_bounds *bounds);

#endif
