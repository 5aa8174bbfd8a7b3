/* SPDX-License-Identifier: MIT
 *
 * deflate.h - one message to raw DEFLATE and back, with zlib. The message ends in an empty stored block, of which the
 * last four bytes are not sent (RFC 7692, section 7.2).
 */
#ifndef RC_DEFLATE_H
#define RC_DEFLATE_H

#include "pool.h"

#include <stdbool.h>
#include <stdint.h>

/* The windows that compressors are made for. The size that was agreed is rounded down to one of these. */
enum rc_window { RC_WINDOW_8, RC_WINDOW_9, RC_WINDOW_12, RC_WINDOW_15, RC_WINDOW_COUNT };

enum rc_window rc_window_for(unsigned bits);

struct rc_deflater;

/* `level` is zlib's, 1 to 9. Null when memory is out. One thread at a time. */
struct rc_deflater *rc_deflater_new(enum rc_window window, int level);
void rc_deflater_free(struct rc_deflater *deflater);

/* The room that a message of this size needs at most when it is compressed. */
size_t rc_deflate_bound(size_t size);

/* Compresses a message. A `fresh` one refers to no earlier message, so that a reader can begin with it. Returns the
 * size, or 0 when it does not fit in `to_size`; the compressor has then begun anew. */
size_t rc_deflate_message(struct rc_deflater *deflater, uint8_t *to, size_t to_size, const uint8_t *from, size_t size,
                          bool fresh);

struct rc_inflater;

/* Null when memory is out. One thread at a time. */
struct rc_inflater *rc_inflater_new(unsigned bits);
void rc_inflater_free(struct rc_inflater *inflater);

enum rc_inflated { RC_INFLATED, RC_INFLATE_MALFORMED, RC_INFLATE_TOO_BIG, RC_INFLATE_NO_MEMORY };

struct rc_inflated_message {
	uint8_t *data; /* block of the pool, null for an empty message */
	size_t size, capacity;
};

/* Decompresses a message of at most size_max bytes. However large it would become, it takes at most twice that much
 * memory. `takeover`: the next message may refer to this one. After anything but RC_INFLATED nothing is kept. */
enum rc_inflated rc_inflate_message(struct rc_inflater *inflater, struct rc_pool *pool, const uint8_t *from,
                                    size_t size, size_t size_max, bool takeover, struct rc_inflated_message *message);

#endif
