/* SPDX-License-Identifier: MIT
 *
 * service.h - the ground floor: what every part of a worker may ask for. It asks for nothing above it.
 */
#ifndef RC_SERVICE_H
#define RC_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct worker;

/* Slots in the order they came, each at most once: who adds one marks it. */
struct slot_queue {
	uint32_t *slots;
	uint32_t capacity, at, count;
};

/* What handlers.report is told of: at most one line a second of each kind. */
enum report {
	REPORT_MEMORY,
	REPORT_REFUSED,
	REPORT_KERNEL_TLS,
	REPORT_RING,
	REPORT_MEMORY_SHORT,
	REPORT_REVOKED,
	REPORT_PRODUCER,
	REPORT_COUNT
};

struct random_words {
	uint32_t words[256]; /* masks of the client role */
	unsigned left;
};

/* Zeroed memory, of which only touched pages cost any; null when memory is out. rc_unmap() takes null. */
void *rc_map(size_t size);
void rc_unmap(void *memory, size_t size);

/* False when memory is out. */
bool rc_queue_open(struct slot_queue *queue, uint32_t capacity);
void rc_queue_close(struct slot_queue *queue);
void rc_queue_add(struct slot_queue *queue, uint32_t slot);
uint32_t rc_queue_take(struct slot_queue *queue); /* it is not empty */

/* Asks for the connection to be pumped before the next wait. */
void rc_worker_queue(struct worker *worker, uint32_t slot);

/* A time-out of a slot: it replaces the one before. 0 ms: none. */
void rc_worker_set_timer(struct worker *worker, uint32_t slot, uint64_t ms);

/* The timer wheel's tick of now. */
uint32_t rc_worker_ticks(const struct worker *worker);

void rc_worker_report(struct worker *worker, enum report kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

uint32_t rc_worker_random(struct worker *worker);

static inline void rc_count(uint64_t *counter, uint64_t by)
{
	/* One writer; atomic so that a reader on another thread sees no torn value. */
	__atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

static inline void rc_count_shared(_Atomic uint64_t *counter, uint64_t by)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

#endif
