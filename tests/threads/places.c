/* SPDX-License-Identifier: MIT
 *
 * places.c - places in the log that several threads give back at once: each is over once, whoever was first, and who
 * comes late neither ends nor measures the next one's. Without a test framework, so that the thread sanitizer's build
 * runs it too.
 */
#include "ringcast_publish.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { THREADS = 3, ROUNDS = 20000, SHARED = 4, LOG = 1 << 20, SIZE_MAX_HERE = LOG / 128 - 14 };

static rc_server *server;
static rc_topic topic;
static _Atomic rc_place shared[SHARED]; /* of whoever reserved them, for whoever comes by */
static _Atomic unsigned reserved, over;
static _Atomic int wrong;

static uint64_t draw(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static void reserve(uint64_t *seed)
{
	void *data;
	rc_place place;
	size_t size = draw(seed) % 4 ? 1 + draw(seed) % 100 : SIZE_MAX_HERE;
	int result = rc_reserve(server, size, &place, &data);
	if (result == 0) {
		memset(data, 'x', size);
		atomic_fetch_add(&reserved, 1);
		place = atomic_exchange(&shared[draw(seed) % SHARED], place);
		if (place && rc_abandon(server, place) == 0)
			atomic_fetch_add(&over, 1);
	} else if (result != -EAGAIN && result != -ENOBUFS) {
		wrong = result;
	}
}

/* A place that may be over by now, or be so in a moment. */
static void give_back(uint64_t *seed)
{
	rc_place place = atomic_load(&shared[draw(seed) % SHARED]);
	bool large = draw(seed) % 8 == 0;
	int64_t result = draw(seed) % 8 == 0
	                     ? rc_abandon(server, place)
	                     : rc_commit(server, place, topic, large ? SIZE_MAX_HERE : 1, 0, RC_PUBLISH_BINARY);
	if (result >= 0 || result == -ETIMEDOUT)
		atomic_fetch_add(&over, 1);
	else if (result != -EALREADY && result != -EAGAIN && (result != -EMSGSIZE || !large))
		wrong = (int)result;
}

static void *run(void *argument)
{
	uint64_t seed = *(uint64_t *)argument;
	for (unsigned i = 0; i < ROUNDS && !wrong; i++) {
		reserve(&seed);
		give_back(&seed);
		give_back(&seed);
	}
	return NULL;
}

static bool begin(void)
{
	struct rc_config config;
	struct rc_error error = { 0 };
	rc_config_init(&config);
	config.worker_count = 1;
	config.connections_max = 16;
	config.log_size = LOG;
	server = rc_server_new(&config, &error);
	if (!server || rc_server_start(server, &error) < 0) {
		printf("skip places: %s\n", error.text);
		return false;
	}
	/* Workers that have ended hold no publisher back. */
	rc_server_stop(server, 0);
	rc_server_join(server);
	return rc_topic_open(server, "t", 1, &topic) == 0;
}

int main(void)
{
	uint64_t seed = (uint64_t)time(NULL), seeds[THREADS];
	pthread_t threads[THREADS];
	if (!begin())
		return 77;
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = seed + i;
		if (pthread_create(&threads[i], NULL, run, &seeds[i]))
			return 77;
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < SHARED; i++)
		over += shared[i] && rc_abandon(server, shared[i]) == 0;
	rc_server_free(server);
	if (wrong || over != reserved) {
		printf("FAIL places: %u of %u places were over, %d (seed %llu)\n", over, reserved, wrong,
		       (unsigned long long)seed);
		return 1;
	}
	printf("ok places (%u places)\n", reserved);
	return 0;
}
