/* SPDX-License-Identifier: MIT
 *
 * app_pack.c - frames in other forms than text: the input as MessagePack, as zlib and as JSON. What is taken as a value
 * comes out as the same value when it has gone through JSON text and both forms; whatever is not, is refused, and
 * nothing beside the bytes is read or written. JSON is taken, refused and read as the JSON library does,
 * and what is taken of MessagePack as libmsgpack reads it.
 */
#include "app/form.h"
#include "app/out.h"
#include "app/pack.h"
#include "app/parse.h"
#include "fuzz.h"

#include <msgpack.h>
#include <stdbool.h>
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

/* ---- as the libraries read ---- */

static json_t *string_of(const msgpack_object *object)
{
	const char *text = object->via.str.size ? object->via.str.ptr : "";
	return rc_text_valid(text, object->via.str.size) ? json_stringn_nocheck(text, object->via.str.size) : NULL;
}

static json_t *value_of(const msgpack_object *object);

static bool add_member(json_t *map, const msgpack_object_kv *member)
{
	const char *key = member->key.via.str.ptr;
	size_t size = member->key.via.str.size;
	size_t before = json_object_size(map);
	if (member->key.type != MSGPACK_OBJECT_STR || memchr(size ? key : "", 0, size) || !rc_text_valid(key, size))
		return false;
	/* A key that is there already makes it no larger. */
	return json_object_setn_new_nocheck(map, key, size, value_of(&member->val)) == 0 &&
	       json_object_size(map) > before;
}

static json_t *map_of(const msgpack_object_map *from)
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

static json_t *array_of(const msgpack_object_array *from)
{
	json_t *array = json_array();
	for (uint32_t i = 0; array && i < from->size; i++) {
		if (json_array_append_new(array, value_of(&from->ptr[i])) == 0)
			continue;
		json_decref(array);
		return NULL;
	}
	return array;
}

static json_t *value_of(const msgpack_object *object)
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
		return string_of(object);
	case MSGPACK_OBJECT_ARRAY:
		return array_of(&object->via.array);
	case MSGPACK_OBJECT_MAP:
		return map_of(&object->via.map);
	default:
		return NULL;
	}
}

/* Of what is no value it may be asked to make far more than there is memory. */
static void compare_packed(const void *bytes, size_t size)
{
	json_t *value = app_pack_read(bytes, size, 32, VALUES);
	msgpack_zone zone;
	msgpack_object object;
	size_t offset = 0;
	if (!value)
		return;
	HOLDS(msgpack_zone_init(&zone, MSGPACK_ZONE_CHUNK_SIZE), "memory");
	bool whole = msgpack_unpack(bytes, size, &offset, &zone, &object) == MSGPACK_UNPACK_SUCCESS;
	HOLDS(whole && offset == size, "taken, and the library does not");
	json_t *known = value_of(&object);
	HOLDS(known && json_equal(value, known), "another value");
	json_decref(known);
	json_decref(value);
	msgpack_zone_destroy(&zone);
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
	compare_packed(copy, size);
	/* Whatever stands in the log. */
	size_t made = app_pack_write(copy, size, NULL, 0);
	uint8_t *to = malloc(made + 1);
	HOLDS(app_pack_write(copy, size, to, made) == made, "the size that it asked for");
	free(to);
	free(copy);
	return 0;
}
