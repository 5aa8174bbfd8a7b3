/* SPDX-License-Identifier: MIT
 *
 * node.h - what the files of a node share: one struct, which thread each part of it belongs to, and who may call whom.
 *
 *      node.c        its life, and what others ask of it: on top
 *      follower.c    reads, repairs, delivers         publisher.c   appends, holds the lease
 *      at_once.c     what is delivered before it is sent
 *      jobs.c        what goes to services, beside all else
 *      bridge.c      what comes from others, where the engine does not bring it by itself
 *      presence.c    who else is there                arrival.c     a packet that came: from bytes to deliver()
 *      state.c       up or away, and the counters: at the bottom, with outbox.c, packet.c, engines.c
 */
#ifndef BACKPLANE_NODE_H
#define BACKPLANE_NODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "backplane.h"
#include "engine.h"
#include "outbox.h"
#include "packet.h"

#define KIND_EPOCH                                                                                                     \
	3 /* says nothing; its packet tells the epoch to who begins to read among plain records, or has missed it */
#define KIND_LEASE 1 /* where an engine keeps no leases: a node says that it lives */
#define NUMBERS_A_PACKET 1024
#define PLAIN_COUNT_MAX 256
#define PATIENCE_NS UINT64_C(1000000000) /* an engine that is away for less than this refuses nobody */
#define KEEP_DEFAULT 100000

_Static_assert(NUMBERS_A_PACKET >= BACKPLANE_MESSAGES_MAX, "each message of a packet has a number of its own");

struct backplane_counters {
	_Atomic uint64_t reconnects, repairs, repaired, epochs, gaps, sent, sent_bytes, received, received_bytes,
	    duplicates, broken, refused, failed, nodes, lag_ns;
};

/* The follower's alone. */
struct follower {
	struct engine_position at;                   /* the last packet that was taken */
	uint64_t at_node, at_token;                  /* which it was */
	bool at_unseen;                              /* it was not: it is where the engine let go of all there was */
	struct engine_position target;               /* the newest when it last looked: behind it, the node is whole */
	bool spent;                                  /* the engine has let go of all that lies before the target */
	bool silent;                                 /* it was asked again, since nothing came */
	uint64_t heard_ns;                           /* when something came, or the engine was asked */
	uint64_t corrected_ns;                       /* when another node was told that its epoch is over */
	bool expecting;                              /* the next packet must be that at `at` */
	bool begun;                                  /* the library was told of an epoch */
	bool starting;                               /* it has not been whole yet */
	bool repairing;                              /* what comes was missed */
	unsigned plain_count;                        /* plain records since a packet told the epoch */
	enum { FIT, FOLLOW_AGAIN, BEGIN_AGAIN } fit; /* of what was read with where it stood */
	struct packet_memory memory;
	struct backplane_message *messages; /* of a packet */
	struct backplane_number *numbers;
};

struct presence;
struct bridge;
struct jobs;

struct backplane {
	struct health_part part;
	struct backplane_settings settings;
	struct backplane_url url;
	const struct engine *engine;
	void *state;
	rc_server *server;
	struct backplane_handlers handlers;
	uint64_t node;
	int wake_fd;
	unsigned long keep, tail_max;
	struct outbox outbox;
	struct outbox_sending direct; /* of who has outbox.direct */
	struct follower follower;
	struct presence *presence; /* null: nobody uses it */
	struct jobs *jobs;         /* null: nothing goes to services */
	struct backplane_map map;
	struct bridge *bridge; /* null: nothing is moved into the stream */
	pthread_t follower_thread, publisher_thread;
	bool started;
	_Atomic bool ending;
	_Atomic bool look_again; /* the publisher found the stream gone */
	_Atomic uint64_t epoch;  /* 0: not known yet */
	struct backplane_counters counters;
	/* state.c */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool following, publishing, whole, was_up;
	uint64_t away_since_ns; /* 0: it is up */
	char why[ENGINE_WHY_SIZE];
};

/* ---- state.c ---- */

enum part { PART_FOLLOWING = 1, PART_PUBLISHING = 2, PART_WHOLE = 4 };
/* Some of what makes a node whole is there, or is not any more; `why` in words. It is logged once each way. */
void state_set(struct backplane *backplane, unsigned parts, bool there, const char *why);
/* For how long it is away; 0: it is not. */
uint64_t state_away_ns(struct backplane *backplane);
/* Sleeps so long, or until the node ends. */
void state_rest(struct backplane *backplane, unsigned ms);
/* The next rest after one that did not help, with some chance in it. */
unsigned state_next_rest(unsigned ms);
uint64_t state_clock_ns(void); /* monotonic */
uint64_t state_day_ns(void);   /* since 1970 */
void state_wake(struct backplane *backplane);
/* A thread begins: signals are for others, and a connection that is gone is told by an error. */
void state_thread(void);

/* ---- arrival.c ---- */

/* The number before the first that a packet at this place can have. */
static inline uint64_t arrival_before(uint64_t sequence)
{
	return sequence * NUMBERS_A_PACKET - 1;
}
/* Hands a packet's messages on, and confirms it if it is of this node. */
void arrival_take(struct backplane *backplane, const struct packet_head *head, struct engine_position position,
                  const uint8_t *bytes, size_t size);

/* ---- at_once.c ---- */

/* Whether all of these are of topics that are delivered at once. Of some and others together, *code is -EINVAL. */
bool at_once_wanted(const struct backplane *backplane, const struct backplane_message *messages, size_t count,
                    int *code);
int at_once_publish(struct backplane *backplane, const struct backplane_message *messages, size_t count,
                    backplane_done *done, void *context);

/* ---- presence.c: of the publisher's thread, but where it says otherwise ---- */

/* Renews the lease when it is time. Returns 0, or what the engine says. */
int presence_tick(struct backplane *backplane, uint64_t now_ns, char why[static ENGINE_WHY_SIZE]);
uint64_t presence_next_ns(const struct backplane *backplane);
/* The follower's: tells what the publisher heard, and where the engine keeps no leases, who is gone. */
void presence_tell(struct backplane *backplane, uint64_t now_ns);
/* The follower's: a node has said that it lives. */
void presence_heard(struct backplane *backplane, uint64_t node);
struct presence *presence_new(void);
void presence_free(struct presence *presence);

/* ---- jobs.c ---- */

/* Whether a queue may have this name; if not, the words. */
bool jobs_check(const struct backplane_settings *settings, const struct backplane_url *url, const struct engine *engine,
                char wrong[static ENGINE_WHY_SIZE]);
/* Null without memory. */
struct jobs *jobs_new(struct backplane *backplane, const struct engine_setup *setup);
int jobs_start(struct jobs *jobs);
/* Takes nothing more; what waits has until then, and is told. Null is allowed, and one that was not started. */
void jobs_stop(struct jobs *jobs, uint64_t until_ns);
void jobs_free(struct jobs *jobs);
/* What stats tell of it; `why`, of ENGINE_WHY_SIZE, gets why it is away, or nothing. */
void jobs_stats(struct jobs *jobs, struct backplane_stats *stats, char *why);

/* ---- bridge.c ---- */

/* Reads the map, whose sources must be such as the engine has. False, with the words. */
bool bridge_check(const struct backplane_settings *settings, const struct engine *engine, struct backplane_map *map,
                  char wrong[static ENGINE_WHY_SIZE]);
/* Null without memory. */
struct bridge *bridge_new(struct backplane *backplane, const struct engine_setup *setup);
int bridge_start(struct bridge *bridge);
/* After backplane->ending was set. Null is allowed, as for bridge_free(). */
void bridge_stop(struct bridge *bridge);
void bridge_free(struct bridge *bridge);
/* Whether it moves; if not, why, of ENGINE_WHY_SIZE. */
bool bridge_is_up(struct bridge *bridge, char *why);

/* ---- report.c ---- */

void backplane_describe(struct backplane *backplane);

/* ---- the threads ---- */

void *follower_run(void *backplane);
void *publisher_run(void *backplane);
/* Whoever publishes, when outbox_add() said so. */
void publisher_direct(struct backplane *backplane);

#endif
