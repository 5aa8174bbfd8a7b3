/* SPDX-License-Identifier: MIT
 *
 * sse.h - server-sent events (WHATWG HTML, section 9.2): the form of a message for clients without WebSocket.
 *
 *      id: 19a3c0ffee-2a         "EPOCH-NUMBER": the start of the server and the entry of its log, both in hexadecimal;
 *                               of a topic that is numbered elsewhere, epoch and sequence there, the same on all nodes
 *      data: {"price":          a line of the message
 *      data: 17}                the next
 *                               the end of the event
 */
#ifndef RC_SSE_H
#define RC_SSE_H

#include "ringcast.h"

#define RC_SSE_HEARTBEAT ":\n\n" /* a comment: a sign of life */

/* Writes what an event begins with before its data, and returns the size: its id, or nothing for an epoch of 0. */
size_t rc_sse_begin(uint8_t *to, struct rc_event_id id);

/* Writes an event and returns its size; with a null `to` it only returns the size. With an epoch of 0 the event has no
 * id. The lines of the text may end in CR, LF or both; its reader gets LF for each. */
size_t rc_sse_write(uint8_t *to, struct rc_event_id id, const uint8_t *text, size_t size);

#endif
