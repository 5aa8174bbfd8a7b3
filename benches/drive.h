/* SPDX-License-Identifier: MIT
 *
 * drive.h - how a benchmark in C drives the library: the clock, a server on which a path is the list of topics that a
 * connection gets (/17,204), and connections to it in the client role. It must not know what is published.
 */
#ifndef BENCHES_DRIVE_H
#define BENCHES_DRIVE_H

#include "ringcast.h"
#include "ringcast_client.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DRIVE_URL_SIZE 4096
#define DRIVE_IN_FLIGHT_MAX 256 /* handshakes at a time */
#define DRIVE_SUBSCRIPTIONS_MAX 4096
#define NS_PER_SECOND UINT64_C(1000000000)

static inline uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static inline void sleep_until(uint64_t ns)
{
	struct timespec until = { (time_t)(ns / NS_PER_SECOND), (long)(ns % NS_PER_SECOND) };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

_Noreturn static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
	exit(1);
}

/* What such a server answers a handshake with: 0, or a status. */
static inline int drive_subscribe(rc_request *request)
{
	const char *names = rc_request_path(request) + 1;
	for (size_t size; *names; names += size + (names[size] == ',')) {
		size = strcspn(names, ",");
		if (rc_subscribe(rc_request_server(request), rc_request_conn(request), names, size, NULL) < 0)
			return 400;
	}
	return 0;
}

/* Whoever is not in its turn is silent, and nobody is pinged for it. */
static inline void drive_config(struct rc_config *config)
{
	rc_config_init(config);
	config->worker_count = 1;
	config->idle_timeout_ms = 0;
	config->handshake_timeout_ms = 60000;
	config->subscriptions_max = DRIVE_SUBSCRIPTIONS_MAX;
}

/* Makes and starts a server on a port, or on a free one ("0"). Returns its port. */
static inline int drive_serve(const struct rc_config *config, const char *port, rc_server **server)
{
	char address[64];
	struct rc_error error;
	*server = rc_server_new(config, &error);
	snprintf(address, sizeof address, "127.0.0.1:%s", port);
	int bound = *server ? rc_server_listen(*server, address, &error) : -1;
	if (bound < 0 || rc_server_start(*server, &error))
		die(error.text);
	return bound;
}

/* Connections of the client role. Its handlers count what opened and what ended. */
struct drive {
	rc_server *server;
	int port;
	bool ending; /* whoever is closed now is no surprise */
	atomic_uint opened, closed;
};

static inline void drive_on_open(void *context, rc_conn conn, void *user)
{
	struct drive *drive = context;
	(void)conn;
	(void)user;
	drive->opened++;
}

static inline void drive_on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct drive *drive = context;
	(void)conn;
	(void)user;
	if (!drive->closed++ && !drive->ending)
		fprintf(stderr, "%s: a connection ended: status %d, code %u %.*s\n", program_invocation_short_name,
		        closing->status, closing->code, (int)closing->reason_size,
		        closing->reason ? closing->reason : "");
}

static inline void drive_start(struct drive *drive, int port,
                               void (*on_message)(void *, rc_conn, void *, const struct rc_message *))
{
	struct rc_config config;
	struct rc_error error;
	drive_config(&config);
	config.log_size = 65536; /* this role publishes nothing */
	config.handlers = (struct rc_handlers){
		.context = drive, .open = drive_on_open, .message = on_message, .close = drive_on_close
	};
	drive->port = port;
	drive->server = rc_server_new(&config, &error);
	if (!drive->server || rc_server_start(drive->server, &error))
		die(error.text);
}

/* Opens `all` connections, so many at a time. path_of writes the path of each, and says what its `user` is. */
static inline void drive_connect(struct drive *drive, unsigned all,
                                 void *(*path_of)(struct drive *, unsigned index, char *path, size_t size))
{
	for (unsigned begun = 0; drive->opened < all;) {
		char url[DRIVE_URL_SIZE];
		struct rc_connect_options options = { 0 };
		if (drive->closed)
			die("not all connections could be opened");
		if (begun == all || begun - drive->opened >= DRIVE_IN_FLIGHT_MAX) {
			sleep_until(now_ns() + 200000);
			continue;
		}
		int size = snprintf(url, sizeof url, "ws://127.0.0.1:%d/", drive->port);
		options.user = path_of(drive, begun++, url + size, sizeof url - (size_t)size);
		if (strlen(url) + 1 >= sizeof url)
			die("too many topics for one path");
		if (rc_connect(drive->server, 0, url, &options))
			die("a connection cannot be begun");
	}
}

/* A counter that one worker adds to: only reading it need be atomic. */
static inline void drive_count(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
	                      memory_order_relaxed);
}

#endif
