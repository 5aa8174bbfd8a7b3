/* SPDX-License-Identifier: MIT
 *
 * ringcast_ingest.h - the server's side of producers: processes that publish through shared memory and do not link the
 * server (ringcast_producer.h is theirs). Part of the public contract; the conventions at the head of ringcast.h hold
 * here too.
 */
#ifndef RINGCAST_INGEST_H
#define RINGCAST_INGEST_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A producer's message, valid until the callback returns. */
struct rc_produced {
	const char *topic;
	size_t topic_size;
	const void *data;
	size_t size;
	unsigned flags;   /* RC_PUBLISH_BINARY; all else is text that nobody has looked at yet */
	uint64_t time_ns; /* the producer's own time, or 0 */
};

/* Who may be a producer, what it may publish to, and how much of it there may be. */
struct rc_producers_options {
	/* The users who may be producers. The mode of the socket's file holds besides, which the kernel sees to. None:
	 * whoever the mode lets in. */
	const unsigned *uids;
	size_t uid_count;
	/* The topics that they may publish to: names, or prefixes that end in '*'. None: all. */
	const char *const *topics;
	size_t topic_count;
	/* Asked of each topic besides, when a producer registers it; or null. */
	bool (*allow)(void *context, const char *topic, size_t topic_size);
	/* Instead of rc_publish(), for a program whose messages have a form of their own; or null. It returns what
	 * rc_publish() does: -EAGAIN leaves the message in the ring and it comes again, anything else below 0 refuses
	 * it. `allow` and `publish` run on the workers, on several at a time, and must not block. */
	int64_t (*publish)(void *context, const struct rc_produced *message);
	void *context;
	unsigned producers_max; /* connected at a time, at most 1024; 0: 64 */
	unsigned topics_max;    /* of one producer, at most 65536; 0: 1024 */
	size_t ring_size;       /* of one producer, a power of two, 64 KiB to 64 MiB; 0: 1 MiB */
};

/* Lets producers in, before the start, once. The address is "unix:/run/x.sock", and behind it "?mode=0660" where the
 * file of the socket is to have another mode than 0600. `options` is copied; it may be null. Each producer takes
 * ring_size bytes of memory and two descriptors. Without options.publish a producer's topics are open (see
 * rc_topic_open()) from their registration until it has gone. Returns 0, or with *error set -EINVAL (the address, or an
 * option), -EBUSY (after the start, or the second time), -E2BIG (it sets what this library does not know), -ENOMEM, or
 * the errno with which the kernel refused: -EADDRINUSE, -EACCES, -EMFILE ... */
RC_API int rc_server_listen_producers(rc_server *server, const char *address,
                                      const struct rc_producers_options *options, struct rc_error *error,
                                      size_t struct_size);
#define rc_server_listen_producers(...) rc_server_listen_producers(__VA_ARGS__, sizeof(struct rc_producers_options))

/* What is counted of producers: totals since the start, except where a comment says "now". */
struct rc_producer_stats {
	uint64_t producers; /* now connected */
	uint64_t accepted;
	uint64_t refused;         /* at the door: their user, producers_max, no memory */
	uint64_t cut;             /* let go because their ring made no sense */
	uint64_t topics_refused;  /* registrations */
	uint64_t records;         /* published */
	uint64_t bytes;           /* their payloads */
	uint64_t records_refused; /* not published: not UTF-8, too large for the log, too many topics ... */
	uint64_t held;            /* times that a record had to wait because the log had no room */
};
/* Fills in the totals. Any thread. */
RC_API void rc_producer_stats(rc_server *server, struct rc_producer_stats *stats, size_t struct_size);
#define rc_producer_stats(...) rc_producer_stats(__VA_ARGS__, sizeof(struct rc_producer_stats))

#ifdef __cplusplus
}
#endif
#endif
