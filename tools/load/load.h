/* SPDX-License-Identifier: MIT
 *
 * load.h - between the load generator's command line (load.c) and its engine (run.c): what is asked for, and what
 * came of it.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "head.h"
#include "lib/histogram.h"
#include "lib/process.h"
#include "ringcast.h"
#include "ringcast_client.h"

#define LOAD_MODES "broadcast|echo|idle|connect"
enum load_mode { LOAD_BROADCAST, LOAD_ECHO, LOAD_IDLE, LOAD_CONNECT };

#define LOAD_PROTOCOLS "ringcast|relay"
enum load_protocol { LOAD_RINGCAST, LOAD_RELAY };

#define LOAD_WINDOW_MAX 1024

/* IPv4 addresses in host order, both ends included; count 0: none was given. */
struct load_range {
	uint32_t first;
	uint32_t count;
};

struct load_options {
	const char *url;
	const char *publish_url;
	int mode;     /* enum load_mode */
	int protocol; /* enum load_protocol */
	unsigned worker_count;
	unsigned connections;
	unsigned stalled; /* more subscribers, which never read */
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
	struct load_range destinations;
	struct load_range sources;
	double connect_rate; /* 0: as fast as they are accepted */
	unsigned server_pid; /* 0: not given */
	uint64_t seed;
	struct rc_tls_client_options tls;
	struct rc_connect_header token; /* of each request; without a value there is none */
	bool quiet;
	bool deflate;
};

struct load_report {
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
	struct histogram latency;
	struct histogram skew;
	uint64_t client_cpu_ns;

	/* Of the whole run, warm-up included. */
	struct load_tally tally;
	uint64_t corrupt;
	bool stalled; /* deliveries stopped coming before all were there */
	bool interrupted;

	/* The server, where its process was named. */
	struct process_cost before_connecting, after_connecting, begin, end;
};

/* Returns 0 when the run came to its end, whatever it found, or -1 after printing why it could not. */
int load_run(const struct load_options *options, struct load_report *report);

#endif
