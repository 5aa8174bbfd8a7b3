/* SPDX-License-Identifier: MIT
 *
 * load.h - between the load generator's command line (load.c) and its engine (run.c): what is asked for, and what
 * came of it.
 */
#ifndef RC_LOAD_H
#define RC_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "head.h"
#include "histogram.h"
#include "process.h"
#include "ringcast.h"

#define RC_LOAD_MODES "broadcast|echo|idle|connect"
enum rc_load_mode { RC_LOAD_BROADCAST, RC_LOAD_ECHO, RC_LOAD_IDLE, RC_LOAD_CONNECT };

#define RC_LOAD_PROTOCOLS "ringcast|relay"
enum rc_load_protocol { RC_LOAD_RINGCAST, RC_LOAD_RELAY };

#define RC_LOAD_WINDOW_MAX 1024

/* IPv4 addresses in host order, both ends included; count 0: none was given. */
struct rc_load_range {
	uint32_t first;
	uint32_t count;
};

struct rc_load_options {
	const char *url;
	const char *publish_url;
	int mode;     /* enum rc_load_mode */
	int protocol; /* enum rc_load_protocol */
	unsigned worker_count;
	unsigned connections;
	unsigned stalled; /* subscribers more, which never read */
	unsigned topics;
	unsigned topics_per_connection;
	size_t size;
	double rate; /* messages a second; 0: closed loop */
	unsigned burst;
	unsigned window;
	uint64_t duration_ns;
	uint64_t messages; /* 0: as many as the duration allows */
	uint64_t warmup_ns;
	const char *feed;
	double speed;
	struct rc_load_range destinations;
	struct rc_load_range sources;
	double connect_rate; /* 0: as fast as they are accepted */
	unsigned server_pid; /* 0: not given */
	uint64_t seed;
	struct rc_tls_client_options tls;
	bool quiet;
	bool deflate;
};

struct rc_load_report {
	unsigned opened;
	unsigned failed;       /* never opened */
	unsigned closed_early; /* opened, and ended by the server or the network */
	char first_failure[256];
	uint64_t connecting_ns;

	/* Of the measured part. */
	uint64_t elapsed_ns;
	uint64_t published;
	uint64_t deliveries; /* echoes in mode echo, connections in mode connect */
	uint64_t bytes;
	struct rc_histogram latency;
	struct rc_histogram skew;
	uint64_t client_cpu_ns;

	/* Of the whole run, warm-up included. */
	struct rc_load_tally tally;
	uint64_t corrupt;
	bool stalled; /* deliveries stopped coming before all were there */
	bool interrupted;

	/* The server, where its process was named. */
	struct rc_process_cost before_connecting, after_connecting, begin, end;
};

/* Returns 0 when the run came to its end, whatever it found, or -1 after printing why it could not. */
int rc_load_run(const struct rc_load_options *options, struct rc_load_report *report);

#endif
