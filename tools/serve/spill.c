/* SPDX-License-Identifier: MIT
 *
 * spill.c - see spill.h.
 */
#include "spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/options.h"

struct serve_spill_entry {
	struct serve_spill_entry *next;
	size_t size; /* of all of it */
	size_t count;
	struct rc_batch_message messages[]; /* and behind them the bytes that they refer to */
};

/* The next entry, or null at the end. Sleeps while there is none. */
static struct serve_spill_entry *take(struct serve_spill *spill)
{
	pthread_mutex_lock(&spill->lock);
	while (!spill->first && !spill->ending)
		pthread_cond_wait(&spill->changed, &spill->lock);
	struct serve_spill_entry *entry = spill->first;
	if (entry) {
		spill->first = entry->next;
		spill->size -= entry->size;
		if (!spill->first)
			spill->end = &spill->first;
	}
	pthread_mutex_unlock(&spill->lock);
	return entry;
}

static void *publish_all(void *argument)
{
	struct serve_spill *spill = argument;
	for (struct serve_spill_entry *entry; (entry = take(spill));) {
		int64_t code = rc_publish_many(spill->server, entry->messages, entry->count, RC_PUBLISH_WAIT);
		if (code < 0 && !atomic_fetch_add(&spill->failed, 1))
			command_failed("messages of clients are lost: %s", rc_strerror((int)code));
		free(entry);
		atomic_fetch_sub(&spill->count, 1);
	}
	return NULL;
}

int serve_spill_start(struct serve_spill *spill, rc_server *server)
{
	*spill = (struct serve_spill){ .server = server, .end = &spill->first };
	pthread_mutex_init(&spill->lock, NULL);
	pthread_cond_init(&spill->changed, NULL);
	return -pthread_create(&spill->thread, NULL, publish_all, spill);
}

void serve_spill_end(struct serve_spill *spill)
{
	pthread_mutex_lock(&spill->lock);
	spill->ending = true;
	pthread_cond_signal(&spill->changed);
	pthread_mutex_unlock(&spill->lock);
	pthread_join(spill->thread, NULL);
	pthread_cond_destroy(&spill->changed);
	pthread_mutex_destroy(&spill->lock);
}

static const void *keep(char **at, const void *bytes, size_t size)
{
	const char *kept = *at;
	if (size)
		memcpy(*at, bytes, size);
	*at += size;
	return kept;
}

static struct serve_spill_entry *copy(const struct rc_batch_message *messages, size_t count)
{
	size_t size = sizeof(struct serve_spill_entry) + count * sizeof *messages;
	for (size_t i = 0; i < count; i++)
		size += messages[i].name_size + messages[i].key_size + messages[i].size;
	struct serve_spill_entry *entry = malloc(size);
	if (!entry)
		return NULL;
	*entry = (struct serve_spill_entry){ .size = size, .count = count };
	char *at = (char *)&entry->messages[count];
	for (size_t i = 0; i < count; i++) {
		struct rc_batch_message *message = &entry->messages[i];
		*message = messages[i];
		message->name = keep(&at, message->name, message->name_size);
		message->key = keep(&at, message->key, message->key_size);
		message->data = keep(&at, message->data, message->size);
	}
	return entry;
}

int serve_spill_add(struct serve_spill *spill, const struct rc_batch_message *messages, size_t count)
{
	struct serve_spill_entry *entry = copy(messages, count);
	if (!entry)
		return -ENOMEM;
	pthread_mutex_lock(&spill->lock);
	bool fits = spill->size + entry->size <= SERVE_SPILL_SIZE_MAX;
	if (fits) {
		spill->size += entry->size;
		atomic_fetch_add(&spill->count, 1);
		*spill->end = entry;
		spill->end = &entry->next;
		pthread_cond_signal(&spill->changed);
	}
	pthread_mutex_unlock(&spill->lock);
	if (!fits)
		free(entry);
	return fits ? 0 : -ENOBUFS;
}
