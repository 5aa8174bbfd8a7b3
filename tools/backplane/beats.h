/* SPDX-License-Identifier: MIT
 *
 * beats.h - leases of nodes by what they say once a second, beside the stream, so that it is not filled by nothing: for
 * engines that pass messages on and keep no keys. Who was heard lately holds a lease. Pure state: the engine sends and
 * hears, and says what time it is.
 *
 * Invariant: nobody ends while this node does not hear itself, since then it is this node that is cut off.
 */
#ifndef BACKPLANE_BEATS_H
#define BACKPLANE_BEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BEATS_NODES_MAX 4096
#define BEATS_EACH_MS 1000
#define BEATS_SIZE 20 /* of a beat: "RCB1" and the node's number in hexadecimal */

struct beats {
	uint64_t self, sent_ms; /* sent_ms 0: never */
	bool broke;             /* its own lease ended, and it was not said */
	unsigned count;
	struct beat_of {
		uint64_t node, heard_ms;
	} * nodes; /* itself first */
};

/* Returns 0 or -ENOMEM. */
int beats_begin(struct beats *beats, uint64_t self, uint64_t now_ms);
void beats_end(struct beats *beats);

/* Whether it is time to send one. When it was sent: beats->sent_ms. */
bool beats_are_due(const struct beats *beats, uint64_t now_ms);
void beats_write(const struct beats *beats, char text[static BEATS_SIZE + 1]);
/* What came. Bytes that are no beat are dropped, as is one more node than there may be. */
void beats_hear(struct beats *beats, const void *bytes, size_t size, uint64_t now_ms);
/* Visits whose lease holds, and forgets the others. Returns whether its own has held since the last call. */
bool beats_visit(struct beats *beats, unsigned ttl_ms, uint64_t now_ms, void (*visit)(void *context, uint64_t node),
                 void *context);

#endif
