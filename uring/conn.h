/* SPDX-License-Identifier: MIT
 *
 * conn.h - handles: from a number to the connection that it means, if that is still there.
 */
#ifndef RC_CONN_H
#define RC_CONN_H

#include "ringcast.h"

struct worker;

/* The worker that a handle names; null for one that there is not. Any thread. */
struct worker *rc_conn_worker_of(rc_server *server, rc_conn conn);

/* Whether the handle still means somebody. Any thread. */
bool rc_conn_is_fresh(const struct worker *worker, rc_conn conn);

/* The slot that a fresh handle means now, on its worker. False: a client's that has none at the moment. */
bool rc_conn_slot(const struct worker *worker, rc_conn conn, uint32_t *slot);

#endif
