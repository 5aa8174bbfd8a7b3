/* SPDX-License-Identifier: MIT
 *
 * redis_plain.c - see redis_plain.h. Anybody may have written the fields: nothing of them is believed.
 */
#include "redis_plain.h"

#ifdef BACKPLANE_REDIS

#include <jansson.h>
#include <string.h>

#include "plain.h"

static const char *field_of(const void *context, const char *name, size_t name_size, size_t *size)
{
	const redisReply *fields = context;
	for (size_t i = 0; i + 1 < fields->elements; i += 2) {
		const redisReply *field = fields->element[i], *value = fields->element[i + 1];
		if (field->str && value->str && (size_t)field->len == name_size &&
		    memcmp(field->str, name, name_size) == 0) {
			*size = (size_t)value->len;
			return value->str;
		}
	}
	return NULL;
}

/* All fields as an object of texts; null where one is no text. */
static char *write_object(const redisReply *fields)
{
	json_t *object = json_object();
	bool good = object;
	for (size_t i = 2; i + 1 < fields->elements && good; i += 2) {
		const redisReply *field = fields->element[i], *value = fields->element[i + 1];
		good = field->str && value->str && !memchr(field->str, 0, (size_t)field->len) &&
		       json_object_set_new(object, field->str, json_stringn(value->str, (size_t)value->len)) == 0;
	}
	char *text = good ? json_dumps(object, JSON_COMPACT) : NULL;
	json_decref(object);
	return text;
}

/* Its data is the field of that name; the only field; or all of them. */
static void take_foreign(const struct engine_setup *setup, engine_take *take, void *context,
                         struct engine_position position, const redisReply *fields)
{
	const redisReply *from = fields->element[1];
	const struct plain_foreign foreign = {
		.source = from->str, .source_size = (size_t)from->len, .field = field_of, .context = fields
	};
	struct plain_record record = { 0 };
	char *object = NULL;
	record.key = field_of(fields, "key", 3, &record.key_size);
	record.data = field_of(fields, "data", 4, &record.size);
	if (!record.data && fields->elements == 4 && fields->element[3]->str) {
		record.data = fields->element[3]->str;
		record.size = (size_t)fields->element[3]->len;
	}
	if (!record.data && fields->elements > 4 && (object = write_object(fields))) {
		record.data = object;
		record.size = strlen(object);
	}
	if (record.data)
		plain_take_foreign(setup->map, take, context, position, &foreign, &record);
	else
		take(context, position, "", 0);
	free(object);
}

bool redis_plain_take(const struct engine_setup *setup, engine_take *take, void *context,
                      struct engine_position position, const redisReply *fields)
{
	if (fields->type != REDIS_REPLY_ARRAY || fields->elements < 2)
		return false;
	const redisReply *first = fields->element[0];
	if (first->str && strcmp(first->str, "from") == 0 && fields->element[1]->str) {
		take_foreign(setup, take, context, position, fields);
		return true;
	}
	struct plain_record record = { .data = "" };
	record.to = field_of(fields, "to", 2, &record.to_size);
	if (!record.to)
		return false;
	record.key = field_of(fields, "key", 3, &record.key_size);
	const char *data = field_of(fields, "data", 4, &record.size);
	record.data = data ? data : "";
	plain_take(setup->url, take, context, position, &record);
	return true;
}
#endif
