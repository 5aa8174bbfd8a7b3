/* SPDX-License-Identifier: MIT
 *
 * packet.c - see packet.h.
 */
#include "packet.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "RCB1"
#define TRAVELS (RC_PUBLISH_BINARY | RC_PUBLISH_REMOVE | RC_PUBLISH_SNAPSHOT)

static uint8_t *put(uint8_t *at, uint64_t value, unsigned size)
{
	uint64_t little = htole64(value);
	memcpy(at, &little, size);
	return at + size;
}

static uint64_t get(const uint8_t *at, unsigned size)
{
	uint64_t little = 0;
	memcpy(&little, at, size);
	return le64toh(little);
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t size)
{
	if (size)
		memcpy(at, bytes, size);
	return at + size;
}

void packet_write_head(uint8_t *bytes, const struct packet_head *head)
{
	uint8_t *at = put_bytes(bytes, MAGIC, 4);
	at = put(at, head->count, 4);
	at = put(at, head->node, 8);
	at = put(at, head->token, 8);
	at = put(at, head->epoch, 8);
	put(at, head->time_ns, 8);
}

bool packet_read_head(struct packet_head *head, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	if (size < PACKET_HEAD_SIZE || memcmp(at, MAGIC, 4) != 0)
		return false;
	*head = (struct packet_head){ .count = (uint32_t)get(at + 4, 4),
		                      .node = get(at + 8, 8),
		                      .token = get(at + 16, 8),
		                      .epoch = get(at + 24, 8),
		                      .time_ns = get(at + 32, 8) };
	return head->count <= BACKPLANE_MESSAGES_MAX && head->node && head->token <= INT64_MAX && head->epoch &&
	       head->epoch <= INT64_MAX;
}

/* ---- messages ---- */

size_t packet_message_size(const struct backplane_message *message)
{
	return PACKET_MESSAGE_SIZE + message->channel_size + message->key_size + message->size;
}

uint8_t *packet_write_message(uint8_t *at, const struct backplane_message *message)
{
	at = put(at, message->kind, 1);
	at = put(at, message->flags & TRAVELS, 1);
	at = put(at, message->channel_size, 2);
	at = put(at, message->key_size, 4); /* and 16 bits of 0 */
	at = put(at, message->size, 8);     /* and 32 bits of 0 */
	at = put(at, message->time_ns, 8);
	at = put(at, message->tag, 8);
	at = put_bytes(at, message->channel, message->channel_size);
	at = put_bytes(at, message->key, message->key_size);
	return put_bytes(at, message->data, message->size);
}

bool packet_read_message(struct backplane_message *message, const uint8_t **at, const uint8_t *end)
{
	const uint8_t *head = *at, *text = head + PACKET_MESSAGE_SIZE;
	if ((size_t)(end - head) < PACKET_MESSAGE_SIZE)
		return false;
	*message = (struct backplane_message){ .kind = (unsigned)get(head, 1),
		                               .flags = (unsigned)get(head + 1, 1),
		                               .channel_size = get(head + 2, 2),
		                               .key_size = get(head + 4, 2),
		                               .size = get(head + 8, 4),
		                               .time_ns = get(head + 16, 8),
		                               .tag = get(head + 24, 8) };
	size_t rest = (size_t)(end - text);
	if (message->flags & ~TRAVELS || get(head + 6, 2) || get(head + 12, 4) || message->key_size > RC_KEY_MAX ||
	    message->channel_size > BACKPLANE_NAME_MAX || message->channel_size + message->key_size > rest ||
	    message->size > rest - message->channel_size - message->key_size)
		return false;
	message->channel = (const char *)text;
	message->key = message->key_size ? text + message->channel_size : NULL;
	message->data = text + message->channel_size + message->key_size;
	*at = text + message->channel_size + message->key_size + message->size;
	return true;
}

/* ---- what was seen ---- */

static struct packet_origin *find(struct packet_memory *memory, uint64_t node)
{
	struct packet_origin *oldest = NULL;
	for (unsigned i = 0; i < memory->count; i++) {
		struct packet_origin *origin = &memory->origins[i];
		if (origin->node == node)
			return origin;
		if (!oldest || origin->heard < oldest->heard)
			oldest = origin;
	}
	if (memory->count == memory->room && memory->room < PACKET_ORIGINS_MAX) {
		unsigned room = memory->room ? memory->room * 2 : 16;
		struct packet_origin *origins = realloc(memory->origins, room * sizeof *origins);
		if (!origins && !oldest)
			return NULL;
		if (origins) {
			memory->origins = origins;
			memory->room = room;
		}
	}
	struct packet_origin *origin = memory->count < memory->room ? &memory->origins[memory->count++] : oldest;
	*origin = (struct packet_origin){ .node = node };
	return origin;
}

bool packet_seen(struct packet_memory *memory, uint64_t node, uint64_t token)
{
	struct packet_origin *origin = find(memory, node);
	if (!origin)
		return false;
	origin->heard = ++memory->packets;
	if (token + PACKET_WINDOW <= origin->newest)
		return true;
	if (token > origin->newest + PACKET_WINDOW)
		memset(origin->seen, 0, sizeof origin->seen);
	else
		for (uint64_t at = origin->newest + 1; at <= token; at++)
			origin->seen[at % PACKET_WINDOW / 64] &= ~(UINT64_C(1) << at % 64);
	if (token > origin->newest)
		origin->newest = token;
	uint64_t bit = UINT64_C(1) << token % 64, *word = &origin->seen[token % PACKET_WINDOW / 64];
	bool seen = *word & bit;
	*word |= bit;
	return seen;
}

void packet_memory_free(struct packet_memory *memory)
{
	free(memory->origins);
	*memory = (struct packet_memory){ 0 };
}
