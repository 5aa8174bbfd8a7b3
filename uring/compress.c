/* SPDX-License-Identifier: MIT
 *
 * compress.c - see compress.h. It must not know how a peer was agreed with, nor topics.
 *
 * Invariant: only a connection with takeover has an inflater of its own. The compressors, and one inflater for all
 * others, belong to the worker, so an idle connection owns nothing.
 */
#include "compress.h"

#include "worker.h"

#include <string.h>

enum rc_window rc_compress_window(const struct connection *conn)
{
	return (enum rc_window)conn->window;
}

const struct rc_deflate_options *rc_compress_options(const struct worker *worker, const struct connection *conn)
{
	return &worker->server->listeners[conn->listener].deflate;
}

/* ---- what the worker's connections share ---- */

bool rc_compress_scratch(struct worker *worker, size_t size)
{
	if (worker->compressor.scratch_size >= size)
		return true;
	size_t capacity;
	uint8_t *block = rc_pool_take(&worker->pool, size, &capacity);
	if (!block)
		return false;
	rc_pool_give(&worker->pool, worker->compressor.scratch_bytes, worker->compressor.scratch_size);
	worker->compressor.scratch_bytes = block;
	worker->compressor.scratch_size = capacity;
	return true;
}

struct rc_deflater *rc_compress_deflater(struct worker *worker, enum rc_window window)
{
	struct rc_deflater **deflater = &worker->compressor.deflaters[window];
	if (!*deflater)
		*deflater = rc_deflater_new(window, (int)worker->server->config.deflate.level);
	return *deflater;
}

/* ---- single messages ---- */

const char *rc_compress_inflate(struct worker *worker, uint32_t slot, const struct rc_event *event,
                                struct rc_inflated_message *message, uint16_t *code)
{
	const struct connection *conn = &worker->connections[slot];
	bool takeover = conn->takeover;
	if (!takeover && !worker->compressor.inflater)
		worker->compressor.inflater = rc_inflater_new(15);
	struct rc_inflater *inflater = takeover ? worker->compressor.inflaters[slot] : worker->compressor.inflater;
	enum rc_inflated result = !inflater
	                              ? RC_INFLATE_NO_MEMORY
	                              : rc_inflate_message(inflater, &worker->pool, event->data, event->size,
	                                                   worker->server->config.message_size_max, takeover, message);
	rc_count(&worker->stats.inflated, result == RC_INFLATED);
	switch (result) {
	case RC_INFLATED: {
		struct rc_utf8 utf8 = { 0 };
		if (event->opcode == RC_FRAME_BINARY ||
		    (rc_utf8_check(&utf8, message->data, message->size) && rc_utf8_complete(&utf8)))
			return NULL;
		rc_pool_give(&worker->pool, message->data, message->capacity);
		*code = RC_CLOSE_INVALID_DATA;
		return "text is not UTF-8";
	}
	case RC_INFLATE_TOO_BIG:
		*code = RC_CLOSE_TOO_BIG;
		return "message too big";
	case RC_INFLATE_MALFORMED:
		*code = RC_CLOSE_INVALID_DATA;
		return "malformed compressed message";
	default:
		*code = RC_CLOSE_INTERNAL;
		return "out of memory";
	}
}

size_t rc_compress_message(struct worker *worker, const struct connection *conn, const void *data, size_t size)
{
	size_t size_min = conn->client ? RC_DEFLATE_SIZE_MIN : rc_compress_options(worker, conn)->size_min;
	if (!conn->deflate || conn->in_cohort || size < size_min)
		return 0;
	struct rc_deflater *deflater = rc_compress_deflater(worker, rc_compress_window(conn));
	if (!deflater || !rc_compress_scratch(worker, size + 8))
		return 0;
	size_t made = rc_deflate_message(deflater, worker->compressor.scratch_bytes, size + 4, data, size, true);
	return made < size ? made : 0;
}

/* ---- opening and closing ---- */

bool rc_compress_open(struct worker *worker)
{
	worker->compressor.inflaters = rc_map(worker->slot_count * sizeof(struct rc_inflater *));
	return worker->compressor.inflaters;
}

void rc_compress_end(struct worker *worker, uint32_t slot)
{
	if (!worker->connections[slot].takeover)
		return;
	rc_inflater_free(worker->compressor.inflaters[slot]);
	worker->compressor.inflaters[slot] = NULL;
}

void rc_compress_close(struct worker *worker)
{
	for (unsigned i = 0; i < RC_WINDOW_COUNT; i++)
		rc_deflater_free(worker->compressor.deflaters[i]);
	rc_inflater_free(worker->compressor.inflater);
	rc_pool_give(&worker->pool, worker->compressor.scratch_bytes, worker->compressor.scratch_size);
	rc_unmap(worker->compressor.inflaters, worker->slot_count * sizeof(struct rc_inflater *));
	worker->compressor = (struct compressor){ 0 };
}
