/* SPDX-License-Identifier: MIT
 *
 * json.h - JSON (RFC 8259), as much of it as a message needs that is put inside another: whether text is one value, and
 * text as a string.
 */
#ifndef RC_JSON_H
#define RC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RC_JSON_DEPTH_MAX 128 /* arrays and objects inside each other; deeper text counts as no value */

/* Whether text, which is UTF-8, is exactly one value, perhaps with white space around it. So it may stand where a value
 * stands: no text that passes can end the object around it. Escaped halves of a surrogate pair do not pass alone, since
 * many parsers refuse them. */
bool rc_json_valid(const uint8_t *text, size_t size);

/* Writes UTF-8 text as a string and returns its size; a null `to` asks for the size. */
size_t rc_json_string(uint8_t *to, const void *text, size_t size);

/* Writes bytes as a string in base64 (RFC 4648, section 4), and one byte behind it. Returns its size, without that
 * byte; a null `to` asks for it. */
size_t rc_json_base64(uint8_t *to, const void *bytes, size_t size);

#endif
