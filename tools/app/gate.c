/* SPDX-License-Identifier: MIT
 *
 * gate.c - see gate.h.
 */
#define XXH_INLINE_ALL
#include "gate.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "bucket.h"

#define PLACES 16384
#define WAYS 4
#define BURST_SECONDS 5

struct app_gate_place {
	uint64_t hash; /* of the address; 0: nobody has been here */
	struct app_bucket bucket;
};

bool app_gate_init(struct app_gate *gate, uint64_t seed)
{
	pthread_mutex_init(&gate->lock, NULL);
	gate->seed = seed;
	gate->places = calloc(PLACES, sizeof *gate->places);
	return gate->places;
}

void app_gate_destroy(struct app_gate *gate)
{
	pthread_mutex_destroy(&gate->lock);
	free(gate->places);
	gate->places = NULL;
}

/* The bucket of an address, full where nobody has been. Under the lock. */
static struct app_bucket *find(struct app_gate *gate, const char *address, uint32_t burst, uint64_t now_ns)
{
	uint64_t hash = XXH3_64bits_withSeed(address, strlen(address), gate->seed) | 1;
	struct app_gate_place *first = &gate->places[hash / 2 % (PLACES / WAYS) * WAYS], *place = first;
	for (unsigned way = 0; way < WAYS; way++) {
		if (first[way].hash == hash) {
			place = &first[way];
			break;
		}
		if (first[way].bucket.at_ns < place->bucket.at_ns)
			place = &first[way];
	}
	if (place->hash != hash)
		*place = (struct app_gate_place){ .hash = hash, .bucket = app_bucket_full(burst, now_ns) };
	return &place->bucket;
}

bool app_gate_take(struct app_gate *gate, const char *address, uint32_t cost, uint32_t rate, uint32_t burst,
                   uint64_t now_ns)
{
	pthread_mutex_lock(&gate->lock);
	bool taken = app_bucket_take(find(gate, address, burst, now_ns), cost, rate, burst, now_ns);
	pthread_mutex_unlock(&gate->lock);
	return taken;
}

bool app_gate_holds(struct app_gate *gate, const char *address, uint32_t cost, uint32_t rate, uint32_t burst,
                    uint64_t now_ns)
{
	pthread_mutex_lock(&gate->lock);
	struct app_bucket copy = *find(gate, address, burst, now_ns);
	pthread_mutex_unlock(&gate->lock);
	return app_bucket_take(&copy, cost, rate, burst, now_ns);
}

bool app_gate_pass(struct app_gate *gate, const char *address, unsigned per_second, uint64_t now_ns)
{
	uint32_t burst = per_second > UINT32_MAX / BURST_SECONDS ? UINT32_MAX : per_second * BURST_SECONDS;
	return !per_second || app_gate_take(gate, address, 1, per_second, burst, now_ns);
}
