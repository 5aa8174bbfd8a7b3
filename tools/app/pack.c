/* SPDX-License-Identifier: MIT
 *
 * pack.c - see pack.h. Written by hand: a message to a room is a few copies.
 */
#include "pack.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "ringcast.h"

#define LEVELS_MAX 2100 /* of our own JSON: the parser's, and what is around a value */

/* ---- JSON to MessagePack ---- */

struct pen {
	const char *at, *end; /* of the JSON */
	uint8_t *to;
	size_t size, room;
	unsigned level;
};

static inline void put(struct pen *pen, const void *bytes, size_t size)
{
	if (pen->size <= pen->room && size <= pen->room - pen->size)
		memcpy(pen->to + pen->size, bytes, size);
	pen->size += size;
}

/* A kind, and a number behind it of `width` bytes in network order. */
static inline void put_number(struct pen *pen, uint8_t kind, uint64_t number, unsigned width)
{
	uint8_t bytes[9] = { kind };
	for (unsigned i = 0; i < width; i++)
		bytes[1 + i] = (uint8_t)(number >> 8 * (width - 1 - i));
	put(pen, bytes, 1 + width);
}

static void put_string_head(struct pen *pen, size_t size)
{
	if (size < 32)
		put_number(pen, (uint8_t)(0xa0 | size), 0, 0);
	else if (size <= UINT8_MAX)
		put_number(pen, 0xd9, size, 1);
	else if (size <= UINT16_MAX)
		put_number(pen, 0xda, size, 2);
	else
		put_number(pen, 0xdb, size, 4);
}

static void put_unsigned(struct pen *pen, uint64_t number)
{
	if (number < 128)
		put_number(pen, (uint8_t)number, 0, 0);
	else if (number <= UINT8_MAX)
		put_number(pen, 0xcc, number, 1);
	else if (number <= UINT16_MAX)
		put_number(pen, 0xcd, number, 2);
	else if (number <= UINT32_MAX)
		put_number(pen, 0xce, number, 4);
	else
		put_number(pen, 0xcf, number, 8);
}

static void put_negative(struct pen *pen, int64_t number)
{
	if (number >= -32)
		put_number(pen, (uint8_t)number, 0, 0);
	else if (number >= INT8_MIN)
		put_number(pen, 0xd0, (uint64_t)number, 1);
	else if (number >= INT16_MIN)
		put_number(pen, 0xd1, (uint64_t)number, 2);
	else if (number >= INT32_MIN)
		put_number(pen, 0xd2, (uint64_t)number, 4);
	else
		put_number(pen, 0xd3, (uint64_t)number, 8);
}

static void put_real(struct pen *pen, double number)
{
	uint64_t bits;
	memcpy(&bits, &number, sizeof bits);
	put_number(pen, 0xcb, bits, 8);
}

static bool write_value(struct pen *pen);

static void skip_space(struct pen *pen)
{
	while (pen->at < pen->end && (*pen->at == ' ' || *pen->at == '\n' || *pen->at == '\t' || *pen->at == '\r'))
		pen->at++;
}

static bool take(struct pen *pen, char wanted)
{
	skip_space(pen);
	if (pen->at == pen->end || *pen->at != wanted)
		return false;
	pen->at++;
	return true;
}

static unsigned hex_of(const char *at)
{
	char digits[5] = { at[0], at[1], at[2], at[3], 0 };
	return (unsigned)strtoul(digits, NULL, 16);
}

/* What stands behind a backslash: its bytes, and how much of the JSON it took; 0: it is cut off. */
static size_t unescape(const char *at, const char *end, char to[4], unsigned *size)
{
	static const char letters[] = "bfnrt", bytes[] = "\b\f\n\r\t";
	const char *letter = strchr(letters, *at);
	*size = 1;
	to[0] = letter && *at ? bytes[letter - letters] : *at;
	if (*at != 'u')
		return 1;
	if (end - at < 5)
		return 0;
	unsigned point = hex_of(at + 1);
	bool pair = point >= 0xd800 && point < 0xdc00;
	if (pair && (end - at < 11 || at[5] != '\\' || at[6] != 'u'))
		return 0;
	if (pair)
		point = 0x10000 + ((point & 0x3ff) << 10) + (hex_of(at + 7) & 0x3ff);
	*size = text_write_utf8(to, point);
	return pair ? 11 : 5;
}

/* A text with escapes: its size, and its bytes if `write`. */
static size_t walk_escaped(struct pen *pen, const char *end, bool write)
{
	size_t total = 0;
	for (const char *at = pen->at; at < end;) {
		const char *stop = memchr(at, '\\', (size_t)(end - at));
		char bytes[4];
		unsigned size = 0;
		size_t plain = (size_t)((stop ? stop : end) - at);
		if (write)
			put(pen, at, plain);
		total += plain;
		at += plain;
		if (!stop)
			break;
		size_t used = at + 1 < end ? unescape(at + 1, end, bytes, &size) : 0;
		if (!used)
			break;
		if (write)
			put(pen, bytes, size);
		total += size;
		at += 1 + used;
	}
	return total;
}

static bool write_escaped(struct pen *pen)
{
	const char *end = pen->at;
	for (; end < pen->end && *end != '"'; end++)
		end += *end == '\\';
	if (end >= pen->end)
		return false;
	put_string_head(pen, walk_escaped(pen, end, false));
	walk_escaped(pen, end, true);
	pen->at = end + 1;
	return true;
}

static bool write_string(struct pen *pen)
{
	if (!take(pen, '"'))
		return false;
	const char *end = memchr(pen->at, '"', (size_t)(pen->end - pen->at));
	size_t size = end ? (size_t)(end - pen->at) : 0;
	if (!end || memchr(pen->at, '\\', size))
		return end && write_escaped(pen);
	put_string_head(pen, size);
	put(pen, pen->at, size);
	pen->at = end + 1;
	return true;
}

/* One that is whole and not negative, of digits that any number of its size has. */
static bool write_digits(struct pen *pen)
{
	uint64_t number = 0;
	const char *at = pen->at, *end = pen->end - at > 19 ? at + 19 : pen->end;
	while (at < end && *at >= '0' && *at <= '9')
		number = number * 10 + (uint64_t)(*at++ - '0');
	if (at == pen->at || at == pen->end || (*at != ',' && *at != '}' && *at != ']'))
		return false;
	put_unsigned(pen, number);
	pen->at = at;
	return true;
}

static bool write_number(struct pen *pen)
{
	char digits[64], *stop;
	size_t size = 0;
	bool real = false;
	while (pen->at + size < pen->end && size < sizeof digits - 1 && pen->at[size] &&
	       strchr("+-.0123456789eE", pen->at[size])) {
		digits[size] = pen->at[size];
		real |= digits[size] == '.' || digits[size] == 'e' || digits[size] == 'E';
		size++;
	}
	digits[size] = 0;
	if (real)
		put_real(pen, strtod(digits, &stop));
	else if (*digits == '-')
		put_negative(pen, strtoll(digits, &stop, 10));
	else
		put_unsigned(pen, strtoull(digits, &stop, 10));
	pen->at += size;
	return size && !*stop;
}

static bool write_word(struct pen *pen, const char *word)
{
	size_t size = strlen(word);
	if ((size_t)(pen->end - pen->at) < size || memcmp(pen->at, word, size) != 0)
		return false;
	pen->at += size;
	return true;
}

/* How many values there are is known at their end: a head of a fixed size is filled in then. A text that is short
 * enough holds no more than its head can say. */
static bool write_many(struct pen *pen, char first, char last)
{
	size_t place = pen->size, rest = (size_t)(pen->end - pen->at), count = 0;
	bool map = first == '{', is_long = rest / 2 > UINT16_MAX;
	uint8_t head[5] = { is_long ? (map ? 0xdf : 0xdd) : (map ? 0xde : 0xdc) };
	size_t head_size = is_long ? 5 : 3;
	put(pen, head, head_size);
	pen->at++;
	if (++pen->level > LEVELS_MAX)
		return false;
	for (; !take(pen, last); count++) {
		if ((count && !take(pen, ',')) || (map && (!write_string(pen) || !take(pen, ':'))) || !write_value(pen))
			return false;
	}
	pen->level--;
	for (size_t i = 1; i < head_size; i++)
		head[i] = (uint8_t)(count >> 8 * (head_size - 1 - i));
	if (pen->size <= pen->room)
		memcpy(pen->to + place, head, head_size);
	return true;
}

static bool write_value(struct pen *pen)
{
	skip_space(pen);
	switch (pen->at < pen->end ? *pen->at : 0) {
	case '{':
		return write_many(pen, '{', '}');
	case '[':
		return write_many(pen, '[', ']');
	case '"':
		return write_string(pen);
	case 't':
		put_number(pen, 0xc3, 0, 0);
		return write_word(pen, "true");
	case 'f':
		put_number(pen, 0xc2, 0, 0);
		return write_word(pen, "false");
	case 'n':
		put_number(pen, 0xc0, 0, 0);
		return write_word(pen, "null");
	default:
		return write_digits(pen) || write_number(pen);
	}
}

size_t app_pack_write(const char *json, size_t size, void *to, size_t room)
{
	struct pen pen = { .at = json, .end = json + size, .to = to, .room = room };
	if (!write_value(&pen))
		return 0;
	skip_space(&pen);
	return pen.at == pen.end ? pen.size : 0;
}

/* ---- MessagePack to JSON ---- */

struct reader {
	const uint8_t *at, *end;
	unsigned values_left, depth_left;
};

static json_t *read_value(struct reader *reader);

/* A big-endian number of `width` bytes; false: it is cut off. */
static bool take_number(struct reader *reader, unsigned width, uint64_t *number)
{
	*number = 0;
	if ((size_t)(reader->end - reader->at) < width)
		return false;
	for (unsigned i = 0; i < width; i++)
		*number = *number << 8 | *reader->at++;
	return true;
}

/* So many bytes of UTF-8. */
static const char *take_text(struct reader *reader, uint64_t size)
{
	const char *text = (const char *)reader->at;
	if ((uint64_t)(reader->end - reader->at) < size || !rc_text_valid(text, size))
		return NULL;
	reader->at += size;
	return text;
}

static json_t *read_text(struct reader *reader, uint64_t size)
{
	const char *text = take_text(reader, size);
	return text ? json_stringn_nocheck(text, size) : NULL;
}

/* The size of a string by its first byte, or of what stands behind that. False: it is no string. */
static bool take_text_size(struct reader *reader, uint8_t kind, uint64_t *size)
{
	*size = kind & 31;
	if (kind >= 0xa0 && kind < 0xc0)
		return true;
	return kind >= 0xd9 && kind <= 0xdb && take_number(reader, 1u << (kind - 0xd9), size);
}

static json_t *read_unsigned(struct reader *reader, unsigned width)
{
	uint64_t number;
	if (!take_number(reader, width, &number))
		return NULL;
	return number <= INT64_MAX ? json_integer((json_int_t)number) : json_real((double)number);
}

static json_t *read_signed(struct reader *reader, unsigned width)
{
	uint64_t number, top = UINT64_C(1) << (8 * width - 1);
	if (!take_number(reader, width, &number))
		return NULL;
	return json_integer((json_int_t)((number ^ top) - top));
}

/* Null for what is no number in JSON. */
static json_t *read_real(struct reader *reader, unsigned width)
{
	uint64_t bits;
	double real;
	float small;
	if (!take_number(reader, width, &bits))
		return NULL;
	uint32_t small_bits = (uint32_t)bits;
	memcpy(&real, &bits, sizeof real);
	memcpy(&small, &small_bits, sizeof small);
	return json_real(width == 4 ? (double)small : real);
}

static bool add_element(struct reader *reader, json_t *array)
{
	return json_array_append_new(array, read_value(reader)) == 0;
}

static bool add_member(struct reader *reader, json_t *map)
{
	uint64_t size;
	size_t before = json_object_size(map);
	if (reader->at == reader->end || !reader->values_left)
		return false;
	reader->values_left--;
	uint8_t kind = *reader->at++;
	const char *key = take_text_size(reader, kind, &size) ? take_text(reader, size) : NULL;
	if (!key || memchr(key, 0, size))
		return false;
	/* A key that is there already makes it no larger. */
	return json_object_setn_new_nocheck(map, key, size, read_value(reader)) == 0 && json_object_size(map) > before;
}

/* As many as `width` bytes say, which 0 have said already. */
static json_t *read_many(struct reader *reader, json_t *many, unsigned width, uint64_t count,
                         bool (*add)(struct reader *reader, json_t *many))
{
	bool good = many && reader->depth_left && (!width || take_number(reader, width, &count));
	if (good)
		reader->depth_left--;
	while (good && count--)
		good = add(reader, many);
	if (good) {
		reader->depth_left++;
		return many;
	}
	json_decref(many);
	return NULL;
}

static json_t *read_kind(struct reader *reader, uint8_t kind)
{
	switch (kind) {
	case 0xc0:
		return json_null();
	case 0xc2:
	case 0xc3:
		return json_boolean(kind == 0xc3);
	case 0xca:
	case 0xcb:
		return read_real(reader, kind == 0xca ? 4 : 8);
	case 0xcc:
	case 0xcd:
	case 0xce:
	case 0xcf:
		return read_unsigned(reader, 1u << (kind - 0xcc));
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		return read_signed(reader, 1u << (kind - 0xd0));
	case 0xdc:
	case 0xdd:
		return read_many(reader, json_array(), kind == 0xdc ? 2 : 4, 0, add_element);
	case 0xde:
	case 0xdf:
		return read_many(reader, json_object(), kind == 0xde ? 2 : 4, 0, add_member);
	default:
		return NULL;
	}
}

/* Every value that is announced takes a byte, so what is allocated is bounded by what came. */
static json_t *read_value(struct reader *reader)
{
	uint64_t size;
	if (reader->at == reader->end || !reader->values_left)
		return NULL;
	reader->values_left--;
	uint8_t kind = *reader->at++;
	if (kind < 0x80 || kind >= 0xe0)
		return json_integer((int8_t)kind);
	if (kind < 0x90)
		return read_many(reader, json_object(), 0, kind & 15, add_member);
	if (kind < 0xa0)
		return read_many(reader, json_array(), 0, kind & 15, add_element);
	if (take_text_size(reader, kind, &size))
		return read_text(reader, size);
	return read_kind(reader, kind);
}

json_t *app_pack_read(const void *bytes, size_t size, unsigned depth_max, unsigned values_max)
{
	struct reader reader = { .at = bytes, .end = (const uint8_t *)bytes + size };
	reader.values_left = values_max;
	reader.depth_left = depth_max;
	json_t *value = read_value(&reader);
	if (value && reader.at == reader.end)
		return value;
	json_decref(value);
	return NULL;
}
