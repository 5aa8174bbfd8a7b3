/* SPDX-License-Identifier: MIT
 *
 * ringcast.h - the public contract of a server. Headers beside it hold what is needed more rarely, and include this
 * one: ringcast_publish.h (topics by handle, many messages as one, messages built in the log), ringcast_feed.h (keys,
 * and what a topic's state is), ringcast_client.h (connections that the server opens), ringcast_ingest.h (processes
 * that publish through shared memory, for whom there is ringcast_producer.h), ringcast_replica.h (topics numbered
 * elsewhere), ringcast_latency.h (workers inside a loop of the program's), and ringcast_stats.h (counters, topics).
 *
 * A server is a set of workers (threads, each with an io_uring of its own, or an epoll) around one log. Publishing
 * writes a message into the log once, as a complete frame; a subscriber is a cursor in that log.
 *
 * Conventions
 *   Errors      A function that can fail returns 0 (or a count, or a sequence number) on success and a negative errno
 *               value otherwise; rc_strerror() says what it means here, and what helps; of codes that no header names,
 *               what the system says. Each function lists the values that it returns. The library never prints and
 *               never ends the process, except when it finds a fault of its own: then it writes one line to standard
 *               error and aborts, because going on would corrupt streams.
 *   Versions    A program runs with every later library of the same soname. For that, structs grow only at their end,
 *               and a function that takes one from its caller has a last parameter `struct_size`: how much of it the
 *               caller knows. Do not pass it: a macro of the function's name does, as in rc_server_stats(server,
 *               &stats). Only who calls from another language, or through a pointer, passes the size of its own struct;
 *               of an array, it is the distance between two elements. The library touches nothing beyond that size.
 *               What is missing has its default: in rc_config that of rc_config_init(), elsewhere 0. What a newer
 *               program has beyond what the library knows must be 0, or the call returns -E2BIG; it comes back as 0.
 *               What is handed to callbacks grows at its end too: only the library makes such structs. rc_error,
 *               rc_event_id, rc_tls_pair, rc_handlers and rc_deflate_options keep their size.
 *   Units       `_size` is bytes. `_count` and `_max` are items, `_size_max` is bytes. `_ms`, `_us` and `_ns` are time.
 *   Text        Text that is passed with its size needs no terminating zero. All other text ends in one.
 *   Threads     "any thread" means any thread at any time between rc_server_new() and rc_server_free(). "worker" means
 *               only from inside a callback, on the worker that made it. A function that says neither is for one thread
 *               at a time, and not while the workers run.
 *   Callbacks   A callback runs on the worker that owns the connection. It must not block, because everything that this
 *               worker serves waits for it. It may call every function here except rc_server_join(), rc_server_free()
 *               and rc_server_tls_reload().
 */
#ifndef RINGCAST_H
#define RINGCAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RC_API __attribute__((visibility("default")))
#else
#define RC_API
#endif

/* The version of this header. rc_version() and rc_version_number() tell that of the library. */
#define RC_VERSION_MAJOR 0
#define RC_VERSION_MINOR 2
#define RC_VERSION_PATCH 0
#define RC_VERSION "0.2.0"
#define RC_VERSION_NUMBER (RC_VERSION_MAJOR * 1000000 + RC_VERSION_MINOR * 1000 + RC_VERSION_PATCH)

/* What the library alone looks into: a server, and a request as handlers.request sees it. */
typedef struct rc_server rc_server;
typedef struct rc_request rc_request;

/* The bounds that this contract names. */
#define RC_TOPIC_NAME_MAX 255    /* bytes of a topic's name */
#define RC_TOPICS_MAX (1u << 20) /* topics at a time */
#define RC_KEY_MAX 64            /* bytes of a publication's key, see ringcast_feed.h */
#define RC_KEYS_MAX (1u << 22)   /* keys at a time, of all topics */
#define RC_RATE_MAX 1000         /* looks a second that a subscription may ask for */
#define RC_TOPIC_RULES_MAX 64    /* rules of rc_server_topic_rule() */
#define RC_COHORTS_MAX 256       /* topics compressed as one stream at a time, 268 KB each at the largest window */
#define RC_COMMANDS_MAX 65536    /* calls from other threads that wait for one worker */
#define RC_CONTROL_SIZE_MAX 125  /* payload of a Ping or Pong; a Close has 2 fewer for its reason (RFC 6455, 5.5) */
#define RC_RESPONSE_HEADERS_SIZE 1024 /* bytes of all headers of rc_request_add_header(), their ends included */
#define RC_LISTENERS_MAX 16           /* of a server */
#define RC_TLS_PAIRS_MAX 64           /* pairs of certificate and key of a server */

/* A connection, as its user holds it: worker, slot and generation in one number. It is never a pointer, so a handle
 * that was kept too long is refused (-ENOTCONN) and can never reach somebody else's connection. 0 is no connection. */
typedef uint64_t rc_conn;

/* An open topic, see rc_topic_open() in ringcast_publish.h. It is never a pointer: a handle that was closed is refused.
 * 0 is no topic. */
typedef uint64_t rc_topic;

/* The kind of a message, RFC 6455 section 11.8. */
enum rc_opcode { RC_TEXT = 1, RC_BINARY = 2 };

/* Close codes, RFC 6455 section 7.4.1 and the registry it made. 3000 to 4999 are the application's. */
enum rc_close_code {
	RC_CLOSE_NORMAL = 1000,
	RC_CLOSE_GOING_AWAY = 1001,
	RC_CLOSE_PROTOCOL_ERROR = 1002,
	RC_CLOSE_UNSUPPORTED = 1003,
	RC_CLOSE_NO_CODE = 1005,  /* never sent: the peer's Close carried no code */
	RC_CLOSE_ABNORMAL = 1006, /* never sent: the connection ended without a Close */
	RC_CLOSE_INVALID_DATA = 1007,
	RC_CLOSE_POLICY = 1008,
	RC_CLOSE_TOO_BIG = 1009,
	RC_CLOSE_MISSING_EXTENSION = 1010,
	RC_CLOSE_INTERNAL = 1011,
	RC_CLOSE_TRY_LATER = 1013,
};

/* What happens to a subscriber that cannot keep up: it is further behind than the topic's limit, or the log is about
 * to be written over its cursor. */
enum rc_policy {
	RC_POLICY_CLOSE,    /* it is closed with 1008 and a reason that says so */
	RC_POLICY_SKIP,     /* its waiting messages are dropped and counted; it goes on with the newest */
	RC_POLICY_CONFLATE, /* from the moment a send to it is cut short until it has caught up, it gets only the
	                     * newest message of each of these topics, or of each key; the others are counted */
	RC_POLICY_RESYNC,   /* it is told (handlers.resync), and goes on from the topic's state, or its newest base */
	RC_POLICY_LAST = RC_POLICY_RESYNC,
};

/* ------------------------------------------------------------------------------------------------- configuration -- */
/* Why something could not be made, in one line that names the remedy. `code` is a negative errno value. */
struct rc_error {
	int code;
	char text[256];
};

/* A message that came from a peer. */
struct rc_message {
	const uint8_t *data; /* valid until the callback returns */
	size_t size;
	enum rc_opcode opcode; /* text has been validated as UTF-8 */
};

/* How a connection ended. */
struct rc_closing {
	uint16_t code;      /* RC_CLOSE_NO_CODE and RC_CLOSE_ABNORMAL included */
	const char *reason; /* the peer's words, or the library's for what went wrong; for the callback alone */
	size_t reason_size;
	bool by_peer; /* the peer began the closing handshake */
	/* Client role: 0 once the connection was open; else the HTTP status that refused the handshake, or the negative
	 * errno of what went wrong before: -ENXIO for a name that does not exist, -EAGAIN when names cannot be looked
	 * up just now, -ETIMEDOUT, -ECONNREFUSED and what else a connect may say, -ECONNRESET when the server ended the
	 * connection before it answered, -EMFILE when the worker has no room for another connection, -EKEYREJECTED when
	 * the server's certificate is not trusted, -EPROTO for any other fault of TLS or of the response, -ENOMEM or
	 * -ECONNABORTED when memory is short, -ECANCELED after rc_close() and when the server stops. Server role: 0. */
	int status;
	/* Client role: the next attempt comes in so many milliseconds, and handle and user stay. 0: this is the end. */
	unsigned again_ms;
};

struct sockaddr; /* <sys/socket.h> */
struct rc_numbers;

/* What the library calls. Any of these may be null. `context` is handed back as the first argument. */
struct rc_handlers {
	void *context;
	/* An opening handshake, or a plain HTTP request, is complete and correct. Return 0 to go on, or an HTTP status
	 * from 400 to 599 to refuse it. On 0 a WebSocket opens; plain HTTP that was neither answered by
	 * rc_request_respond() nor accepted by rc_request_events() or rc_request_wait() gets 426. Any other value is
	 * answered with 500. Null accepts every WebSocket. */
	int (*request)(void *context, rc_request *request);
	/* The head of a plain HTTP request with a body is complete, and its body is not awaited yet: the place to look
	 * at a key before memory is spent on what follows. Return 0 to let the body come, or an HTTP status from 400 to
	 * 599 to refuse it at once; rc_request_respond() refuses too. The body is empty here. What is done to the
	 * request counts for a refusal alone, and `request` sees it again when it is complete. Called once for each
	 * such request, also when its body came with the head. Null lets every body come. */
	int (*head)(void *context, rc_request *request);
	/* The connection is open. Here and below, `user` is what rc_request_set_user() or rc_connect() was given. */
	void (*open)(void *context, rc_conn conn, void *user);
	void (*message)(void *context, rc_conn conn, void *user, const struct rc_message *message);
	/* A Pong came, with its payload of at most 125 bytes: the application's own, of rc_ping(), or the 8 bytes of a
	 * Ping that a silent connection got. */
	void (*pong)(void *context, rc_conn conn, void *user, const uint8_t *data, size_t size);
	/* There is a message for a request that waits (rc_request_wait()): answer it, or wait for the next call. */
	void (*ready)(void *context, rc_conn conn, void *user);
	/* Called exactly once for each WebSocket, stream or waiting request that `request` accepted: the handle is
	 * stale, free `user` here. For each rc_connect() that returned 0 it is called at the end of each attempt and of
	 * each connection; the last time with again_ms 0, and exactly once so. */
	void (*close)(void *context, rc_conn conn, void *user, const struct rc_closing *closing);
	/* The library has something to tell the operator: memory or descriptors are used up, for example. Of each kind
	 * at most one line a second comes. */
	void (*report)(void *context, const char *text);
	/* The kernel lets a worker go on no longer, as when a seccomp filter was set that forbids what it waits with:
	 * *error says why and names the remedy, and `report` was told so. The server stops by itself, since clients
	 * would go on being sent to that worker: end the program. */
	void (*failed)(void *context, const struct rc_error *error);
	/* How many connections this address may have that are not open: no request has come whole, or an answer is on
	 * its way; 0: no limit. One more is closed at once. They count as for connections_per_address. `peer` is null
	 * when more came at once than could be asked for their addresses: those count as one. Called for each
	 * connection, before all else. Null: no limit. */
	unsigned (*unopened_max)(void *context, const struct sockaddr *peer);
	/* The subscriber was overrun: what it knows of the topic is void. It goes on from the state, up to `sequence`,
	 * but what rc_send() says here comes first. For RC_POLICY_RESYNC, and RC_POLICY_CONFLATE with keys. */
	void (*resync)(void *context, rc_conn conn, void *user, const char *topic, uint64_t epoch, uint64_t sequence);
	/* More than snapshot_factor (rc_topic_options) times the size of the topic's newest base came since: publish a
	 * new one (RC_PUBLISH_SNAPSHOT). Called once for each base, on the first worker. */
	void (*snapshot_wanted)(void *context, const char *topic, size_t topic_size);
	/* The library itself refused a request, for a limit or for what it is; `words` may be null. */
	void (*refused)(void *context, const char *peer, int status, const char *words);
	void (*reserved[4])(void); /* null: the places of handlers to come */
};

/* permessage-deflate (RFC 7692). A broadcast is compressed once for each class of windows among its subscribers. */
struct rc_deflate_options {
	bool on;
	unsigned level;  /* zlib's, 1 to 9; default 6 */
	unsigned bits;   /* the largest window of our own, 8 to 15; default 15. A client may ask for a smaller one */
	size_t size_min; /* smaller messages stay plain; default 128 */
	bool client_takeover; /* clients may refer to their earlier messages, which costs 40 KB for each that does */
};

/* In which pages the log's memory lies. */
enum rc_huge_pages {
	RC_HUGE_PAGES_OFF,         /* as the system has it */
	RC_HUGE_PAGES_TRANSPARENT, /* those of 2 MiB, where the kernel has some to give; else small ones */
	RC_HUGE_PAGES_RESERVED,    /* those of 2 MiB that the sysctl vm.nr_hugepages set aside, or an error */
};

/* How a server is set up. rc_config_init() fills in the defaults, which stand here beside each field; where none does,
 * it is 0. */
struct rc_config {
	unsigned worker_count; /* at most 1024; 0: one for each of `cpus`, or as many as processors it may run on */
	struct rc_handlers handlers;
	unsigned connections_max; /* all workers together; 0: as many as the descriptor limit allows */
	/* 0: no limit. Addresses of IPv6 count by their /64, and who comes by a "proxy+" listener by the proxy's. */
	unsigned connections_per_address;
	unsigned subscriptions_max; /* of one connection, 1 to 65536; default 256 */
	size_t body_size_max;       /* of a plain HTTP request, at most 16 MiB; a larger one gets 413. 0: no bodies */
	size_t message_size_max;    /* received, 1 to 64 MiB; a larger one is closed with 1009. Default 1 MiB */
	unsigned fragments_max; /* of one received message; 0: 1024, or one for every 64 bytes of the largest message */
	size_t send_size_max;   /* waiting for one connection outside the log: rc_send() and Pongs; and the body of an
	                         * HTTP answer; at most 2 GiB. 0: 4 MiB, or two of the largest messages or bodies */
	/* What all workers together may keep for connections outside the log: what waits to be sent, messages and
	 * requests in pieces; at least 1 MiB, 0: no limit but 2 GiB a worker. When three quarters are in use, those for
	 * whom most is kept because they do not read, or do not send the rest, are closed without a Close, and new
	 * connections get 503. */
	size_t memory_max;
	size_t log_size;               /* of the frames kept; a power of two, 64 KiB to 64 GiB, default 64 MiB */
	size_t lag_size_max;           /* how far a subscriber may be behind in the log; 0: three quarters of the log */
	unsigned lag_ms_max;           /* age of the oldest message that waits for a subscriber; 0: no limit */
	enum rc_policy policy;         /* of topics that no rule names */
	unsigned handshake_timeout_ms; /* not 0; default 10 s */
	unsigned idle_timeout_ms;  /* of silence, even to a Ping; then the end. 0: never, and no Ping; default 2 min */
	unsigned close_timeout_ms; /* for the peer to answer a Close, not 0; default 5 s */
	const char *congestion;    /* TCP congestion control of listeners; null: the system's */
	unsigned notsent_lowat_size; /* TCP_NOTSENT_LOWAT of listeners: unsent bytes in the kernel; default 32 KiB */
	/* A worker fans out in rounds. The time from the beginning of one to that of the next grows with the number of
	 * its sends and is at most this, so that what is published meanwhile leaves in one send. The first message
	 * after a pause leaves at once, and few subscribers hardly wait. A round that itself takes longer than this is
	 * followed by a pause as long as it took, which ends at most 32 ms after the round began. 0: each message
	 * leaves as soon as the worker sees it. Default 2 ms. */
	unsigned round_interval_us;
	/* Sends of at least this many bytes of the log are zero-copy (io_uring of Linux 6.14), except to a peer for
	 * whom the kernel copies in the end; 0: none are. Such a send holds its part of the log until the peer's system
	 * has acknowledged it. It gains from some 16 KiB up, with a card that gathers; over loopback it only costs. */
	size_t zero_copy_size_min;
	/* The kernel makes the records of TLS 1.3 where it can (its module `tls`). What leaves is then copied once, and
	 * encrypted there. A peer that wants new keys is closed. */
	bool kernel_tls;
	struct rc_deflate_options deflate; /* of listeners that do not say otherwise; its level counts for all */
	bool busy_poll;                    /* workers spin instead of sleeping: a processor each, for shorter delays */
	/* From here on ringcast-latency(7) says what each gives and costs. The log's memory is less than 2.8 times
	 * log_size, with its index and the blocks of rc_reserve(). */
	unsigned spin_us;  /* when nothing comes any more, spin so long before sleeping: nobody has to wake it then */
	bool log_prefault; /* all of that is in memory before the first message */
	bool log_lock;     /* likewise, and it never leaves it: needs RLIMIT_MEMLOCK or CAP_IPC_LOCK */
	enum rc_huge_pages log_huge_pages;
	int numa_node; /* where the log lies, and the threads of rc_server_start() run; default -1: anywhere */
	/* These are for the threads that rc_server_start() makes. */
	const unsigned *cpus;     /* worker n runs on cpus[n % cpu_count] alone; null and 0: anywhere */
	unsigned cpu_count;       /* at most 1024 */
	unsigned thread_priority; /* 1 to 99: SCHED_FIFO, needs RLIMIT_RTPRIO or CAP_SYS_NICE. 0: as other threads */
	/* Bytes of values that the log let go of, and as many for states being sent: ringcast_feed.h. 0: as log_size */
	size_t state_max;
	unsigned ring; /* enum rc_ring_kind of ringcast_latency.h; 0: io_uring, or where that is not to be had, epoll */
	unsigned ping_interval_ms; /* of silence until a Ping; half of idle_timeout_ms if that is less; default 45 s */
};

/* Fills in the defaults. Any thread. */
RC_API void rc_config_init(struct rc_config *config, size_t struct_size);
#define rc_config_init(...) rc_config_init(__VA_ARGS__, sizeof(struct rc_config))

/* -------------------------------------------------------------------------------------------------------- server -- */
/* Makes a server that does nothing yet. The configuration is copied. Null with *error set: -EINVAL (a value is out of
 * range), -E2BIG (it sets what this library does not know), -ENOMEM, -EMFILE, or the errno with which the kernel
 * refused what was asked for the log: -EPERM, -EAGAIN. `error` may be null here and below. */
RC_API rc_server *rc_server_new(const struct rc_config *config, struct rc_error *error, size_t struct_size);
#define rc_server_new(...) rc_server_new(__VA_ARGS__, sizeof(struct rc_config))

/* Adds a listener, before the start. The address is one of
 *   "ws://127.0.0.1:8080", "[::1]:8080", "localhost:8080", "0.0.0.0:0" (a free port)
 *   ":8080", "*:8080"       all addresses, of IPv6 and IPv4 by one socket; of IPv4 alone where there is no IPv6
 *   "wss://127.0.0.1:8443"  with TLS, see rc_server_tls()
 *   "unix:/run/x.sock"
 *   "fd:3"                  a socket that listens already and was inherited; it is duplicated
 * Other names of hosts are not looked up.
 * With "proxy+" in front, each connection must begin with a PROXY protocol header (version 1 or 2), and its peer is the
 * one that the header names. Use it only for an address that nobody but the proxy can reach, or look at
 * rc_request_proxy(). Behind the address may stand how this listener differs in compression:
 * "?deflate=on&deflate-bits=12&deflate-min=200&deflate-takeover=off". Each worker gets a socket of its own on the
 * address (SO_REUSEPORT). Returns the port (0 for a Unix socket), or with *error set -EINVAL (it is none of these
 * addresses), -EBUSY (after the start), -ENOSPC (RC_LISTENERS_MAX are there), or the errno with which the kernel
 * refused: -EADDRINUSE, -EACCES, -EMFILE ... */
RC_API int rc_server_listen(rc_server *server, const char *address, struct rc_error *error);

/* Whether rc_server_listen() would take this address, without listening there: nobody who connects notices. Returns 0,
 * or what rc_server_listen() does; so -EADDRINUSE also where the very server that the address is for runs already. */
RC_API int rc_listen_check(const rc_server *server, const char *address, struct rc_error *error);

/* Says how topics behave, before the start. `pattern` is a topic's name, or a prefix that ends in '*'; of those that
 * match a topic, the longest counts. Returns 0, -EINVAL (the pattern or the policy), -ENOSPC (RC_TOPIC_RULES_MAX
 * are there), or -EBUSY (after the start). */
struct rc_topic_options {
	enum rc_policy policy;
	size_t lag_size_max; /* 0: the server's */
	unsigned lag_ms_max; /* 0: the server's */
	bool keep_last;      /* the newest message outlives the log, for subscribers that ask for it */
	/* The topic is compressed as one stream, at a fraction of the bytes. Its readers are the connections that
	 * agreed to compression and subscribe to this topic alone, during their request. RC_COHORTS_MAX topics at a
	 * time. */
	bool cohort;
	unsigned heartbeat_ms; /* after so long a silence, subscribers that are told numbers get the newest; 0: none */
	unsigned snapshot_factor; /* see handlers.snapshot_wanted; 0: it is not called */
	bool numbered_here;       /* rc_server_begin() of ringcast_replica.h does not count for it */
};
RC_API int rc_server_topic_rule(rc_server *server, const char *pattern, const struct rc_topic_options *options,
                                size_t struct_size);
#define rc_server_topic_rule(...) rc_server_topic_rule(__VA_ARGS__, sizeof(struct rc_topic_options))

/* Says what wss:// listeners show, before the start: TLS 1.2 and 1.3, ALPN "http/1.1". Sessions are resumed by tickets,
 * but not where clients show certificates: each of their connections is judged by what holds then. Certificates are PEM
 * files with their chain, leaf first; keys are PEM files without a password. A client gets the first pair whose
 * certificate is for the name it asked for (SNI), or else the first of all. The names are copied. Returns 0, or with
 * *error naming the file: -EINVAL (it cannot be used, or the number of pairs), -ENOENT, -EACCES or whatever errno
 * reading it gave, -EBUSY (after the start), -ENOMEM. */
struct rc_tls_pair {
	const char *certificate, *key;
};
struct rc_tls_options {
	const struct rc_tls_pair *pairs;
	unsigned pair_count;   /* 1 to RC_TLS_PAIRS_MAX */
	const char *client_ca; /* PEM file that must vouch for the clients' certificates; null: none is asked for */
	bool client_optional;  /* clients without a certificate are let in too */
	/* PEM file of the revocation lists (RFC 5280) of every authority between a client's certificate and the root;
	 * or null. Who stands in one is refused, and so is everybody once a list has passed its next update. */
	const char *crl;
};
RC_API int rc_server_tls(rc_server *server, const struct rc_tls_options *options, struct rc_error *error,
                         size_t struct_size);
#define rc_server_tls(...) rc_server_tls(__VA_ARGS__, sizeof(struct rc_tls_options))

/* Reads the same files again. New connections get what they hold now; older ones go on with what they began with, but
 * those whose certificate was revoked are closed with 1008. When something is wrong with a file, nothing changes. Any
 * thread but a worker's, because it reads files. Returns 0, or with *error set what rc_server_tls() returns for files,
 * and -EINVAL when no files were named. */
RC_API int rc_server_tls_reload(rc_server *server, struct rc_error *error);

/* Starts a thread for each worker. Returns 0 once all are accepting. Otherwise nothing runs, *error is set, and it
 * returns -EINVAL (a wss:// listener without rc_server_tls(), or a processor that is not there), -EBUSY (it was started
 * before), or the errno with which a thread, its place, its ring or its memory was refused: -EAGAIN, -ENOSYS, -EPERM,
 * -EMFILE, -ENOMEM ... A ring is refused only if rc_config.ring insists on io_uring, or if epoll is forbidden too. */
RC_API int rc_server_start(rc_server *server, struct rc_error *error);

/* Runs worker `index` in the calling thread until the server stops, instead of rc_server_start(). Call it once for each
 * worker, each on a thread of its own. Returns 0 after the end, or at once what rc_server_start() does, with -EINVAL
 * also for an index that no worker has; later the errno of handlers.failed. */
RC_API int rc_server_run(rc_server *server, unsigned index, struct rc_error *error);

/* Begins the end: listeners close, every open connection gets 1001, and connections that are not done after drain_ms
 * are cut off. Any thread, and safe in a signal handler. Later calls can only shorten the time. */
RC_API void rc_server_stop(rc_server *server, unsigned drain_ms);

/* Waits until all workers ended after rc_server_stop(). Not from a callback. */
RC_API void rc_server_join(rc_server *server);

/* Frees a server that has not started or was joined. Null is allowed. */
RC_API void rc_server_free(rc_server *server);

/* Runs fn(argument) on a worker's thread, soon. Any thread. Returns 0, -EINVAL (no such worker, or no function),
 * -EAGAIN (RC_COMMANDS_MAX wait), -ENOTCONN (the worker has ended), -ENOMEM. */
RC_API int rc_post(rc_server *server, unsigned worker, void (*fn)(void *argument), void *argument);

/* The worker that a connection belongs to: whose thread its callbacks run on. Any thread. */
RC_API unsigned rc_conn_worker(rc_conn conn);
/* The number of workers. Any thread. */
RC_API unsigned rc_server_worker_count(const rc_server *server);
/* What an error means, in words. `code` may be negative or not. The text is not to be freed. Any thread. */
RC_API const char *rc_strerror(int code);
/* The version of the library, as RC_VERSION is of the header; and as RC_VERSION_NUMBER: larger is later. Any thread. */
RC_API const char *rc_version(void);
RC_API unsigned rc_version_number(void);

/* ---------------------------------------------------------------------------------------------------- publishing -- */
/* Publishes a message: copies it into the log once, and wakes those workers with subscribers that sleep. Any thread,
 * callbacks included. Text must be UTF-8: it is checked before the log is locked, unless the caller knows.
 * Returns the message's sequence number in its topic (from 1), or
 *   -EINVAL   the topic's name is empty or longer than RC_TOPIC_NAME_MAX, the key is longer than RC_KEY_MAX, or there
 *             is a flag that is none of these, or that does not go with a key, or without
 *   -EILSEQ   text that is not UTF-8
 *   -EMSGSIZE larger than a quarter of the log, or 2 GiB
 *   -ENOSPC   RC_TOPICS_MAX topics exist, or RC_KEYS_MAX keys
 *   -EAGAIN   a worker is a whole log behind (nothing was published; see RC_PUBLISH_WAIT)
 *   -ENOMEM   no memory for a new topic, or a new key */
enum rc_publish_flags {
	RC_PUBLISH_BINARY = 1, /* a binary message instead of text */
	RC_PUBLISH_WAIT = 2,   /* sleep instead of -EAGAIN; not on a worker, which must not wait for itself */
	/* The text is known to be UTF-8, as what handlers.message was given: it is not looked at once more. Text that
	 * is not would end every subscriber's connection. */
	RC_PUBLISH_UNCHECKED = 4,
	/* Nobody is woken: it leaves with what is published next without this, or by rc_flush() (ringcast_publish.h),
	 * or when something else wakes the workers. */
	RC_PUBLISH_QUIET = 8,
	RC_PUBLISH_REMOVE = 16,   /* the key is there no more; with a key only, and the payload may be empty */
	RC_PUBLISH_SNAPSHOT = 32, /* a base: it stands for everything of the topic before it; without a key */
};
RC_API int64_t rc_publish(rc_server *server, const char *topic, size_t topic_size, const void *data, size_t size,
                          unsigned flags);

/* Publishes with more to choose. Any thread, but for `except`. Returns what rc_publish() does, -EINVAL for an `except`
 * of another worker, -ENOENT for a handle of no open topic, and -EEXIST for a number that the topic has already. */
struct rc_publication {
	const void *data;
	size_t size;
	unsigned flags;
	/* This connection does not get the message, even if it is subscribed; 0: all get it. Only from a callback of
	 * the worker that the connection belongs to. */
	rc_conn except;
	/* Instead of data and size, for a message that holds its own number. It is called just before the copy, when
	 * the number is known, and perhaps several times. It returns the size and sets *data to bytes that stay until
	 * rc_publish_with() returns. It runs under the log's lock, so it must be short and call no function here. What
	 * it makes is checked there too, without RC_PUBLISH_UNCHECKED: better check its parts before, with
	 * rc_text_valid(). */
	size_t (*make)(void *context, uint64_t sequence, uint64_t epoch, const void **data);
	void *context;
	uint64_t epoch; /* out: of the topic, see rc_topic_stats */
	/* When the message arose, by the publisher's own clock and from where that counts; 0: it does not say. It is
	 * kept for rc_past and decides nothing: how far a subscriber is behind is told by the server's clock. */
	uint64_t time_ns;
	rc_topic topic;                 /* an open topic; the name is not looked at then, and may be null */
	const void *key;                /* of what in the topic this is the newest, see ringcast_feed.h; copied */
	size_t key_size;                /* 0: it has no key */
	uint64_t at_epoch, at_sequence; /* its number elsewhere: ringcast_replica.h. 0: the server numbers it */
	size_t (*make_of)(void *context, const struct rc_numbers *numbers, const void **data); /* see there too */
};
RC_API int64_t rc_publish_with(rc_server *server, const char *topic, size_t topic_size, struct rc_publication *message,
                               size_t struct_size);
#define rc_publish_with(...) rc_publish_with(__VA_ARGS__, sizeof(struct rc_publication))

/* Whether this is UTF-8 (RFC 3629), as text must be. Any thread. */
RC_API bool rc_text_valid(const void *text, size_t size);

/* Sends one message to one connection. Any thread; from another one than its worker's the bytes are copied and posted,
 * and what goes wrong later is not reported. Returns 0, -EINVAL (no such opcode; a stream of events takes text only, a
 * waiting request nothing), -EILSEQ (text that is not UTF-8), -ENOTCONN (stale, or closing), -ENOBUFS (more than
 * send_size_max would wait; nothing was queued), -EAGAIN (posting: RC_COMMANDS_MAX wait), -ENOMEM. */
RC_API int rc_send(rc_server *server, rc_conn conn, enum rc_opcode opcode, const void *data, size_t size);

/* As rc_send(), for text that is known to be UTF-8: it is not looked at once more. Any thread. Returns the same. */
RC_API int rc_send_unchecked(rc_server *server, rc_conn conn, enum rc_opcode opcode, const void *data, size_t size);

/* Sends a Ping with up to RC_CONTROL_SIZE_MAX bytes; a stream of events gets a comment instead. Any thread. Returns as
 * rc_send() does, with -EINVAL also for a larger size. */
RC_API int rc_ping(rc_server *server, rc_conn conn, const void *data, size_t size);

/* Begins the closing handshake with a code that may be sent (1000 to 1003, 1007 to 1014, 3000 to 4999) and up to
 * RC_CONTROL_SIZE_MAX - 2 bytes of reason, which is left out when it is not UTF-8. Any thread. Returns 0, -EINVAL (the
 * code, or a longer reason), -ENOTCONN (stale, or closing), -EAGAIN (posting: RC_COMMANDS_MAX wait), -ENOMEM. */
RC_API int rc_close(rc_server *server, rc_conn conn, uint16_t code, const char *reason, size_t reason_size);

/* ------------------------------------------------------------------------------------------------- subscriptions -- */
/* The id of a server-sent event: a start of the server and its messages since, or both as of a stream elsewhere. */
struct rc_event_id {
	uint64_t epoch, number;
};
/* Reads the text that a client sends as Last-Event-ID. Any thread. Returns the id, all zero for what is no such id. */
RC_API struct rc_event_id rc_event_id(const char *text);

/* Where a subscription begins. Zeroed: with the next message published. */
struct rc_start {
	bool last;     /* first the newest message, if there is one */
	bool resume;   /* first everything after sequence number `since` that the log still has */
	bool conflate; /* once behind, it gets only the newest message of the topic, whatever the topic's policy */
	uint64_t since;
	/* Unless zero: first everything behind that event. When the log does not reach back to it, or it is of another
	 * start of the server, `resume` counts instead; without `resume`, all that the log has comes first. */
	struct rc_event_id after;
	uint64_t first; /* out, on the worker only: the sequence number that comes first, as far as it is known */
	bool resumed;   /* out, likewise: it begins right behind `after` */
	/* First the topic's state (ringcast_feed.h); with `resume` or `after` only instead of a gap. */
	bool state;
	bool snapshot;  /* first the topic's newest base and what came after it; or the state, if the log has it not */
	unsigned rate;  /* so often a second at most (RC_RATE_MAX) the newest of each key; 0: everything, at once */
	uint64_t epoch; /* unless 0: that of `since`. In another one the topic began anew, and so does this */
	uint64_t lost;  /* out, as `first`: of those after `since`, all up to this number are not there; 0: all are */
};

/* Subscribes a connection that is open or in its request. Any thread; from another one than its worker's it is posted,
 * and what goes wrong later is not reported. `start` may be null. Returns 0, -EINVAL (the name, the rate, or a
 * connection of the client role), -EEXIST (it is subscribed), -ENOTCONN (stale, or closing), -ENOSPC (subscriptions_max
 * or RC_TOPICS_MAX), -EAGAIN (posting: RC_COMMANDS_MAX wait), -ENOMEM. */
RC_API int rc_subscribe(rc_server *server, rc_conn conn, const char *topic, size_t topic_size, struct rc_start *start,
                        size_t struct_size);
#define rc_subscribe(...) rc_subscribe(__VA_ARGS__, sizeof(struct rc_start))

/* Ends a subscription. Any thread; it is posted as rc_subscribe() is. Returns 0, -ENOENT (it is not subscribed),
 * -ENOTCONN (stale, or closing), -EAGAIN (posting: RC_COMMANDS_MAX wait), -ENOMEM (posting). */
RC_API int rc_unsubscribe(rc_server *server, rc_conn conn, const char *topic, size_t topic_size);

/* ------------------------------------------------------------------------------------------------------- history -- */
/* A message that the log still has. */
struct rc_past {
	uint64_t epoch, sequence;
	uint64_t age_ns;
	rc_conn except; /* see rc_publication */
	enum rc_opcode opcode;
	const void *data; /* valid until the callback returns */
	size_t size;
	uint64_t time_ns; /* the publisher's own, as in rc_publication; 0: it did not say */
	const void *key;  /* null: it has none. Valid as `data` */
	size_t key_size;
	uint64_t previous;      /* sequence of the topic's message before it; 0: there was none */
	bool removed, snapshot; /* RC_PUBLISH_REMOVE, RC_PUBLISH_SNAPSHOT */
};

/* Calls visit for the topic's messages after `since`, oldest first, at most `max` of them, until it returns false. Any
 * thread. visit runs under the log's lock: it copies what it wants and may not call any function here. Returns for how
 * many it was called (0 for an unknown topic too), or -EINVAL (the name, or `max` above INT32_MAX). Between any two
 * calls the log may go on: it ends early where what comes next was recycled meanwhile. */
RC_API int rc_topic_read(rc_server *server, const char *topic, size_t topic_size, uint64_t since, unsigned max,
                         bool (*visit)(void *context, const struct rc_past *past), void *context);

/* ------------------------------------------------------------------------------------------------------ requests -- */
/* Inside handlers.request and handlers.head only, except for rc_respond(). Text returned is valid until the callback
 * returns. */

/* The server that the request came to. */
RC_API rc_server *rc_request_server(const rc_request *request);
/* The method: "GET", "POST". */
RC_API const char *rc_request_method(const rc_request *request);
/* The path, percent-decoded, without the query; it never holds a zero byte. */
RC_API const char *rc_request_path(const rc_request *request);
/* The first value of a query parameter, percent-decoded, or null. */
RC_API const char *rc_request_query(rc_request *request, const char *name);
/* The first value of a header, or null. Names compare without case. */
RC_API const char *rc_request_header(const rc_request *request, const char *name);
/* The value on the line `index` (from 0) of those with this header, or null: a list may be spread over several lines
 * (RFC 9110, section 5.3). */
RC_API const char *rc_request_header_at(const rc_request *request, const char *name, unsigned index);
/* The peer: "127.0.0.1", "::1", "unix". */
RC_API const char *rc_request_peer(const rc_request *request);
/* The proxy that named the peer, if the connection came in by a "proxy+" listener; else null. */
RC_API const char *rc_request_proxy(const rc_request *request);
/* The listener that it came in by: 0 is the one added first. */
RC_API unsigned rc_request_listener(const rc_request *request);
/* The body of a plain HTTP request, at most body_size_max; *size is 0 without one. */
RC_API const void *rc_request_body(const rc_request *request, size_t *size);
/* Whether the peer is on this machine: 127.0.0.0/8, ::1, or a Unix socket. */
RC_API bool rc_request_peer_is_local(const rc_request *request);
/* Whether it came in by a wss:// listener. */
RC_API bool rc_request_is_tls(const rc_request *request);
/* The subject of the verified certificate that a TLS client showed ("CN=feeder,O=Example", RFC 2253), or null. */
RC_API const char *rc_request_peer_subject(rc_request *request);
/* Whether it is an opening handshake, and not plain HTTP. */
RC_API bool rc_request_is_websocket(const rc_request *request);
/* The handle the connection will have when it opens: for subscriptions, which may already be made here. */
RC_API rc_conn rc_request_conn(const rc_request *request);
/* Accepts a subprotocol if the client offered it (RFC 6455, section 4.2.2). Returns whether it did. The text is not
 * copied and is read once more when handlers.request has returned, so it must stay, as static text does. */
RC_API bool rc_request_choose_protocol(rc_request *request, const char *protocol);
/* Says what the handlers of this connection get as `user`. The library does not look at it. */
RC_API void rc_request_set_user(rc_request *request, void *user);
/* Adds a header to whatever is answered, the 101 included; Allow and Retry-After take the place of the library's own.
 * Returns 0, -EINVAL (bytes that may not stand there), -ENOSPC (RC_RESPONSE_HEADERS_SIZE). */
RC_API int rc_request_add_header(rc_request *request, const char *name, const char *value);
/* Answers a plain HTTP request, or refuses a handshake with words. The body is copied. A null content_type stands for
 * plain text, a null body for the status in words. The connection of a plain request is kept for the next one, with the
 * same handle, for at most idle_timeout_ms, unless the peer wants it closed or does not read its answers. Returns 0,
 * -EINVAL (another status than 200 to 599, or a content_type of some 800 bytes), -ENOBUFS (send_size_max), -ENOMEM. */
RC_API int rc_request_respond(rc_request *request, int status, const char *content_type, const void *body, size_t size);
/* The status of the answer that it has so far, should the handler now return 0: that of rc_request_respond(), 101 for a
 * WebSocket, 200 for a stream, 426, or 0 for a request that waits. */
RC_API int rc_request_status(const rc_request *request);

/* Accepts a plain GET as a stream of server-sent events (WHATWG HTML, section 9.2), before it is subscribed to
 * anything. If handlers.request then returns 0, it opens like a WebSocket: open, rc_send() of text, rc_close(), close.
 * What it is subscribed to comes as events, whose ids resume it (rc_start.after). Binary messages have no such form and
 * are left out. A comment every ping_interval_ms keeps it alive. Returns 0, -EINVAL (no plain GET), -EBUSY (it
 * is subscribed). */
RC_API int rc_request_events(rc_request *request);
/* Accepts a plain HTTP request that is answered later. If handlers.request then returns 0, it stays open until
 * rc_respond(), and handlers.ready says when there is a message in what it is subscribed to. rc_close() answers it with
 * 503. Returns 0, -EINVAL (no plain HTTP), -EBUSY (it is subscribed). */
RC_API int rc_request_wait(rc_request *request);
/* Answers a request that waits. `headers` are whole lines ("Name: value\r\n"), or null; all is copied. On the worker of
 * the connection only. Returns 0, -EINVAL (another status than 200 to 599, no waiting request, another worker, or too
 * long a content_type), -ENOTCONN (stale, or answered), -ENOBUFS (more than send_size_max), -ENOMEM. */
RC_API int rc_respond(rc_server *server, rc_conn conn, int status, const char *content_type, const char *headers,
                      const void *body, size_t size);

#ifdef __cplusplus
}
#endif
#endif
