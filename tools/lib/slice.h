/* SPDX-License-Identifier: MIT
 *
 * slice.h - parts of JSON text as they stand there, byte for byte. What is only handed on is not read and written
 * again. The text is JSON: a parser has said so.
 */
#ifndef LIB_SLICE_H
#define LIB_SLICE_H

#include <stdbool.h>
#include <stddef.h>

struct slice {
	const char *text;
	size_t size;
};

/* The first value in the text, without the white space around it. */
struct slice slice_value(const char *text, size_t size);

/* The value of an object's member, whose name has no escapes; text is null when it has none. */
struct slice slice_member(struct slice object, const char *name);

/* Goes through an array: the element behind `before`, which is zeroed for the first one; text is null at the end. */
struct slice slice_next(struct slice array, struct slice before);

#endif
