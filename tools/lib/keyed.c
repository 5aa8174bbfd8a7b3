/* SPDX-License-Identifier: MIT
 *
 * keyed.c - see keyed.h. A payload that is JSON is handed on as it was sent: what a parser makes of a number is another
 * number. So the parser says that the text is JSON and what its short members are, and the payload is found in the
 * text.
 */
#include "keyed.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_SIZE = 28, FLAG_REMOVED = 2, FLAG_BASE = 4 };

static uint64_t read_u64(const uint8_t *from)
{
	uint64_t value = 0;
	for (int i = 0; i < 8; i++)
		value = value << 8 | from[i];
	return value;
}

bool keyed_read_binary(const void *data, size_t size, struct keyed_message *message)
{
	const uint8_t *bytes = data;
	if (size < HEAD_SIZE || bytes[0] >= FOLLOW_KIND_COUNT || bytes[2] > KEYED_KEY_MAX ||
	    HEAD_SIZE + (size_t)bytes[2] + bytes[3] > size)
		return false;
	message->kind = (enum follow_kind)bytes[0];
	message->removed = bytes[1] & FLAG_REMOVED;
	message->base = bytes[1] & FLAG_BASE;
	message->key_size = bytes[2];
	message->topic_size = bytes[3];
	message->sequence = read_u64(bytes + 4);
	message->epoch = read_u64(bytes + 12);
	message->previous = read_u64(bytes + 20);
	memcpy(message->topic, bytes + HEAD_SIZE, message->topic_size);
	message->topic[message->topic_size] = 0;
	memcpy(message->key, bytes + HEAD_SIZE + message->topic_size, message->key_size);
	message->key[message->key_size] = 0;
	size_t head_size = HEAD_SIZE + message->topic_size + message->key_size;
	message->payload = (const char *)bytes + head_size;
	message->payload_size = size - head_size;
	return message->topic_size > 0;
}

static bool reserve(struct keyed_scratch *scratch, size_t size)
{
	if (size <= scratch->capacity)
		return true;
	char *bytes = realloc(scratch->bytes, size + size / 2);
	if (!bytes)
		return false;
	scratch->bytes = bytes;
	scratch->capacity = size + size / 2;
	return true;
}

/* The end of a string that begins at `at`, or of the text. */
static const char *string_end(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
		at += *at == '\\';
	return at < end ? at + 1 : end;
}

/* The value of the member `d` in a text that is known to be an object: where it begins, and its size. */
static const char *find_data(const char *text, const char *end, size_t *size)
{
	const char *begin = NULL;
	unsigned depth = 0;
	for (const char *at = text; at < end; at++) {
		if (*at == '"') {
			const char *after = string_end(at, end);
			bool is_name = depth == 1 && !begin && after - at == 3 && at[1] == 'd';
			const char *colon = after + strspn(after, " \t\r\n");
			if (is_name && *colon == ':') {
				begin = colon + 1;
				at = colon;
			} else {
				at = after - 1;
			}
		} else if (*at == '{' || *at == '[') {
			depth++;
		} else if (*at == '}' || *at == ']' || (*at == ',' && depth == 1)) {
			if (begin && (depth == 1 || *at == ',')) {
				*size = (size_t)(at - begin);
				return begin;
			}
			depth -= *at != ',';
		}
	}
	return NULL;
}

/* A short text among the members, copied with a zero. Returns its size, or 0 where it is missing or too long. */
static size_t read_text(const json_t *object, const char *name, char *to, size_t max)
{
	const json_t *value = json_object_get(object, name);
	size_t size = json_string_length(value);
	if (!json_is_string(value) || size > max)
		return 0;
	memcpy(to, json_string_value(value), size);
	to[size] = 0;
	return size;
}

/* Decodes the base64 of a member into the scratch. Returns whether it is some. */
static bool read_base64(const json_t *value, struct keyed_scratch *scratch, size_t *size)
{
	const char *text = json_string_value(value);
	size_t length = json_string_length(value);
	if (!reserve(scratch, length + 1))
		return false;
	int made = EVP_DecodeBlock((uint8_t *)scratch->bytes, (const uint8_t *)text, (int)length);
	if (made < 0)
		return false;
	*size = (size_t)made;
	for (size_t i = length; i > 0 && text[i - 1] == '='; i--)
		--*size;
	return true;
}

static bool read_key(const json_t *object, struct keyed_message *message, struct keyed_scratch *scratch)
{
	const json_t *binary = json_object_get(object, "kx");
	message->key_size = 0;
	message->key[0] = 0;
	if (json_object_get(object, "k")) {
		message->key_size = read_text(object, "k", message->key, KEYED_KEY_MAX);
		return message->key_size > 0;
	}
	if (!binary)
		return true;
	size_t size;
	if (!json_is_string(binary) || !read_base64(binary, scratch, &size) || !size || size > KEYED_KEY_MAX)
		return false;
	memcpy(message->key, scratch->bytes, size);
	message->key[size] = 0;
	message->key_size = size;
	return true;
}

static bool read_payload(const json_t *object, const char *text, size_t size, struct keyed_message *message,
                         struct keyed_scratch *scratch)
{
	const json_t *data = json_object_get(object, "d"), *binary = json_object_get(object, "x");
	message->payload = "";
	message->payload_size = 0;
	if (json_is_string(data)) {
		message->payload_size = json_string_length(data);
		if (!reserve(scratch, message->payload_size + 1))
			return false;
		memcpy(scratch->bytes, json_string_value(data), message->payload_size);
	} else if (data) {
		const char *value = find_data(text, text + size, &message->payload_size);
		if (!value || !reserve(scratch, message->payload_size + 1))
			return false;
		memcpy(scratch->bytes, value, message->payload_size);
	} else if (json_is_string(binary)) {
		if (!read_base64(binary, scratch, &message->payload_size))
			return false;
	} else {
		return !binary;
	}
	message->payload = scratch->bytes;
	return true;
}

static bool read_numbers(const json_t *object, struct keyed_message *message)
{
	const json_t *sequence = json_object_get(object, "s"), *epoch = json_object_get(object, "e"),
		     *previous = json_object_get(object, "p");
	message->sequence = (uint64_t)json_integer_value(sequence);
	message->epoch = (uint64_t)json_integer_value(epoch);
	message->previous = (uint64_t)json_integer_value(previous);
	return json_is_integer(sequence) && json_is_integer(epoch) &&
	       (json_is_integer(previous) || message->kind != FOLLOW_MESSAGE);
}

static bool read_kind(const json_t *object, struct keyed_message *message)
{
	static const char *const names[] = { "", "state", "resync", "conflated", "heartbeat", "reset" };
	const json_t *mark = json_object_get(object, "m");
	message->kind = FOLLOW_MESSAGE;
	for (int kind = FOLLOW_STATE; mark && kind < FOLLOW_KIND_COUNT; kind++) {
		if (json_is_string(mark) && !strcmp(json_string_value(mark), names[kind]))
			message->kind = (enum follow_kind)kind;
	}
	return !mark || message->kind != FOLLOW_MESSAGE;
}

bool keyed_read_json(const void *data, size_t size, struct keyed_message *message, struct keyed_scratch *scratch)
{
	json_t *object = json_loadb(data, size, JSON_ALLOW_NUL, NULL);
	bool good = json_is_object(object) && read_kind(object, message) && read_numbers(object, message) &&
	            read_key(object, message, scratch) && read_payload(object, data, size, message, scratch);
	if (good) {
		message->removed = json_is_true(json_object_get(object, "r"));
		message->base = json_is_true(json_object_get(object, "b"));
		message->topic_size = read_text(object, "t", message->topic, KEYED_TOPIC_MAX);
		good = message->topic_size > 0;
	}
	json_decref(object);
	return good;
}
