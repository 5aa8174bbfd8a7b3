/* SPDX-License-Identifier: MIT
 *
 * deflate.c - see deflate.h. It must not know frames or connections.
 */
#include "deflate.h"

#include "bounds.h"
#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define TAIL_SIZE 4 /* 00 00 ff ff */

struct rc_deflater {
	z_stream stream;
};

struct rc_inflater {
	z_stream stream;
};

enum rc_window rc_window_for(unsigned bits)
{
	return bits < 9 ? RC_WINDOW_8 : bits < 12 ? RC_WINDOW_9 : bits < 15 ? RC_WINDOW_12 : RC_WINDOW_15;
}

struct rc_deflater *rc_deflater_new(enum rc_window window, int level)
{
	static const int bits[] = { [RC_WINDOW_8] = 9, [RC_WINDOW_9] = 9, [RC_WINDOW_12] = 12, [RC_WINDOW_15] = 15 };
	static const int memory[] = { [RC_WINDOW_8] = 1, [RC_WINDOW_9] = 1, [RC_WINDOW_12] = 5, [RC_WINDOW_15] = 8 };
	/* zlib makes no window of 256 bytes; run lengths look back one byte only, so they fit in any. */
	int strategy = window == RC_WINDOW_8 ? Z_RLE : Z_DEFAULT_STRATEGY;
	struct rc_deflater *deflater = calloc(1, sizeof *deflater);
	if (!deflater)
		return NULL;
	if (deflateInit2(&deflater->stream, level, Z_DEFLATED, -bits[window], memory[window], strategy) != Z_OK) {
		free(deflater);
		return NULL;
	}
	return deflater;
}

void rc_deflater_free(struct rc_deflater *deflater)
{
	if (!deflater)
		return;
	deflateEnd(&deflater->stream);
	free(deflater);
}

size_t rc_deflate_bound(size_t size)
{
	/* The smallest compressor closes a block every 127 bytes, and stores it with 5 bytes more where nothing
	 * shrinks. The flush comes on top. */
	return size + size / 16 + 64;
}

size_t rc_deflate_message(struct rc_deflater *deflater, uint8_t *to, size_t to_size, const uint8_t *from, size_t size,
                          bool fresh)
{
	z_stream *stream = &deflater->stream;
	if (fresh)
		deflateReset(stream);
	stream->next_in = (Bytef *)(uintptr_t)from;
	stream->avail_in = (uInt)size;
	stream->next_out = to;
	stream->avail_out = (uInt)to_size;
	int result = deflate(stream, Z_SYNC_FLUSH);
	/* Full output means that the flush may not be complete. */
	if (result != Z_OK || stream->avail_in || !stream->avail_out) {
		deflateReset(stream);
		return 0;
	}
	size_t made = to_size - stream->avail_out;
	/* An empty message leaves nothing to flush: section 7.2.3.6 gives its one byte. */
	if (made < TAIL_SIZE + 1) {
		to[0] = 0;
		return 1;
	}
	RC_ASSERT(memcmp(to + made - TAIL_SIZE, "\0\0\xff\xff", TAIL_SIZE) == 0);
	return made - TAIL_SIZE;
}

struct rc_inflater *rc_inflater_new(unsigned bits)
{
	struct rc_inflater *inflater = calloc(1, sizeof *inflater);
	if (!inflater)
		return NULL;
	if (inflateInit2(&inflater->stream, -(int)RC_MAX(bits, 8u)) != Z_OK) {
		free(inflater);
		return NULL;
	}
	return inflater;
}

void rc_inflater_free(struct rc_inflater *inflater)
{
	if (!inflater)
		return;
	inflateEnd(&inflater->stream);
	free(inflater);
}

/* Makes room for more output, but at most for one byte past the limit, which tells "too big" from "just fits". */
static bool grow(struct rc_pool *pool, struct rc_inflated_message *message, size_t size_max)
{
	size_t capacity, wanted = message->capacity ? message->capacity * 2 : 4 * RC_KIB;
	uint8_t *block = rc_pool_take(pool, RC_MIN(wanted, size_max + 1), &capacity);
	if (!block)
		return false;
	if (message->size)
		memcpy(block, message->data, message->size);
	rc_pool_give(pool, message->data, message->capacity);
	message->data = block;
	message->capacity = capacity;
	return true;
}

/* Inflates all of one piece of input. */
static enum rc_inflated feed(struct rc_inflater *inflater, struct rc_pool *pool, const uint8_t *from, size_t size,
                             size_t size_max, struct rc_inflated_message *message)
{
	z_stream *stream = &inflater->stream;
	stream->next_in = (Bytef *)(uintptr_t)from;
	stream->avail_in = (uInt)size;
	for (;;) {
		if (message->size == message->capacity && !grow(pool, message, size_max))
			return RC_INFLATE_NO_MEMORY;
		size_t room = RC_MIN(message->capacity, size_max + 1) - message->size;
		stream->next_out = message->data + message->size;
		stream->avail_out = (uInt)room;
		int result = inflate(stream, Z_SYNC_FLUSH);
		message->size += room - stream->avail_out;
		if (message->size > size_max)
			return RC_INFLATE_TOO_BIG;
		/* A final block is allowed, and what follows it is another stream with the same window
		 * (section 7.2.3.5). */
		if (result == Z_STREAM_END)
			result = inflateResetKeep(stream);
		if (result != Z_OK && result != Z_BUF_ERROR)
			return result == Z_MEM_ERROR ? RC_INFLATE_NO_MEMORY : RC_INFLATE_MALFORMED;
		if (!stream->avail_in && stream->avail_out)
			return RC_INFLATED;
		if (result == Z_BUF_ERROR && stream->avail_out)
			return RC_INFLATE_MALFORMED;
	}
}

enum rc_inflated rc_inflate_message(struct rc_inflater *inflater, struct rc_pool *pool, const uint8_t *from,
                                    size_t size, size_t size_max, bool takeover, struct rc_inflated_message *message)
{
	static const uint8_t tail[TAIL_SIZE] = { 0x00, 0x00, 0xff, 0xff };
	*message = (struct rc_inflated_message){ 0 };
	enum rc_inflated result = feed(inflater, pool, from, size, size_max, message);
	if (result == RC_INFLATED)
		result = feed(inflater, pool, tail, sizeof tail, size_max, message);
	/* zlib tells where it stands: bit 7 is set between two blocks, the low bits count what is left of a byte. */
	if (result == RC_INFLATED && (inflater->stream.data_type & (128 | 63)) != 128)
		result = RC_INFLATE_MALFORMED;
	if (result != RC_INFLATED) {
		rc_pool_give(pool, message->data, message->capacity);
		*message = (struct rc_inflated_message){ 0 };
	}
	if (result != RC_INFLATED || !takeover)
		inflateReset(&inflater->stream);
	return result;
}
