/* SPDX-License-Identifier: MIT
 *
 * compress.h - permessage-deflate on a worker: its compressors and inflaters, and single messages both ways. What is
 * agreed with a peer: agree.h. Broadcasts: encode.h.
 */
#ifndef RC_COMPRESS_H
#define RC_COMPRESS_H

#include "connection.h"
#include "deflate.h"
#include "extension.h"
#include "http.h"

struct worker;

struct compressor {
	struct rc_deflater *deflaters[RC_WINDOW_COUNT]; /* made when first needed */
	struct rc_inflater *inflater;                   /* of all without takeover */
	struct rc_inflater **inflaters;                 /* by slot, with takeover */
	uint8_t *scratch_bytes;                         /* what a compressor made last: a block of the pool */
	size_t scratch_size;
};

/* False when memory is out. */
bool rc_compress_open(struct worker *worker);

/* The window of what we compress for it, and what its listener says of compression. */
enum rc_window rc_compress_window(const struct connection *conn);
const struct rc_deflate_options *rc_compress_options(const struct worker *worker, const struct connection *conn);

/* Makes the worker's scratch at least that large. False when memory is out. */
bool rc_compress_scratch(struct worker *worker, size_t size);

/* The worker's compressor for a window; null when memory is out. */
struct rc_deflater *rc_compress_deflater(struct worker *worker, enum rc_window window);

/* Inflates a message; the block is the caller's to give back. Returns null, or what is wrong with it, and then a close
 * code in *code. */
const char *rc_compress_inflate(struct worker *worker, uint32_t slot, const struct rc_event *event,
                                struct rc_inflated_message *message, uint16_t *code);

/* Compresses a message of the connection's own into the worker's scratch. Returns the size, 0: it goes as it is. */
size_t rc_compress_message(struct worker *worker, const struct connection *conn, const void *data, size_t size);

/* Frees what a connection or a worker had. */
void rc_compress_end(struct worker *worker, uint32_t slot);
void rc_compress_close(struct worker *worker);

#endif
