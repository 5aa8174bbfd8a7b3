/* SPDX-License-Identifier: MIT
 *
 * plain.c - see plain.h.
 */
#include "plain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet.h"

static const char *const places[] = { "topic", "room", "user", "all" };

static const char *next_word(const char *word)
{
	word = strchr(word, ',');
	return word ? word + 1 : NULL;
}

bool plain_is_on(const struct backplane_url *url)
{
	return backplane_url_value(url, "plain", NULL) != NULL;
}

bool plain_check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	for (const char *word = backplane_url_value(url, "plain", NULL); word; word = next_word(word)) {
		const size_t size = strcspn(word, ",");
		unsigned i = 0;
		while (i < sizeof places / sizeof *places &&
		       (size != strlen(places[i]) || memcmp(word, places[i], size)))
			i++;
		if (i < sizeof places / sizeof *places)
			continue;
		snprintf(wrong, ENGINE_WHY_SIZE, "plain=%.60s: expected some of topic,room,user,all", word);
		return false;
	}
	return true;
}

/* Whether the URL lets records reach this place. */
static bool is_let(const struct backplane_url *url, const char *place, size_t size)
{
	for (const char *word = backplane_url_value(url, "plain", NULL); word; word = next_word(word))
		if (strcspn(word, ",") == size && memcmp(word, place, size) == 0)
			return true;
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

/* A null url: it may go anywhere. */
static bool read_to(const struct backplane_url *url, const struct plain_record *record,
                    struct backplane_message *message)
{
	const char *slash = record->to_size ? memchr(record->to, '/', record->to_size) : NULL;
	const size_t place = slash ? (size_t)(slash - record->to) : record->to_size;
	const bool topic = slash && place == 5 && memcmp(record->to, "topic", 5) == 0;
	const size_t prefix = topic ? place + 1 : 0;
	if ((url && !is_let(url, record->to, place)) || record->to_size <= prefix ||
	    record->to_size - prefix > UINT16_MAX || record->key_size > UINT16_MAX || record->size > UINT32_MAX)
		return false;
	*message = (struct backplane_message){
		.kind = topic ? BACKPLANE_TOPIC : BACKPLANE_PLAIN,
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
	bool good = read_to(url, record, &message);
	const size_t size = good ? PACKET_HEAD_SIZE + packet_message_size(&message) : 0;
	uint8_t *bytes = good ? malloc(size) : NULL;
	if (bytes) {
		packet_write_head(bytes, &head);
		packet_write_message(bytes + PACKET_HEAD_SIZE, &message);
	}
	take(context, position, bytes ? bytes : (const uint8_t *)"", bytes ? size : 0);
	free(bytes);
}

void plain_take_foreign(const struct backplane_map *map, engine_take *take, void *context,
                        struct engine_position position, const struct plain_foreign *foreign,
                        struct plain_record *record)
{
	char target[MAP_TARGET_MAX];
	record->to = target;
	record->to_size = map_find(map, foreign->source, foreign->source_size, foreign->field, foreign->context,
	                           target);
	if (record->to_size)
		plain_take(NULL, take, context, position, record);
	else
		take(context, position, "", 0);
}

void plain_take_nothing(engine_take *take, void *context, struct engine_position position)
{
	uint8_t bytes[PACKET_HEAD_SIZE];
	packet_write_head(bytes, &(struct packet_head){ .node = PACKET_PLAIN, .epoch = 1 });
	take(context, position, bytes, sizeof bytes);
}
