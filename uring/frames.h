/* SPDX-License-Identifier: MIT
 *
 * frames.h - from frames that arrive to messages for the application, answers to Pings, and notes of what went wrong.
 */
#ifndef RC_FRAMES_H
#define RC_FRAMES_H

#include <stdint.h>

struct worker;

/* Reads frames until the bytes are used up or the connection's end is noted. In the second case the caller acts on the
 * note, and calls again if the connection still listens. Returns the first byte that was not read. */
uint8_t *rc_frames_take(struct worker *worker, uint32_t slot, uint8_t *at, uint8_t *end);

#endif
