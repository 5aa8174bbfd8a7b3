/* SPDX-License-Identifier: MIT
 *
 * out.c - see out.h.
 */
#include "out.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 512

void app_out_free(struct app_out *out)
{
	free(out->bytes);
	*out = (struct app_out){ 0 };
}

char *app_out_room(struct app_out *out, size_t size)
{
	if (out->capacity - out->size < size) {
		size_t capacity = out->capacity ? out->capacity : FIRST_SIZE;
		while (capacity - out->size < size)
			capacity *= 2;
		char *bytes = realloc(out->bytes, capacity);
		if (!bytes) {
			out->failed = true;
			return NULL;
		}
		out->bytes = bytes;
		out->capacity = capacity;
	}
	return out->bytes + out->size;
}

void app_out_bytes(struct app_out *out, const void *bytes, size_t size)
{
	char *at = size ? app_out_room(out, size) : NULL;
	if (!at)
		return;
	memcpy(at, bytes, size);
	out->size += size;
}

void app_out_line(struct app_out *out, const void *bytes, size_t size)
{
	char *at = app_out_room(out, size + 1);
	if (!at)
		return;
	memcpy(at, bytes, size);
	at[size] = '\n';
	out->size += size + 1;
}

void app_out_text(struct app_out *out, const char *text)
{
	app_out_bytes(out, text, strlen(text));
}

void app_out_format(struct app_out *out, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	char *at = size < 0 ? NULL : app_out_room(out, (size_t)size + 1);
	if (!at) {
		out->failed = true;
		return;
	}
	va_start(arguments, format);
	vsnprintf(at, (size_t)size + 1, format, arguments);
	va_end(arguments);
	out->size += (size_t)size;
}

char *app_digits(char *end, uint64_t number)
{
	do
		*--end = (char)('0' + number % 10);
	while (number /= 10);
	return end;
}

char *app_digits_hex(char *end, uint64_t number)
{
	do
		*--end = "0123456789abcdef"[number & 15];
	while (number >>= 4);
	return end;
}

void app_out_number(struct app_out *out, uint64_t number)
{
	char digits[20], *end = digits + sizeof digits, *begin = app_digits(end, number);
	app_out_bytes(out, begin, (size_t)(end - begin));
}

static void escape(struct app_out *out, unsigned char byte)
{
	static const char letters[] = "btn\0fr"; /* for the bytes 8 to 13 */
	if (byte == '"' || byte == '\\')
		app_out_bytes(out, (char[]){ '\\', (char)byte }, 2);
	else if (byte >= 8 && byte <= 13 && letters[byte - 8])
		app_out_bytes(out, (char[]){ '\\', letters[byte - 8] }, 2);
	else
		app_out_format(out, "\\u%04x", byte);
}

static bool is_plain(unsigned char byte)
{
	return byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f;
}

/* Whether eight bytes are. Of each byte one bit tells: that of 0x80. */
static bool are_plain(const char *text)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
	uint64_t word;
	memcpy(&word, text, sizeof word);
	uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\', erase = word ^ ones * 0x7f;
	uint64_t found = ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
	                 ((backslash - ones) & ~backslash) | ((erase - ones) & ~erase);
	return !(found & tops);
}

size_t app_plain_size(const char *text, size_t size)
{
	size_t at = 0;
	while (size - at >= 8 && are_plain(text + at))
		at += 8;
	while (at < size && is_plain((unsigned char)text[at]))
		at++;
	return at;
}

void app_out_string(struct app_out *out, const char *text, size_t size)
{
	app_out_bytes(out, "\"", 1);
	for (size_t at = 0, plain; at < size; at += plain + 1) {
		plain = app_plain_size(text + at, size - at);
		app_out_bytes(out, text + at, plain);
		if (at + plain < size)
			escape(out, (unsigned char)text[at + plain]);
	}
	app_out_bytes(out, "\"", 1);
}

static void write_integer(struct app_out *out, json_int_t number)
{
	if (number < 0)
		app_out_bytes(out, "-", 1);
	app_out_number(out, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

/* The shortest digits that are read back as the same number: what a client sent comes out as it was written. */
static void write_real(struct app_out *out, double number)
{
	char text[40];
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, number);
		if (strtod(text, NULL) == number)
			break;
	}
	app_out_text(out, text);
	/* A real number must be read back as one, and not as an integer. */
	if (!strpbrk(text, ".e"))
		app_out_text(out, ".0");
}

/* The depth is bounded by the parser's: JSON_PARSER_MAX_DEPTH. */
void app_out_value(struct app_out *out, const json_t *value)
{
	const char *before = "", *key;
	json_t *each;
	size_t index;
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		app_out_string(out, json_string_value(value), json_string_length(value));
		break;
	case JSON_INTEGER:
		write_integer(out, json_integer_value(value));
		break;
	case JSON_REAL:
		write_real(out, json_real_value(value));
		break;
	case JSON_OBJECT:
		app_out_text(out, "{");
		json_object_foreach((json_t *)value, key, each)
		{
			app_out_text(out, before);
			app_out_string(out, key, strlen(key));
			app_out_text(out, ":");
			app_out_value(out, each);
			before = ",";
		}
		app_out_text(out, "}");
		break;
	case JSON_ARRAY:
		app_out_text(out, "[");
		json_array_foreach(value, index, each)
		{
			app_out_text(out, before);
			app_out_value(out, each);
			before = ",";
		}
		app_out_text(out, "]");
		break;
	default:
		app_out_text(out, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
	}
}

void app_out_type(struct app_out *out, const char *type, const json_t *id)
{
	app_out_text(out, "{\"type\":\"");
	app_out_text(out, type);
	app_out_bytes(out, "\"", 1);
	if (!id)
		return;
	app_out_text(out, ",\"id\":");
	app_out_value(out, id);
}

void app_out_gap(struct app_out *out, const char *topic, size_t size, uint64_t from, uint64_t to, uint64_t epoch,
                 bool reset)
{
	app_out_text(out, "{\"type\":\"gap\",\"topic\":");
	app_out_string(out, topic, size);
	app_out_format(out, ",\"from\":%llu,\"to\":%llu,\"epoch\":%llu%s}", (unsigned long long)from,
	               (unsigned long long)to, (unsigned long long)epoch, reset ? ",\"reset\":true" : "");
}

void app_out_resync(struct app_out *out, const char *field, const char *name, size_t size, uint64_t epoch,
                    uint64_t sequence)
{
	app_out_format(out, "{\"type\":\"resync\",\"%s\":", field);
	app_out_string(out, name, size);
	app_out_format(out, ",\"epoch\":%llu,\"seq\":%llu}", (unsigned long long)epoch, (unsigned long long)sequence);
}
