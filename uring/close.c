/* SPDX-License-Identifier: MIT
 *
 * close.c - see close.h. It must not know why a connection ends.
 *
 * Invariant: a slot is closed, once, when its connection is ENDING, nothing is on its way and the kernel holds nothing.
 */
#include "close.h"

#include "form.h"
#include "keep.h"
#include "say.h"
#include "subscription.h"
#include "trace.h"
#include "worker.h"

#include <string.h>

#define LINGER_MS 2000

static void tell_closed(struct worker *worker, uint32_t slot, rc_conn handle, const struct ending *ending)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	struct rc_closing closing = {
		.code = conn->close_code ? conn->close_code : ending->code,
		.reason = ending->reason ? ending->reason : "",
		.reason_size = ending->reason ? ending->reason_size : 0,
		.by_peer = conn->by_peer,
		.status = ending->status,
	};
	if (!conn->opened)
		return;
	conn->opened = false;
	RC_TRACE3(close, slot, closing.code, closing.by_peer);
	rc_count(&worker->stats.closed, 1);
	if (!conn->close_received && rc_form_of(conn)->websocket)
		rc_count(&worker->stats.closed_abnormal, 1);
	if (conn->client)
		rc_dial_left(worker, slot, &closing);
	if (handlers->close)
		handlers->close(handlers->context, handle, conn->user, &closing);
}

/* What waits to be sent still leaves; what arrives means nothing any more. */
static void flush(struct worker *worker, uint32_t slot, bool lingers)
{
	struct connection *conn = &worker->connections[slot];
	rc_connection_free_parts(worker, conn, (enum connection_state)conn->state);
	rc_subscription_end_all(worker, slot);
	conn->lingers |= lingers;
	rc_connection_set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	rc_worker_queue(worker, slot);
}

/* ---- one function a kind ---- */

static void begin_close(struct worker *worker, const struct ending *ending)
{
	const struct connection *conn = &worker->connections[ending->slot];
	if (conn->state == CONNECTION_OPEN)
		rc_form_of(conn)->close(worker, ending->slot, ending->code, ending->reason, ending->reason_size);
}

static void overrun(struct worker *worker, const struct ending *ending)
{
	begin_close(worker, ending);
	/* What it waited for is given up, so that it holds nothing of the log while it closes. */
	rc_subscription_end_all(worker, ending->slot);
}

static void closed_by_peer(struct worker *worker, const struct ending *ending)
{
	uint32_t slot = ending->slot;
	struct connection *conn = &worker->connections[slot];
	conn->close_received = true;
	if (!conn->close_sent) {
		conn->by_peer = true;
		conn->close_code = ending->code;
		rc_say_close(worker, slot, ending->code, NULL, 0);
	}
	/* Section 7.1.1: the server closes the TCP connection first, the client waits for that. */
	rc_conn handle = rc_handle(worker, slot);
	flush(worker, slot, conn->client);
	tell_closed(worker, slot, handle, ending);
}

static void failed(struct worker *worker, const struct ending *ending)
{
	rc_say_close(worker, ending->slot, ending->code, ending->reason, ending->reason_size);
	flush(worker, ending->slot, true);
}

static void answered(struct worker *worker, const struct ending *ending)
{
	struct connection *conn = &worker->connections[ending->slot];
	if (ending->code) {
		conn->close_code = ending->code;
		conn->close_sent = conn->close_received = true;
	}
	flush(worker, ending->slot, ending->lingers);
}

static void kept(struct worker *worker, const struct ending *ending)
{
	uint32_t slot = ending->slot;
	tell_closed(worker, slot, rc_handle(worker, slot), ending);
	rc_subscription_end_all(worker, slot);
	rc_keep_next(worker, slot);
}

/* Its TLS is over. What is on its way is ciphertext, unless the kernel makes the records: then it may be the outbox. */
static void broken(struct worker *worker, const struct ending *ending)
{
	uint32_t slot = ending->slot;
	struct connection *conn = &worker->connections[slot];
	if (conn->state >= CONNECTION_FLUSHING)
		return;
	rc_conn handle = rc_handle(worker, slot);
	/* Of an opening in the client role the application hears why; in the server role it hears of none. */
	bool opening = conn->state == CONNECTION_HANDSHAKE;
	flush(worker, slot, true);
	rc_lag_end(worker, slot);
	if (!conn->kernel_tls || !conn->sending) {
		rc_connection_drop_outbox(worker, conn);
		rc_show_end(worker, slot);
	}
	struct ending told = *ending;
	told.status = opening ? ending->status : 0;
	tell_closed(worker, slot, handle, &told);
}

static void cut(struct worker *worker, const struct ending *ending)
{
	uint32_t slot = ending->slot;
	struct connection *conn = &worker->connections[slot];
	enum connection_state before = (enum connection_state)conn->state;
	rc_conn handle = rc_handle(worker, slot);
	conn->state = CONNECTION_ENDING;
	/* What the kernel holds is on its way to the peer, who gets time to acknowledge it. */
	rc_worker_set_timer(worker, slot,
	                    rc_hold_has(&worker->holds, slot) ? worker->server->config.close_timeout_ms : 0);
	rc_subscription_end_all(worker, slot);
	rc_lag_forget(worker, slot);
	rc_connection_free_parts(worker, conn, before);
	tell_closed(worker, slot, handle, ending);
	if (conn->receiving)
		rc_connection_receive_end(worker, slot);
	if (conn->polling)
		rc_ring_cancel(worker->ring, slot, rc_tag(worker, TAG_WRITABLE, slot, 0),
		               rc_tag(worker, TAG_CANCELLED, slot, 0));
}

static void flushed(struct worker *worker, const struct ending *ending)
{
	uint32_t slot = ending->slot;
	struct connection *conn = &worker->connections[slot];
	if (conn->state != CONNECTION_FLUSHING)
		return;
	if (!conn->lingers || !conn->receiving) {
		cut(worker, &(struct ending){ .slot = slot, .code = RC_CLOSE_ABNORMAL });
		return;
	}
	rc_connection_set_state(worker, slot, CONNECTION_LINGER,
	                        RC_MIN(LINGER_MS, worker->server->config.close_timeout_ms));
	if (conn->client)
		return; /* the server closes first */
	conn->shutting = true;
	rc_ring_shutdown(worker->ring, slot, rc_tag(worker, TAG_SHUT, slot, 0));
}

void rc_close_all_noted(struct worker *worker)
{
	struct ending ending;
	while (rc_ending_take(worker, &ending)) {
		switch (ending.kind) {
		case ENDING_CLOSE:
			begin_close(worker, &ending);
			break;
		case ENDING_OVERRUN:
			overrun(worker, &ending);
			break;
		case ENDING_CLOSED:
			closed_by_peer(worker, &ending);
			break;
		case ENDING_FAILED:
			failed(worker, &ending);
			break;
		case ENDING_ANSWERED:
			answered(worker, &ending);
			break;
		case ENDING_KEPT:
			kept(worker, &ending);
			break;
		case ENDING_FLUSHED:
			flushed(worker, &ending);
			break;
		case ENDING_BROKEN:
			broken(worker, &ending);
			break;
		case ENDING_CUT:
			cut(worker, &ending);
			break;
		case ENDING_RESET:
			cut(worker, &ending);
			rc_hold_reset(worker, ending.slot);
			break;
		}
		rc_close_try_slot(worker, ending.slot);
	}
}

/* ---- the slot ---- */

void rc_close_slot(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (rc_connection_is_busy(conn) || rc_hold_has(&worker->holds, slot))
		return;
	rc_connection_drop_outbox(worker, conn);
	rc_show_end(worker, slot);
	rc_compress_end(worker, slot);
	rc_connection_close_slot(worker, slot);
}

void rc_close_done(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	RC_ASSERT(conn->state == CONNECTION_ENDING);
	if (conn->secure)
		rc_secure_free(worker, slot);
	if (conn->counted)
		rc_addresses_leave(worker->server->addresses, worker->acceptor.address_indexes[slot]);
	rc_accept_opened(worker, slot);
	uint32_t generation = (atomic_load_explicit(&conn->generation, memory_order_relaxed) + 1) & RC_GENERATION_MASK;
	atomic_store_explicit(&conn->generation, generation ? generation : 1, memory_order_relaxed);
	conn->state = CONNECTION_FREE;
	conn->closing_slot = false;
	worker->used_count--;
	atomic_fetch_sub_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
	rc_count(&worker->stats.connections, (uint64_t)-1);
	rc_accept_room(worker);
}
