/* SPDX-License-Identifier: MIT
 *
 * kafka_moved.c - see kafka_moved.h. Nothing of a key is believed: anybody who reaches the topic may have written it.
 */
#include "built.h"
#ifdef BACKPLANE_KAFKA

#include "kafka_moved.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_side.h"
#include "plain.h"

#define PREFIX_SIZE (sizeof KAFKA_MOVED - 1)

bool kafka_moved_is(const rd_kafka_message_t *message)
{
	return message->key && message->key_len > PREFIX_SIZE && message->key_len < PREFIX_SIZE + 270 &&
	       memcmp(message->key, KAFKA_MOVED, PREFIX_SIZE) == 0;
}

static struct kafka_moved_partition *find(struct kafka_moved *moved, const char *name)
{
	struct kafka_moved_partition *oldest = &moved->partitions[0];
	for (unsigned i = 0; i < moved->count; i++) {
		if (strcmp(moved->partitions[i].name, name) == 0)
			return &moved->partitions[i];
		if (moved->partitions[i].place < oldest->place)
			oldest = &moved->partitions[i];
	}
	if (moved->count < KAFKA_MOVED_MAX)
		oldest = &moved->partitions[moved->count++];
	*oldest = (struct kafka_moved_partition){ .offset = -1 };
	snprintf(oldest->name, sizeof oldest->name, "%s", name);
	return oldest;
}

/* The same record of the nodes' topic may be read twice, and is then the same again. */
static bool came_before(struct kafka_moved *moved, const char *name, int64_t offset, uint64_t place)
{
	struct kafka_moved_partition *partition = find(moved, name);
	if (offset <= partition->offset)
		return place > partition->place;
	partition->offset = offset;
	partition->place = place;
	return false;
}

static const char *header_of(const void *context, const char *name, size_t name_size, size_t *size)
{
	rd_kafka_headers_t *headers;
	char key[128];
	const void *value;
	snprintf(key, sizeof key, "%.*s", (int)name_size, name);
	if (rd_kafka_message_headers(context, &headers) || rd_kafka_header_get_last(headers, key, &value, size))
		return NULL;
	return value;
}

static bool is_number(const char *text)
{
	return *text && strlen(text) < 19 && text[strspn(text, "0123456789")] == '\0';
}

void kafka_moved_take(struct kafka_moved *moved, const struct backplane_map *map, engine_take *take, void *context,
                      const rd_kafka_message_t *message)
{
	const struct engine_position position = { 0, (uint64_t)message->offset + 1 };
	char name[280];
	snprintf(name, sizeof name, "%.*s", (int)(message->key_len - PREFIX_SIZE),
	         (const char *)message->key + PREFIX_SIZE);
	char *last = strrchr(name, ':');
	if (last)
		*last = 0;
	const char *topic_end = last ? strchr(name, ':') : NULL;
	if (!topic_end || !is_number(topic_end + 1) || !is_number(last + 1)) {
		take(context, position, "", 0);
		return;
	}
	if (came_before(moved, name, strtoll(last + 1, NULL, 10), position.sequence)) {
		plain_take_nothing(take, context, position);
		return;
	}
	struct plain_record record = { .data = message->payload ? message->payload : "", .size = message->len };
	const struct plain_foreign foreign = {
		.source = name, .source_size = (size_t)(topic_end - name), .field = header_of, .context = message
	};
	plain_take_foreign(map, take, context, position, &foreign, &record);
}
#endif
