/* SPDX-License-Identifier: MIT
 *
 * times.h - how long things took, by powers of two: handshakes, round trips, lag. Nobody decides anything by it.
 */
#ifndef RC_TIMES_H
#define RC_TIMES_H

#include "ringcast_stats.h"

/* One writer: the worker that it belongs to. */
void rc_times_note(struct rc_times *times, uint64_t ns);

/* What a Ping of ours carries: when it left, hidden by a number that no peer knows. */
#define RC_PING_MARK_SIZE 8
struct worker;
void rc_times_mark_ping(const struct worker *worker, uint8_t mark[RC_PING_MARK_SIZE]);
/* A Pong came for a Ping of ours. A payload that no such Ping carried counts for nothing. Returns the pace of its
 * connection: how slow the way is, from 0. */
unsigned rc_times_take_pong(struct worker *worker, const uint8_t *data, size_t size);

#endif
