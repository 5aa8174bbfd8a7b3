/* SPDX-License-Identifier: MIT
 *
 * counters.h - what is counted, by any thread and without a lock. figures.c shows it; nobody decides anything by it.
 */
#ifndef APP_COUNTERS_H
#define APP_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* Durations by 8 buckets to each power of two nanoseconds, so that a percentile is off by less than an eighth; the last
 * bucket, from two minutes on, has the rest. */
#define APP_LATENCY_BITS 3
#define APP_LATENCY_BUCKETS ((37 - APP_LATENCY_BITS + 1) << APP_LATENCY_BITS)

struct app_latency {
	_Atomic uint64_t ns, count, buckets[APP_LATENCY_BUCKETS];
};

struct app_counters {
	_Atomic uint64_t open, received, sent, errors, reconnections, rejected, flooded, login_failures;
	_Atomic uint64_t pushes, pushes_failed, slow_streams;
	_Atomic uint64_t stored, store_dropped, resent, unacknowledged, duplicates;
	_Atomic uint64_t rooms_made, api_requests;
	struct app_latency handling; /* of a message */
	struct app_latency ack;      /* from DATA to its ACK */
};

#define APP_COUNT(app, name) atomic_fetch_add_explicit(&(app)->counters.name, 1, memory_order_relaxed)

void app_latency_add(struct app_latency *latency, uint64_t ns);
/* The same coarser, as Prometheus shows it: how many lasted up to 1, 2, 4 ... units, and the rest. */
#define APP_LATENCY_SHOWN 16
void app_latency_octaves(const struct app_latency *latency, uint64_t unit_ns, uint64_t counts[APP_LATENCY_SHOWN]);
/* The largest duration that a bucket holds; and the one that `share` (0 to 1) of all do not pass, which is the largest
 * of its bucket. */
uint64_t app_latency_top(unsigned bucket);
uint64_t app_latency_percentile(const struct app_latency *latency, double share);

#endif
