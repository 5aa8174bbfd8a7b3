/* SPDX-License-Identifier: MIT
 *
 * engine.h - the inside of the load generator: who owns what.
 *
 *   main thread   connects, waits, samples the server, ends            run.c, connect.c
 *   worker 0      owns the publisher                                   publish.c
 *   each worker   owns its peers, its counters, its histograms         receive.c
 *
 * Nothing is shared but the few fields that are atomic; all else is merged when the workers are quiet.
 */
#ifndef LOAD_ENGINE_H
#define LOAD_ENGINE_H

#include <stdatomic.h>

#include "lib/stream.h"
#include "lib/wait.h"
#include "load.h"
#include "ringcast.h"
#include "skew.h"

struct load;
struct load_worker;

/* One connection. */
struct load_peer {
	struct load_worker *worker;
	rc_conn conn;
	struct load_stream *streams; /* topics_per_connection; null for a publisher without its own messages */
	uint64_t connect_ns;         /* mode connect: when the attempt began */
	uint32_t index;
	uint32_t sent;     /* mode echo: sequence of the next message */
	uint32_t received; /* mode echo: sequence of the next answer */
	uint32_t stream_count;
	bool open;
	bool publisher;
};

struct load_worker {
	struct load *load;
	unsigned index;
	/* Written by the worker alone, read by others. */
	_Alignas(64) _Atomic uint64_t received; /* deliveries, answers or openings since the beginning */
	_Atomic uint64_t goal; /* how many of these complete a burst; UINT64_MAX when nobody waits for one */
	_Atomic unsigned opened, failed, closed;
	_Atomic uint64_t last_ns;     /* when the latest of the received came */
	_Atomic uint64_t outstanding; /* mode echo: sent and not yet answered */
	/* The worker's own, merged at the end. */
	bool recording;
	bool sending;    /* mode echo and connect: go on after each answer */
	uint64_t budget; /* mode echo and connect: how many more may begin */
	uint64_t bytes;
	uint64_t corrupt;
	struct load_tally tally;
	struct histogram latency;
	struct load_skew skew;
};

struct load_topic {
	char *name;
	size_t name_size;
	uint32_t published;
	uint64_t subscribers;
	unsigned *subscribers_of; /* by worker */
	struct load_peer publisher;
};

/* A message of a recorded feed. */
struct load_record {
	uint64_t due_ns; /* after the first */
	uint32_t topic;
	uint32_t size;
	size_t offset; /* in the feed's bytes */
};

struct load_feed {
	struct load_record *records;
	size_t record_count;
	char *bytes;
	uint64_t period_ns; /* from its beginning to its next beginning, when it is repeated */
};

/* Worker 0's own between begin and end of a phase, but for the atomics. */
struct load_publisher {
	bool running;
	bool open_loop;
	uint64_t begin_ns, end_ns; /* of the phase */
	uint64_t messages_max;     /* of the phase */
	uint64_t messages;         /* of the phase, so far */
	uint64_t bursts;           /* of the phase, so far */
	uint64_t bursts_done;      /* of these, delivered (closed loop) */
	uint64_t schedule_ns;      /* of the burst that is being sent */
	unsigned burst_rest;       /* of it, still to send */
	size_t cursor;             /* in the feed */
	uint64_t feed_begin_ns;
	char *payload;
	uint64_t *goals;           /* worker's deliveries when a burst is complete: [burst % window][worker] */
	uint64_t *promised;        /* by worker: deliveries of all published so far */
	_Atomic uint64_t expected; /* deliveries of all published so far */
	_Atomic uint64_t due_ns;   /* when the main thread is to call next */
	_Atomic bool posted;       /* a call is on its way */
	_Atomic bool finished;     /* the phase's last message was sent */
};

struct load {
	const struct load_options *options;
	struct load_report *report;
	rc_server *server;
	struct wait wait;
	struct load_worker *workers;
	struct load_peer *peers;
	struct load_stream *streams;
	struct load_topic *topics;
	unsigned topic_count;
	struct load_feed feed;
	struct load_publisher publisher;
	struct stream *stalled; /* as many as the options say, or null */
	char *echo_payload;
	size_t base_size; /* of options->url, up to its path */
	uint32_t skew_base;
	_Atomic bool ending;                      /* closes are expected from now on */
	_Atomic bool first_failure;               /* report->first_failure is taken */
	void (*call)(struct load_worker *worker); /* of load_call() ... */
	_Atomic unsigned calls;                   /* ... and how many have not yet run it */
};

/* receive.c */
struct rc_handlers load_handlers(struct load *load);
void load_kick(struct load_worker *worker); /* on the worker: what begins modes echo and connect */

/* connect.c: each returns 0, or -1 after printing why. */
int load_plan(struct load *load); /* topics, feed, and who subscribes to what */
int load_connect_all(struct load *load);
int load_connect_stalled(struct load *load);
int load_connect_peer(struct load *load,
                      struct load_peer *peer); /* returns a negative errno instead, and prints nothing */
void load_unplan(struct load *load);

/* feed.c */
int load_feed_read(struct load *load);

/* publish.c */
int load_publisher_make(struct load *load);
void load_publisher_free(struct load *load);
void load_publisher_begin(struct load *load);   /* on worker 0 */
void load_pump(void *load);                     /* on worker 0: publishes what is due and allowed */
void load_progress(struct load_worker *worker); /* on any worker: it reached its goal */
void load_post_pump(struct load *load);         /* any thread */

/* run.c: runs fn on each worker and waits until all have. */
void load_call(struct load *load, void (*fn)(struct load_worker *worker));
uint64_t load_received(struct load *load);

#endif
