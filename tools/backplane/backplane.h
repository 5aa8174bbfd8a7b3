/* SPDX-License-Identifier: MIT
 *
 * backplane.h - a node among others: what `ringcast serve` and `ringcast app` publish goes to an engine that exists,
 * and every node, this one too, delivers it when it comes back from there. The engine numbers, the node's log is a
 * replica of it, and the node repairs: after a break it reads on from the last packet, and its clients see nothing. It
 * must not know any engine (engine.h) or what messages mean; of the library it uses rc_publish_many() and the beginning
 * of epochs alone.
 *
 *      worker: backplane_publish() -> queue -> publisher's thread -> engine: append
 *                                                                      |
 *      worker <- rc_post() <- done() <- follower's thread <- engine: read   -> deliver() -> the log
 *
 * Numbers. A message's place is (epoch, sequence): sequence is that of its packet * 1024 + its place in the packet. So
 * the sequences of a topic rise and have holes; they are the same on all nodes, and after a restart of all of them.
 *
 * Order. Everything has one order, the same on all nodes: messages of all topics, and control messages among them.
 *
 * Invariant: a message reaches deliver() or control() exactly once on each node that runs, and done() after that.
 */
#ifndef BACKPLANE_H
#define BACKPLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/health.h"
#include "lib/options.h"
#include "ringcast.h"
#include "ringcast_publish.h"

struct backplane;

#define BACKPLANE_MESSAGES_MAX 1024 /* that are published as one, and in a packet */
#define BACKPLANE_LEASE_MS 3000     /* after which a node that says nothing is gone */
#define BACKPLANE_RENEW_MS 1000
#define BACKPLANE_NAME_MAX 1024 /* of a channel that is no topic */

/* What a message is. Kinds from BACKPLANE_CONTROL on are for the command to give meaning to: `channel` is then any
 * name, of up to BACKPLANE_NAME_MAX bytes, or empty. */
enum backplane_kind {
	BACKPLANE_TOPIC = 0,    /* a message of the topic `channel` */
	BACKPLANE_AT_ONCE = 2,  /* likewise, in no order: other nodes number it */
	BACKPLANE_CONTROL = 16, /* 16 to 239 */
	BACKPLANE_PLAIN = 240,  /* what a program without us said to `channel`: "room/NAME", "user/NAME" or "all" */
};

/* A message on its way to the engine, or from there. Of the flags RC_PUBLISH_BINARY, _REMOVE and _SNAPSHOT travel;
 * RC_PUBLISH_UNCHECKED says that text was looked at. */
struct backplane_message {
	unsigned kind;
	unsigned flags;
	const char *channel; /* of a topic its name */
	size_t channel_size;
	const void *key; /* null: none */
	size_t key_size;
	const void *data;
	size_t size;
	uint64_t time_ns; /* the publisher's own, as in rc_publication */
	uint64_t tag;     /* for the command alone; travels with it */
	/* When it came from the engine: */
	uint64_t origin; /* the node that published it; backplane_node() for this one's own */
	uint64_t epoch, sequence;
	int64_t result; /* out of deliver(): its sequence, or why this node did not take it */
};

/* How many of a call's messages arrived where. */
struct backplane_number {
	uint64_t epoch;
	int64_t sequence; /* or the negative errno with which this node's log refused it */
};

/* What becomes of a publish, told once, on a thread of the backplane, or, of what is delivered at once, before
 * backplane_publish() returns: it must not block (use rc_post()). code is 0 when
 * the engine has all of it and this node has delivered it: numbers[count]. Otherwise numbers is null, and code
 *      -EAGAIN     the engine went away before they were sent, and they are not kept
 *      -ETIMEDOUT  the engine has not confirmed them in time: they may come, or not
 *      -EMSGSIZE   the engine takes none so large
 *      -ECANCELED  the node ends: they may come, or not */
typedef void backplane_done(void *context, int code, const struct backplane_number *numbers, size_t count);

/* What the backplane calls, always on the follower's thread, where it may wait for the log but for nothing else; any
 * may be null. */
struct backplane_handlers {
	void *context;
	/* Messages of topics, in their order, to be published at their epoch and sequence: it sets each one's result.
	 * Null: as they are (backplane_deliver()). The same message may come twice, when a repair reads again what the
	 * log has: -EEXIST is no error. */
	void (*deliver)(void *context, struct backplane_message *messages, size_t count);
	/* A message of another kind, in the one order with those of topics. own: of this node. May set result.
	 * `again` is true while a node that starts reads what happened before it came. */
	void (*control)(void *context, struct backplane_message *message, bool own, bool again);
	/* The stream begins anew, or a part of it was lost: what was known of numbers is void. The library was told
	 * already (rc_server_begin()). */
	void (*begun)(void *context, uint64_t epoch);
	/* Presence. Another node holds a lease now: its members come next, by member(). */
	void (*node_came)(void *context, uint64_t node);
	/* A member that the engine keeps of another node. The records that were published since then come as well, or
	 * came before: both must be harmless. */
	void (*member)(void *context, uint64_t node, const char *room, size_t room_size, const char *name,
	               size_t name_size, const void *value, size_t value_size);
	/* Its lease has ended: its members are gone, everywhere. */
	void (*node_gone)(void *context, uint64_t node);
	/* Others have dropped the members of this node, since it was away for too long; or, where the engine keeps no
	 * members (backplane_keeps_members()), another node came and knows none: publish or write all of them again. */
	void (*members_wanted)(void *context);
};

/* What an engine that is away does to publishes. */
#define BACKPLANE_AWAY "refuse|queue"
enum backplane_away { BACKPLANE_REFUSE, BACKPLANE_QUEUE };

struct backplane_settings {
	const char *url; /* null: no backplane */
	int away;
	size_t queue_max;         /* bytes that wait for the engine */
	unsigned start_ms;        /* how long a start waits for the engine */
	unsigned confirm_ms;      /* how long a publish may take */
	size_t message_max;       /* bytes of what is published as one: what each log takes */
	struct option_list local; /* patterns of topics that are delivered at once, and not in the engine's order */
	struct option_list map;   /* SOURCE=TARGET, see map.h */
	bool topics_only;         /* which are topics alone */
	const char *out;          /* the queue of the engine for what services work on; null: there is none */
};

/* ---- a node's life ---- */

/* Looks at the URL, without a connection. Returns 0, or -1 with what is wrong in words. */
int backplane_check(const struct backplane_settings *settings, struct rc_error *error);

/* Makes a node; null with *error set. The settings are copied, but for text. */
struct backplane *backplane_new(const struct backplane_settings *settings, rc_server *server,
                                const struct backplane_handlers *handlers, struct rc_error *error);

/* Connects, reads the tail into the log, and goes on by itself. Call it between rc_server_new() and rc_server_start():
 * returns when the node is whole, so that whoever connects finds the history; or after settings.start_ms with -EAGAIN,
 * when the engine is away: the node starts all the same, and repairs when it comes. Other errors are a thread's. */
int backplane_start(struct backplane *backplane);

/* Ends its threads, with its lease; publishes that wait are told -ECANCELED. Call it before rc_server_stop(), so that
 * what is told can still be posted. Publishing is refused from then on. */
void backplane_stop(struct backplane *backplane);
/* After rc_server_join(). Null is allowed. */
void backplane_free(struct backplane *backplane);

/* ---- publishing ---- */

/* Hands messages over as one: they are together in the order, all or none. What they
 * refer to is copied. Any thread; never blocks. Returns 0, and then done is called once (null: nobody wants to know);
 * or -EINVAL, -EILSEQ, -EMSGSIZE   as rc_publish_many() -EAGAIN    the engine is away, or the queue is full: TRY_LATER
 *   -ENOMEM */
int backplane_publish(struct backplane *backplane, const struct backplane_message *messages, size_t count,
                      backplane_done *done, void *context);

/* What deliver() does by default: publishes messages of topics at their numbers, waiting while the log is full. */
void backplane_deliver(struct backplane *backplane, struct backplane_message *messages, size_t count);

/* Hands over what would otherwise go to rc_publish_many(): messages with a name, and without `make`. */
int backplane_publish_batch(struct backplane *backplane, const struct rc_batch_message *batch, size_t count,
                            backplane_done *done, void *context);

/* Whether this topic is one of settings.local: what is published there is in the log of this node at once, other nodes
 * publish it when it comes, and each numbers it for itself (rc_topic_options.numbered_here). It is not published as one
 * with messages of other topics (-EINVAL). */
bool backplane_is_local(const struct backplane *backplane, const char *topic, size_t size);

/* Tells the other nodes of messages of such topics that this one has delivered by itself. What cannot be handed over
 * counts as refused, and nobody is told. Any thread; never blocks. */
void backplane_hand_over(struct backplane *backplane, const struct backplane_message *messages, size_t count);

/* ---- for services ---- */

/* What a client sent. User and id are names: UTF-8 without control characters. */
struct backplane_job {
	const char *user, *id;
	size_t user_size, id_size;
	uint64_t time_ms; /* since 1970 */
	const void *data;
	size_t size;
};

/* Whether what clients send goes to a queue of the engine (settings.out). */
bool backplane_hands_out(const struct backplane *backplane);

/* Hands a job over, in the order of calls; what it refers to is copied. Any thread; never blocks. Returns 0, and then
 * done is called once, with 0 when the queue has it, and no numbers; or -EAGAIN (the queue is away or full, or too much
 * waits for it), -EMSGSIZE, -ENOMEM. Jobs may come twice: after -ETIMEDOUT, and when a connection breaks. */
int backplane_hand_out(struct backplane *backplane, const struct backplane_job *job, backplane_done *done,
                       void *context);

/* ---- presence ---- */

/* This node's number: another one at each start, never 0. */
uint64_t backplane_node(const struct backplane *backplane);

/* Turns leases on; before the start. Without it nobody is told of nodes. */
void backplane_use_presence(struct backplane *backplane);

/* Writes down a member of this node, or with a null value removes it; written before what is published later. Returns
 * 0, -EAGAIN (the queue is full), -ENOMEM. Where the engine keeps no members it does nothing. Any thread. */
int backplane_member(struct backplane *backplane, const char *room, size_t room_size, const char *name,
                     size_t name_size, const void *value, size_t value_size);
bool backplane_keeps_members(const struct backplane *backplane);

/* ---- what it costs and how it is ---- */

struct backplane_stats {
	const char *engine;
	bool up;             /* both connections are there, and the node is whole */
	uint64_t away_ns;    /* for how long it is not */
	uint64_t lag_ns;     /* from the publisher's handing over to here, of the last message; while away, away_ns */
	uint64_t epoch;      /* of the stream */
	uint64_t reconnects; /* after the first */
	uint64_t repairs;    /* times that something was read that was missed */
	uint64_t repaired;   /* messages of these */
	uint64_t epochs;     /* times that the stream began anew under this node */
	uint64_t gaps;       /* times that packets were lost for good */
	uint64_t sent, sent_bytes, received, received_bytes; /* messages */
	uint64_t duplicates;                                 /* packets that came twice, and were dropped */
	uint64_t broken;                                     /* packets that no node wrote so, dropped */
	uint64_t refused;                                    /* publishes */
	uint64_t failed;                                     /* messages that this node's log did not take */
	uint64_t queue, queue_bytes;
	uint64_t nodes; /* that hold a lease, this one included; 0 without presence */
	/* For services. */
	bool out, out_up;
	uint64_t out_sent, out_refused; /* jobs: the queue has them; their sender was told to try later */
	uint64_t out_queue, out_queue_bytes;
};
/* Any thread. */
void backplane_stats(struct backplane *backplane, struct backplane_stats *stats);
/* What /healthz, /stats ("backplane":{...}) and /metrics say of it: for health_add(). It lives as long as the
 * backplane.
 */
const struct health_part *backplane_part(struct backplane *backplane);

#endif
