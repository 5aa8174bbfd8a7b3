/* SPDX-License-Identifier: MIT
 *
 * compress.c - see compress.h. Compressors and the inflater of all connections without takeover belong to the worker,
 * so an idle compressed connection owns nothing.
 */
#include "compress.h"

#include "encode.h"

#include <string.h>

enum rc_window rc_compress_window(const struct connection *conn)
{
	return (enum rc_window)conn->window;
}

const struct rc_deflate_options *rc_compress_options(const struct worker *worker, const struct connection *conn)
{
	return &worker->server->listeners[conn->listener].deflate;
}

/* ---- agreeing ---- */

static void set_agreed(struct connection *conn, unsigned own_bits, bool peer_takeover)
{
	conn->deflate = true;
	conn->window = rc_window_for(own_bits) & 3;
	conn->takeover = peer_takeover;
}

/* Whether the connection subscribed, in its request, to one topic that is compressed for a cohort. */
static bool may_join_cohort(const struct worker *worker, const struct connection *conn)
{
	if (conn->subscription_count != 1)
		return false;
	uint32_t topic = rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->topic;
	return rc_topic_at(&worker->server->topics, topic)->options.cohort;
}

static void move_subscriptions(struct worker *worker, const struct connection *conn, bool join)
{
	for (uint32_t at = conn->first_subscription; at;) {
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		if (join)
			rc_encode_join(worker, conn, record->topic);
		else
			rc_encode_leave(worker, conn, record->topic);
		at = record->next;
	}
}

static bool make_inflater(struct worker *worker, uint32_t slot, unsigned bits)
{
	worker->inflaters[slot] = rc_inflater_new(bits);
	return worker->inflaters[slot] != NULL;
}

void rc_compress_negotiate(struct worker *worker, uint32_t slot, const struct rc_http_request *request,
                           char answer[RC_EXTENSION_SIZE_MAX])
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_deflate_options *options = rc_compress_options(worker, conn);
	struct rc_deflate agreed;
	answer[0] = 0;
	if (!options->on)
		return;
	bool cohort = may_join_cohort(worker, conn);
	const struct rc_deflate_wish wish = { .server_takeover = cohort,
		                              .client_takeover = options->client_takeover,
		                              .bits = (uint8_t)options->bits };
	rc_extension_accept(&agreed, answer, request, &wish);
	if (!agreed.on)
		return;
	if (agreed.client_takeover && !make_inflater(worker, slot, agreed.client_bits)) {
		answer[0] = 0;
		return;
	}
	pthread_mutex_lock(&worker->server->log_lock);
	move_subscriptions(worker, conn, false);
	set_agreed(conn, agreed.server_bits, agreed.client_takeover);
	if (agreed.server_takeover &&
	    rc_window_for(agreed.server_bits) == rc_window_for(worker->server->config.deflate.bits))
		conn->in_cohort = true;
	move_subscriptions(worker, conn, true);
	pthread_mutex_unlock(&worker->server->log_lock);
}

bool rc_compress_agreed(struct worker *worker, uint32_t slot, const struct rc_deflate *agreed)
{
	if (!agreed->on)
		return true;
	if (agreed->server_takeover && !make_inflater(worker, slot, agreed->server_bits))
		return false;
	set_agreed(&worker->connections[slot], agreed->client_bits, agreed->server_takeover);
	return true;
}

/* ---- what the worker's connections share ---- */

bool rc_compress_scratch(struct worker *worker, size_t size)
{
	if (worker->scratch_size >= size)
		return true;
	size_t capacity;
	uint8_t *block = rc_pool_take(&worker->pool, size, &capacity);
	if (!block)
		return false;
	rc_pool_give(&worker->pool, worker->scratch_bytes, worker->scratch_size);
	worker->scratch_bytes = block;
	worker->scratch_size = capacity;
	return true;
}

struct rc_deflater *rc_compress_deflater(struct worker *worker, enum rc_window window)
{
	struct rc_deflater **deflater = &worker->deflaters[window];
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
	if (!takeover && !worker->inflater)
		worker->inflater = rc_inflater_new(15);
	struct rc_inflater *inflater = takeover ? worker->inflaters[slot] : worker->inflater;
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
	size_t made = rc_deflate_message(deflater, worker->scratch_bytes, size + 4, data, size, true);
	return made < size ? made : 0;
}

/* ---- ending ---- */

void rc_compress_end(struct worker *worker, uint32_t slot)
{
	if (!worker->connections[slot].takeover)
		return;
	rc_inflater_free(worker->inflaters[slot]);
	worker->inflaters[slot] = NULL;
}

void rc_compress_close(struct worker *worker)
{
	for (unsigned i = 0; i < RC_WINDOW_COUNT; i++) {
		rc_deflater_free(worker->deflaters[i]);
		worker->deflaters[i] = NULL;
	}
	rc_inflater_free(worker->inflater);
	worker->inflater = NULL;
	rc_pool_give(&worker->pool, worker->scratch_bytes, worker->scratch_size);
	worker->scratch_bytes = NULL;
	worker->scratch_size = 0;
}
