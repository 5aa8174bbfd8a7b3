/* SPDX-License-Identifier: MIT
 *
 * keep.c - see keep.h.
 */
#include "keep.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

struct item {
	size_t key_size, payload_size;
	char bytes[]; /* the key, then the payload */
};

static int compare(const void *left, const void *right)
{
	const struct item *a = left, *b = right;
	size_t shorter = a->key_size < b->key_size ? a->key_size : b->key_size;
	int order = memcmp(a->bytes, b->bytes, shorter);
	return order ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

static struct keep_topic *find_topic(struct keep *keep, const struct keyed_message *message)
{
	for (struct keep_topic *topic = keep->topics; topic; topic = topic->next) {
		if (!strcmp(topic->name, message->topic))
			return topic;
	}
	struct keep_topic *made = calloc(1, sizeof *made);
	if (!made)
		return NULL;
	strcpy(made->name, message->topic);
	made->next = keep->topics;
	keep->topics = made;
	return made;
}

static void forget(struct keep_topic *topic)
{
	tdestroy(topic->keys, free);
	topic->keys = NULL;
	topic->key_count = 0;
}

static int put(struct keep_topic *topic, const struct keyed_message *message)
{
	struct item *item = malloc(sizeof *item + message->key_size + message->payload_size);
	if (!item)
		return -1;
	item->key_size = message->key_size;
	item->payload_size = message->payload_size;
	memcpy(item->bytes, message->key, message->key_size);
	memcpy(item->bytes + message->key_size, message->payload, message->payload_size);
	struct item **found = tfind(item, &topic->keys, compare), *old = found ? *found : NULL;
	if (old) {
		tdelete(old, &topic->keys, compare);
		free(old);
		topic->key_count--;
	}
	if (message->removed) {
		free(item);
		return 0;
	}
	if (!tsearch(item, &topic->keys, compare)) {
		free(item);
		return -1;
	}
	topic->key_count++;
	return 0;
}

int keep_take(struct keep *keep, const struct keyed_message *message)
{
	struct keep_topic *topic = keep->topic = find_topic(keep, message);
	if (!topic)
		return -1;
	if (message->kind != FOLLOW_MESSAGE) {
		enum follow_verdict verdict = follow_mark(&topic->follow, message->kind, message->epoch,
		                                          message->sequence);
		if (verdict == FOLLOW_FORGET)
			forget(topic);
		return (int)verdict;
	}
	enum follow_verdict verdict = follow_message(&topic->follow, message->epoch, message->sequence,
	                                             message->previous);
	if (verdict == FOLLOW_OLD)
		return (int)verdict;
	/* A base stands for every key before it. */
	if (message->base)
		forget(topic);
	return message->key_size && put(topic, message) ? -1 : (int)verdict;
}

static void write_item(const void *node, VISIT visit, void *to)
{
	const struct item *item = *(struct item *const *)node;
	if (visit != postorder && visit != leaf)
		return;
	fwrite(item->bytes, 1, item->key_size, to);
	fputc('\t', to);
	fwrite(item->bytes + item->key_size, 1, item->payload_size, to);
	fputc('\n', to);
}

void keep_write(const struct keep_topic *topic, FILE *to)
{
	twalk_r(topic->keys, write_item, to);
}

void keep_free(struct keep *keep)
{
	while (keep->topics) {
		struct keep_topic *topic = keep->topics;
		keep->topics = topic->next;
		forget(topic);
		free(topic);
	}
}
