/* SPDX-License-Identifier: MIT
 *
 * counters.c - see counters.h.
 */
#include "counters.h"

void app_latency_add(struct app_latency *latency, uint64_t ns, uint64_t unit_ns)
{
	uint64_t value = ns / unit_ns;
	unsigned bucket = value ? 64u - (unsigned)__builtin_clzll(value) : 0;
	if (bucket >= APP_LATENCY_BUCKETS)
		bucket = APP_LATENCY_BUCKETS - 1;
	atomic_fetch_add_explicit(&latency->buckets[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&latency->ns, ns, memory_order_relaxed);
	atomic_fetch_add_explicit(&latency->count, 1, memory_order_relaxed);
}
