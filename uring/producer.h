/* SPDX-License-Identifier: MIT
 *
 * producer.h - producers in processes of their own (ringcast_producer.h): the rings that a worker reads.
 *
 *      door, worker 0      a process connects: who is it, is there room, which worker has the fewest
 *      adopted             that worker makes its ring, and hands it over
 *      each tick           questions of its socket, then records of its ring, a bounded number of bytes of each
 *      asleep              a word in each ring says so; a producer then writes to its eventfd, which io_uring watches
 *      leaving             its socket has closed: what is complete is still published, then all of it is freed
 *
 * Inside a completion nothing is read: it notes which socket has something to say, and frees what is watched no more.
 */
#ifndef RC_PRODUCER_H
#define RC_PRODUCER_H

#include "records.h"
#include "ringcast_ingest.h"
#include "tag.h"

#include <stdatomic.h>
#include <sys/types.h>
#include <sys/un.h>

struct worker;
struct rc_completion;

/* What the kernel watches: the detail of a tag, and for the last two a bit each in producer.watched. */
enum producer_watch { WATCH_DOOR, WATCH_SOCKET, WATCH_EVENT };

enum producer_state {
	PRODUCER_FREE,
	PRODUCER_OPEN,
	PRODUCER_DRAINING, /* its socket has closed: what is complete is still read */
	PRODUCER_LEAVING,  /* its watches are being cancelled */
};

struct producer_topic {
	rc_topic handle; /* or 0 */
	uint8_t size;
	char name[RC_TOPIC_NAME_MAX];
};

struct producer {
	enum producer_state state;
	unsigned watched;
	bool speaks;  /* its socket may have a question, or its end */
	bool blocked; /* the log has no room for its next record */
	int socket, wake_fd;
	pid_t pid;
	uid_t uid;
	struct rc_records records;
	struct producer_topic *topics;
	uint32_t topic_count, topic_room;
};

/* Of a worker. All but `count` is its own. */
struct producers {
	struct producer *all;   /* producers_max places; null without a door */
	unsigned high;          /* places ever used */
	unsigned first;         /* who is read first in the next tick */
	_Atomic unsigned count; /* (shared) with those on their way: the door looks for the worker with the fewest */
	uint8_t *buffer;        /* for one record */
	bool more;              /* there is more to do at once */
	bool blocked;           /* a producer is */
	bool asleep;            /* the rings say so */
	bool stopped;           /* nobody is let in any more, and nobody may add to what is there */
	bool over;              /* and all of that has been published */
	bool door_watched, door_ready; /* worker 0 */
	uint64_t door_again_ns;        /* not before, when descriptors were out */
};

/* Of the server, made by rc_server_listen_producers(). */
struct producing {
	struct sockaddr_un address;
	mode_t mode;
	int listener;
	struct rc_producers_options options; /* its lists are ours, its zeros are defaults by now */
	/* What becomes of a record: options.publish, or the log. For the log, topics are opened as they are registered;
	 * for a program's own publish the first two are null. */
	int (*open_topic)(rc_server *server, const char *name, size_t size, rc_topic *topic);
	int (*close_topic)(rc_server *server, rc_topic topic);
	int64_t (*publish)(rc_server *server, const struct rc_produced *message, rc_topic topic);
	_Atomic unsigned count;   /* connected, or on their way to a worker */
	_Atomic unsigned stopped; /* workers that have read the last of it */
	_Atomic uint64_t accepted, refused, cut, topics_refused, records, bytes, records_refused, held;
};

/* ---- the worker's part, producer.c ---- */

/* Returns 0 or -ENOMEM. */
int rc_producers_open(struct worker *worker);
void rc_producers_begin(struct worker *worker); /* the door is watched from now on */
void rc_producers_close(struct worker *worker); /* the worker's ring is closed by then */

void rc_producers_completed(struct worker *worker, const struct tag *tag, const struct rc_completion *completion);

/* Answers questions and publishes records, of each producer so much. */
void rc_producers_read(struct worker *worker);

/* When to read again, were nobody to wake the worker: now, later, or UINT64_MAX. */
uint64_t rc_producers_next_look_ns(const struct worker *worker);

/* Says in each ring that the worker is about to sleep. False: it must not, there is something to read. */
bool rc_producers_sleep(struct worker *worker);
void rc_producers_wake(struct worker *worker);

/* Takes no more, publishes what is there, and lets go of all. What the log has no room for is left to the next ticks.
 */
void rc_producers_stop(struct worker *worker);
/* Whether all workers have done so to the end. */
bool rc_producers_have_stopped(const struct worker *worker);

/* Takes a process that the door let in, and counted. */
void rc_producers_adopt(struct worker *worker, int socket, pid_t pid, uid_t uid);
/* One that was counted is there no more, or was not taken. Any thread. */
void rc_producers_leave(struct worker *worker);

/* ---- producer_ring.c ---- */

/* Makes a ring and its eventfd, and hands both over. Returns 0 or a negative errno; the producer was told why. */
int rc_producer_ring_make(struct producer *producer, uint64_t ring_size);
void rc_producer_ring_free(struct producer *producer);

/* Sends an answer. Returns 0 or a negative errno: -EAGAIN when nobody reads the answers before. */
int rc_producer_answer(int socket, int result, const char *text);

/* Whether a producer may publish to the topic. */
bool rc_producer_may(const struct rc_producers_options *options, const char *topic, size_t size);

/* ---- producer_door.c ---- */

/* Lets in who waits at the door. */
void rc_producer_door_look(struct worker *worker);
void rc_producing_free(struct producing *producing);

#endif
