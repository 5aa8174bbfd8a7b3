/* SPDX-License-Identifier: MIT
 *
 * counters.h - what is counted, by any thread and without a lock. figures.c shows it; nobody decides anything by it.
 */
#ifndef APP_COUNTERS_H
#define APP_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#define APP_LATENCY_BUCKETS 16 /* below 1, 2, 4 ... units, and the rest */

struct app_latency {
	_Atomic uint64_t ns, count, buckets[APP_LATENCY_BUCKETS];
};

struct app_counters {
	_Atomic uint64_t open, received, sent, errors, reconnections, rejected, flooded;
	_Atomic uint64_t stored, store_dropped, resent, unacknowledged, duplicates;
	_Atomic uint64_t rooms_made, api_requests;
	struct app_latency handling; /* of a message; buckets of microseconds */
	struct app_latency ack;      /* from DATA to its ACK; buckets of milliseconds */
};

#define APP_COUNT(app, name) atomic_fetch_add_explicit(&(app)->counters.name, 1, memory_order_relaxed)

/* Adds a duration, to the bucket of its whole units of `unit_ns`. */
void app_latency_add(struct app_latency *latency, uint64_t ns, uint64_t unit_ns);

#endif
