/* SPDX-License-Identifier: MIT
 *
 * dialled.c - see dialled.h. It must not know what a dial is.
 *
 * Invariant: an entry is free, or given to one dial; its generation grows when it is given back.
 */
#include "dialled.h"

#include "worker.h"

#include <stdlib.h>

static_assert(RC_DIALLED_FIRST << RC_DIALLED_CHUNKS >= RC_SLOTS_MAX, "there are as many handles as slots, nearly");
static_assert((RC_DIALLED_FIRST << RC_DIALLED_CHUNKS) - RC_DIALLED_FIRST <= RC_SLOTS_MAX, "an index fits a handle");

/* Chunk n holds RC_DIALLED_FIRST << n entries. */
static unsigned chunk_of(uint32_t index, uint32_t *at)
{
	unsigned chunk = 31 - (unsigned)__builtin_clz(index / RC_DIALLED_FIRST + 1);
	*at = index - RC_DIALLED_FIRST * ((1u << chunk) - 1);
	return chunk;
}

void rc_dialled_open(struct dialled_table *table)
{
	pthread_mutex_init(&table->lock, NULL);
}

void rc_dialled_close(struct dialled_table *table)
{
	for (unsigned i = 0; i < RC_DIALLED_CHUNKS; i++)
		free(atomic_load(&table->chunks[i]));
	pthread_mutex_destroy(&table->lock);
}

struct dialled *rc_dialled_at(const struct worker *worker, uint32_t index)
{
	uint32_t at;
	unsigned chunk = chunk_of(index, &at);
	if (chunk >= RC_DIALLED_CHUNKS)
		return NULL;
	struct dialled *entries = atomic_load_explicit(&worker->dialled.chunks[chunk], memory_order_acquire);
	return entries ? &entries[at] : NULL;
}

/* With the lock. */
static struct dialled *take(struct worker *worker, uint32_t *index)
{
	struct dialled_table *table = &worker->dialled;
	uint32_t at;
	if (table->free) {
		*index = table->free - 1;
		struct dialled *entry = rc_dialled_at(worker, *index);
		table->free = entry->next_free;
		return entry;
	}
	unsigned chunk = chunk_of(table->made, &at);
	if (chunk >= RC_DIALLED_CHUNKS)
		return NULL;
	struct dialled *entries = atomic_load_explicit(&table->chunks[chunk], memory_order_relaxed);
	if (!entries) {
		entries = calloc(RC_DIALLED_FIRST << chunk, sizeof *entries);
		if (!entries)
			return NULL;
		/* release: who finds the chunk finds it zeroed */
		atomic_store_explicit(&table->chunks[chunk], entries, memory_order_release);
	}
	*index = table->made++;
	atomic_store_explicit(&entries[at].generation, 1, memory_order_relaxed);
	return &entries[at];
}

int rc_dialled_take(struct worker *worker, uint32_t *index)
{
	pthread_mutex_lock(&worker->dialled.lock);
	bool taken = take(worker, index);
	pthread_mutex_unlock(&worker->dialled.lock);
	return taken ? 0 : -ENOMEM;
}

uint32_t rc_dialled_count(struct worker *worker)
{
	pthread_mutex_lock(&worker->dialled.lock);
	uint32_t count = worker->dialled.made;
	pthread_mutex_unlock(&worker->dialled.lock);
	return count;
}

void rc_dialled_give(struct worker *worker, uint32_t index)
{
	struct dialled_table *table = &worker->dialled;
	struct dialled *entry = rc_dialled_at(worker, index);
	uint32_t generation = (atomic_load_explicit(&entry->generation, memory_order_relaxed) + 1) & RC_GENERATION_MASK;
	atomic_store_explicit(&entry->generation, generation ? generation : 1, memory_order_relaxed);
	entry->dial = NULL;
	entry->slot = 0;
	pthread_mutex_lock(&table->lock);
	entry->next_free = table->free;
	table->free = index + 1;
	pthread_mutex_unlock(&table->lock);
}

rc_conn rc_dialled_handle(const struct worker *worker, uint32_t index)
{
	uint32_t generation = atomic_load_explicit(&rc_dialled_at(worker, index)->generation, memory_order_relaxed);
	return (uint64_t)worker->index << (32 + RC_SLOT_BITS) | (uint64_t)index << 32 | RC_HANDLE_DIALLED | generation;
}

rc_conn rc_dialled_handle_of(const struct worker *worker, uint32_t slot)
{
	uint32_t index = worker->dialled.of_slot[slot];
	return index ? rc_dialled_handle(worker, index - 1) : 0;
}

struct dialled *rc_dialled_find(const struct worker *worker, rc_conn conn)
{
	if (!((uint32_t)conn & RC_HANDLE_DIALLED))
		return NULL;
	struct dialled *entry = rc_dialled_at(worker, (uint32_t)(conn >> 32) & (RC_SLOTS_MAX - 1));
	uint32_t generation = (uint32_t)conn & RC_GENERATION_MASK;
	return entry && atomic_load_explicit(&entry->generation, memory_order_relaxed) == generation ? entry : NULL;
}
