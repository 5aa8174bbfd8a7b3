/* SPDX-License-Identifier: MIT
 *
 * frames.h - from frames that arrive to messages for the application, answers to Pings, and notes of what went wrong.
 */
#ifndef RC_FRAMES_H
#define RC_FRAMES_H

#include <stddef.h>
#include <stdint.h>

struct connection;
struct worker;

/* Reads frames until the bytes are used up or the connection's end is noted. In the second case the caller acts on the
 * note, and calls again if the connection still listens. Returns the first byte that was not read. */
uint8_t *rc_frames_take(struct worker *worker, uint32_t slot, uint8_t *at, uint8_t *end);

/* How much of the data frame that is being received is still to come. */
size_t rc_frames_rest(const struct connection *conn);

/* Where that belongs, if it can be received right there: *to, and how much of it has room. Else 0. */
size_t rc_frames_place(struct worker *worker, uint32_t slot, uint8_t **to);

/* `size` bytes have come there. */
void rc_frames_placed(struct worker *worker, uint32_t slot, size_t size);

#endif
