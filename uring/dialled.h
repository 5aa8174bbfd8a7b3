/* SPDX-License-Identifier: MIT
 *
 * dialled.h - the handles of the client role. Such a handle means what one rc_connect() began: while a name is looked
 * up, through every socket that it gets, and in the pauses between them. So it names an entry here, which names the
 * slot of the moment. The entries never move, so that any thread may look whether a handle is fresh.
 */
#ifndef RC_DIALLED_H
#define RC_DIALLED_H

#include "bounds.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct worker;
struct dial;

#define RC_DIALLED_CHUNKS 14 /* each twice as large as the one before */
#define RC_DIALLED_FIRST 256u

struct dialled {
	_Atomic uint32_t generation; /* of the handle that is fresh, if it is given */
	uint32_t slot;               /* + 1; 0: none. This and `dial` are the worker's */
	uint32_t next_free;          /* + 1 */
	struct dial *dial;           /* what is to be done still; null before, and when it is open for the only time */
};

struct dialled_table {
	_Atomic(struct dialled *) chunks[RC_DIALLED_CHUNKS];
	pthread_mutex_t lock; /* for what follows */
	uint32_t made, free;  /* free: + 1 */
	uint32_t *of_slot;    /* + 1; the worker's */
};

void rc_dialled_open(struct dialled_table *table);
void rc_dialled_close(struct dialled_table *table);

/* A handle for a new dial. Any thread. Returns 0, or -ENOMEM when memory or the indices are used up. */
int rc_dialled_take(struct worker *worker, uint32_t *index);

/* Its handle is stale from now on. On the worker, or where that has never heard of it. */
void rc_dialled_give(struct worker *worker, uint32_t index);

/* How many entries there are: indices below may have been given. Any thread. */
uint32_t rc_dialled_count(struct worker *worker);

/* The entry of an index; null when none was made. Any thread. */
struct dialled *rc_dialled_at(const struct worker *worker, uint32_t index);

rc_conn rc_dialled_handle(const struct worker *worker, uint32_t index);

/* The handle of the client's connection in a slot; 0 when it has lost it. */
rc_conn rc_dialled_handle_of(const struct worker *worker, uint32_t slot);

/* The entry that a handle means; null for a stale one, and for handles of the server role. Any thread. */
struct dialled *rc_dialled_find(const struct worker *worker, rc_conn conn);

#endif
