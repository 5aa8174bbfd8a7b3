/* SPDX-License-Identifier: MIT
 *
 * batch.c - see batch.h. Everything that can be said of a message without the log is said here, in words, before any of
 * the batch is published.
 */
#include "batch.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/slice.h"
#include "lib/text.h"

static bool fail(struct serve_batch *batch, const char *words)
{
	int size = batch->count ? snprintf(batch->wrong, sizeof batch->wrong, "message %zu: ", batch->count + 1) : 0;
	snprintf(batch->wrong + size, sizeof batch->wrong - (size_t)size, "%s", words);
	return false;
}

bool serve_batch_add(struct serve_batch *batch, const struct rc_batch_message *message)
{
	if (batch->count == RC_PUBLISH_MANY_MAX)
		return fail(batch, "at most 1024 messages are published as one");
	if (batch->count == batch->capacity) {
		size_t capacity = batch->capacity ? batch->capacity * 4 : 4;
		struct rc_batch_message *messages = realloc(batch->messages, capacity * sizeof *messages);
		if (!messages)
			return fail(batch, "out of memory");
		batch->messages = messages;
		void **decoded = realloc(batch->decoded, capacity * sizeof *decoded);
		if (!decoded)
			return fail(batch, "out of memory");
		batch->decoded = decoded;
		batch->capacity = capacity;
	}
	batch->decoded[batch->count] = NULL;
	batch->messages[batch->count++] = *message;
	return true;
}

/* ---- one object ---- */

/* Strictly base64, as OpenSSL reads it. Null when it is not. */
static void *decode(const json_t *text, size_t *size)
{
	const char *at = json_string_value(text);
	size_t length = json_string_length(text);
	if (!at || length % 4 || length > INT32_MAX ||
	    strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	               "0123456789+/=") != length)
		return NULL;
	size_t padding = length ? (size_t)(at[length - 1] == '=') + (at[length - 2] == '=') : 0;
	if (strcspn(at, "=") < length - padding)
		return NULL;
	unsigned char *bytes = malloc(length / 4 * 3 + 1);
	if (!bytes || EVP_DecodeBlock(bytes, (const unsigned char *)at, (int)length) < 0) {
		free(bytes);
		return NULL;
	}
	*size = length / 4 * 3 - padding;
	return bytes;
}

static const char *unknown_member(const json_t *object)
{
	static const char *const known[] = { "t", "k", "d", "x", "r", "b", "s", "e", "p" };
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)object, name, value)
	{
		bool found = false;
		for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
			found |= !strcmp(name, known[i]);
		if (!found)
			return name;
	}
	return NULL;
}

static const char *take_address(struct rc_batch_message *message, const json_t *object)
{
	const json_t *topic = json_object_get(object, "t"), *key = json_object_get(object, "k");
	if (topic) {
		message->name = json_string_value(topic);
		message->name_size = json_string_length(topic);
	}
	if (!message->name_size && !topic)
		return "t is missing: the topic";
	if (!message->name || message->name_size > RC_TOPIC_NAME_MAX ||
	    !text_is_name(message->name, message->name_size))
		return "t is a topic: a text of 1 to 255 bytes without control characters";
	if (key) {
		message->key = json_string_value(key);
		message->key_size = json_string_length(key);
		if (!message->key || !message->key_size || message->key_size > RC_KEY_MAX)
			return "k is a key: a text of 1 to 64 bytes";
	}
	return NULL;
}

static const char *take_flags(struct rc_batch_message *message, const json_t *object)
{
	const json_t *removed = json_object_get(object, "r"), *base = json_object_get(object, "b");
	if ((removed && !json_is_boolean(removed)) || (base && !json_is_boolean(base)))
		return "r and b are true or false";
	if (json_is_true(removed) && !message->key_size)
		return "r needs k: the key that is there no more";
	if (json_is_true(base) && message->key_size)
		return "b has no k: a base stands for all keys";
	message->flags |= (json_is_true(removed) ? RC_PUBLISH_REMOVE : 0) |
	                  (json_is_true(base) ? RC_PUBLISH_SNAPSHOT : 0);
	return NULL;
}

static const char *take_payload(struct rc_batch_message *message, const json_t *object, struct slice text,
                                void **decoded)
{
	const json_t *data = json_object_get(object, "d"), *bytes = json_object_get(object, "x");
	if (data && bytes)
		return "d or x, not both";
	if (bytes) {
		message->flags |= RC_PUBLISH_BINARY;
		message->data = *decoded = decode(bytes, &message->size);
		return message->data ? NULL : "x is base64";
	}
	message->flags |= RC_PUBLISH_UNCHECKED; /* the parser has looked at it */
	if (json_is_string(data)) {
		message->data = json_string_value(data);
		message->size = json_string_length(data);
	} else if (data) {
		struct slice slice = slice_member(text, "d");
		if (!slice.text)
			return "d has to be written without escapes";
		message->data = slice.text;
		message->size = slice.size;
	} else if (!(message->flags & RC_PUBLISH_REMOVE)) {
		return "d is missing: the payload";
	}
	return NULL;
}

static bool read_object(struct serve_batch *batch, const json_t *object, struct slice text,
                        const struct rc_batch_message *begin)
{
	struct rc_batch_message message = *begin;
	void *decoded = NULL;
	if (!json_is_object(object))
		return fail(batch, "expected an object, or an array of objects");
	const char *unknown = unknown_member(object);
	if (unknown) {
		char words[80];
		snprintf(words, sizeof words, "unknown member \"%.32s\": expected t, k, d, x, r, b", unknown);
		return fail(batch, words);
	}
	const char *wrong = take_address(&message, object);
	wrong = wrong ? wrong : take_flags(&message, object);
	wrong = wrong ? wrong : take_payload(&message, object, text, &decoded);
	if (wrong)
		return fail(batch, wrong);
	if (!serve_batch_add(batch, &message)) {
		free(decoded);
		return false;
	}
	batch->decoded[batch->count - 1] = decoded;
	return true;
}

/* ---- all of the text ---- */

static bool read_value(struct serve_batch *batch, const struct rc_batch_message *begin, const char *text, size_t size)
{
	json_error_t error;
	json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!value)
		return fail(batch, "expected JSON: an object, or an array of objects");
	if ((!batch->values && !(batch->values = json_array())) || json_array_append_new(batch->values, value))
		return fail(batch, "out of memory");
	struct slice slice = slice_value(text, size);
	if (!json_is_array(value))
		return read_object(batch, value, slice, begin);
	if (!json_array_size(value))
		return fail(batch, "the array is empty");
	struct slice element = { 0 };
	size_t index;
	json_t *each;
	json_array_foreach(value, index, each)
	{
		element = slice_next(slice, element);
		if (!read_object(batch, each, element, begin))
			return false;
	}
	return true;
}

bool serve_batch_read(struct serve_batch *batch, const char *topic, size_t topic_size, const char *text, size_t size)
{
	const struct rc_batch_message begin = { .name = topic, .name_size = topic_size };
	bool read = read_value(batch, &begin, text, size);
	batch->single = read && json_is_object(json_array_get(batch->values, 0));
	return read;
}

bool serve_batch_read_lines(struct serve_batch *batch, const char *topic, size_t topic_size, const char *text,
                            size_t size, bool json)
{
	struct rc_batch_message begin = { .name = topic, .name_size = topic_size };
	for (const char *at = text, *end = text + size, *next; at < end; at = next) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		stop = stop ? stop : end;
		next = stop + (stop < end);
		size_t line_size = (size_t)(stop - at);
		line_size -= line_size && at[line_size - 1] == '\r';
		if (!line_size)
			continue;
		begin.data = json ? NULL : at;
		begin.size = json ? 0 : line_size;
		if (json ? !read_value(batch, &begin, at, line_size) : !serve_batch_add(batch, &begin))
			return false;
	}
	return batch->count ? true : fail(batch, "there is no line with a message");
}

void serve_batch_free(struct serve_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		free(batch->decoded[i]);
	free(batch->decoded);
	free(batch->messages);
	json_decref(batch->values);
	*batch = (struct serve_batch){ 0 };
}
