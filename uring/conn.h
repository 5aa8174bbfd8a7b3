/* SPDX-License-Identifier: MIT
 *
 * conn.h - handles: from a number to the connection that it means, if that is still there.
 */
#ifndef RC_CONN_H
#define RC_CONN_H

#include "ringcast.h"

struct worker;

/* The worker that a handle names, and the slot; null for one that cannot be. Any thread. */
struct worker *rc_conn_worker_of(rc_server *server, rc_conn conn, uint32_t *slot);

/* Whether the handle means the connection that is in the slot now. Any thread. */
bool rc_conn_is_fresh(const struct worker *worker, uint32_t slot, rc_conn conn);

#endif
