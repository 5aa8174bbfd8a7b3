/* SPDX-License-Identifier: MIT
 *
 * worker.h - what one worker owns, and what all of them share. Workers share the server (the log, its lock, limits) and
 * nothing else; everything in struct worker is touched by its own thread alone, but for the fields marked (shared).
 */
#ifndef RC_WORKER_H
#define RC_WORKER_H

#include "certificates.h"
#include "check.h"
#include "cohort.h"
#include "connection.h"
#include "error.h"
#include "log.h"
#include "secure.h"
#include "subscriber.h"
#include "wheel.h"

#include <errno.h>
#include <pthread.h>

#define TICK_NS 25000000 /* of the timer wheel: 25 ms */
#define BATCH_MAX 1024   /* completions taken at once */
#define DIALS_MAX 512    /* connects on their way */
#define PLANS_MAX (RC_SLICE_SENDS + 2)

/* Completions tell by their tag whose they are: kind 4 | plan 10 | generation 24 | slot 22. */
enum tag_kind {
	TAG_ACCEPTED,
	TAG_WOKEN,
	TAG_RECEIVED,
	TAG_SENT_PLAN,
	TAG_SENT_OUTBOX,
	TAG_WRITABLE,
	TAG_SHUT,
	TAG_CANCELLED,
	TAG_SLOT_CLOSED,
	TAG_DIALLED,
	TAG_SENT_SECURE
};
#define TAG_GENERATION_MASK 0xFFFFFFu
static_assert(RC_SLOT_BITS == 22 && PLANS_MAX <= 1024, "a tag holds a slot and a plan");

/* A request from another thread. */
struct command {
	struct command *next;
	void (*run)(struct worker *worker, struct command *command);
	rc_conn conn;
	void (*fn)(void *argument);
	void *argument;
	struct rc_start start;
	unsigned number; /* opcode or close code */
	bool has_start;
	char *protocols, *source; /* of a connect */
	bool deflate;
	size_t size;
	uint8_t bytes[];
};

struct listener {
	char address[300]; /* as given, for messages */
	struct sockaddr_storage socket_address;
	socklen_t socket_address_size;
	struct rc_deflate_options deflate;
	bool secure;   /* wss */
	bool proxied;  /* connections begin with a PROXY header */
	int inherited; /* a descriptor that listens already, or -1 */
};

struct rc_server {
	struct rc_config config;
	struct rc_topics topics;
	struct rc_log log;
	pthread_mutex_t log_lock;
	_Atomic uint64_t *floors;
	_Atomic(struct rc_encoding *) encodings[RC_ENCODING_COUNT]; /* made when first wanted */
	pthread_mutex_t encodings_lock;                             /* inside the log's */
	size_t deflate_size_min;                                    /* of all listeners */
	void *log_memory;
	size_t log_memory_size;
	struct worker *workers;
	unsigned worker_count;
	struct listener listeners[RC_LISTENERS_MAX];
	unsigned listener_count;
	_Atomic unsigned connection_count;
	uint64_t lag_step_size; /* the log grows by this between two looks at who is behind */
	struct certificates certificates;
	struct rc_addresses *addresses; /* null without connections_per_address */
	_Atomic uint64_t stop_at_ns;    /* 0: runs; else the end of draining */
	_Atomic bool started;
	_Atomic uint64_t publish_refused;
	uint64_t start_ns;
	uint64_t epoch;  /* of event ids: differs from one start to the next */
	bool old_kernel; /* use nothing newer than Linux 6.1 */
};

/* Who is behind, as the worker saw it last. Other threads read it word by word, so it may mix two looks. */
struct lag_book {
	_Atomic uint64_t ages[RC_LAG_AGES];
	struct {
		_Atomic uint64_t conn, since_ns, messages, topic;
	} slowest[RC_LAG_SLOWEST]; /* the slowest first; conn 0: no more */
};

/* A zero-copy send whose bytes the kernel reads: hold.h. */
struct hold {
	uint64_t begin; /* entries from here on */
	uint32_t slot;
	bool sending; /* the send itself has not completed */
	bool aborted;
};

struct worker {
	struct rc_server *server;
	unsigned index;
	struct rc_ring *ring;
	pthread_t thread;
	bool has_thread;

	struct connection *connections;
	uint32_t *address_places; /* by slot, with connections_per_address */
	unsigned slot_count;
	unsigned used_count, slot_high; /* connections now; slots ever used */
	struct rc_pool pool;
	struct rc_session scratch;  /* of every connection at rest */
	struct rc_session *reading; /* whose message is with the application, and lies in a block of its own */
	struct rc_wheel wheel;
	struct rc_subscribers subscribers;
	struct rc_mark *marks;
	uint32_t mark_count, mark_round;

	/* the round of fan-out: fanout.c */
	uint64_t round_begin, round_end; /* entries; who is not BEHIND has everything before round_begin */
	uint64_t round_number;
	uint64_t round_began_ns;
	uint64_t round_sends; /* of the round, so far */
	uint32_t *walk;       /* topics touched by the round */
	uint32_t walk_count, walk_index;
	struct rc_plan *plans;
	uint16_t plans_free[PLANS_MAX];
	unsigned plan_free_count;
	struct rc_plan *shared;   /* the plan made last for a single topic ... */
	uint64_t shared_end;      /* ... up to where it was asked for ... */
	uint32_t shared_size_min; /* ... and from what size encoded */
	uint64_t encoded_end;     /* entries before it have the encodings that somebody here wants */
	uint64_t encoded_count;   /* subscriptions that want one */
	struct rc_deflater *deflaters[RC_WINDOW_COUNT]; /* made when first needed */
	struct rc_inflater *inflater;
	struct rc_inflater **inflaters; /* by slot, with TAKEOVER */
	uint8_t *scratch_bytes;         /* what a compressor made last: a block of the pool */
	size_t scratch_size;
	uint64_t head;         /* of what may be planned, at the slice's beginning */
	uint64_t behind_floor; /* no cursor of the list is below */
	uint32_t *behind;      /* slots, LISTED */
	uint32_t behind_count;
	uint64_t behind_end; /* where the log ended at the last look at the list */
	uint64_t behind_ns;
	struct lag_book lag; /* (shared) written when the list is looked at */
	uint32_t *queue;     /* slots to pump, QUEUED: a ring */
	uint32_t queue_at, queue_count;

	struct secure_worker secure;
	struct hold holds[RC_HOLDS_MAX];
	unsigned hold_count;

	uint64_t now_ns;
	uint64_t accept_again_ns;            /* 0, or when to arm the listeners that ended */
	uint32_t accept_armed, accept_ended; /* a bit a listener */
	int listener_fds[RC_LISTENERS_MAX];
	uint64_t reported_ns[4];
	uint32_t random[256]; /* masks of the client role */
	unsigned random_left;
	struct rc_stats stats; /* (shared) written with rc_count() */
	uint32_t stop_slot;    /* draining: how far the Closes have gone */
	uint64_t stop_began_ns;

	struct rc_completion completions[BATCH_MAX];
	int wake_fd;
	_Atomic bool sleeping; /* (shared) whoever clears it writes to wake_fd */
	pthread_mutex_t command_lock;
	struct command *commands, **commands_end;
	bool commands_ended; /* with command_lock: nothing is taken any more */
	_Atomic unsigned command_count;
	struct command *dials_waiting, **dials_waiting_end;
	struct dial *dials[DIALS_MAX];
	unsigned dial_free[DIALS_MAX], dial_free_count;
};

/* The worker whose callback is running on this thread, or null. */
extern _Thread_local struct worker *rc_worker_here;

static inline void rc_count(uint64_t *counter, uint64_t by)
{
	/* One writer; atomic so that a reader on another thread sees no torn value. */
	__atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

static inline void rc_count_shared(_Atomic uint64_t *counter, uint64_t by)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static inline uint64_t rc_tag(const struct worker *worker, enum tag_kind kind, uint32_t slot, unsigned plan)
{
	uint32_t generation = atomic_load_explicit(&worker->connections[slot].generation, memory_order_relaxed);
	return (uint64_t)kind << 56 | (uint64_t)plan << 46 | (uint64_t)(generation & TAG_GENERATION_MASK) << 22 | slot;
}

static inline rc_conn rc_handle(const struct worker *worker, uint32_t slot)
{
	uint32_t generation = atomic_load_explicit(&worker->connections[slot].generation, memory_order_relaxed);
	return (uint64_t)worker->index << (32 + RC_SLOT_BITS) | (uint64_t)slot << 32 | generation;
}

static inline uint32_t rc_ticks(const struct worker *worker)
{
	return (uint32_t)(worker->now_ns / TICK_NS);
}

/* worker.c */
int rc_worker_open(struct worker *worker, struct rc_error *error);
void rc_worker_run(struct worker *worker);
void rc_worker_close(struct worker *worker);
/* What other threads may look at until the server is freed: handles and counters. */
void rc_worker_free(struct worker *worker);
void rc_worker_wake(struct worker *worker);
int rc_worker_post(struct worker *worker, struct command *command);
/* Asks for the connection to be pumped before the next wait. */
void rc_worker_queue(struct worker *worker, uint32_t slot);
void rc_worker_set_timer(struct worker *worker, uint32_t slot, uint64_t ms);
/* At most one line a second and kind (0 to 3). */
void rc_worker_report(struct worker *worker, unsigned kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
uint32_t rc_worker_random(struct worker *worker);

/* dial.c */
void rc_dial_run(struct worker *worker, struct command *command);
void rc_dial_more(struct worker *worker);
void rc_dial_done(struct worker *worker, unsigned number, int result);
void rc_dial_close(struct worker *worker);

/* listen.c */
int rc_listen_parse(struct listener *listener, const char *text, const struct rc_deflate_options *deflate,
                    struct rc_error *error);
int rc_listen_open(struct listener *listener, const struct rc_config *config, bool shared, struct rc_error *error);

/* probe.c */
/* By the processor, or as the environment variable RC_SIMD says, once a process. */
int rc_choose_kernels(struct rc_error *error);

/* stats.c; with the lock. */
void rc_topic_describe(rc_server *server, const struct rc_topic *topic, struct rc_topic_stats *stats);

/* address.c: how many connections an address has, over all workers. Any thread. */
struct rc_addresses;
struct rc_addresses *rc_addresses_new(void);
void rc_addresses_free(struct rc_addresses *addresses);
/* Adds one. Returns its count now, 0 without memory; *place is what rc_addresses_leave() wants. */
unsigned rc_addresses_enter(struct rc_addresses *addresses, const struct sockaddr_storage *peer, uint32_t *place);
void rc_addresses_leave(struct rc_addresses *addresses, uint32_t place);

#endif
