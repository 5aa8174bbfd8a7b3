/* SPDX-License-Identifier: MIT
 *
 * server.h - what all workers share: the log and its lock, topics, limits, listeners. Any thread may look in.
 */
#ifndef RC_SERVER_H
#define RC_SERVER_H

#include "certificates.h"
#include "check.h"
#include "cohort.h"
#include "error.h"
#include "log.h"
#include "own.h"
#include "picture.h"
#include "ringcast_stats.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

struct producing;
struct worker;
struct names;

struct listener {
	char address[300]; /* as given, for messages */
	struct sockaddr_storage socket_address;
	socklen_t socket_address_size;
	struct rc_deflate_options deflate;
	bool secure;     /* wss */
	bool proxied;    /* connections begin with a PROXY header */
	int inherited;   /* a descriptor that listens already, or -1 */
	bool everywhere; /* on all addresses, of IPv6 and IPv4 */
};

struct rc_server {
	struct rc_config config;
	struct rc_topics topics;
	struct rc_log log;
	struct rc_keys keys;
	struct pictures pictures;
	pthread_mutex_t log_lock;
	_Atomic unsigned publishers_waiting; /* for that lock */
	_Atomic uint64_t *floors;
	_Atomic(struct rc_encoding *) encodings[RC_ENCODING_COUNT]; /* made when first wanted */
	pthread_mutex_t encodings_lock;                             /* inside the log's */
	size_t deflate_size_min;                                    /* of all listeners */
	void *log_memory;
	size_t log_memory_size;
	unsigned *cpus; /* of the configuration, or null */
	struct worker *workers;
	unsigned worker_count;
	struct listener listeners[RC_LISTENERS_MAX];
	unsigned listener_count;
	_Atomic unsigned connection_count;
	uint64_t lag_size_least, lag_ns_least; /* no topic's limit is below these */
	uint64_t lag_step_size;                /* the log grows by this between two looks at who is behind */
	struct certificates certificates;
	struct own_form own[RC_OWN_FORMS];
	struct names *names;            /* who asks for addresses */
	struct rc_addresses *addresses; /* null without connections_per_address */
	struct producing *producing;    /* null without rc_server_listen_producers() */
	struct rc_addresses *unopened;  /* null without handlers.unopened_max */
	_Atomic uint64_t stop_at_ns;    /* 0: runs; else the end of draining */
	_Atomic bool started;
	_Atomic uint64_t publish_refused;
	_Atomic uint64_t quiet_mask; /* workers that RC_PUBLISH_QUIET left asleep */
	uint64_t start_ns;
	uint64_t seed;                                      /* of every table whose keys peers choose */
	uint64_t epoch;                                     /* of event ids: differs from one start to the next */
	bool old_kernel;                                    /* use nothing newer than Linux 6.1 */
	bool epoll;                                         /* its workers' rings are on epoll */
	char epoll_why[sizeof((struct rc_error *)0)->text]; /* empty where that was asked for */
	_Atomic bool epoll_told;
};

/* CLOCK_MONOTONIC, as the log's entries have it. */
uint64_t rc_server_now(void);

/* server.c: before a thread opens a worker that rc_server_start() did not give to it. Returns 0, or with *error set
 * -EINVAL (a wss:// listener without rc_server_tls()) or -EBUSY (it was taken). */
int rc_server_take_worker(rc_server *server, unsigned index, struct rc_error *error);

/* listen.c */
int rc_listen_parse(struct listener *listener, const char *text, const struct rc_deflate_options *deflate,
                    struct rc_error *error);
/* A Unix socket's file outlives its server: one at which nobody answers is removed. */
void rc_listen_remove_stale(const struct sockaddr_un *address, int type);
int rc_listen_open(struct listener *listener, const struct rc_config *config, bool first, struct rc_error *error);

/* probe.c */
/* Chooses once in a process: by the processor, or as the environment variable RC_SIMD says. */
int rc_choose_kernels(struct rc_error *error);

/* address.c: how many connections an address has, over all workers. Any thread. */
struct rc_addresses *rc_addresses_new(uint64_t seed);
void rc_addresses_free(struct rc_addresses *addresses);
/* Counts one more connection. Returns how many the address (null: all that are not known) has now, 0 when memory is
 * out. *index is what rc_addresses_leave() wants. */
unsigned rc_addresses_enter(struct rc_addresses *addresses, const struct sockaddr_storage *peer, uint32_t *index);
void rc_addresses_leave(struct rc_addresses *addresses, uint32_t index);

#endif
