/* SPDX-License-Identifier: MIT
 *
 * accept.h - how connections come in: a worker's listeners, and what is decided before anything was received.
 */
#ifndef RC_ACCEPT_H
#define RC_ACCEPT_H

#include "limits.h"
#include "ring.h"

struct worker;

struct acceptor {
	int fds[RC_LISTENERS_MAX];
	uint32_t armed, ended;     /* a bit a listener */
	uint64_t again_ns;         /* 0, or when to arm those that ended */
	uint32_t *address_indexes; /* by slot, with connections_per_address: what rc_addresses_leave() wants */
};

/* Arms every listener. */
void rc_accept_begin(struct worker *worker);

/* A completion of a listener. */
void rc_accept_completed(struct worker *worker, unsigned listener, const struct rc_completion *completion);

/* Arms again those that ended, when it is time. */
void rc_accept_again(struct worker *worker);

/* A slot has become free: who waits for one need not wait any longer. */
void rc_accept_room(struct worker *worker);

/* No more are taken. It has ended when nothing is armed: the kernel lets go of a listening socket only then, and its
 * address is free again. */
void rc_accept_stop(struct worker *worker);

#endif
