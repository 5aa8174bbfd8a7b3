/* SPDX-License-Identifier: MIT
 *
 * parse.cpp - see parse.h. RapidJSON reads; what it finds becomes a value of the JSON library at once.
 *
 * Invariant: nothing is read at or behind the text's end, no call goes deeper for what the text says, and RapidJSON
 * neither allocates nor reads a number: its own reading of one is not exact, and in version 1.1 not safe either.
 */
#include <cassert>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <jansson.h>

/* It is linked as C, without what C++ has for memory. */
#define RAPIDJSON_NEW(made) nullptr
#define RAPIDJSON_DELETE(gone) static_cast<void>(gone)
#ifdef RC_CHECK_EACH
#define RAPIDJSON_ASSERT(holds) assert(holds)
#else
#define RAPIDJSON_ASSERT(holds) static_cast<void>(0)
#endif
/* Its stack adds to a null pointer, and compares, before it has memory. */
#ifdef __clang__
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/reader.h>
#ifdef __clang__
#pragma clang attribute pop
#endif

extern "C" {
#include "out.h"
#include "parse.h"
#include "ringcast.h"
}

namespace
{

constexpr size_t DEPTH_MAX = JSON_PARSER_MAX_DEPTH;
constexpr size_t SMALL_SIZE = 32768; /* a text below it needs no allocation: a large one makes the small ones dear */

/* The reader's memory of what is open: two numbers a level, and one level more before it is refused. It asks once. */
class Levels
{
      public:
	void *Malloc(size_t) { return bytes; }
	void *Realloc(void *, size_t, size_t) { return bytes; }
	static void Free(void *) {}

	alignas(16) char bytes[2 * sizeof(rapidjson::SizeType) * (DEPTH_MAX + 1)];
};

/* The text, and beside it as much memory, in which a string without its escapes lies where it lies in the text. */
struct Text {
	typedef char Ch;

	char Peek() const { return at < end ? *at : 0; }
	char Take() { return *at++; }
	size_t Tell() const { return static_cast<size_t>(at - begin); }
	char *PutBegin() { return to = beside + Tell(); }
	void Put(char byte) { *to++ = byte; }
	size_t PutEnd(const char *from) const { return static_cast<size_t>(to - from); }

	const char *begin, *at, *end;
	char *beside, *to;
};

/* Makes the values, each in the array or object that is open. */
class Maker
{
      public:
	/* cppcheck-suppress uninitMemberVar; `opened` is 16 KB, of which `depth` are in use */
	Maker(const Text &text, size_t depth_max, size_t values_max)
	    : text(text), depth_max(depth_max < DEPTH_MAX ? depth_max : DEPTH_MAX), values_left(values_max)
	{
	}

	bool Null() { return add(json_null()); }
	bool Bool(bool yes) { return add(json_boolean(yes)); }
	bool String(const char *bytes, size_t size, bool)
	{
		return is_text(bytes, size) && add(json_stringn_nocheck(bytes, size));
	}
	bool StartObject() { return open(json_object()); }
	bool StartArray() { return open(json_array()); }

	bool EndObject(size_t)
	{
		depth--;
		return true;
	}

	bool EndArray(size_t count) { return EndObject(count); }

	bool Key(const char *bytes, size_t size, bool)
	{
		key = bytes;
		key_size = size;
		return is_text(bytes, size) && !memchr(bytes, 0, size);
	}

	/* The text stands behind it. A zero before other digits is none. */
	bool RawNumber(const char *, size_t size, bool)
	{
		const char *first = text.at - size;
		if (text.Peek() >= '0' && text.Peek() <= '9')
			return false;
		json_int_t integer;
		auto read = std::from_chars(first, text.at, integer);
		if (read.ptr == text.at)
			return read.ec == std::errc() && add(json_integer(integer));
		char *copy = text.beside + (first - text.begin);
		memcpy(copy, first, size);
		copy[size] = 0;
		return add(json_real(strtod(copy, nullptr))); /* null for what is too large */
	}

	/* The reader calls none of them, since it leaves the numbers to us. */
	bool Int(int) { return false; }
	bool Uint(unsigned) { return false; }
	bool Int64(int64_t) { return false; }
	bool Uint64(uint64_t) { return false; }
	bool Double(double) { return false; }

	json_t *root = nullptr;

      private:
	/* RapidJSON takes the second half of a pair alone. Only of escapes, with which a string becomes shorter. */
	bool is_text(const char *bytes, size_t size) const
	{
		return bytes + size + 1 == text.beside + text.Tell() || rc_text_valid(bytes, size);
	}

	bool spend() { return values_left && values_left--; }

	bool add(json_t *value)
	{
		if (!depth)
			return (root = value);
		json_t *into = opened[depth - 1];
		bool is_array = json_is_array(into);
		size_t before = is_array ? json_array_size(into) : json_object_size(into);
		if (before && !spend()) {
			json_decref(value);
			return false;
		}
		if (is_array)
			return json_array_append_new(into, value) == 0;
		/* A key that is there already makes it no larger. */
		return json_object_setn_new_nocheck(into, key, key_size, value) == 0 && json_object_size(into) > before;
	}

	bool open(json_t *value)
	{
		if (depth == depth_max || !spend()) {
			json_decref(value);
			return false;
		}
		if (!add(value))
			return false;
		opened[depth++] = value;
		return true;
	}

	const Text &text;
	size_t depth = 0, depth_max, values_left;
	const char *key = nullptr;
	size_t key_size = 0;
	json_t *opened[DEPTH_MAX]; /* each but the first is in the one before */
};

constexpr unsigned FLAGS = rapidjson::kParseInsituFlag | rapidjson::kParseIterativeFlag |
                           rapidjson::kParseNumbersAsStringsFlag | rapidjson::kParseStopWhenDoneFlag;
typedef rapidjson::GenericReader<rapidjson::UTF8<>, rapidjson::UTF8<>, Levels> Reader;

} // namespace

/* Where RapidJSON has vector code for texts of its own: what of a string needs no look at each byte. */
template <> template <> inline void Reader::ScanCopyUnescapedString(Text &text, Text &)
{
	size_t size = app_plain_size(text.at, static_cast<size_t>(text.end - text.at));
	memcpy(text.to, text.at, size);
	text.at += size;
	text.to += size;
}

json_t *app_parse_value(const char *text, size_t size, const struct app_parse_bounds *bounds, size_t *used)
{
	char small[SMALL_SIZE], *beside = size < sizeof small ? small : static_cast<char *>(malloc(size + 1));
	*used = 0;
	if (!beside)
		return nullptr;
	Text from = { text, text, text + size, beside, beside };
	Maker maker(from, bounds ? bounds->depth_max : DEPTH_MAX, bounds ? bounds->values_max : SIZE_MAX);
	Levels levels;
	Reader reader(&levels, sizeof levels.bytes);
	if (reader.Parse<FLAGS>(from, maker).IsError()) {
		json_decref(maker.root);
		maker.root = nullptr;
	}
	if (beside != small)
		free(beside);
	*used = from.Tell();
	return maker.root;
}

json_t *app_parse(const char *text, size_t size, const struct app_parse_bounds *bounds)
{
	size_t used = 0;
	json_t *value = rc_text_valid(text, size) ? app_parse_value(text, size, bounds, &used) : nullptr;
	while (used < size && memchr(" \t\r\n", text[used], 4))
		used++;
	if (used == size && (json_is_object(value) || json_is_array(value)))
		return value;
	json_decref(value);
	return nullptr;
}
