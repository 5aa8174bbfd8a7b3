/* SPDX-License-Identifier: MIT
 *
 * accept.h - how connections come in: a worker's listeners, and what is decided before anything is received.
 */
#ifndef RC_ACCEPT_H
#define RC_ACCEPT_H

#include "bounds.h"
#include "ring.h"

struct worker;

struct acceptor {
	int fds[RC_LISTENERS_MAX];
	uint32_t armed, ended;     /* one bit for each listener */
	uint64_t again_ns;         /* 0, or when to arm those that ended */
	uint32_t *address_indexes; /* by slot, with connections_per_address: what rc_addresses_leave() wants */
	uint32_t *unopened;        /* by slot, with handlers.unopened_max: the same, + 1; 0: it does not count there */
};

/* Arms every listener. */
void rc_accept_begin(struct worker *worker);

/* A completion of a listener. */
void rc_accept_completed(struct worker *worker, unsigned listener, const struct rc_completion *completion);

/* Arms once more those that ended, when it is time. */
void rc_accept_again(struct worker *worker);

/* A connection is open, or over: it no longer counts among those of its address that are not open. */
void rc_accept_opened(struct worker *worker, uint32_t slot);

/* A slot has become free: listeners that wait for one are armed by the next rc_accept_again(). */
void rc_accept_room(struct worker *worker);

/* Takes no more connections. That is complete when no listener is armed any more: only then does the kernel let go of
 * the listening sockets, and their addresses are free again. */
void rc_accept_stop(struct worker *worker);

#endif
