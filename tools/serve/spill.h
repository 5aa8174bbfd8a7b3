/* SPDX-License-Identifier: MIT
 *
 * spill.h - where clients' messages stand in line while the log is full. A worker may not wait for the log, because it
 * may be the one that is behind. So a thread of its own waits, and publishes them in the order in which they came.
 *
 * While anything stands here, every message of every client must come here too, or one connection's messages would
 * overtake each other. The line is bounded: a message that does not fit is refused, and its sender is told.
 */
#ifndef SERVE_SPILL_H
#define SERVE_SPILL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringcast_publish.h"

#define SERVE_SPILL_SIZE_MAX ((size_t)32 << 20)

struct serve_spill_entry;

struct serve_spill {
	rc_server *server;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock. */
	struct serve_spill_entry *first, **end;
	size_t size;
	bool ending;
	/* Entries not yet published; it falls only after the publish. */
	_Atomic size_t count;
	_Atomic uint64_t failed; /* entries that could not be published at all */
};

/* Starts the thread. Returns 0 or a negative errno. */
int serve_spill_start(struct serve_spill *spill, rc_server *server);
/* After rc_server_join(): ends the thread, and drops what a stopped server no longer takes. */
void serve_spill_end(struct serve_spill *spill);

/* Whether messages must join the line. Asked by a worker before it publishes for a client. */
static inline bool serve_spill_is_used(struct serve_spill *spill)
{
	return atomic_load(&spill->count) != 0;
}

/* Copies messages into the line, which are published as one; each names its topic. Returns 0, -ENOBUFS when the line is
 * too long, -ENOMEM. */
int serve_spill_add(struct serve_spill *spill, const struct rc_batch_message *messages, size_t count);

#endif
