/* SPDX-License-Identifier: MIT
 *
 * json.c - see json.h.
 */
#include "json.h"

#include <stdlib.h>
#include <string.h>

void rc_json_string(FILE *to, const char *text)
{
	putc('"', to);
	for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++) {
		if (*byte == '"' || *byte == '\\')
			fprintf(to, "\\%c", *byte);
		else if (*byte < 0x20 || *byte == 0x7f)
			fprintf(to, "\\u%04x", *byte);
		else
			putc(*byte, to);
	}
	putc('"', to);
}

static const char *skip_space(const char *at)
{
	return at ? at + strspn(at, " \t\r\n") : NULL;
}

/* Behind a string that begins at a quote. */
static const char *skip_string(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return *at ? at + 1 : NULL;
}

/* Behind a value. Brackets are counted, not matched: that is enough to find an end in what a program wrote. */
static const char *skip_value(const char *at)
{
	unsigned depth = 0;
	do {
		at = skip_space(at);
		if (!at || !*at)
			return NULL;
		if (*at == '"') {
			at = skip_string(at);
		} else if (*at == '{' || *at == '[') {
			depth++;
			at++;
		} else if (*at == '}' || *at == ']') {
			if (!depth)
				return NULL;
			depth--;
			at++;
		} else if (*at == ',' || *at == ':') {
			if (!depth)
				return NULL;
			at++;
		} else {
			at += strcspn(at, ",:]}[{\" \t\r\n");
		}
	} while (at && depth);
	return at;
}

const char *rc_json_member(const char *object, const char *name)
{
	size_t size = strlen(name);
	const char *at = skip_space(object);
	if (!at || *at != '{')
		return NULL;
	for (at = skip_space(at + 1); at && *at == '"'; at = skip_space(at + 1)) {
		const char *key = at + 1;
		at = skip_space(skip_string(at));
		if (!at || *at != ':')
			return NULL;
		const char *value = skip_space(at + 1);
		if (!strncmp(key, name, size) && key[size] == '"')
			return value && *value ? value : NULL;
		at = skip_space(skip_value(value));
		if (!at || *at != ',')
			return NULL;
	}
	return NULL;
}

const char *rc_json_first(const char *array)
{
	const char *at = skip_space(array);
	if (!at || *at != '[')
		return NULL;
	at = skip_space(at + 1);
	return *at && *at != ']' ? at : NULL;
}

const char *rc_json_next(const char *value)
{
	const char *at = value ? skip_space(skip_value(value)) : NULL;
	if (!at || *at != ',')
		return NULL;
	at = skip_space(at + 1);
	return *at ? at : NULL;
}

double rc_json_number(const char *value)
{
	return value && (*value == '-' || (*value >= '0' && *value <= '9')) ? strtod(value, NULL) : 0;
}

/* One character of a string, escapes resolved; *at moves behind it. */
static char take_character(const char **at)
{
	static const char escapes[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	char first = *(*at)++;
	if (first != '\\' || !**at)
		return first;
	char escape = *(*at)++;
	if (escape != 'u') {
		const char *found = strchr(escapes, escape);
		return found ? values[found - escapes] : escape;
	}
	char digits[5] = "";
	for (unsigned i = 0; i < 4 && **at && strchr("0123456789abcdefABCDEF", **at); i++)
		digits[i] = *(*at)++;
	unsigned long code = strtoul(digits, NULL, 16);
	return code && code < 0x80 ? (char)code : '?';
}

char *rc_json_text(const char *value, char *out, size_t size)
{
	size_t count = 0;
	if (value && *value == '"')
		for (const char *at = value + 1; *at && *at != '"' && count + 1 < size;)
			out[count++] = take_character(&at);
	out[count] = 0;
	return out;
}
