/* SPDX-License-Identifier: MIT
 *
 * service.c - see service.h. It must not know what a connection sends, receives or wants.
 */
#include "worker.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

void *rc_map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

void rc_unmap(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

/* ---- queues of slots ---- */

bool rc_queue_open(struct slot_queue *queue, uint32_t capacity)
{
	queue->slots = rc_map(capacity * sizeof *queue->slots);
	queue->capacity = capacity;
	return queue->slots;
}

void rc_queue_close(struct slot_queue *queue)
{
	rc_unmap(queue->slots, queue->capacity * sizeof *queue->slots);
	*queue = (struct slot_queue){ 0 };
}

void rc_queue_add(struct slot_queue *queue, uint32_t slot)
{
	RC_ASSERT(queue->count < queue->capacity);
	uint64_t end = (uint64_t)queue->at + queue->count++;
	queue->slots[end < queue->capacity ? end : end - queue->capacity] = slot;
}

uint32_t rc_queue_take(struct slot_queue *queue)
{
	RC_ASSERT(queue->count);
	uint32_t slot = queue->slots[queue->at];
	queue->at = queue->at + 1 == queue->capacity ? 0 : queue->at + 1;
	if (!--queue->count)
		queue->at = 0; /* begin again at the start, so that not all of the memory is touched in turn */
	return slot;
}

void rc_worker_queue(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->queued)
		return;
	conn->queued = true;
	rc_queue_add(&worker->to_pump, slot);
}

/* ---- time ---- */

uint32_t rc_worker_ticks(const struct worker *worker)
{
	return (uint32_t)(worker->now_ns / RC_TICK_NS);
}

void rc_worker_set_timer(struct worker *worker, uint32_t slot, uint64_t ms)
{
	if (!ms) {
		rc_wheel_clear(&worker->wheel, slot);
		return;
	}
	/* Rounded up, and one more for the part of a tick that has passed: never early. */
	uint64_t ticks = (ms * 1000000 + RC_TICK_NS - 1) / RC_TICK_NS + 1;
	rc_wheel_set(&worker->wheel, slot, worker->now_ns / RC_TICK_NS + ticks);
}

/* ---- words and numbers ---- */

void rc_worker_report(struct worker *worker, enum report kind, const char *format, ...)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	if (!handlers->report || (worker->reported_ns[kind] && worker->now_ns - worker->reported_ns[kind] < 1000000000))
		return;
	worker->reported_ns[kind] = worker->now_ns;
	char text[256];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	handlers->report(handlers->context, text);
}

uint32_t rc_worker_random(struct worker *worker)
{
	struct random_words *random = &worker->random;
	if (!random->left) {
		rc_ring_random(worker->ring, random->words, sizeof random->words);
		random->left = sizeof random->words / sizeof random->words[0];
	}
	return random->words[--random->left];
}
