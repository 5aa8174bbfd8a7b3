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
	size_t topic_size, size;
	unsigned flags;
	char bytes[]; /* the topic's name, then the payload */
};

static size_t entry_size(const struct serve_spill_entry *entry)
{
	return sizeof *entry + entry->topic_size + entry->size;
}

/* The next entry, or null at the end. Sleeps while there is none. */
static struct serve_spill_entry *take(struct serve_spill *spill)
{
	pthread_mutex_lock(&spill->lock);
	while (!spill->first && !spill->ending)
		pthread_cond_wait(&spill->changed, &spill->lock);
	struct serve_spill_entry *entry = spill->first;
	if (entry) {
		spill->first = entry->next;
		spill->size -= entry_size(entry);
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
		int64_t code = rc_publish(spill->server, entry->bytes, entry->topic_size,
		                          entry->bytes + entry->topic_size, entry->size,
		                          entry->flags | RC_PUBLISH_WAIT);
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

int serve_spill_add(struct serve_spill *spill, const char *topic, size_t topic_size, const void *data, size_t size,
                    unsigned flags)
{
	struct serve_spill_entry *entry = malloc(sizeof *entry + topic_size + size);
	if (!entry)
		return -ENOMEM;
	*entry = (struct serve_spill_entry){ .topic_size = topic_size, .size = size, .flags = flags };
	memcpy(entry->bytes, topic, topic_size);
	if (size)
		memcpy(entry->bytes + topic_size, data, size);
	pthread_mutex_lock(&spill->lock);
	bool fits = spill->size + entry_size(entry) <= SERVE_SPILL_SIZE_MAX;
	if (fits) {
		spill->size += entry_size(entry);
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
