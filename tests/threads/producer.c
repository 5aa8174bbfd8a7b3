/* SPDX-License-Identifier: MIT
 *
 * producer.c - a producer and a reader of its ring, a thread each, through a ring so small that it comes around
 * thousands of times: every record arrives once, whole and in order, the reader never sleeps beside a record, and never
 * touches a byte that the producer is writing. Without a test framework, so that the thread sanitizer's build runs it
 * too.
 */
#include "records.h"
#include "ringcast_producer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

enum { RING = 4096, MESSAGES = 300000, TOPICS = 3, PATIENCE_MS = 20000 };

static struct {
	_Alignas(64) uint8_t memory[RC_PRODUCER_BYTES_AT + RING];
	int wake_fd;
	uint64_t sleeps, room_lies;
	_Atomic bool failed;
} shared;

static uint64_t draw(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static size_t size_of(uint64_t number)
{
	uint64_t seed = number;
	uint64_t any = draw(&seed);
	return any % 16 ? (any >> 8) % 200 : (any >> 8) % (RC_PRODUCER_RECORD_MAX(RING) - 23);
}

static void fill(uint8_t *payload, uint64_t number)
{
	for (size_t i = 0, size = size_of(number); i < size; i++)
		payload[i] = (uint8_t)(number + i);
}

static void *produce(void *argument)
{
	uint64_t seed = *(uint64_t *)argument;
	static uint8_t payload[RING];
	struct rc_producer producer = { .shared = (struct rc_producer_shared *)(void *)shared.memory,
		                        .bytes = shared.memory + RC_PRODUCER_BYTES_AT,
		                        .size = RING,
		                        .topic_count = TOPICS,
		                        .socket = -1,
		                        .wake_fd = shared.wake_fd };
	for (uint64_t number = 0; number < MESSAGES && !shared.failed;) {
		struct rc_producer_message message = { .topic = (uint32_t)(number % TOPICS),
			                               .flags = draw(&seed) % 8 ? 0 : RC_PRODUCER_QUIET,
			                               .data = payload,
			                               .size = size_of(number),
			                               .time_ns = number };
		fill(payload, number);
		if (draw(&seed) % 64 == 0)
			sched_yield();
		size_t room = rc_producer_room(&producer);
		int result = rc_producer_publish_with(&producer, &message);
		if (room && room >= message.size && result)
			shared.room_lies++;
		if (result == -EPIPE &&
		    (!room || room < message.size)) /* there is no socket to ask: the ring is full */
			rc_producer_flush(&producer), sched_yield();
		else if (result)
			shared.failed = true;
		else
			number++;
	}
	rc_producer_flush(&producer);
	return NULL;
}

static bool is_right(const struct rc_record *record, uint64_t number)
{
	static uint8_t payload[RING];
	fill(payload, number);
	return record->time_ns == number && record->topic == number % TOPICS && record->size == size_of(number) &&
	       memcmp(record->data, payload, record->size) == 0;
}

int main(void)
{
	uint64_t seed = (uint64_t)time(NULL), number = 0;
	static uint8_t buffer[RC_PRODUCER_RECORD_MAX(RING)];
	struct rc_records records;
	pthread_t thread;
	shared.wake_fd = eventfd(0, EFD_NONBLOCK);
	rc_records_init(&records, shared.memory, RING);
	if (shared.wake_fd < 0 || pthread_create(&thread, NULL, produce, &seed)) {
		puts("skip producer_ring: no thread, or no eventfd");
		return 77;
	}
	while (number < MESSAGES && !shared.failed) {
		struct rc_record record;
		uint64_t count;
		int result = rc_records_next(&records, TOPICS, buffer, &record);
		if (result > 0) {
			shared.failed |= !is_right(&record, number++);
			rc_records_take(&records);
			if (number % 3 == 0)
				rc_records_show(&records);
			continue;
		}
		rc_records_show(&records);
		shared.failed |= result < 0;
		if (shared.failed || !rc_records_sleep(&records))
			continue;
		shared.sleeps++;
		struct pollfd waiting = { .fd = shared.wake_fd, .events = POLLIN };
		if (poll(&waiting, 1, PATIENCE_MS) != 1 || read(shared.wake_fd, &count, sizeof count) < 0)
			shared.failed = true; /* a record lies there, and nobody woke us */
		rc_records_wake(&records);
	}
	bool failed = shared.failed;
	shared.failed = failed || number < MESSAGES;
	pthread_join(thread, NULL);
	if (failed || shared.room_lies || number != MESSAGES) {
		printf("FAIL producer_ring: message %llu, %llu sleeps, %llu times no room where there was some: %s "
		       "(seed %llu)\n",
		       (unsigned long long)number, (unsigned long long)shared.sleeps,
		       (unsigned long long)shared.room_lies, records.fault ? records.fault : "wrong or missing",
		       (unsigned long long)seed);
		return 1;
	}
	printf("ok producer_ring (%llu messages, %llu sleeps)\n", (unsigned long long)number,
	       (unsigned long long)shared.sleeps);
	return 0;
}
