/* SPDX-License-Identifier: MIT
 *
 * say.h - frames of a connection's own: messages and control frames that are no broadcast.
 */
#ifndef RC_SAY_H
#define RC_SAY_H

#include <stddef.h>
#include <stdint.h>

struct worker;

/* Queues a frame, compressed if that was agreed and makes it smaller. Returns 0, -ENOBUFS or -ENOMEM. */
int rc_say_frame(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size);

/* Queues a Close, unless one was sent. When memory is out, it notes that the connection is to be cut. */
void rc_say_close(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size);

#endif
