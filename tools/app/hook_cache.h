/* SPDX-License-Identifier: MIT
 *
 * hook_cache.h - answers of the backend that are kept for as long as they say, by the whole question that they answer.
 * What was not asked for longest makes room. It knows no hook and no clock. Any thread.
 */
#ifndef APP_HOOK_CACHE_H
#define APP_HOOK_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "table.h"

#define APP_HOOK_CACHE_SIZE ((size_t)16 << 20) /* of questions and answers together */

struct app_kept;

struct app_hook_cache {
	pthread_mutex_t lock;
	struct app_table table;
	TAILQ_HEAD(app_kept_list, app_kept) used; /* the one that was asked for last at the end */
	size_t count_max, size;
};

bool app_hook_cache_init(struct app_hook_cache *cache, uint64_t seed, size_t count_max);
void app_hook_cache_destroy(struct app_hook_cache *cache);

/* Keeps an answer and a number that goes with it. Without room or memory it keeps nothing. */
void app_hook_cache_put(struct app_hook_cache *cache, const char *question, size_t question_size, int number,
                        const char *answer, size_t answer_size, uint64_t until_ns, uint64_t now_ns);
/* The answer, with a zero behind it, for the caller to free; null: there is none. */
char *app_hook_cache_get(struct app_hook_cache *cache, const char *question, size_t question_size, uint64_t now_ns,
                         int *number, size_t *answer_size);

#endif
