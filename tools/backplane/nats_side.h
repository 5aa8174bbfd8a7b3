/* SPDX-License-Identifier: MIT
 *
 * nats_side.h - a connection to NATS, with JetStream's context and an inbox: one for reading, one for writing. It must
 * not know what is read or written.
 *
 * Invariant: the library mends no connection (it would send again what it had not sent, and tell nobody of what was
 * missed): a connection that was lost is closed.
 */
#ifndef BACKPLANE_NATS_SIDE_H
#define BACKPLANE_NATS_SIDE_H

#include <nats/nats.h>

#include "engine.h"

#define NATS_NAME_SIZE 128
#define NATS_CALL_MS 1500 /* how long a request may take */

struct nats_side {
	natsConnection *nats; /* null: none */
	jsCtx *stream;
	bool is_writer;
	natsSubscription *inbox; /* of `subject`; of a writer, of all that are that and one more word */
	char subject[NATS_NAME_SIZE];
	size_t subject_size;
	unsigned host; /* of the URL's, to try next */
};

/* Connects, unless there is a good connection. */
int nats_side_enter(struct nats_side *side, const struct backplane_url *url, char why[static ENGINE_WHY_SIZE]);
void nats_side_leave(struct nats_side *side);

/* Subscribes to an inbox of a new name. */
natsStatus nats_side_inbox(struct nats_side *side);

/* Of a writer: awaits the stream's answers to what was published with the tags from `first` on, and marks those that it
 * has. -ENOENT: no stream takes them; -EIO: it refuses some, and the connection is good. */
int nats_side_await(struct nats_side *side, uint64_t first, struct engine_packet *packets, size_t count,
                    char why[static ENGINE_WHY_SIZE]);

/* Says what failed, in words. Returns an errno for it. */
int nats_failed(char why[static ENGINE_WHY_SIZE], const char *what, natsStatus status);
/* The same of a request to JetStream. */
int nats_failed_at(char why[static ENGINE_WHY_SIZE], const char *what, natsStatus status, jsErrCode code);

#endif
