/* SPDX-License-Identifier: MIT
 *
 * returns.c - see returns.h.
 */
#define XXH_INLINE_ALL
#include "returns.h"

#include <stdlib.h>
#include <xxhash.h>

#define PLACES 16384
#define WAYS 4

struct app_returns_place {
	uint64_t hash; /* 0: nobody */
	uint64_t left_ns;
};

bool app_returns_init(struct app_returns *returns, uint64_t seed)
{
	pthread_mutex_init(&returns->lock, NULL);
	returns->seed = seed;
	returns->places = calloc(PLACES, sizeof *returns->places);
	return returns->places;
}

void app_returns_destroy(struct app_returns *returns)
{
	pthread_mutex_destroy(&returns->lock);
	free(returns->places);
	returns->places = NULL;
}

static uint64_t hash_of(const struct app_returns *returns, enum app_returning kind, const char *name, size_t size)
{
	return XXH3_64bits_withSeed(name, size, returns->seed + (uint64_t)kind) | 1;
}

static struct app_returns_place *places_of(const struct app_returns *returns, uint64_t hash)
{
	return &returns->places[hash / 2 % (PLACES / WAYS) * WAYS];
}

void app_returns_left(struct app_returns *returns, enum app_returning kind, const char *name, size_t size,
                      uint64_t now_ns)
{
	uint64_t hash = hash_of(returns, kind, name, size);
	struct app_returns_place *first = places_of(returns, hash), *place = first;
	pthread_mutex_lock(&returns->lock);
	for (unsigned way = 0; way < WAYS; way++) {
		if (first[way].hash == hash) {
			place = &first[way];
			break;
		}
		if (first[way].left_ns < place->left_ns)
			place = &first[way];
	}
	*place = (struct app_returns_place){ .hash = hash, .left_ns = now_ns };
	pthread_mutex_unlock(&returns->lock);
}

bool app_returns_came(struct app_returns *returns, enum app_returning kind, const char *name, size_t size,
                      uint64_t now_ns)
{
	uint64_t hash = hash_of(returns, kind, name, size);
	struct app_returns_place *first = places_of(returns, hash);
	bool came = false;
	pthread_mutex_lock(&returns->lock);
	for (unsigned way = 0; way < WAYS; way++) {
		if (first[way].hash != hash)
			continue;
		came = now_ns - first[way].left_ns <= APP_RETURNS_WINDOW_NS;
		first[way] = (struct app_returns_place){ 0 };
	}
	pthread_mutex_unlock(&returns->lock);
	return came;
}
