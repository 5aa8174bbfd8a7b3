/* SPDX-License-Identifier: MIT
 *
 * envelope.c - see envelope.h. It must not know where bytes go: each writer also tells the size without writing.
 */
#include "envelope.h"

#include "check.h"
#include "frame.h"
#include "json.h"
#include "sse.h"
#include "text.h"

#include <string.h>

/* Where is written, or with null bytes only counted. */
struct pen {
	uint8_t *bytes;
	size_t size;
};

static uint8_t *here(const struct pen *pen)
{
	return pen->bytes ? pen->bytes + pen->size : NULL;
}

static void put(struct pen *pen, const void *bytes, size_t size)
{
	if (pen->bytes && size)
		memcpy(pen->bytes + pen->size, bytes, size);
	pen->size += size;
}

#define PUT_WORDS(pen, words) put(pen, words, sizeof(words) - 1)

/* ---- json ---- */

static void put_number(struct pen *pen, uint64_t number)
{
	char digits[20], *at = digits + sizeof digits;
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	put(pen, at, (size_t)(digits + sizeof digits - at));
}

static void put_string(struct pen *pen, const void *text, size_t size)
{
	pen->size += rc_json_string(here(pen), text, size);
}

static void put_base64(struct pen *pen, const void *bytes, size_t size)
{
	pen->size += rc_json_base64(here(pen), bytes, size);
}

static void put_topic(struct pen *pen, const char *topic, size_t size)
{
	if (rc_utf8_valid((const uint8_t *)topic, size))
		put_string(pen, topic, size);
	else
		put_base64(pen, topic, size);
}

static enum rc_payload judge(const struct rc_value *value)
{
	if (!value->size && value->removed)
		return RC_PAYLOAD_NONE;
	if (value->opcode != RC_TEXT)
		return RC_PAYLOAD_BASE64;
	return rc_json_valid(value->data, value->size) ? RC_PAYLOAD_VALUE : RC_PAYLOAD_STRING;
}

/* Line ends between the words of a value become spaces: inside its strings there are none. */
static void put_value(struct pen *pen, const struct rc_value *value, bool one_line)
{
	uint8_t *at = here(pen);
	put(pen, value->data, value->size);
	for (size_t i = 0; at && one_line && i < value->size; i++)
		at[i] = at[i] == '\n' || at[i] == '\r' ? ' ' : at[i];
}

static void put_payload(struct pen *pen, const struct rc_value *value, enum rc_payload payload, bool one_line)
{
	switch (payload) {
	case RC_PAYLOAD_VALUE:
		PUT_WORDS(pen, ",\"d\":");
		put_value(pen, value, one_line);
		break;
	case RC_PAYLOAD_STRING:
		PUT_WORDS(pen, ",\"d\":");
		put_string(pen, value->data, value->size);
		break;
	case RC_PAYLOAD_BASE64:
		PUT_WORDS(pen, ",\"x\":");
		put_base64(pen, value->data, value->size);
		break;
	default:
		break;
	}
}

static void put_json(struct pen *pen, const struct rc_value *value, enum rc_payload *payload, bool one_line)
{
	if (*payload == RC_PAYLOAD_UNKNOWN)
		*payload = judge(value);
	PUT_WORDS(pen, "{\"t\":");
	put_topic(pen, value->topic, value->topic_size);
	PUT_WORDS(pen, ",\"s\":");
	put_number(pen, value->sequence);
	PUT_WORDS(pen, ",\"e\":");
	put_number(pen, value->epoch);
	PUT_WORDS(pen, ",\"p\":");
	put_number(pen, value->previous);
	if (value->key_size && rc_utf8_valid(value->key, value->key_size)) {
		PUT_WORDS(pen, ",\"k\":");
		put_string(pen, value->key, value->key_size);
	} else if (value->key_size) {
		PUT_WORDS(pen, ",\"kx\":");
		put_base64(pen, value->key, value->key_size);
	}
	if (value->removed)
		PUT_WORDS(pen, ",\"r\":true");
	if (value->snapshot)
		PUT_WORDS(pen, ",\"b\":true");
	put_payload(pen, value, *payload, one_line);
	PUT_WORDS(pen, "}");
}

static void put_json_mark(struct pen *pen, const struct rc_mark *mark)
{
	static const char *const names[] = { [RC_MARK_STATE] = "state",
		                             [RC_MARK_RESYNC] = "resync",
		                             [RC_MARK_CONFLATED] = "conflated",
		                             [RC_MARK_HEARTBEAT] = "heartbeat" };
	PUT_WORDS(pen, "{\"m\":\"");
	put(pen, names[mark->kind], strlen(names[mark->kind]));
	PUT_WORDS(pen, "\",\"t\":");
	put_topic(pen, mark->topic, mark->topic_size);
	PUT_WORDS(pen, ",\"s\":");
	put_number(pen, mark->sequence);
	PUT_WORDS(pen, ",\"e\":");
	put_number(pen, mark->epoch);
	if (mark->incomplete)
		PUT_WORDS(pen, ",\"i\":true");
	PUT_WORDS(pen, "}");
}

/* ---- binary ---- */

static void put_u64(struct pen *pen, uint64_t number)
{
	uint8_t bytes[8];
	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(number >> (56 - 8 * i));
	put(pen, bytes, sizeof bytes);
}

static void put_binary(struct pen *pen, const struct rc_value *value)
{
	unsigned flags = (value->opcode == RC_TEXT ? RC_ENVELOPE_TEXT : 0) |
	                 (value->removed ? RC_ENVELOPE_REMOVED : 0) | (value->snapshot ? RC_ENVELOPE_BASE : 0);
	const uint8_t begin[] = { 0, (uint8_t)flags, (uint8_t)value->key_size, (uint8_t)value->topic_size };
	put(pen, begin, sizeof begin);
	put_u64(pen, value->sequence);
	put_u64(pen, value->epoch);
	put_u64(pen, value->previous);
	put(pen, value->topic, value->topic_size);
	put(pen, value->key, value->key_size);
	put(pen, value->data, value->size);
}

static void put_binary_mark(struct pen *pen, const struct rc_mark *mark)
{
	const uint8_t begin[] = { (uint8_t)(mark->kind + 1), mark->incomplete ? RC_ENVELOPE_INCOMPLETE : 0, 0,
		                  (uint8_t)mark->topic_size };
	put(pen, begin, sizeof begin);
	put_u64(pen, mark->sequence);
	put_u64(pen, mark->epoch);
	put_u64(pen, 0);
	put(pen, mark->topic, mark->topic_size);
}

/* ---- what frames them ---- */

static void put_frame(struct pen *pen, uint8_t opcode, size_t size)
{
	uint8_t header[RC_FRAME_HEADER_MAX];
	put(pen, header, rc_frame_write(header, &(struct rc_frame){ .fin = true, .opcode = opcode, .size = size }));
}

size_t rc_envelope_form(uint8_t *to, enum rc_form form, const struct rc_value *value, enum rc_payload *payload)
{
	struct pen pen = { .bytes = to };
	RC_ASSERT(value->topic_size <= UINT8_MAX && value->key_size <= UINT8_MAX);
	if (form == RC_FORM_JSON)
		put_json(&pen, value, payload, false);
	else if (form == RC_FORM_BINARY)
		put_binary(&pen, value);
	else
		put(&pen, value->data, value->size);
	return pen.size;
}

size_t rc_envelope_write(uint8_t *to, enum rc_encoding_id encoding, const struct rc_value *value, struct rc_event_id id,
                         enum rc_payload *payload)
{
	struct pen pen = { .bytes = to };
	switch (encoding) {
	case RC_ENCODING_LOG:
		put(&pen, value->frame, value->frame_size);
		break;
	case RC_ENCODING_JSON:
		put_frame(&pen, RC_FRAME_TEXT, rc_envelope_form(NULL, RC_FORM_JSON, value, payload));
		put_json(&pen, value, payload, false);
		break;
	case RC_ENCODING_BINARY:
		put_frame(&pen, RC_FRAME_BINARY, rc_envelope_form(NULL, RC_FORM_BINARY, value, payload));
		put_binary(&pen, value);
		break;
	case RC_ENCODING_SSE:
		return value->opcode == RC_TEXT ? rc_sse_write(to, id, value->data, value->size) : 0;
	case RC_ENCODING_SSE_JSON:
		pen.size += rc_sse_begin(to, id);
		PUT_WORDS(&pen, "data: ");
		put_json(&pen, value, payload, true);
		PUT_WORDS(&pen, "\n\n");
		break;
	default:
		RC_ASSERT(!"an encoding that nobody reads alone");
	}
	return pen.size;
}

size_t rc_mark_write(uint8_t *to, enum rc_encoding_id encoding, const struct rc_mark *mark)
{
	struct pen counted = { 0 }, pen = { .bytes = to };
	switch (encoding) {
	case RC_ENCODING_JSON:
		put_json_mark(&counted, mark);
		put_frame(&pen, RC_FRAME_TEXT, counted.size);
		put_json_mark(&pen, mark);
		break;
	case RC_ENCODING_BINARY:
		put_frame(&pen, RC_FRAME_BINARY, RC_ENVELOPE_BINARY_SIZE + mark->topic_size);
		put_binary_mark(&pen, mark);
		break;
	case RC_ENCODING_SSE_JSON:
		PUT_WORDS(&pen, "data: ");
		put_json_mark(&pen, mark);
		PUT_WORDS(&pen, "\n\n");
		break;
	default:
		break;
	}
	return pen.size;
}
