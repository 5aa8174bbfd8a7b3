/* SPDX-License-Identifier: MIT
 *
 * packet.c - what comes from an engine, where anybody may have written it: the bytes as a packet, and as a plain
 * record. Nothing is read beside them; what is taken for a packet stays within its bounds, and its messages come out
 * again as they went in; a record becomes a packet of one message that says what the record said, or none.
 */
#include "backplane/packet.h"
#include "backplane/plain.h"

#include "fuzz.h"

static bool same(const void *one, size_t one_size, const void *other, size_t other_size)
{
	return one_size == other_size && (!one_size || memcmp(one, other, one_size) == 0);
}

/* Reads them all. Returns how many, or -1. What was read is written again, and must be the same bytes. */
static int read_all(const struct packet_head *head, const uint8_t *bytes, size_t size, struct backplane_message *last)
{
	const uint8_t *at = bytes + PACKET_HEAD_SIZE, *end = bytes + size;
	for (uint32_t i = 0; i < head->count; i++) {
		const uint8_t *from = at;
		if (!packet_read_message(last, &at, end))
			return -1;
		const size_t wanted = packet_message_size(last);
		HOLDS(at > from && at <= end && (size_t)(at - from) == wanted, "message %u of %zu bytes", i, wanted);
		HOLDS(last->channel_size <= BACKPLANE_NAME_MAX && last->key_size <= RC_KEY_MAX, "message %u", i);
		uint8_t *again = malloc(wanted);
		HOLDS(again && packet_write_message(again, last) == again + wanted, "message %u", i);
		HOLDS(memcmp(again, from, wanted) == 0, "message %u is another one when it is written", i);
		free(again);
	}
	return at == end ? (int)head->count : -1;
}

static void as_packet(const uint8_t *data, size_t size)
{
	uint8_t *bytes = exact_copy(data, size), again[PACKET_HEAD_SIZE];
	struct packet_head head;
	struct backplane_message last;
	if (packet_read_head(&head, bytes, size)) {
		HOLDS(head.count <= BACKPLANE_MESSAGES_MAX && head.node && head.epoch, "a head");
		packet_write_head(again, &head);
		HOLDS(memcmp(again, bytes, sizeof again) == 0, "a head is another one when it is written");
		read_all(&head, bytes, size, &last);
		struct packet_memory memory = { 0 };
		HOLDS(!packet_seen(&memory, head.node, head.token), "token %llu is new",
		      (unsigned long long)head.token);
		HOLDS(packet_seen(&memory, head.node, head.token), "token %llu was seen",
		      (unsigned long long)head.token);
		packet_memory_free(&memory);
	}
	free(bytes);
}

struct taken {
	const struct plain_record *record;
	unsigned count;
};

static void take(void *context, struct engine_position position, const void *data, size_t size)
{
	struct taken *taken = context;
	const struct plain_record *record = taken->record;
	struct packet_head head;
	struct backplane_message message;
	taken->count++;
	HOLDS(position.sequence == 7, "its place");
	if (!size)
		return;
	HOLDS(packet_read_head(&head, data, size) && head.node == PACKET_PLAIN && head.count == 1, "a record's packet");
	/* A name or a key may be longer than a message has room for: then it is none. */
	if (read_all(&head, data, size, &message) < 0)
		return;
	const bool topic = message.kind == BACKPLANE_TOPIC;
	HOLDS(topic || message.kind == BACKPLANE_PLAIN, "kind %u", message.kind);
	HOLDS(same(message.channel, message.channel_size, record->to + (topic ? 6 : 0),
	           record->to_size - (topic ? 6 : 0)),
	      "where it goes");
	HOLDS(same(message.key, message.key_size, record->key, record->key_size), "its key");
	HOLDS(same(message.data, message.size, record->data, record->size), "its data");
	HOLDS(rc_text_valid(message.data, message.size) == !(message.flags & RC_PUBLISH_BINARY), "text or not");
}

/* The first line says where it goes, the second is its key, the rest its data. */
static void as_record(const char *address, const uint8_t *data, size_t size)
{
	static struct backplane_url url;
	const uint8_t *line = memchr(data, '\n', size), *end = data + size;
	const uint8_t *key = line ? line + 1 : end, *stop = memchr(key, '\n', (size_t)(end - key));
	stop = stop ? stop : end;
	const uint8_t *rest = stop < end ? stop + 1 : end;
	const size_t to_size = (size_t)((line ? line : end) - data), key_size = (size_t)(stop - key);
	char *to = exact_copy(data, to_size), *name = exact_copy(key, key_size);
	uint8_t *bytes = exact_copy(rest, (size_t)(end - rest));
	const struct plain_record record = { .to = to,
		                             .to_size = to_size,
		                             .key = key_size ? name : NULL,
		                             .key_size = key_size,
		                             .data = bytes,
		                             .size = (size_t)(end - rest) };
	struct taken taken = { .record = &record };
	HOLDS(!backplane_url_parse(&url, address), "%s", address);
	plain_take(&url, take, &taken, (struct engine_position){ 0, 7 }, &record);
	HOLDS(taken.count == 1, "a record is told %u times", taken.count);
	free(to);
	free(name);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	as_packet(data, size);
	as_record("redis://h?plain=topic,room,user,all", data, size);
	as_record("redis://h", data, size);
	return 0;
}
