/* SPDX-License-Identifier: MIT
 *
 * keep.c - see keep.h. It must not know what a request or an answer is.
 *
 * Invariant: nothing of one request is left when the next one begins, but for what its answer has yet to send.
 */
#include "keep.h"

#include "form.h"
#include "worker.h"

#include <string.h>

bool rc_keep_may(const struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	size_t waits = conn->outbox ? rc_outbox_size(conn->outbox) : 0;
	return conn->handshake->keeps && waits < RC_ANSWERS_WAITING_MAX && !atomic_load(&worker->server->stop_at_ns);
}

void rc_keep_next(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	struct handshake *handshake = conn->handshake;
	rc_pool_give(&worker->pool, handshake->bytes, handshake->capacity);
	handshake->bytes = NULL;
	handshake->size = handshake->capacity = 0;
	handshake->head_judged = handshake->keeps = false;
	handshake->answered = true;
	handshake->chunks = (struct rc_http_chunks){ 0 };
	conn->form = FORM_FRAMES;
	conn->user = NULL;
	conn->close_code = 0;
	conn->close_sent = conn->close_received = conn->by_peer = conn->pinged = false;
	rc_connection_set_state(worker, slot, CONNECTION_HANDSHAKE, worker->server->config.idle_timeout_ms);
}
