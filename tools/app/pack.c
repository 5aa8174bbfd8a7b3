/* SPDX-License-Identifier: MIT
 *
 * pack.c - see pack.h. Written by hand: a message to a room is a few copies. Read by the library.
 */
#include "pack.h"

#include <msgpack.h>
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
		return write_number(pen);
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

struct look {
	const uint8_t *at, *end;
	unsigned values, level, values_max, depth_max;
};

/* A big-endian number of `width` bytes; false: it is cut off. */
static bool take_number(struct look *look, unsigned width, uint64_t *number)
{
	*number = 0;
	if ((size_t)(look->end - look->at) < width)
		return false;
	for (unsigned i = 0; i < width; i++)
		*number = *number << 8 | *look->at++;
	return true;
}

static bool skip(struct look *look, uint64_t size)
{
	if ((uint64_t)(look->end - look->at) < size)
		return false;
	look->at += size;
	return true;
}

static bool look_at_one(struct look *look);

static bool look_at_many(struct look *look, uint64_t count)
{
	/* Each has a byte at least. */
	if (count > (uint64_t)(look->end - look->at) || ++look->level > look->depth_max)
		return false;
	while (count--)
		if (!look_at_one(look))
			return false;
	look->level--;
	return true;
}

/* Whether a value is whole, within the bounds, and of a kind that JSON has. */
static bool look_at_one(struct look *look)
{
	uint64_t number;
	if (look->at == look->end || ++look->values > look->values_max)
		return false;
	uint8_t kind = *look->at++;
	if (kind < 0x80 || kind >= 0xe0 || kind == 0xc0 || kind == 0xc2 || kind == 0xc3)
		return true;
	if (kind < 0x90)
		return look_at_many(look, 2u * (kind & 15));
	if (kind < 0xa0)
		return look_at_many(look, kind & 15);
	if (kind < 0xc0)
		return skip(look, kind & 31);
	if (kind == 0xca || kind == 0xcb)
		return skip(look, kind == 0xca ? 4 : 8);
	if (kind >= 0xcc && kind <= 0xd3)
		return skip(look, UINT64_C(1) << ((kind - 0xcc) & 3));
	if (kind >= 0xd9 && kind <= 0xdb)
		return take_number(look, 1u << (kind - 0xd9), &number) && skip(look, number);
	if (kind == 0xdc || kind == 0xdd)
		return take_number(look, kind == 0xdc ? 2 : 4, &number) && look_at_many(look, number);
	if (kind == 0xde || kind == 0xdf)
		return take_number(look, kind == 0xde ? 2 : 4, &number) && look_at_many(look, 2 * number);
	return false;
}

static json_t *read_string(const msgpack_object *object)
{
	const char *text = object->via.str.size ? object->via.str.ptr : "";
	return rc_text_valid(text, object->via.str.size) ? json_stringn_nocheck(text, object->via.str.size) : NULL;
}

static json_t *read_object(const msgpack_object *object);

static bool add_member(json_t *map, const msgpack_object_kv *member)
{
	const char *key = member->key.via.str.ptr;
	size_t size = member->key.via.str.size;
	size_t before = json_object_size(map);
	if (member->key.type != MSGPACK_OBJECT_STR || memchr(size ? key : "", 0, size) || !rc_text_valid(key, size))
		return false;
	/* A key that is there already makes it no larger. */
	return json_object_setn_new_nocheck(map, key, size, read_object(&member->val)) == 0 &&
	       json_object_size(map) > before;
}

static json_t *read_map(const msgpack_object_map *from)
{
	json_t *map = json_object();
	for (uint32_t i = 0; map && i < from->size; i++) {
		if (add_member(map, &from->ptr[i]))
			continue;
		json_decref(map);
		return NULL;
	}
	return map;
}

static json_t *read_array(const msgpack_object_array *from)
{
	json_t *array = json_array();
	for (uint32_t i = 0; array && i < from->size; i++) {
		if (json_array_append_new(array, read_object(&from->ptr[i])) == 0)
			continue;
		json_decref(array);
		return NULL;
	}
	return array;
}

static json_t *read_object(const msgpack_object *object)
{
	switch (object->type) {
	case MSGPACK_OBJECT_NIL:
		return json_null();
	case MSGPACK_OBJECT_BOOLEAN:
		return json_boolean(object->via.boolean);
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		return object->via.u64 <= INT64_MAX ? json_integer((json_int_t)object->via.u64)
		                                    : json_real((double)object->via.u64);
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		return json_integer(object->via.i64);
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		return json_real(object->via.f64);
	case MSGPACK_OBJECT_STR:
		return read_string(object);
	case MSGPACK_OBJECT_ARRAY:
		return read_array(&object->via.array);
	case MSGPACK_OBJECT_MAP:
		return read_map(&object->via.map);
	default:
		return NULL;
	}
}

json_t *app_pack_read(const void *bytes, size_t size, unsigned depth_max, unsigned values_max)
{
	struct look look = { .at = bytes, .end = (const uint8_t *)bytes + size };
	look.values_max = values_max;
	look.depth_max = depth_max;
	if (!look_at_one(&look) || look.at != look.end)
		return NULL;
	msgpack_zone zone;
	msgpack_object object;
	size_t offset = 0;
	if (!msgpack_zone_init(&zone, MSGPACK_ZONE_CHUNK_SIZE))
		return NULL;
	bool whole = msgpack_unpack(bytes, size, &offset, &zone, &object) == MSGPACK_UNPACK_SUCCESS;
	json_t *value = whole ? read_object(&object) : NULL;
	msgpack_zone_destroy(&zone);
	return value;
}
