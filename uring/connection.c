/* SPDX-License-Identifier: MIT
 *
 * connection.c - see connection.h: slots, states, and what hangs off a connection. It must not know why one begins or
 * ends, nor what it is sent.
 */
#include "form.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>

static_assert(sizeof(struct handshake) <= RC_POOL_BLOCK_MIN && sizeof(struct rc_session) <= RC_POOL_BLOCK_MIN,
              "both lie in the smallest block");

void rc_connection_check(const struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_FREE) {
		RC_ASSERT(!rc_connection_is_busy(conn) && !conn->ends && !conn->outbox && !conn->handshake);
		return;
	}
	RC_ASSERT(atomic_load_explicit(&conn->generation, memory_order_relaxed));
	RC_ASSERT(!conn->closing_slot || conn->state == CONNECTION_ENDING);
	RC_ASSERT(conn->state != CONNECTION_ENDING || !conn->ends);
	/* A plan on its way is a send on its way: what was sealed is no plan any more. */
	RC_ASSERT(!conn->cursor.on_its_way || conn->sending || conn->state == CONNECTION_ENDING);
	RC_ASSERT(!conn->sending || !conn->polling);
	RC_ASSERT(conn->subscription_count ? conn->first_subscription : !conn->first_subscription);
	/* A connection that is behind is in the list of those that are looked after. */
	RC_ASSERT(!conn->cursor.behind || conn->listed || conn->state >= CONNECTION_CLOSING);
	if (conn->state != CONNECTION_ENDING)
		rc_cursor_check(&conn->cursor);
}

struct connection *rc_connection_begin(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	RC_ASSERT(conn->state == CONNECTION_FREE && !rc_connection_is_busy(conn));
	const struct connection before = *conn;
	memset(conn, 0, sizeof *conn);
	conn->queued = before.queued;
	conn->listed = before.listed;
	conn->stepping = before.stepping;
	uint32_t generation = atomic_load_explicit(&before.generation, memory_order_relaxed);
	atomic_store_explicit(&conn->generation, generation ? generation : 1, memory_order_relaxed);
	worker->used_count++;
	worker->slot_high = RC_MAX(worker->slot_high, slot + 1);
	rc_count(&worker->stats.connections, 1);
	return conn;
}

void rc_connection_close_slot(struct worker *worker, uint32_t slot)
{
	worker->connections[slot].state = CONNECTION_ENDING;
	worker->connections[slot].closing_slot = true;
	rc_ring_close_slot(worker->ring, slot, rc_tag(worker, TAG_SLOT_CLOSED, slot, 0));
}

void rc_connection_set_state(struct worker *worker, uint32_t slot, enum connection_state state, unsigned timeout_ms)
{
	struct connection *conn = &worker->connections[slot];
	conn->state = (uint8_t)state;
	conn->heard = rc_worker_ticks(worker);
	rc_worker_set_timer(worker, slot, timeout_ms);
}

unsigned rc_connection_silence_ms(const struct worker *worker, const struct connection *conn)
{
	const struct rc_config *config = &worker->server->config;
	unsigned half_ms = (config->idle_timeout_ms + 1) / 2, wish_ms = config->ping_interval_ms;
	return (wish_ms && wish_ms < half_ms ? wish_ms : half_ms) / (1 + conn->pace);
}

/* Each way has tags of its own: a cancel that comes late does not meet what was begun since. */
static uint64_t begin_receiving(struct worker *worker, uint32_t slot, enum reception how)
{
	struct connection *conn = &worker->connections[slot];
	conn->receiving = true;
	conn->reception = (uint8_t)how;
	return rc_tag(worker, TAG_RECEIVED, slot, how);
}

void rc_connection_receive(struct worker *worker, uint32_t slot, enum reception how)
{
	uint64_t tag = begin_receiving(worker, slot, how);
	if (how == RECEPTION_STREAM)
		rc_ring_receive(worker->ring, slot, tag);
	else
		rc_ring_receive_once(worker->ring, slot, NULL, 0, tag);
}

void rc_connection_receive_placed(struct worker *worker, uint32_t slot, uint8_t *to, size_t size)
{
	rc_ring_receive_once(worker->ring, slot, to, size, begin_receiving(worker, slot, RECEPTION_PLACED));
}

void rc_connection_receive_end(struct worker *worker, uint32_t slot)
{
	rc_ring_cancel(worker->ring, slot, rc_tag(worker, TAG_RECEIVED, slot, worker->connections[slot].reception),
	               rc_tag(worker, TAG_CANCELLED, slot, 0));
}

/* ---- the outbox ---- */

struct rc_outbox *rc_connection_outbox(struct worker *worker, struct connection *conn)
{
	if (!conn->outbox)
		conn->outbox = rc_outbox_new(&worker->pool);
	return conn->outbox;
}

bool rc_connection_put(struct worker *worker, uint32_t slot, const void *bytes, size_t size)
{
	struct rc_outbox *outbox = rc_connection_outbox(worker, &worker->connections[slot]);
	bool full;
	uint8_t *at = outbox ? rc_outbox_add(outbox, &worker->pool, size, SIZE_MAX, &full) : NULL;
	if (!at)
		return false;
	memcpy(at, bytes, size);
	rc_worker_queue(worker, slot);
	return true;
}

void rc_connection_drop_outbox(struct worker *worker, struct connection *conn)
{
	rc_outbox_free(conn->outbox, &worker->pool);
	conn->outbox = NULL;
}

/* ---- the handshake, and the session that takes its place ---- */

struct handshake *rc_handshake_new(struct worker *worker)
{
	size_t capacity;
	struct handshake *handshake = rc_pool_take(&worker->pool, sizeof *handshake, &capacity);
	if (handshake)
		memset(handshake, 0, sizeof *handshake);
	return handshake;
}

void rc_handshake_free(struct worker *worker, struct handshake *handshake)
{
	if (!handshake)
		return;
	rc_pool_give(&worker->pool, handshake->bytes, handshake->capacity);
	rc_pool_give(&worker->pool, handshake, RC_POOL_BLOCK_MIN);
}

void rc_connection_free_parts(struct worker *worker, struct connection *conn, enum connection_state before)
{
	if (rc_form_has_handshake(conn, before)) {
		rc_handshake_free(worker, conn->handshake);
	} else if (conn->receiving && conn->reception == RECEPTION_PLACED) {
		return; /* the kernel may still write there */
	} else if (conn->session) {
		rc_session_reset(conn->session, &worker->pool);
		rc_pool_give(&worker->pool, conn->session, RC_POOL_BLOCK_MIN);
	}
	conn->session = NULL;
}

char *rc_handshake_gather(struct worker *worker, struct handshake *handshake, const uint8_t *bytes, size_t size,
                          size_t *total)
{
	if (handshake->size + size > handshake->capacity) {
		size_t capacity;
		char *block = rc_pool_take(&worker->pool, handshake->size + size, &capacity);
		if (!block)
			return NULL;
		if (handshake->size)
			memcpy(block, handshake->bytes, handshake->size);
		rc_pool_give(&worker->pool, handshake->bytes, handshake->capacity);
		handshake->bytes = block;
		handshake->capacity = capacity;
	}
	memcpy(handshake->bytes + handshake->size, bytes, size);
	handshake->size += size;
	*total = handshake->size;
	return handshake->bytes;
}
