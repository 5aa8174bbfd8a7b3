/* SPDX-License-Identifier: MIT
 *
 * deflate.h - one message to and from raw DEFLATE as RFC 7692, section 7.2, cuts it: the last four bytes of an empty
 * stored block are not sent. On zlib.
 */
#ifndef RC_DEFLATE_H
#define RC_DEFLATE_H

#include "pool.h"

#include <stdbool.h>
#include <stdint.h>

/* Windows that a compressor is made for; what was agreed is rounded down to one of these. */
enum rc_window { RC_WINDOW_8, RC_WINDOW_9, RC_WINDOW_12, RC_WINDOW_15, RC_WINDOW_COUNT };

enum rc_window rc_window_for(unsigned bits);

struct rc_deflater;

/* `level` is zlib's, 1 to 9. Null without memory. One thread at a time. */
struct rc_deflater *rc_deflater_new(enum rc_window window, int level);
void rc_deflater_free(struct rc_deflater *deflater);

/* What a compressed message may need at most. */
size_t rc_deflate_bound(size_t size);

/* Compresses a message; `fresh` begins without what came before, so that it can be read by whoever joins here. Returns
 * the size, or 0 when it does not fit in `to_size`: then the compressor has begun anew. */
size_t rc_deflate_message(struct rc_deflater *deflater, uint8_t *to, size_t to_size, const uint8_t *from, size_t size,
                          bool fresh);

struct rc_inflater;

/* Null without memory. One thread at a time. */
struct rc_inflater *rc_inflater_new(unsigned bits);
void rc_inflater_free(struct rc_inflater *inflater);

enum rc_inflated { RC_INFLATED, RC_INFLATE_MALFORMED, RC_INFLATE_TOO_BIG, RC_INFLATE_NO_MEMORY };

struct rc_inflated_message {
	uint8_t *data; /* block of the pool, null for an empty message */
	size_t size, capacity;
};

/* Decompresses a message of at most size_max bytes; it never takes more memory than twice that, whatever it would
 * become. `takeover`: the next message may refer to this one. After anything but RC_INFLATED nothing is kept. */
enum rc_inflated rc_inflate_message(struct rc_inflater *inflater, struct rc_pool *pool, const uint8_t *from,
                                    size_t size, size_t size_max, bool takeover, struct rc_inflated_message *message);

#endif
