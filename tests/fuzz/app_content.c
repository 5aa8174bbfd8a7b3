/* SPDX-License-Identifier: MIT
 *
 * app_content.c - content that is made harmless for pages: the input as a text, and as JSON. What comes out has nothing
 * that HTML has a meaning for but references; escaping can be undone, and so loses nothing; stripping is done when it
 * was done once, and leaves alone what has no markup; a value keeps its shape.
 */
#include "app/content.h"
#include "app/form.h"
#include "fuzz.h"

static const char *const references[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&#39;" };
static const char meanings[] = "&<>\"'";

static bool is_harmless(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (memchr("<>\"'", text[i], 4))
			return false;
	return true;
}

/* The text that was escaped; every ampersand is one of a reference of ours. */
static struct app_out unescape(const struct app_out *from)
{
	struct app_out text = { 0 };
	for (size_t at = 0; at < from->size;) {
		size_t i = 0, left = from->size - at;
		while (i < 5 && (left < strlen(references[i]) ||
		                 memcmp(from->bytes + at, references[i], strlen(references[i])) != 0))
			i++;
		HOLDS(i < 5 || from->bytes[at] != '&', "an ampersand that was left");
		app_out_bytes(&text, i < 5 ? &meanings[i] : from->bytes + at, 1);
		at += i < 5 ? strlen(references[i]) : 1;
	}
	return text;
}

static void try_text(const char *bytes, size_t size)
{
	struct app_out escaped = { 0 }, stripped = { 0 }, again = { 0 }, as_is = { 0 };
	app_content_text(&escaped, bytes, size, APP_SANITIZE_ESCAPE);
	app_content_text(&stripped, bytes, size, APP_SANITIZE_STRIP);
	app_content_text(&as_is, bytes, size, APP_SANITIZE_OFF);
	HOLDS(!escaped.failed && !stripped.failed && !as_is.failed, "memory");
	HOLDS(as_is.size == size && (!size || memcmp(as_is.bytes, bytes, size) == 0), "off");
	HOLDS(escaped.size <= 6 * size && stripped.size <= 6 * size, "%zu became %zu", size, escaped.size);
	HOLDS(is_harmless(escaped.bytes, escaped.size) && is_harmless(stripped.bytes, stripped.size), "a meaning");
	struct app_out undone = unescape(&escaped);
	HOLDS(undone.size == size && (!size || memcmp(undone.bytes, bytes, size) == 0), "escaped and back");
	HOLDS(app_content_is_plain(bytes, size) == (escaped.size == size), "plain is what needs no reference");
	app_content_text(&again, stripped.size ? stripped.bytes : "", stripped.size, APP_SANITIZE_STRIP);
	HOLDS(again.size == stripped.size && (!again.size || memcmp(again.bytes, stripped.bytes, again.size) == 0),
	      "stripped twice");
	if (!size || !memchr(bytes, '<', size))
		HOLDS(stripped.size >= size, "there was no markup, and something went");
	struct app_out *const all[] = { &escaped, &stripped, &again, &as_is, &undone };
	for (size_t i = 0; i < 5; i++)
		app_out_free(all[i]);
}

/* Of the same shape, with harmless texts alone. */
static void compare(const json_t *value, const json_t *changed)
{
	size_t index;
	const char *key;
	json_t *each;
	HOLDS(changed && json_typeof(value) == json_typeof(changed), "another type");
	if (json_is_string(value))
		HOLDS(is_harmless(json_string_value(changed), json_string_length(changed)), "a meaning in a value");
	else if (json_is_array(value) && json_array_size(value) == json_array_size(changed))
		json_array_foreach(value, index, each) compare(each, json_array_get(changed, index));
	else if (json_is_object(value))
		json_object_foreach((json_t *)changed, key, each)
		    HOLDS(is_harmless(key, strlen(key)), "a meaning in a key");
	else
		HOLDS(json_equal(value, changed), "another value");
	if (json_is_object(value))
		HOLDS(json_object_size(value) == json_object_size(changed), "two keys became one");
	if (json_is_object(value))
		json_object_foreach((json_t *)value, key, each)
		{
			struct app_out name = { 0 };
			app_content_text(&name, key, strlen(key), APP_SANITIZE_ESCAPE);
			app_out_bytes(&name, "", 1);
			compare(each, json_object_get(changed, name.bytes));
			app_out_free(&name);
		}
}

static void try_value(const char *bytes, size_t size)
{
	json_t *value = app_form_parse(bytes, size);
	for (int mode = APP_SANITIZE_OFF; value && mode <= APP_SANITIZE_STRIP; mode++) {
		struct app_out out = { 0 };
		app_content_write(&out, value, mode);
		HOLDS(!out.failed, "memory");
		json_t *changed = json_loadb(out.bytes, out.size,
		                             JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
		HOLDS(changed, "no JSON: %.*s", (int)out.size, out.bytes);
		if (mode == APP_SANITIZE_OFF)
			HOLDS(json_equal(value, changed), "off");
		else
			compare(value, changed);
		json_decref(changed);
		app_out_free(&out);
	}
	json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = exact_copy(data, size);
	try_text(copy, size);
	try_value(copy, size);
	free(copy);
	return 0;
}
