/* SPDX-License-Identifier: MIT
 *
 * ringcast_stats.h - what a server counts, which topics it has, and what the kernel offers. Part of the public
 * contract; the conventions at the head of ringcast.h hold here too.
 */
#ifndef RINGCAST_STATS_H
#define RINGCAST_STATS_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a server counts: totals since the start, except where a comment says "now". The counters of one worker are
 * exact; a sum over workers is not taken at one instant. Any thread. */
struct rc_stats {
	uint64_t connections; /* now open, handshakes included */
	uint64_t accepted;
	uint64_t connected;         /* client role */
	uint64_t refused;           /* at the accept: limits, no memory */
	uint64_t handshakes_failed; /* wrong or slow requests, answered with their status */
	uint64_t http_requests;
	uint64_t closed;          /* open connections that ended, in any way */
	uint64_t closed_abnormal; /* of those, without a closing handshake */
	uint64_t protocol_errors; /* 1002, 1007, 1009 sent */
	uint64_t timeouts;        /* handshake, idle, close */
	uint64_t messages_received;
	uint64_t bytes_received;
	uint64_t messages_sent; /* rc_send */
	uint64_t deliveries;    /* messages of topics that left whole: one a message and subscriber */
	uint64_t bytes_sent;
	uint64_t dropped;            /* policy skip */
	uint64_t conflated;          /* policy conflate */
	uint64_t slow_closed;        /* policy close */
	uint64_t compressed;         /* messages made smaller for a class of windows or a cohort ... */
	uint64_t compressed_from;    /* ... their bytes before ... */
	uint64_t compressed_to;      /* ... and after */
	uint64_t inflated;           /* messages received compressed */
	uint64_t sends;              /* submissions */
	uint64_t sends_short;        /* of the sends, those that came back short or would have blocked */
	uint64_t sends_zero_copy;    /* of the sends, those that were to copy nothing ... */
	uint64_t zero_copies_copied; /* ... and of these, those that the kernel copied in the end, as over loopback */
	uint64_t receive_starved;    /* no buffer was free */
	uint64_t ticks;
	uint64_t tls_handshakes; /* done, both roles */
	uint64_t tls_resumed;    /* of those, by a ticket */
	uint64_t tls_kernel;     /* of those, whose records the kernel makes (kernel_tls) */
	uint64_t tls_failed;     /* handshakes: wrong bytes, no agreement, no trust, an end or a time-out in them */
	uint64_t tls_errors;     /* connections ended by a wrong record or a renegotiation, after their handshake */
	uint64_t tls_truncated;  /* connections that the peer ended without close_notify */
	uint64_t memory_held;    /* bytes now kept for connections outside the log */
	uint64_t memory_closed;  /* connections closed because memory was short (memory_max) */
	uint64_t subscriptions;  /* now */
	uint64_t behind;         /* subscribers now behind */
	uint64_t published;      /* from here on of the whole server; 0 in rc_worker_stats() */
	uint64_t published_size;
	uint64_t publish_refused; /* -EAGAIN */
	uint64_t topics;          /* now */
	uint64_t log_oldest;      /* number of the oldest message that the log has ... */
	uint64_t log_head;        /* ... and of the next one */
	uint64_t lag_ns;          /* now: since the oldest message that some worker has not yet sent was published */
	uint64_t keys;            /* now, of all topics */
	uint64_t state_size;      /* now: bytes of values that are kept though the log let go of them */
	uint64_t state_sent_size; /* now: bytes of states as readers are being sent them */
	uint64_t state_dropped;   /* values that were dropped because state_max was reached, or memory was out */
	uint64_t resyncs;         /* subscribers that were overrun and went on from the state; also of one worker */
	uint64_t ring;            /* what the workers run on: RC_RING_URING or RC_RING_EPOLL (ringcast_latency.h) */
	/* Messages written as events or in a form of ringcast_form.h, each once for all its readers, and the bytes that
	 * they became; also of one worker. */
	uint64_t encoded, encoded_size;
};
RC_API void rc_server_stats(rc_server *server, struct rc_stats *stats, size_t struct_size);
#define rc_server_stats(...) rc_server_stats(__VA_ARGS__, sizeof(struct rc_stats))
/* Fills in the same of one worker. Any thread. Returns 0, or -EINVAL (no such worker) and zeros. */
RC_API int rc_worker_stats(rc_server *server, unsigned worker, struct rc_stats *stats, size_t struct_size);
#define rc_worker_stats(...) rc_worker_stats(__VA_ARGS__, sizeof(struct rc_stats))

/* The subscribers that are behind now, by the age of the oldest message of the log that may wait for each: ages[0]
 * counts those below 1 ms, ages[n] those below 2^n ms, the last one all others. The figures are up to 10 ms old. */
#define RC_LAG_AGES 16
#define RC_LAG_SLOWEST 8
struct rc_lag_stats {
	uint64_t ages[RC_LAG_AGES];
	struct {
		rc_conn conn;
		uint64_t lag_ns;
		uint64_t lag_messages;             /* of the whole log, other topics' included */
		char topic[RC_TOPIC_NAME_MAX + 1]; /* of the oldest message that waits */
	} slowest[RC_LAG_SLOWEST];                 /* the slowest first */
	size_t slowest_count;
};
/* Fills in who is behind. Any thread. */
RC_API void rc_lag_stats(rc_server *server, struct rc_lag_stats *stats, size_t struct_size);
#define rc_lag_stats(...) rc_lag_stats(__VA_ARGS__, sizeof(struct rc_lag_stats))

/* How long things took, since the start. counts[n] is how many took at most 2^n microseconds and longer than what
 * counts in the one before; the last one has all that took longer. */
#define RC_TIMES 25
struct rc_times {
	uint64_t counts[RC_TIMES];
	uint64_t sum_ns;
};

/* What is timed. */
struct rc_times_stats {
	struct rc_times handshake;  /* from the accept, or the connect, until a connection is open; TLS included */
	struct rc_times round_trip; /* from the Ping that a silent connection gets to its Pong */
	struct rc_times lag; /* of each round of a worker: from the publishing of its oldest message to its last send */
};
/* Fills in how long things took, all workers together. Any thread. */
RC_API void rc_times_stats(rc_server *server, struct rc_times_stats *stats, size_t struct_size);
#define rc_times_stats(...) rc_times_stats(__VA_ARGS__, sizeof(struct rc_times_stats))

/* A certificate that wss:// listeners show now: the first in the file of its pair. */
struct rc_certificate {
	char file[256];           /* as it was named, cut off where it is longer */
	char subject[256];        /* "CN=example.org,O=Example", RFC 2253 */
	int64_t begins_s, ends_s; /* when it is valid, in seconds since 1970 */
};
/* Fills in up to `max` of them, in the order of the pairs. Returns how many there are; 0 without rc_server_tls(). Any
 * thread. */
RC_API size_t rc_certificates(rc_server *server, struct rc_certificate *out, size_t max, size_t struct_size);
#define rc_certificates(...) rc_certificates(__VA_ARGS__, sizeof(struct rc_certificate))

#define RC_TOPICS_LISTED_MAX 1000 /* topics that one call of rc_topics_top() or rc_topics_match() describes */

/* A topic and what came of its messages, since it was made. */
struct rc_topic_stats {
	char name[RC_TOPIC_NAME_MAX + 1];
	uint64_t epoch;    /* differs when a topic was forgotten and made anew: sequence numbers began again */
	uint64_t sequence; /* of the newest message; before the first 0, or what the topic begins behind */
	uint64_t oldest;   /* sequence of the oldest that the log has; 0 if none */
	uint64_t subscribers;
	uint64_t deliveries, dropped, conflated, slow_closed;
	/* All up to this number are gone: recycled, or published before the topic began here (ringcast_replica.h). */
	uint64_t lost;
	bool elsewhere; /* it is numbered elsewhere: a number that is to come may be known to who comes from there */
};
/* Describes one topic. Any thread. Returns 0 or -ENOENT (there is no such topic now). */
RC_API int rc_topic_stats(rc_server *server, const char *topic, size_t topic_size, struct rc_topic_stats *stats,
                          size_t struct_size);
#define rc_topic_stats(...) rc_topic_stats(__VA_ARGS__, sizeof(struct rc_topic_stats))
/* Describes up to `max` topics in `out`, at most RC_TOPICS_LISTED_MAX, those with the most subscribers first. Returns
 * how many; 0 also when memory is out. Any thread. */
RC_API size_t rc_topics_top(rc_server *server, struct rc_topic_stats *out, size_t max, size_t struct_size);
#define rc_topics_top(...) rc_topics_top(__VA_ARGS__, sizeof(struct rc_topic_stats))
/* Describes up to `max` topics in `out`, at most RC_TOPICS_LISTED_MAX: those named `pattern`, or, when it ends in '*',
 * those whose name begins with what stands before it. Returns how many there are, which may be more. Any thread; the
 * time grows with the number of all topics. */
RC_API size_t rc_topics_match(rc_server *server, const char *pattern, size_t pattern_size, struct rc_topic_stats *out,
                              size_t max, size_t struct_size);
#define rc_topics_match(...) rc_topics_match(__VA_ARGS__, sizeof(struct rc_topic_stats))

/* --------------------------------------------------------------------------------------------------------- probe -- */

/* A feature that this kernel or processor may offer. */
struct rc_feature {
	char name[48];
	bool found;
	bool required;
	char used[160]; /* what is used, with it or instead of it; for a required one that is missing, the remedy */
};
/* Fills in up to `max` features. Returns how many. *error is set when a required one is missing. It needs no
 * server. Any thread. */
RC_API size_t rc_probe(struct rc_feature *features, size_t max, struct rc_error *error, size_t struct_size);
#define rc_probe(...) rc_probe(__VA_ARGS__, sizeof(struct rc_feature))

#ifdef __cplusplus
}
#endif
#endif
