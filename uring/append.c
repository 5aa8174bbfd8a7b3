/* SPDX-License-Identifier: MIT
 *
 * append.c - the lock of the log, for those who append and for those who look while others append, and the clock that
 * says when. It must not know who is woken for what was appended.
 */
#include "publish.h"

#include "server.h"

#include <sched.h>
#include <time.h>

#define YIELDS_MAX 64 /* some 20 us: a publisher that has fallen asleep takes about ten to wake up */

uint64_t rc_server_now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void rc_appending_begin(struct rc_server *server, struct appending *appending)
{
	if (pthread_mutex_trylock(&server->log_lock)) {
		atomic_fetch_add_explicit(&server->publishers_waiting, 1, memory_order_relaxed);
		pthread_mutex_lock(&server->log_lock);
		atomic_fetch_sub_explicit(&server->publishers_waiting, 1, memory_order_relaxed);
	}
	*appending = (struct appending){ .segment = server->log.write_position / server->log.segment_size,
		                         .recycled = server->log.segments_recycled };
}

void rc_appending_pass(struct rc_server *server)
{
	uint64_t head = rc_log_head(&server->log);
	for (unsigned i = 0; i < YIELDS_MAX; i++) {
		if (!atomic_load_explicit(&server->publishers_waiting, memory_order_relaxed) ||
		    rc_log_head(&server->log) != head)
			return;
		sched_yield();
	}
}
