/* SPDX-License-Identifier: MIT
 *
 * worker.h - what one worker owns: a table of parts, each a struct in the header of its owner. Workers share the server
 * (server.h) and nothing else; everything here is touched by its own thread alone, but for the fields marked (shared).
 */
#ifndef RC_WORKER_H
#define RC_WORKER_H

#include "accept.h"
#include "beat.h"
#include "budget.h"
#include "compress.h"
#include "connection.h"
#include "dial.h"
#include "dialled.h"
#include "encode.h"
#include "ending.h"
#include "fanout.h"
#include "feeds.h"
#include "hold.h"
#include "lag.h"
#include "mailbox.h"
#include "plans.h"
#include "producer.h"
#include "renew.h"
#include "ring.h"
#include "ringcast_stats.h"
#include "secure.h"
#include "server.h"
#include "service.h"
#include "show.h"
#include "step.h"
#include "subscriber.h"
#include "tag.h"
#include "times.h"
#include "touched.h"
#include "wheel.h"

/* Draining: which connections have been told. */
struct stopping {
	uint64_t began_ns;
	uint32_t next_slot;
};

struct worker {
	struct rc_server *server;
	unsigned index;
	struct rc_ring *ring;
	pthread_t thread;
	bool has_thread;
	_Atomic bool taken; /* some thread runs it, or has */
	struct stepped stepped;
	uint64_t now_ns;
	uint64_t active_ns;          /* something completed */
	struct mailbox mailbox;      /* (shared) */
	struct rc_stats stats;       /* (shared) written with rc_count() */
	struct rc_times_stats times; /* (shared) written with rc_times_note() */

	/* its connections, and what several of its parts need */
	struct connection *connections;
	unsigned slot_count;
	unsigned used_count, slot_high; /* connections now; slots ever used */
	struct rc_pool pool;
	struct budget budget;
	struct rc_wheel wheel;
	struct slot_queue to_pump; /* connection.queued */
	struct endings endings;
	struct random_words random;
	uint64_t reported_ns[REPORT_COUNT];
	struct rc_session scratch;  /* with it every connection at rest is read */
	struct rc_session *reading; /* whose message is with the application, and lies in a block of its own */

	/* in the order in which a message meets them */
	struct acceptor acceptor;
	struct dialled_table dialled; /* (shared) */
	struct dialler dialler;
	struct producers producers;
	struct secure_worker secure;
	struct compressor compressor;
	struct rc_subscribers subscribers; /* (shared) its counters */
	struct encoder encoder;
	struct round round;
	struct touched touched;
	struct plans plans;
	struct holds holds;
	struct laggards laggards;
	struct feeds feeds;
	struct beats beats;
	struct shows shows;
	struct renewals renewals;

	struct stopping stopping;
	struct rc_completion completions[RC_BATCH_MAX];
};

/* The worker whose callback is running on this thread, or null. */
extern _Thread_local struct worker *rc_worker_here;
/* How many workers this thread steps (step.c): it must not wait for them, also outside their ticks. */
extern _Thread_local unsigned rc_workers_stepped;

static inline uint64_t rc_tag(const struct worker *worker, enum tag_kind kind, uint32_t slot, unsigned detail)
{
	uint32_t generation = atomic_load_explicit(&worker->connections[slot].generation, memory_order_relaxed);
	return rc_tag_make(kind, detail, generation, slot);
}

static inline rc_conn rc_handle(const struct worker *worker, uint32_t slot)
{
	if (worker->connections[slot].client)
		return rc_dialled_handle_of(worker, slot);
	uint32_t generation = atomic_load_explicit(&worker->connections[slot].generation, memory_order_relaxed);
	return (uint64_t)worker->index << (32 + RC_SLOT_BITS) | (uint64_t)slot << 32 | generation;
}

/* worker.c */
int rc_worker_open(struct worker *worker, struct rc_error *error);
/* Returns 0, or the errno with which its ring was over. */
int rc_worker_run(struct worker *worker);
/* For a loop of the program's own: one tick that never waits. Returns 1, or 0 or a negative errno when it has ended and
 * is closed. */
int rc_worker_tick(struct worker *worker);
void rc_worker_close(struct worker *worker);
/* What other threads may look at until the server is freed: handles and counters. */
void rc_worker_free(struct worker *worker);

#endif
