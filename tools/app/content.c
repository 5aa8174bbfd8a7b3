/* SPDX-License-Identifier: MIT
 *
 * content.c - see content.h. It must not know who said what.
 *
 * What strips does not have to agree with any browser about where a tag ends: no `<` is ever left but as a reference,
 * so nothing that is left can begin a tag, however it was nested or left open.
 */
#include "content.h"

#include <string.h>
#include <strings.h>

/* ---- escaping ---- */

static const char *reference_of(char byte)
{
	switch (byte) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

static void escape(struct app_out *out, const char *text, size_t size, bool ampersands)
{
	size_t begin = 0;
	for (size_t at = 0; at < size; at++) {
		const char *reference = reference_of(text[at]);
		if (!reference || (text[at] == '&' && !ampersands))
			continue;
		app_out_bytes(out, text + begin, at - begin);
		app_out_text(out, reference);
		begin = at + 1;
	}
	app_out_bytes(out, text + begin, size - begin);
}

/* ---- stripping ---- */

static bool is_letter(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/* Whether a tag, a comment or a declaration begins here (WHATWG HTML, section 13.2.5.6). */
static bool begins_tag(const char *text, size_t size)
{
	return size > 1 && text[0] == '<' && (is_letter(text[1]) || text[1] == '!' || text[1] == '?' || text[1] == '/');
}

static size_t find(const char *text, size_t size, size_t from, const char *word)
{
	size_t word_size = strlen(word);
	for (; from + word_size <= size; from++)
		if (strncasecmp(text + from, word, word_size) == 0)
			return from;
	return size;
}

/* Behind a tag that begins here; one that does not end takes all that is left. A > in a quoted value ends nothing. */
static size_t end_of_tag(const char *text, size_t size)
{
	char quote = 0;
	for (size_t at = 1; at < size; at++) {
		if (quote)
			quote = text[at] == quote ? 0 : quote;
		else if ((text[at] == '"' || text[at] == '\'') && text[at - 1] == '=')
			quote = text[at];
		else if (text[at] == '>')
			return at + 1;
	}
	return size;
}

static bool is_element(const char *text, size_t size, const char *name)
{
	size_t name_size = strlen(name);
	return size > name_size + 1 && strncasecmp(text + 1, name, name_size) == 0 && !is_letter(text[name_size + 1]);
}

/* Behind all that is to go together with a tag that begins here. */
static size_t end_of_markup(const char *text, size_t size)
{
	if (size >= 4 && memcmp(text, "<!--", 4) == 0) {
		size_t end = find(text, size, 4, "-->");
		return end == size ? size : end + 3;
	}
	size_t end = end_of_tag(text, size);
	if (is_element(text, size, "script"))
		return find(text, size, end, "</script");
	if (is_element(text, size, "style"))
		return find(text, size, end, "</style");
	return end;
}

static void strip(struct app_out *out, const char *text, size_t size)
{
	size_t begin = 0;
	for (size_t at = 0; at < size;) {
		if (!begins_tag(text + at, size - at)) {
			at++;
			continue;
		}
		escape(out, text + begin, at - begin, false);
		at += end_of_markup(text + at, size - at);
		begin = at;
	}
	escape(out, text + begin, size - begin, false);
}

/* ---- values ---- */

void app_content_text(struct app_out *out, const char *text, size_t size, int mode)
{
	if (mode == APP_SANITIZE_STRIP)
		strip(out, text, size);
	else if (mode == APP_SANITIZE_ESCAPE)
		escape(out, text, size, true);
	else
		app_out_bytes(out, text, size);
}

static void write_string(struct app_out *out, const char *text, size_t size, int mode)
{
	struct app_out changed = { 0 };
	app_content_text(&changed, text, size, mode);
	app_out_string(out, changed.size ? changed.bytes : "", changed.size);
	out->failed |= changed.failed;
	app_out_free(&changed);
}

void app_content_key(struct app_out *out, const char *key, int mode)
{
	if (mode == APP_SANITIZE_OFF)
		app_out_string(out, key, strlen(key));
	else
		write_string(out, key, strlen(key), APP_SANITIZE_ESCAPE);
}

/* The depth is bounded by what reads messages. */
static void write_value(struct app_out *out, const json_t *value, int mode)
{
	const char *before = "", *key;
	json_t *each;
	size_t index;
	if (json_is_string(value)) {
		write_string(out, json_string_value(value), json_string_length(value), mode);
	} else if (json_is_object(value)) {
		app_out_text(out, "{");
		json_object_foreach((json_t *)value, key, each)
		{
			app_out_text(out, before);
			app_content_key(out, key, mode);
			app_out_text(out, ":");
			write_value(out, each, mode);
			before = ",";
		}
		app_out_text(out, "}");
	} else if (json_is_array(value)) {
		app_out_text(out, "[");
		json_array_foreach(value, index, each)
		{
			app_out_text(out, before);
			write_value(out, each, mode);
			before = ",";
		}
		app_out_text(out, "]");
	} else {
		app_out_value(out, value);
	}
}

void app_content_ref(struct app_out *out, const json_t *id, int mode)
{
	if (!id)
		return;
	app_out_text(out, ",\"ref\":");
	app_content_write(out, id, mode);
}

bool app_content_is_plain(const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (reference_of(name[i]))
			return false;
	return true;
}

void app_content_write(struct app_out *out, const json_t *value, int mode)
{
	if (mode == APP_SANITIZE_OFF)
		app_out_value(out, value);
	else
		write_value(out, value, mode);
}
