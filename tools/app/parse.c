/* SPDX-License-Identifier: MIT
 *
 * parse.c - see parse.h.
 *
 * Invariant: nothing is read at or behind `end`.
 */
#include "parse.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "out.h"
#include "ringcast.h"

#define NUMBER_SIZE_MAX 64 /* a longer one is copied to memory of its own */

struct reader {
	const char *at, *end;
	unsigned depth_left;
	size_t values_left;
};

/* A string where it stands, or, if it has escapes, in memory of its own. */
struct string {
	const char *bytes;
	size_t size;
	char *own;
};

static json_t *read_value(struct reader *reader);

static void skip_space(struct reader *reader)
{
	while (reader->at < reader->end &&
	       (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t'))
		reader->at++;
}

static bool take(struct reader *reader, char wanted)
{
	skip_space(reader);
	if (reader->at == reader->end || *reader->at != wanted)
		return false;
	reader->at++;
	return true;
}

/* ---- strings ---- */

/* Four digits; -1: they are none. */
static int read_hex(struct reader *reader)
{
	int number = 0;
	if (reader->end - reader->at < 4)
		return -1;
	for (unsigned i = 0; i < 4; i++) {
		char digit = *reader->at++, small = (char)(digit | 0x20);
		if (digit >= '0' && digit <= '9')
			number = number << 4 | (digit - '0');
		else if (small >= 'a' && small <= 'f')
			number = number << 4 | (small - 'a' + 10);
		else
			return -1;
	}
	return number;
}

/* Behind "\u". Half of a pair alone is no character. Returns the size, or 0. */
static unsigned read_point(struct reader *reader, char to[4])
{
	int point = read_hex(reader);
	if (point >= 0xd800 && point < 0xdc00) {
		if (reader->end - reader->at < 2 || memcmp(reader->at, "\\u", 2) != 0)
			return 0;
		reader->at += 2;
		int low = read_hex(reader);
		if (low < 0xdc00 || low > 0xdfff)
			return 0;
		point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
	} else if (point < 0 || (point >= 0xdc00 && point <= 0xdfff)) {
		return 0;
	}
	return text_write_utf8(to, (unsigned)point);
}

/* Behind a backslash. */
static unsigned read_escape(struct reader *reader, char to[4])
{
	static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	if (reader->at == reader->end)
		return 0;
	char letter = *reader->at++;
	const char *found = letter ? strchr(letters, letter) : NULL;
	if (found)
		*to = bytes[found - letters];
	return found ? 1 : letter == 'u' ? read_point(reader, to) : 0;
}

/* Where the quote is that ends a string; or null. */
static const char *find_end(const struct reader *reader)
{
	for (const char *at = reader->at; at < reader->end; at++)
		if (*at == '"')
			return at;
		else if (*at == '\\' && ++at == reader->end)
			break;
	return NULL;
}

static bool read_escaped(struct reader *reader, struct string *string)
{
	const char *end = find_end(reader);
	char *to = end ? malloc((size_t)(end - reader->at) + 1)
	               : NULL; /* an escape is longer than what it stands for */
	if (!to)
		return false;
	string->bytes = string->own = to;
	while (reader->at < end) {
		char byte = *reader->at++;
		unsigned size = 1;
		if (byte == '\\')
			size = read_escape(reader, to);
		else
			*to = byte;
		if (!size || (unsigned char)byte < ' ') {
			free(string->own);
			return false;
		}
		to += size;
	}
	string->size = (size_t)(to - string->own);
	reader->at = end + 1;
	return true;
}

/* Behind its quote. */
static bool read_string(struct reader *reader, struct string *string)
{
	const char *begin = reader->at;
	size_t left = (size_t)(reader->end - begin), plain = app_plain_size(begin, left);
	if (plain == left || begin[plain] != '"')
		return read_escaped(reader, string);
	*string = (struct string){ .bytes = begin, .size = plain };
	reader->at = begin + plain + 1;
	return true;
}

static json_t *read_text(struct reader *reader)
{
	struct string string;
	if (!read_string(reader, &string))
		return NULL;
	json_t *value = json_stringn_nocheck(string.bytes, string.size);
	free(string.own);
	return value;
}

/* ---- numbers and words ---- */

static size_t skip_digits(struct reader *reader)
{
	const char *begin = reader->at;
	while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
		reader->at++;
	return (size_t)(reader->at - begin);
}

static bool skip_one_of(struct reader *reader, char one, char other)
{
	if (reader->at == reader->end || (*reader->at != one && *reader->at != other))
		return false;
	reader->at++;
	return true;
}

/* One that a value cannot hold is refused. */
static json_t *make_integer(const char *at, const char *end)
{
	bool negative = *at == '-';
	json_int_t number = 0;
	for (at += negative; at < end; at++)
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, negative ? '0' - *at : *at - '0', &number))
			return NULL;
	return json_integer(number);
}

static json_t *make_real(const char *begin, size_t size)
{
	char small[NUMBER_SIZE_MAX], *text = size < sizeof small ? small : malloc(size + 1);
	if (!text)
		return NULL;
	memcpy(text, begin, size);
	text[size] = 0;
	json_t *value = json_real(strtod(text, NULL)); /* null for what is too large */
	if (text != small)
		free(text);
	return value;
}

static json_t *read_number(struct reader *reader)
{
	const char *begin = reader->at;
	bool is_real = false;
	skip_one_of(reader, '-', '-');
	const char *first = reader->at;
	if (!skip_digits(reader) || (*first == '0' && reader->at - first > 1))
		return NULL;
	if (skip_one_of(reader, '.', '.')) {
		is_real = true;
		if (!skip_digits(reader))
			return NULL;
	}
	if (skip_one_of(reader, 'e', 'E')) {
		is_real = true;
		skip_one_of(reader, '+', '-');
		if (!skip_digits(reader))
			return NULL;
	}
	return is_real ? make_real(begin, (size_t)(reader->at - begin)) : make_integer(begin, reader->at);
}

static json_t *read_word(struct reader *reader, const char *word, json_t *value)
{
	size_t size = strlen(word);
	if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0)
		return NULL;
	reader->at += size;
	return value;
}

/* ---- arrays and objects ---- */

static bool add_element(struct reader *reader, json_t *array)
{
	return json_array_append_new(array, read_value(reader)) == 0;
}

static bool add_member(struct reader *reader, json_t *object)
{
	struct string key;
	size_t before = json_object_size(object);
	if (!take(reader, '"') || !read_string(reader, &key))
		return false;
	/* A key that is there already makes it no larger. */
	bool added = !memchr(key.bytes, 0, key.size) && take(reader, ':') &&
	             json_object_setn_new_nocheck(object, key.bytes, key.size, read_value(reader)) == 0 &&
	             json_object_size(object) > before;
	free(key.own);
	return added;
}

/* Behind its first bracket. */
static json_t *read_many(struct reader *reader, json_t *many, char last,
                         bool (*add)(struct reader *reader, json_t *many))
{
	if (!many || !reader->depth_left || !reader->values_left)
		goto wrong;
	reader->depth_left--;
	reader->values_left--;
	for (bool more = !take(reader, last); more;) {
		if (!add(reader, many))
			goto wrong;
		more = !take(reader, last);
		if (more && (!take(reader, ',') || !reader->values_left--))
			goto wrong;
	}
	reader->depth_left++;
	return many;
wrong:
	json_decref(many);
	return NULL;
}

static json_t *read_value(struct reader *reader)
{
	skip_space(reader);
	switch (reader->at < reader->end ? *reader->at : 0) {
	case '{':
		reader->at++;
		return read_many(reader, json_object(), '}', add_member);
	case '[':
		reader->at++;
		return read_many(reader, json_array(), ']', add_element);
	case '"':
		reader->at++;
		return read_text(reader);
	case 't':
		return read_word(reader, "true", json_true());
	case 'f':
		return read_word(reader, "false", json_false());
	case 'n':
		return read_word(reader, "null", json_null());
	default:
		return read_number(reader);
	}
}

/* ---- all of it ---- */

json_t *app_parse_value(const char *text, size_t size, const struct app_parse_bounds *bounds, size_t *used)
{
	struct reader reader = { .at = text,
		                 .end = text + size,
		                 .depth_left = bounds ? bounds->depth_max : JSON_PARSER_MAX_DEPTH,
		                 .values_left = bounds ? bounds->values_max : SIZE_MAX };
	json_t *value = read_value(&reader);
	*used = (size_t)(reader.at - text);
	return value;
}

json_t *app_parse(const char *text, size_t size, const struct app_parse_bounds *bounds)
{
	size_t used = 0;
	json_t *value = rc_text_valid(text, size) ? app_parse_value(text, size, bounds, &used) : NULL;
	struct reader rest = { .at = text + used, .end = text + size };
	skip_space(&rest);
	if (rest.at == rest.end && (json_is_object(value) || json_is_array(value)))
		return value;
	json_decref(value);
	return NULL;
}
