/* SPDX-License-Identifier: MIT
 *
 * envelope.c - a message in each of its forms, read back by other means: whatever topic, key and payload hold, each is
 * found where it belongs, and nothing of one passes for another.
 */
#include "envelope.h"

#include "frame.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "seed.h"

static const struct rc_event_id none;

static struct rc_value value_of(const char *topic, const char *key, const char *data, size_t size, uint8_t opcode)
{
	return (struct rc_value){
		.topic = topic,
		.topic_size = (uint32_t)strlen(topic),
		.data = (const uint8_t *)data,
		.size = size,
		.epoch = 1763760000123,
		.sequence = 17,
		.previous = 16,
		.key = (const uint8_t *)key,
		.key_size = key ? (uint32_t)strlen(key) : 0,
		.opcode = opcode,
	};
}

/* In a block of its own size, so that a sanitizer sees a byte too many; *size is that. */
static uint8_t *write_value(enum rc_encoding_id encoding, const struct rc_value *value, struct rc_event_id id,
                            size_t *size)
{
	enum rc_payload payload = RC_PAYLOAD_UNKNOWN;
	*size = rc_envelope_write(NULL, encoding, value, id, &payload);
	uint8_t *bytes = malloc(*size ? *size : 1);
	cr_assert_eq(rc_envelope_write(bytes, encoding, value, id, &payload), *size);
	return bytes;
}

/* The payload of a frame, with a zero behind it. */
static char *payload_of(const uint8_t *bytes, size_t size, uint8_t opcode, size_t *payload_size)
{
	struct rc_frame frame;
	int header_size = rc_frame_read(&frame, bytes, size);
	cr_assert_gt(header_size, 0);
	cr_assert(frame.fin && frame.opcode == opcode && !frame.masked && !frame.rsv);
	cr_assert_eq(frame.size + (size_t)header_size, size);
	char *payload = calloc(1, (size_t)frame.size + 1);
	memcpy(payload, bytes + header_size, (size_t)frame.size);
	*payload_size = (size_t)frame.size;
	return payload;
}

static void expect_json(const struct rc_value *value, const char *expected)
{
	size_t size, payload_size;
	uint8_t *bytes = write_value(RC_ENCODING_JSON, value, none, &size);
	char *payload = payload_of(bytes, size, RC_FRAME_TEXT, &payload_size);
	cr_expect_str_eq(payload, expected);
	free(payload);
	free(bytes);
}

#define BEGIN "{\"t\":\"book.A\",\"s\":17,\"e\":1763760000123,\"p\":16"

Test(envelope, json)
{
	struct rc_value value = value_of("book.A", NULL, "{\"px\": 1}", 9, RC_TEXT);
	expect_json(&value, BEGIN ",\"d\":{\"px\": 1}}");
	value = value_of("book.A", "bid:\"7\"", "no json", 7, RC_TEXT);
	expect_json(&value, BEGIN ",\"k\":\"bid:\\\"7\\\"\",\"d\":\"no json\"}");
	value = value_of("book.A", "k", "1},{\"s\":2", 9, RC_TEXT);
	expect_json(&value, BEGIN ",\"k\":\"k\",\"d\":\"1},{\\\"s\\\":2\"}");
	value = value_of("book.A", NULL, "", 0, RC_TEXT);
	expect_json(&value, BEGIN ",\"d\":\"\"}");
	value = value_of("book.A", NULL, "\0\1\2", 3, RC_BINARY);
	expect_json(&value, BEGIN ",\"x\":\"AAEC\"}");
	value = value_of("book.A", "\xff\xfe", "1", 1, RC_TEXT);
	expect_json(&value, BEGIN ",\"kx\":\"//4=\",\"d\":1}");
	value = value_of("book.A", "k", "", 0, RC_TEXT);
	value.removed = true;
	expect_json(&value, BEGIN ",\"k\":\"k\",\"r\":true}");
	value = value_of("book.A", NULL, "[1]", 3, RC_TEXT);
	value.snapshot = true;
	expect_json(&value, BEGIN ",\"b\":true,\"d\":[1]}");
}

static uint64_t number_at(const char *bytes)
{
	uint64_t number = 0;
	for (unsigned i = 0; i < 8; i++)
		number = number << 8 | (uint8_t)bytes[i];
	return number;
}

Test(envelope, binary)
{
	struct rc_value value = value_of("book.A", "bid:7", "pay", 3, RC_TEXT);
	value.removed = true;
	size_t size, payload_size;
	uint8_t *bytes = write_value(RC_ENCODING_BINARY, &value, none, &size);
	char *payload = payload_of(bytes, size, RC_FRAME_BINARY, &payload_size);
	cr_assert_eq(payload_size, RC_ENVELOPE_BINARY_SIZE + 14);
	cr_expect_eq(memcmp(payload, "\0\3\5\6", 4), 0);
	cr_expect_eq(number_at(payload + 4), 17);
	cr_expect_eq(number_at(payload + 12), 1763760000123);
	cr_expect_eq(number_at(payload + 20), 16);
	cr_expect_eq(memcmp(payload + 28, "book.Abid:7pay", 14), 0);
	free(payload);
	free(bytes);
}

Test(envelope, events)
{
	const struct rc_event_id id = { 0x19a3c0ffee, 42 };
	struct rc_value value = value_of("a", NULL, "{\n\"x\"\r\n:1}", 10, RC_TEXT);
	size_t size;
	uint8_t *bytes = write_value(RC_ENCODING_SSE_JSON, &value, id, &size);
	static const char expected[] =
	    "id: 19a3c0ffee-2a\n"
	    "data: {\"t\":\"a\",\"s\":17,\"e\":1763760000123,\"p\":16,\"d\":{ \"x\"  :1}}\n\n";
	cr_assert_eq(size, sizeof expected - 1);
	cr_expect_eq(memcmp(bytes, expected, size), 0);
	free(bytes);
	value = value_of("a", NULL, "\0", 1, RC_BINARY);
	enum rc_payload payload = RC_PAYLOAD_UNKNOWN;
	cr_expect_eq(rc_envelope_write(NULL, RC_ENCODING_SSE, &value, id, &payload), 0, "binary is no event");
	cr_expect_gt(rc_envelope_write(NULL, RC_ENCODING_SSE_JSON, &value, id, &payload), 0);
}

Test(envelope, marks)
{
	struct rc_mark mark = { RC_MARK_RESYNC, false, "book.A", 6, 9, 17 };
	uint8_t bytes[RC_MARK_SIZE_MAX];
	size_t payload_size, size = rc_mark_write(bytes, RC_ENCODING_JSON, &mark);
	cr_assert_eq(size, rc_mark_write(NULL, RC_ENCODING_JSON, &mark));
	char *payload = payload_of(bytes, size, RC_FRAME_TEXT, &payload_size);
	cr_expect_str_eq(payload, "{\"m\":\"resync\",\"t\":\"book.A\",\"s\":17,\"e\":9}");
	free(payload);
	mark.kind = RC_MARK_STATE;
	mark.incomplete = true;
	size = rc_mark_write(bytes, RC_ENCODING_SSE_JSON, &mark);
	static const char event[] = "data: {\"m\":\"state\",\"t\":\"book.A\",\"s\":17,\"e\":9,\"i\":true}\n\n";
	cr_expect(size == sizeof event - 1 && memcmp(bytes, event, size) == 0);
	size = rc_mark_write(bytes, RC_ENCODING_BINARY, &mark);
	payload = payload_of(bytes, size, RC_FRAME_BINARY, &payload_size);
	cr_expect(payload_size == RC_ENVELOPE_BINARY_SIZE + 6 && payload[0] == 1 && payload[1] == 8);
	free(payload);
	cr_expect_eq(rc_mark_write(NULL, RC_ENCODING_LOG, &mark), 0);
	cr_expect_eq(rc_mark_write(NULL, RC_ENCODING_SSE, &mark), 0);
	char longest[RC_TOPIC_NAME_MAX];
	memset(longest, 1, sizeof longest);
	mark = (struct rc_mark){ RC_MARK_CONFLATED, true, longest, sizeof longest, UINT64_MAX, UINT64_MAX };
	cr_expect_leq(rc_mark_write(NULL, RC_ENCODING_SSE_JSON, &mark), RC_MARK_SIZE_MAX);
}

/* Texts of all kinds, from what JSON is made of: the envelope is always one object with these members and no other. */
Test(envelope, nothing_gets_out)
{
	static const char *const pieces[] = { "{",        "}",  "\"", "\\", ",", ":", "\n",  "\r\n",
		                              "\xc3\xa9", "\1", "1",  "[",  "]", "d", "\n\n" };
	uint64_t seed = seed_of("envelope");
	for (unsigned round = 0; round < 20000; round++) {
		char texts[3][40] = { "", "", "" };
		for (unsigned i = 0; i < 3; i++)
			for (uint64_t count = 1 + below(&seed, 8); count; count--)
				strcat(texts[i], pieces[below(&seed, sizeof pieces / sizeof *pieces)]);
		struct rc_value value = value_of(texts[0], texts[1], texts[2], strlen(texts[2]), RC_TEXT);
		size_t size;
		uint8_t *event = write_value(RC_ENCODING_SSE_JSON, &value, none, &size);
		cr_assert(size > 8 && memcmp(event, "data: ", 6) == 0 && memcmp(event + size - 2, "\n\n", 2) == 0);
		cr_assert_null(memchr(event, '\r', size));
		cr_assert_eq(memchr(event, '\n', size), event + size - 2, "a line end inside");
		json_t *object = json_loadb((char *)event + 6, size - 8, JSON_REJECT_DUPLICATES, NULL);
		cr_assert_eq(json_object_size(object), 6);
		cr_assert_str_eq(json_string_value(json_object_get(object, "t")), texts[0]);
		cr_assert_str_eq(json_string_value(json_object_get(object, "k")), texts[1]);
		json_t *data = json_object_get(object, "d"), *read = json_loads(texts[2], JSON_DECODE_ANY, NULL);
		cr_assert(read ? json_equal(data, read) : strcmp(json_string_value(data), texts[2]) == 0);
		json_decref(read);
		json_decref(object);
		free(event);
	}
}
