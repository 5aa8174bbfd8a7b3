/* SPDX-License-Identifier: MIT
 *
 * feeder.h - a thread that publishes a recorded feed, or the demonstration market, into a server of this process, each
 * message when it is due.
 */
#ifndef SERVE_FEEDER_H
#define SERVE_FEEDER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "book/publisher.h"
#include "demo.h"
#include "lib/feed.h"
#include "ringcast.h"

struct serve_feeder {
	/* Set before the start. */
	rc_server *server;
	const char *path; /* a recording, or null for the demonstration market */
	double speed;     /* times the recorded pace; 0: as fast as the log takes it */
	bool loop;
	uint64_t seed;
	bool quiet;

	/* The thread's own. */
	pthread_t thread;
	int stop; /* eventfd */
	_Atomic bool stopping;
	bool running;
	uint64_t published;
	struct feed feed;
	struct serve_demo demo;
	struct market books; /* of the demonstration: one, that of its busiest instrument */
	struct book_publisher publisher;
};

/* Opens the recording, or the demonstration market. Returns 0, or -1 after printing why. */
int serve_feeder_open(struct serve_feeder *feeder);
/* Starts the thread. Returns 0, or -1 after printing why. */
int serve_feeder_start(struct serve_feeder *feeder);
/* Ends the thread, where there is one, and closes the recording. */
void serve_feeder_close(struct serve_feeder *feeder);

#endif
