/* SPDX-License-Identifier: MIT
 *
 * keep.h - a connection that is kept: after a plain request was answered, the next one may come on it (RFC 9112,
 * section 9.3).
 *
 *      HANDSHAKE -- answered at once --> HANDSHAKE           its handshake stays, with who the peer is
 *          |
 *          +--> OPEN, waits -- rc_respond() --> HANDSHAKE    likewise; the application hears of this request's end
 *
 * Between two requests it costs what a handshake costs, for at most idle_timeout_ms.
 */
#ifndef RC_KEEP_H
#define RC_KEEP_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

/* Whether the answer that is given now may be followed by another request: the peer wants that, has read what it was
 * sent before, and the server is not going away. */
bool rc_keep_may(const struct worker *worker, uint32_t slot);

/* The request was answered, and what was subscribed for it has ended: the connection waits for the next one. */
void rc_keep_next(struct worker *worker, uint32_t slot);

#endif
