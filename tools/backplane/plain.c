/* SPDX-License-Identifier: MIT
 *
 * plain.c - see plain.h.
 */
#include "plain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet.h"

bool plain_is_on(const struct backplane_url *url)
{
	return backplane_url_value(url, "plain", NULL) != NULL;
}

bool plain_check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	const char *value = backplane_url_value(url, "plain", NULL);
	if (!value || strcmp(value, "topic") == 0)
		return true;
	snprintf(wrong, ENGINE_WHY_SIZE, "plain=%.60s: what may be published without a node is topic", value);
	return false;
}

/* A token for what has none: a node that reads the record again knows it by that. */
static uint64_t token_of(const struct plain_record *record)
{
	const uint8_t *bytes = record->data;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < record->size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	for (size_t i = 0; i < record->to_size; i++)
		hash = (hash ^ (uint8_t)record->to[i]) * UINT64_C(0x100000001b3);
	return hash & INT64_MAX;
}

static bool read_to(const struct plain_record *record, struct backplane_message *message)
{
	const size_t prefix = strlen(PLAIN_TOPIC);
	if (record->to_size <= prefix || memcmp(record->to, PLAIN_TOPIC, prefix) != 0 ||
	    record->to_size - prefix > UINT16_MAX || record->key_size > UINT16_MAX || record->size > UINT32_MAX)
		return false;
	*message = (struct backplane_message){
		.kind = BACKPLANE_TOPIC,
		.flags = rc_text_valid(record->data, record->size) ? 0 : RC_PUBLISH_BINARY,
		.channel = record->to + prefix,
		.channel_size = record->to_size - prefix,
		.key = record->key_size ? record->key : NULL,
		.key_size = record->key_size,
		.data = record->data,
		.size = record->size,
	};
	return true;
}

void plain_take(const struct backplane_url *url, engine_take *take, void *context, struct engine_position position,
                const struct plain_record *record)
{
	const struct packet_head head = { .count = 1, .node = PACKET_PLAIN, .token = token_of(record), .epoch = 1 };
	struct backplane_message message;
	bool good = plain_is_on(url) && read_to(record, &message);
	const size_t size = good ? PACKET_HEAD_SIZE + packet_message_size(&message) : 0;
	uint8_t *bytes = good ? malloc(size) : NULL;
	if (bytes) {
		packet_write_head(bytes, &head);
		packet_write_message(bytes + PACKET_HEAD_SIZE, &message);
	}
	take(context, position, bytes ? bytes : (const uint8_t *)"", bytes ? size : 0);
	free(bytes);
}
