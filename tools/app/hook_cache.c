/* SPDX-License-Identifier: MIT
 *
 * hook_cache.c - see hook_cache.h. Invariant: each node of the table is in the list, and `size` is the sum of theirs.
 */
#include "hook_cache.h"

#include <stdlib.h>
#include <string.h>

struct app_kept {
	struct app_node node;
	TAILQ_ENTRY(app_kept) link;
	uint64_t until_ns;
	int number;
	size_t answer_size, size;
	char bytes[]; /* the question, and then the answer */
};

bool app_hook_cache_init(struct app_hook_cache *cache, uint64_t seed, size_t count_max)
{
	pthread_mutex_init(&cache->lock, NULL);
	TAILQ_INIT(&cache->used);
	cache->count_max = count_max;
	cache->size = 0;
	return app_table_init(&cache->table, seed);
}

static void drop(struct app_hook_cache *cache, struct app_kept *kept)
{
	app_table_remove(&cache->table, &kept->node);
	TAILQ_REMOVE(&cache->used, kept, link);
	cache->size -= kept->size;
	free(kept);
}

void app_hook_cache_destroy(struct app_hook_cache *cache)
{
	while (!TAILQ_EMPTY(&cache->used))
		drop(cache, TAILQ_FIRST(&cache->used));
	app_table_destroy(&cache->table);
	pthread_mutex_destroy(&cache->lock);
}

void app_hook_cache_put(struct app_hook_cache *cache, const char *question, size_t question_size, int number,
                        const char *answer, size_t answer_size, uint64_t until_ns, uint64_t now_ns)
{
	size_t size = sizeof(struct app_kept) + question_size + answer_size;
	if (!cache->count_max || size > APP_HOOK_CACHE_SIZE / 16 || until_ns <= now_ns)
		return;
	struct app_kept *kept = malloc(size);
	if (!kept)
		return;
	*kept = (struct app_kept){ .node = { .name = kept->bytes, .name_size = question_size },
		                   .until_ns = until_ns,
		                   .number = number,
		                   .answer_size = answer_size,
		                   .size = size };
	memcpy(kept->bytes, question, question_size);
	memcpy(kept->bytes + question_size, answer, answer_size);
	pthread_mutex_lock(&cache->lock);
	struct app_node *before = app_table_find(&cache->table, question, question_size);
	if (before)
		drop(cache, (struct app_kept *)before);
	while (cache->table.count >= cache->count_max || cache->size + size > APP_HOOK_CACHE_SIZE)
		drop(cache, TAILQ_FIRST(&cache->used));
	app_table_add(&cache->table, &kept->node);
	TAILQ_INSERT_TAIL(&cache->used, kept, link);
	cache->size += size;
	pthread_mutex_unlock(&cache->lock);
}

char *app_hook_cache_get(struct app_hook_cache *cache, const char *question, size_t question_size, uint64_t now_ns,
                         int *number, size_t *answer_size)
{
	char *answer = NULL;
	pthread_mutex_lock(&cache->lock);
	struct app_kept *kept = (struct app_kept *)app_table_find(&cache->table, question, question_size);
	if (kept && kept->until_ns <= now_ns) {
		drop(cache, kept);
	} else if (kept && (answer = malloc(kept->answer_size + 1))) {
		memcpy(answer, kept->bytes + question_size, kept->answer_size);
		answer[kept->answer_size] = 0;
		*number = kept->number;
		*answer_size = kept->answer_size;
		TAILQ_REMOVE(&cache->used, kept, link);
		TAILQ_INSERT_TAIL(&cache->used, kept, link);
	}
	pthread_mutex_unlock(&cache->lock);
	return answer;
}
