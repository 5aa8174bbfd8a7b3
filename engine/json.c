/* SPDX-License-Identifier: MIT
 *
 * json.c - see json.h. A value is walked once, without recursion: what is open is a stack of bits, 1 for an object.
 * Invariant: `depth` values are open, and the lowest bit of `open` says which kind the innermost is.
 */
#include "json.h"

#include <openssl/evp.h>
#include <string.h>

/* ---- whether text is a value ---- */

struct walk {
	const uint8_t *at, *end;
	uint8_t open[RC_JSON_DEPTH_MAX / 8];
	unsigned depth;
};

static void skip_space(struct walk *walk)
{
	while (walk->at < walk->end &&
	       (*walk->at == ' ' || *walk->at == '\n' || *walk->at == '\r' || *walk->at == '\t'))
		walk->at++;
}

static bool take(struct walk *walk, uint8_t byte)
{
	if (walk->at == walk->end || *walk->at != byte)
		return false;
	walk->at++;
	return true;
}

static bool take_word(struct walk *walk, const char *word, size_t size)
{
	if ((size_t)(walk->end - walk->at) < size || memcmp(walk->at, word, size) != 0)
		return false;
	walk->at += size;
	return true;
}

static bool is_digit(const struct walk *walk)
{
	return walk->at < walk->end && *walk->at >= '0' && *walk->at <= '9';
}

static bool take_digits(struct walk *walk)
{
	const uint8_t *begin = walk->at;
	while (is_digit(walk))
		walk->at++;
	return walk->at > begin;
}

static bool take_number(struct walk *walk)
{
	take(walk, '-');
	if (!take(walk, '0') && !take_digits(walk))
		return false;
	if (take(walk, '.') && !take_digits(walk))
		return false;
	if (!take(walk, 'e') && !take(walk, 'E'))
		return true;
	if (!take(walk, '+'))
		take(walk, '-');
	return take_digits(walk);
}

/* Four hexadecimal digits, or -1. */
static int take_unit(struct walk *walk)
{
	int unit = 0;
	if (walk->end - walk->at < 4)
		return -1;
	for (unsigned i = 0; i < 4; i++) {
		uint8_t byte = *walk->at++, letter = byte | 0x20;
		bool digit = byte >= '0' && byte <= '9';
		if (!digit && (letter < 'a' || letter > 'f'))
			return -1;
		unit = unit * 16 + (digit ? byte - '0' : letter - 'a' + 10);
	}
	return unit;
}

/* What stands behind a backslash. */
static bool take_escape(struct walk *walk)
{
	if (walk->at == walk->end)
		return false;
	uint8_t byte = *walk->at++;
	if (byte != 'u')
		return byte && strchr("\"\\/bfnrt", byte);
	int unit = take_unit(walk);
	if (unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF))
		return false;
	if (unit < 0xD800 || unit > 0xDBFF)
		return true;
	if (!take_word(walk, "\\u", 2))
		return false;
	unit = take_unit(walk);
	return unit >= 0xDC00 && unit <= 0xDFFF;
}

static bool take_string(struct walk *walk)
{
	if (!take(walk, '"'))
		return false;
	while (walk->at < walk->end) {
		uint8_t byte = *walk->at++;
		if (byte == '"')
			return true;
		if (byte < 0x20 || (byte == '\\' && !take_escape(walk)))
			return false;
	}
	return false;
}

static bool is_object(const struct walk *walk)
{
	return walk->open[(walk->depth - 1) / 8] >> (walk->depth - 1) % 8 & 1;
}

static bool open_value(struct walk *walk, bool object)
{
	if (walk->depth == RC_JSON_DEPTH_MAX)
		return false;
	uint8_t bit = (uint8_t)(1u << walk->depth % 8), *byte = &walk->open[walk->depth / 8];
	*byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
	walk->depth++;
	walk->at++;
	return true;
}

static bool take_name(struct walk *walk)
{
	skip_space(walk);
	if (!take_string(walk))
		return false;
	skip_space(walk);
	return take(walk, ':');
}

/* A value that is whole, or the beginning of one that others stand in. *more: the first of those comes next. */
static bool begin_value(struct walk *walk, bool *more)
{
	*more = false;
	skip_space(walk);
	if (walk->at == walk->end)
		return false;
	switch (*walk->at) {
	case '"':
		return take_string(walk);
	case 't':
		return take_word(walk, "true", 4);
	case 'f':
		return take_word(walk, "false", 5);
	case 'n':
		return take_word(walk, "null", 4);
	case '[':
	case '{':
		break;
	default:
		return take_number(walk);
	}
	bool object = *walk->at == '{';
	if (!open_value(walk, object))
		return false;
	skip_space(walk);
	if (take(walk, object ? '}' : ']')) {
		walk->depth--;
		return true;
	}
	*more = true;
	return !object || take_name(walk);
}

/* Behind a value: closes what ends there. *more: another value comes next. */
static bool end_value(struct walk *walk, bool *more)
{
	*more = false;
	while (walk->depth) {
		bool object = is_object(walk);
		skip_space(walk);
		if (take(walk, ',')) {
			*more = true;
			return !object || take_name(walk);
		}
		if (!take(walk, object ? '}' : ']'))
			return false;
		walk->depth--;
	}
	return true;
}

bool rc_json_valid(const uint8_t *text, size_t size)
{
	struct walk walk = { .at = text, .end = text + size };
	bool more = true;
	while (more) {
		if (!begin_value(&walk, &more))
			return false;
		if (!more && !end_value(&walk, &more))
			return false;
	}
	skip_space(&walk);
	return walk.at == walk.end;
}

/* ---- strings ---- */

static size_t put(uint8_t *to, size_t at, const void *bytes, size_t size)
{
	if (to && size)
		memcpy(to + at, bytes, size);
	return at + size;
}

static size_t put_escape(uint8_t *to, size_t at, uint8_t byte)
{
	static const char letters[] = "btn\0fr", digits[] = "0123456789abcdef"; /* letters of the bytes 8 to 13 */
	if (byte == '"' || byte == '\\')
		return put(to, at, (char[]){ '\\', (char)byte }, 2);
	if (byte >= 8 && byte <= 13 && letters[byte - 8])
		return put(to, at, (char[]){ '\\', letters[byte - 8] }, 2);
	return put(to, at, (char[]){ '\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15] }, 6);
}

size_t rc_json_string(uint8_t *to, const void *text, size_t size)
{
	const uint8_t *bytes = text;
	size_t used = put(to, 0, "\"", 1), begin = 0;
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] >= 0x20 && bytes[i] != '"' && bytes[i] != '\\')
			continue;
		used = put(to, used, bytes + begin, i - begin);
		used = put_escape(to, used, bytes[i]);
		begin = i + 1;
	}
	if (begin < size)
		used = put(to, used, bytes + begin, size - begin);
	return put(to, used, "\"", 1);
}

size_t rc_json_base64(uint8_t *to, const void *bytes, size_t size)
{
	static const size_t piece = 3 << 20; /* EVP_EncodeBlock() counts in an int */
	size_t used = 1 + (size + 2) / 3 * 4;
	if (!to)
		return used + 1;
	for (size_t done = 0; done < size; done += piece) {
		size_t some = size - done < piece ? size - done : piece;
		EVP_EncodeBlock(to + 1 + done / 3 * 4, (const unsigned char *)bytes + done, (int)some);
	}
	to[0] = to[used] = '"';
	return used + 1;
}
