/* SPDX-License-Identifier: MIT
 *
 * counters.c - see counters.h.
 */
#include "counters.h"

#include <math.h>
#include <string.h>

static unsigned bucket_of(uint64_t ns)
{
	if (ns < 1u << APP_LATENCY_BITS)
		return (unsigned)ns;
	unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - APP_LATENCY_BITS;
	unsigned bucket = ((shift + 1) << APP_LATENCY_BITS) + (unsigned)(ns >> shift) - (1u << APP_LATENCY_BITS);
	return bucket < APP_LATENCY_BUCKETS ? bucket : APP_LATENCY_BUCKETS - 1;
}

uint64_t app_latency_top(unsigned bucket)
{
	unsigned octave = bucket >> APP_LATENCY_BITS;
	uint64_t place = bucket & ((1u << APP_LATENCY_BITS) - 1);
	return octave ? ((place + 1 + (1u << APP_LATENCY_BITS)) << (octave - 1)) - 1 : place;
}

void app_latency_add(struct app_latency *latency, uint64_t ns)
{
	atomic_fetch_add_explicit(&latency->buckets[bucket_of(ns)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&latency->ns, ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&latency->count, 1, memory_order_relaxed);
}

uint64_t app_latency_percentile(const struct app_latency *latency, double share)
{
	uint64_t total = 0, sum = 0;
	for (unsigned i = 0; i < APP_LATENCY_BUCKETS; i++)
		total += atomic_load_explicit(&latency->buckets[i], memory_order_relaxed);
	uint64_t rank = (uint64_t)ceil(share * (double)total);
	for (unsigned i = 0; i < APP_LATENCY_BUCKETS && total; i++) {
		sum += atomic_load_explicit(&latency->buckets[i], memory_order_relaxed);
		if (sum >= rank && sum)
			return app_latency_top(i);
	}
	return 0;
}

void app_latency_octaves(const struct app_latency *latency, uint64_t unit_ns, uint64_t counts[APP_LATENCY_SHOWN])
{
	memset(counts, 0, APP_LATENCY_SHOWN * sizeof *counts);
	for (unsigned i = 0, shown = 0; i < APP_LATENCY_BUCKETS; i++) {
		while (shown < APP_LATENCY_SHOWN - 1 && app_latency_top(i) > unit_ns << shown)
			shown++;
		counts[shown] += atomic_load_explicit(&latency->buckets[i], memory_order_relaxed);
	}
}
