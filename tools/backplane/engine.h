/* SPDX-License-Identifier: MIT
 *
 * engine.h - what an engine (Redis, JetStream, RabbitMQ, Kafka) is to a node, as a table of functions; one file an
 * engine implements it. An engine carries packets: opaque bytes, appended to one stream, and read back by every node in
 * one order, each at a position. It must not know what a packet holds, nor topics, connections or the library. What
 * repairs is the node (node.c): an engine only tells where it stands, truthfully.
 *
 * Positions. A stream numbers its packets: the sequence rises by at least one with each and never repeats within an
 * epoch. `epoch` is 0 where an engine has no such thing of its own: each packet says its epoch inside as well, and the
 * node goes by that. Sequences begin at 1 or above (an engine whose offsets begin at 0 adds 1) and stay below 2^43.
 *
 * Threads. A node has two threads for an engine. The *follower's* calls follow, read and begin; the *publisher's* calls
 * connect, append, lease, members_write, members_read and forget. Each has a connection of its own, and no function
 * here is called by two threads at once, so an engine needs no lock unless both sides share something. close is called
 * by a third when both have ended.
 *
 * Waiting. These functions may block, for at most ENGINE_WAIT_MS, or as long as they were told: nobody else waits for
 * them. One that waits in poll() adds setup.wake_fd (POLLIN) and returns -EINTR when that is readable, without reading
 * it; one that cannot waits in slices of at most 200 ms and looks at engine_woken().
 *
 * Errors. 0 or a count is success. Any negative errno but those that a function names means that the connection is
 * gone: *why says what happened in words for the operator, and the node calls follow or connect again, after a rest
 * that grows. A function that fails must leave its side such that this works: it closes what is left of the connection.
 */
#ifndef BACKPLANE_ENGINE_H
#define BACKPLANE_ENGINE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "map.h"
#include "url.h"

#define ENGINE_WAIT_MS 5000
#define ENGINE_WHY_SIZE 200
#define ENGINE_PACKET_SIZE_MAX                                                                                         \
	((size_t)1000000) /* unless one message alone is larger: NATS and Kafka take 1 MiB by                          \
	                   * default, Kafka with its own head */

struct engine_position {
	uint64_t epoch, sequence; /* 0, 0: before everything */
};

struct engine_packet {
	const void *data;
	size_t size;
	uint64_t epoch; /* to append: the one that the node believes in */
	bool handed;    /* to append: append_now took it, so that over this connection it is not sent again */
	bool appended;  /* out of append: the engine has it and has said so */
};

struct engine_setup {
	const struct backplane_url *url; /* checked; lives as long as the engine */
	const char *prefix;              /* what names in the engine begin with: ?prefix=, "ringcast" without */
	unsigned long keep_max;          /* packets that the engine is to keep, about: ?keep= */
	uint64_t node;                   /* this node's number, another one at each start */
	const struct backplane_map *map; /* of sources of others: read, they go where it says */
	int wake_fd; /* an eventfd: readable when the follower is to return from what it waits for */
};

/* Where to read on, for follow. */
struct engine_place {
	/* In: the last packet that the node has: reading goes on *with it* (inclusive), since the node compares it with
	 * what it has. sequence 0: the node has none, and reading begins with the newest `tail_max` packets or fewer,
	 * of which those of an older (engine's own) epoch than the newest may be left out. */
	struct engine_position at;
	unsigned long tail_max;
	/* Out: the newest packet that the stream has had, also if it was trimmed since; 0, 0: there is no such stream,
	 * or it was never written to. The node is whole when it has read up to it. */
	struct engine_position newest;
	/* Out: true when the engine knows that between `at` and `newest` nothing is held any more. False is no promise.
	 */
	bool spent;
};

/* Takes one packet that was read. The bytes are valid until it returns. */
typedef void engine_take(void *context, struct engine_position position, const void *data, size_t size);

/* A member of a room on this node, added or, with a null value, removed. */
struct engine_member {
	const char *room, *name;
	size_t room_size, name_size;
	const void *value;
	size_t value_size;
};

/* What a client sent, for services: in an engine it stands by itself, in the plain form of PLAIN.md. */
struct engine_job {
	const char *user, *id; /* names: UTF-8 without control characters */
	size_t user_size, id_size;
	uint64_t time_ms; /* since 1970 */
	const void *data;
	size_t size;
	bool appended; /* out of hand_out: the engine has it and has said so */
};
#define ENGINE_JOBS_MAX 64 /* of one call */

/* How an engine reads sources of others. Where `open` is null it brings what they have into the nodes' stream by
 * itself; otherwise each node moves it there, on a thread and a connection of its own. */
struct engine_in {
	const char *words; /* what a source is, for who wrote a wrong one */
	bool slash;        /* see map.h */
	bool (*is_source)(const char *source, size_t size);
	/* Connects nowhere. Null: no memory. */
	void *(*open)(const struct engine_setup *setup);
	void (*close)(void *state);
	/* Connects anew if the connection is gone, waits up to timeout_ms for something, and moves it into the stream.
	 * Several nodes do so at once: each thing arrives there once, or is told to have come twice. Returns 0, or
	 * what is wrong in words: then the node calls again, after a rest. */
	int (*move)(void *state, unsigned timeout_ms, char why[static ENGINE_WHY_SIZE]);
};

/* An engine's queue for services. It has a state, a connection and a thread of its own, so nothing in the way of what
 * nodes tell each other waits for it. */
struct engine_out {
	const char *signs; /* that a queue's name may have beside letters and digits */
	/* Connects nowhere. Null: no memory. The name has been looked at. */
	void *(*open)(const struct engine_setup *setup, const char *queue);
	void (*close)(void *state);
	/* Connects anew if the connection is gone, makes the queue if there is none, and appends these jobs in this
	 * order, all sent before the first answer is awaited: `appended` as in append. Without any jobs it only sees
	 * whether the engine is there. Returns 0 when the engine has all; -EMSGSIZE when the first that is not appended
	 * can never be; -ENOSPC when the queue takes no more now, and the connection is good; any other: the connection
	 * is gone, and what is not `appended` may be there or not. */
	int (*hand_out)(void *state, struct engine_job *jobs, size_t count, char why[static ENGINE_WHY_SIZE]);
};

struct engine {
	const char *name;             /* "redis" */
	const char *const *schemes;   /* of URLs: "redis", "rediss"; null ends them */
	const char *(*version)(void); /* of the library that it is built with, for `ringcast probe` */
	/* Looks at the URL without any connection. Returns 0, or -EINVAL with what is wrong and what would be right in
	 * `wrong`. Values that every engine takes (prefix, keep, plain) were looked at before. */
	int (*check)(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE]);
	/* Makes the state; connects nowhere. Returns null with *why set. */
	void *(*open)(const struct engine_setup *setup, char why[static ENGINE_WHY_SIZE]);
	void (*close)(void *state);

	/* ---- the follower's thread ---- */
	/* Connects anew if the connection is gone, or there never was one, and stands at this place. After it,
	 * read gives packets from there on. To be called again on a good connection too: to stand elsewhere,
	 * or to hear `newest` anew. */
	int (*follow)(void *state, struct engine_place *place, char why[static ENGINE_WHY_SIZE]);
	/* Waits up to timeout_ms for packets, and hands all that have come to take, in their order. Returns how many,
	 * 0 when the time is over, -EINTR when woken. A stream that is gone (deleted, flushed), or
	 * has begun again, is told by -ENOENT within about a second, also when nothing is published: the connection
	 * stays, and the node calls follow. */
	int (*read)(void *state, unsigned timeout_ms, engine_take *take, void *context,
	            char why[static ENGINE_WHY_SIZE]);
	/* Makes the stream if there is none and appends the packet, which says that a new epoch begins
	 * (packet->epoch, above all that this node has seen). -EEXIST: another node has done so meanwhile, so that what
	 * the caller knew (`newest`, of the follow before) does not hold any more; nothing was appended. Where an
	 * engine cannot see that, it appends: two beginnings are one too many, and no harm. */
	int (*begin)(void *state, const struct engine_packet *packet, struct engine_position newest,
	             char why[static ENGINE_WHY_SIZE]);

	/* ---- the publisher's thread ---- */
	/* Connects anew if the connection is gone, or there never was one. */
	int (*connect)(void *state, char why[static ENGINE_WHY_SIZE]);
	/* Appends these packets in this order, all sent before the first answer is awaited, and waits for the answers:
	 * appended is set for each that the engine has, as safely as it can be asked to (confirms, acks). Returns 0
	 * when all are; -ENOENT when the stream is gone, or refuses the epoch because it has a newer one; -EMSGSIZE
	 * when the first that is not appended can never be. After any error those that are not `appended` may be in
	 * the engine or not: the node appends the same bytes again (but for the epoch), and every node drops what it
	 * reads twice. Unless a call fails, a later one is appended only if the earlier ones are. */
	int (*append)(void *state, struct engine_packet *packets, size_t count, char why[static ENGINE_WHY_SIZE]);

	/* May be null: there is no such short cut. Of any thread, while the publisher's thread rests and is kept from
	 * going on: hands one packet to the kernel, as far as it takes it without waiting, when all that was sent
	 * before has been answered. Returns whether it did. What is left of it, and the answer, are for the next call
	 * of append, whose first packet this then is, with `handed`; or, if it was confirmed since, another one, or
	 * none: append with a count of 0 comes soon. */
	bool (*append_now)(void *state, const struct engine_packet *packet);

	/* ---- presence, likewise on the publisher's thread; all null where the engine keeps nothing but streams ----
	 */
	/* Holds this node's lease for ttl_ms from now on, and visits each node whose lease holds, itself included.
	 * *held says whether its own lease had held without a break since the last call. */
	int (*lease)(void *state, unsigned ttl_ms, bool *held, void (*visit)(void *context, uint64_t node),
	             void *context, char why[static ENGINE_WHY_SIZE]);
	int (*members_write)(void *state, const struct engine_member *members, size_t count,
	                     char why[static ENGINE_WHY_SIZE]);
	int (*members_read)(void *state, uint64_t node,
	                    void (*visit)(void *context, const struct engine_member *member), void *context,
	                    char why[static ENGINE_WHY_SIZE]);
	/* Removes what is left of a node whose lease has ended; of itself: of this node. */
	int (*forget)(void *state, uint64_t node, char why[static ENGINE_WHY_SIZE]);

	const struct engine_out *out; /* null: there are no queues for services */
	const struct engine_in *in;   /* null: it reads nothing of others */
};

/* Whether setup.wake_fd is readable. */
static inline bool engine_woken(int wake_fd)
{
	struct pollfd asked = { .fd = wake_fd, .events = POLLIN };
	return poll(&asked, 1, 0) > 0;
}

/* Those that were built in; null ends them. built.h says which: all that a file implements stands between #ifdef
 * BACKPLANE_REDIS (or its like) and #endif, so that the file compiles to nothing where the library is missing. */
extern const struct engine *const engines[];
extern const struct engine engine_redis, engine_nats, engine_amqp, engine_kafka;
extern const struct engine_in engine_redis_in, engine_kafka_in;
extern const struct engine_out engine_redis_out, engine_nats_out, engine_amqp_out, engine_kafka_out;

/* The engine of a scheme. Null: there is none; *package is then Debian's package that a build needs for it, or null
 * when nobody has heard of such a scheme. */
const struct engine *engine_find(const char *scheme, const char **package);

/* Each that there is, for `ringcast probe`. Returns how many. */
struct engine_listed {
	const char *name, *package;
	const struct engine *engine; /* null: not built in */
};
#define ENGINES_MAX 8
unsigned engines_list(struct engine_listed *list, unsigned max);

#endif
