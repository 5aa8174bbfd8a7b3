/* SPDX-License-Identifier: MIT
 *
 * app_pack.c - frames in other forms than text: the input as MessagePack, as zlib and as JSON. What is taken as a value
 * comes out as the same value when it has gone through JSON text and both forms; whatever is not, is refused, and
 * nothing beside the bytes is read or written. JSON is taken, refused and read as the JSON library does.
 */
#include "app/form.h"
#include "app/out.h"
#include "app/pack.h"
#include "app/parse.h"
#include "fuzz.h"

#include <string.h>

#define LEVELS 64 /* more than a stranger has, so that what was taken is taken again */
#define VALUES 100000

/* Through text, and each form of it. */
static void go_through(const json_t *value)
{
	struct app_out text = { 0 }, made = { 0 };
	app_out_value(&text, value);
	HOLDS(!text.failed, "memory");
	size_t size = app_pack_write(text.bytes, text.size, NULL, 0);
	HOLDS(size, "our own JSON: %.*s", (int)text.size, text.bytes);
	uint8_t *packed = malloc(size);
	HOLDS(app_pack_write(text.bytes, text.size, packed, size) == size, "the size that it asked for");
	HOLDS(app_pack_write(text.bytes, text.size, packed, size - 1) == size, "too little room");
	HOLDS(app_pack_write(text.bytes, text.size, packed, size) == size, "the size that it asked for");
	json_t *back = app_pack_read(packed, size, LEVELS, VALUES);
	HOLDS(back && json_equal(back, value), "MessagePack and back: %.*s", (int)text.size, text.bytes);
	json_decref(back);
	free(packed);
	app_form_write(APP_FORM_ZLIB, text.bytes, text.size, &made);
	HOLDS(!made.failed, "zlib");
	struct rc_message frame = { .data = (const uint8_t *)made.bytes, .size = made.size, .opcode = RC_BINARY };
	struct app_out scratch = { 0 };
	size_t inflated;
	enum app_form_wrong wrong = app_form_read(APP_FORM_ZLIB, &frame, text.size, &scratch, &inflated, &back);
	HOLDS(wrong != APP_FORM_TOO_LONG && inflated == text.size, "inflated: %zu of %zu", inflated, text.size);
	HOLDS(!back || json_equal(back, value), "zlib and back");
	json_decref(back);
	app_out_free(&scratch);
	app_out_free(&made);
	app_out_free(&text);
}

static void read_as(enum app_form form, const void *data, size_t size)
{
	const struct rc_message frame = { .data = data, .size = size, .opcode = RC_BINARY };
	struct app_out scratch = { 0 };
	size_t inflated;
	json_t *value = NULL;
	enum app_form_wrong wrong = app_form_read(form, &frame, 4096, &scratch, &inflated, &value);
	HOLDS((wrong == APP_FORM_GOOD) == (value != NULL), "a verdict and no value");
	HOLDS(inflated <= 4097, "inflated beyond the bound");
	if (value)
		go_through(value);
	json_decref(value);
	app_out_free(&scratch);
}

/* One is as deep as the library goes only where it is longer. */
static void compare(const char *text, size_t size)
{
	if (size > JSON_PARSER_MAX_DEPTH)
		return;
	json_t *value = app_parse(text, size, NULL);
	json_t *known = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	HOLDS(value ? known != NULL : !known || memchr(text, 0, size), "%s: %.*s", known ? "refused" : "taken",
	      (int)size, text);
	HOLDS(!value || json_equal(value, known), "another value: %.*s", (int)size, text);
	json_decref(value);
	json_decref(known);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	void *copy = exact_copy(data, size);
	for (unsigned form = 0; form < APP_FORM_COUNT; form++)
		read_as((enum app_form)form, copy, size);
	compare(copy, size);
	/* Whatever stands in the log. */
	size_t made = app_pack_write(copy, size, NULL, 0);
	uint8_t *to = malloc(made + 1);
	HOLDS(app_pack_write(copy, size, to, made) == made, "the size that it asked for");
	free(to);
	free(copy);
	return 0;
}
