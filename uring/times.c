/* SPDX-License-Identifier: MIT
 *
 * times.c - see times.h. Each worker writes its own; they are added up when somebody asks. It must not change anything
 * else.
 */
#include "times.h"

#include "growing.h"
#include "worker.h"

#include <string.h>

#define NS_PER_US 1000
#define SLOW_NS UINT64_C(250000000)     /* a round trip over half the world, or through a crowded cell */
#define SLOWEST_NS UINT64_C(1000000000) /* through one that hardly works */

void rc_times_note(struct rc_times *times, uint64_t ns)
{
	uint64_t us = (ns + NS_PER_US - 1) / NS_PER_US;
	unsigned bucket = us > 1 ? 64u - (unsigned)__builtin_clzll(us - 1) : 0;
	rc_count(&times->counts[RC_MIN(bucket, RC_TIMES - 1)], 1);
	rc_count(&times->sum_ns, ns);
}

/* The difference to the time of another Ping is all that a peer learns, and that it knows. */
static uint64_t hidden(const struct worker *worker)
{
	return worker->server->seed * UINT64_C(0x9e3779b97f4a7c15);
}

void rc_times_mark_ping(const struct worker *worker, uint8_t mark[RC_PING_MARK_SIZE])
{
	uint64_t value = worker->now_ns + hidden(worker);
	memcpy(mark, &value, sizeof value);
}

unsigned rc_times_take_pong(struct worker *worker, const uint8_t *data, size_t size)
{
	uint64_t value, longest_ns = (uint64_t)worker->server->config.idle_timeout_ms * 1000000;
	if (size != RC_PING_MARK_SIZE)
		return 0;
	memcpy(&value, data, sizeof value);
	uint64_t took_ns = worker->now_ns - (value - hidden(worker)); /* of anything else it is huge */
	if (took_ns > longest_ns)
		return 0;
	rc_times_note(&worker->times.round_trip, took_ns);
	return (took_ns >= SLOW_NS) + (took_ns >= SLOWEST_NS);
}

static void add(struct rc_times *sum, const struct rc_times *times)
{
	for (unsigned i = 0; i < RC_TIMES; i++)
		sum->counts[i] += __atomic_load_n(&times->counts[i], __ATOMIC_RELAXED);
	sum->sum_ns += __atomic_load_n(&times->sum_ns, __ATOMIC_RELAXED);
}

void(rc_times_stats)(rc_server *server, struct rc_times_stats *given, size_t struct_size)
{
	struct rc_times_stats stats = { 0 };
	for (unsigned i = 0; i < server->worker_count; i++) {
		const struct rc_times_stats *of = &server->workers[i].times;
		add(&stats.handshake, &of->handshake);
		add(&stats.round_trip, &of->round_trip);
		add(&stats.lag, &of->lag);
	}
	rc_growing_give(given, struct_size, &stats, sizeof stats);
}
