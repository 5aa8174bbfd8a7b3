/* SPDX-License-Identifier: MIT
 *
 * connection.c - see connection.h. It must not know how a broadcast is planned (plans.c) nor what the kernel's
 * operations are (ring.c). Invariant: a slot is closed, once, when its connection is ENDING and nothing is on its way.
 */
#include "compress.h"
#include "fanout.h"
#include "hold.h"
#include "proxy.h"
#include "sse.h"
#include "trace.h"

#include <stdlib.h>
#include <string.h>

#define LINGER_MS 2000

void rc_connection_set_state(struct worker *worker, uint32_t slot, enum connection_state state, unsigned timeout_ms)
{
	struct connection *conn = &worker->connections[slot];
	conn->state = (uint8_t)state;
	conn->heard = rc_ticks(worker);
	if (timeout_ms)
		rc_worker_set_timer(worker, slot, timeout_ms);
	else
		rc_wheel_clear(&worker->wheel, slot);
}

unsigned rc_connection_idle_ping_ms(const struct worker *worker)
{
	return (worker->server->config.idle_timeout_ms + 1) / 2;
}

void rc_connection_receive(struct worker *worker, uint32_t slot)
{
	worker->connections[slot].receiving = true;
	rc_ring_receive(worker->ring, slot, rc_tag(worker, TAG_RECEIVED, slot, 0));
}

/* ---- beginning ---- */

/* What our client role offers: the server may keep its compressor, ours begins anew with each message. */
const struct rc_deflate_wish rc_connection_client_wish = { .server_takeover = true, .bits = 15 };

/* The lists that a slot is in go on with it. */
static void keep_places(struct connection *conn, const struct connection *before)
{
	conn->queued = before->queued;
	conn->listed = before->listed;
	conn->stepping = before->stepping;
}

static void begin(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	RC_ASSERT(conn->state == CONNECTION_FREE && !rc_connection_is_busy(conn));
	uint32_t generation = atomic_load_explicit(&conn->generation, memory_order_relaxed);
	const struct connection before = *conn;
	memset(conn, 0, sizeof *conn);
	keep_places(conn, &before);
	atomic_store_explicit(&conn->generation, generation ? generation : 1, memory_order_relaxed);
	worker->used_count++;
	worker->slot_high = RC_MAX(worker->slot_high, slot + 1);
	rc_count(&worker->stats.connections, 1);
}

static void close_slot(struct worker *worker, uint32_t slot)
{
	worker->connections[slot].state = CONNECTION_ENDING;
	worker->connections[slot].closing_slot = true;
	rc_ring_close_slot(worker->ring, slot, rc_tag(worker, TAG_SLOT_CLOSED, slot, 0));
}

/* A slot for which there is no room. */
void rc_connection_refuse_slot(struct worker *worker, uint32_t slot)
{
	begin(worker, slot);
	atomic_fetch_add_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
	close_slot(worker, slot);
}

void rc_connection_accept(struct worker *worker, uint32_t slot, unsigned listener, const struct sockaddr_storage *peer)
{
	struct rc_server *server = worker->server;
	begin(worker, slot);
	rc_count(&worker->stats.accepted, 1);
	struct connection *conn = &worker->connections[slot];
	conn->listener = listener & 15;
	if (server->listeners[listener].secure)
		conn->secure = true;
	unsigned count = atomic_fetch_add_explicit(&server->connection_count, 1, memory_order_relaxed) + 1;
	unsigned max = server->config.connections_max;
	if (max && count > max)
		conn->refused = true;
	if (server->addresses && peer) {
		unsigned here = rc_addresses_enter(server->addresses, peer, &worker->address_places[slot]);
		if (here)
			conn->counted = true;
		if (here > server->config.connections_per_address)
			conn->crowded = true;
	}
	size_t capacity;
	struct handshake *handshake = rc_pool_take(&worker->pool, sizeof *handshake, &capacity);
	/* Some who are over a limit are told why; who comes in crowds is not worth the room. */
	if (!handshake || (max && count > max + RC_REFUSALS_MAX)) {
		rc_pool_give(&worker->pool, handshake, capacity);
		rc_count(&worker->stats.refused, 1);
		if (!handshake)
			rc_worker_report(worker, 0, "worker %u: no memory for a connection", worker->index);
		close_slot(worker, slot);
		return;
	}
	memset(handshake, 0, sizeof *handshake);
	if (peer)
		handshake->peer = *peer;
	handshake->wants_proxy = server->listeners[listener].proxied;
	conn->handshake = handshake;
	rc_connection_set_state(worker, slot, CONNECTION_HANDSHAKE, server->config.handshake_timeout_ms);
	rc_connection_receive(worker, slot);
}

void rc_connection_dialled(struct worker *worker, uint32_t slot, struct handshake *handshake, const struct rc_url *url,
                           void *user)
{
	char request[4096];
	begin(worker, slot);
	rc_count(&worker->stats.connected, 1);
	atomic_fetch_add_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
	struct connection *conn = &worker->connections[slot];
	conn->client = conn->opened = true;
	conn->handshake = handshake;
	conn->user = user;
	rc_connection_set_state(worker, slot, CONNECTION_HANDSHAKE, worker->server->config.handshake_timeout_ms);
	size_t size = rc_handshake_request(request, sizeof request, url, handshake->nonce, handshake->protocols,
	                                   handshake->offers_deflate ? &rc_connection_client_wish : NULL);
	bool full;
	uint8_t *at = NULL;
	if (size && (conn->outbox = rc_outbox_new(&worker->pool)))
		at = rc_outbox_add(conn->outbox, &worker->pool, size, SIZE_MAX, &full);
	if (url->tls)
		conn->secure = true;
	if (!at || (url->tls && !rc_secure_dial(worker, slot, url->host))) {
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		return;
	}
	memcpy(at, request, size);
	rc_worker_queue(worker, slot);
	rc_connection_receive(worker, slot);
}

static void free_handshake(struct worker *worker, struct handshake *handshake)
{
	if (!handshake)
		return;
	static_assert(sizeof *handshake <= 256, "it lies in the smallest block");
	rc_pool_give(&worker->pool, handshake->bytes, handshake->capacity);
	free(handshake->protocols);
	rc_pool_give(&worker->pool, handshake, 256);
}

/* ---- ending ---- */

void rc_connection_free_parts(struct worker *worker, struct connection *conn, enum connection_state before)
{
	if (before == CONNECTION_HANDSHAKE) {
		free_handshake(worker, conn->handshake);
	} else if (conn->session) {
		rc_session_reset(conn->session, &worker->pool);
		rc_pool_give(&worker->pool, conn->session, 256);
	}
	conn->session = NULL;
}

void rc_connection_tell_closed(struct worker *worker, uint32_t slot, rc_conn handle, uint16_t code, const char *reason,
                               size_t reason_size, int status)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	const struct rc_closing closing = {
		.code = conn->close_code ? conn->close_code : code,
		.reason = reason ? reason : "",
		.reason_size = reason ? reason_size : 0,
		.by_peer = conn->by_peer,
		.status = status,
	};
	RC_TRACE3(close, slot, closing.code, closing.by_peer);
	rc_count(&worker->stats.closed, 1);
	if (!conn->close_received && conn->form == FORM_FRAMES)
		rc_count(&worker->stats.closed_abnormal, 1);
	if (handlers->close)
		handlers->close(handlers->context, handle, conn->user, &closing);
}

/* Closes the slot if it is time to. */
void rc_connection_try_close_slot(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state != CONNECTION_ENDING || rc_connection_is_busy(conn) || rc_hold_has(worker, slot))
		return;
	rc_outbox_free(conn->outbox, &worker->pool);
	conn->outbox = NULL;
	rc_compress_end(worker, slot);
	close_slot(worker, slot);
}

void rc_connection_end_with(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size,
                            int status)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_ENDING || conn->state == CONNECTION_FREE)
		return;
	enum connection_state before = conn->state;
	rc_conn handle = rc_handle(worker, slot);
	conn->state = CONNECTION_ENDING;
	rc_wheel_clear(&worker->wheel, slot);
	/* What the kernel holds is on its way to the peer, who gets time to acknowledge it. */
	if (rc_hold_has(worker, slot))
		rc_worker_set_timer(worker, slot, worker->server->config.close_timeout_ms);
	rc_fanout_unsubscribe_all(worker, slot);
	rc_fanout_catch_up(worker, conn);
	/* A session being read right now is the worker's scratch; its owner sees the state and resets it. */
	rc_connection_free_parts(worker, conn, before);
	if (conn->opened)
		rc_connection_tell_closed(worker, slot, handle, code, reason, reason_size, status);
	uint64_t cancelled = rc_tag(worker, TAG_CANCELLED, slot, 0);
	if (conn->receiving)
		rc_ring_cancel(worker->ring, slot, rc_tag(worker, TAG_RECEIVED, slot, 0), cancelled);
	if (conn->polling)
		rc_ring_cancel(worker->ring, slot, rc_tag(worker, TAG_WRITABLE, slot, 0), cancelled);
	rc_connection_try_close_slot(worker, slot);
}

void rc_connection_end(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	rc_connection_end_with(worker, slot, code, reason, reason_size, 0);
}

void rc_connection_slot_closed(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	RC_ASSERT(conn->state == CONNECTION_ENDING);
	if (conn->secure)
		rc_secure_free(worker, slot);
	if (conn->counted)
		rc_addresses_leave(worker->server->addresses, worker->address_places[slot]);
	uint32_t generation = atomic_load_explicit(&conn->generation, memory_order_relaxed) + 1;
	atomic_store_explicit(&conn->generation, generation ? generation : 1, memory_order_relaxed);
	conn->state = CONNECTION_FREE;
	conn->closing_slot = false;
	worker->used_count--;
	atomic_fetch_sub_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
	rc_count(&worker->stats.connections, (uint64_t)-1);
	/* A listener that ended because the table was full need not wait any longer. */
	if (worker->accept_again_ns)
		worker->accept_again_ns = worker->now_ns;
}

/* ---- saying something ---- */

struct rc_outbox *rc_connection_outbox(struct worker *worker, struct connection *conn)
{
	if (!conn->outbox)
		conn->outbox = rc_outbox_new(&worker->pool);
	return conn->outbox;
}

/* A message that goes out as it came in leaves in the block it was gathered in: the header goes before it, nothing is
 * copied. Returns false when it has to be. */
static bool adopt_gathered(struct worker *worker, struct rc_outbox *outbox, const uint8_t *header, size_t header_size,
                           const void *data, size_t size, bool *full)
{
	struct rc_session *session = worker->reading;
	if (!session || data != session->gathered + RC_GATHERED_HEADROOM || size != session->gathered_size)
		return false;
	size_t begin = RC_GATHERED_HEADROOM - header_size;
	if (!rc_outbox_adopt(outbox, session->gathered, session->gathered_capacity, begin, RC_GATHERED_HEADROOM + size,
	                     worker->server->config.send_size_max, full))
		return false;
	memcpy(session->gathered + begin, header, header_size);
	session->gathered = NULL;
	session->gathered_size = session->gathered_capacity = 0;
	worker->reading = NULL;
	return true;
}

/* What is no frame: text as an event, a Ping as a sign of life. */
static int queue_event(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_event_id none = { 0 };
	bool is_text = opcode == RC_FRAME_TEXT, full = false;
	if (conn->form != FORM_EVENTS || (!is_text && opcode != RC_FRAME_PING))
		return -EINVAL;
	size_t event_size = is_text ? rc_sse_write(NULL, none, data, size) : sizeof RC_SSE_HEARTBEAT - 1;
	struct rc_outbox *outbox = rc_connection_outbox(worker, conn);
	uint8_t *at = outbox ? rc_outbox_add(outbox, &worker->pool, event_size, worker->server->config.send_size_max,
	                                     &full)
	                     : NULL;
	if (!at)
		return full ? -ENOBUFS : -ENOMEM;
	if (is_text)
		rc_sse_write(at, none, data, size);
	else
		memcpy(at, RC_SSE_HEARTBEAT, event_size);
	rc_worker_queue(worker, slot);
	return 0;
}

int rc_connection_queue(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->form != FORM_FRAMES)
		return queue_event(worker, slot, opcode, data, size);
	uint8_t header[RC_FRAME_HEADER_MAX];
	size_t compressed = conn->deflate && !(opcode & 8) ? rc_compress_message(worker, conn, data, size) : 0;
	if (compressed) {
		data = worker->scratch_bytes;
		size = compressed;
	}
	struct rc_frame frame = { .fin = true, .opcode = opcode, .size = size, .masked = conn->client };
	frame.rsv = compressed ? RC_FRAME_RSV1 : 0;
	if (frame.masked)
		frame.mask = rc_worker_random(worker);
	size_t header_size = rc_frame_write(header, &frame);
	/* Control frames are small, bounded in number, and must not be kept back by messages. */
	size_t max = opcode & 8 ? SIZE_MAX : worker->server->config.send_size_max;
	bool full = false;
	struct rc_outbox *outbox = rc_connection_outbox(worker, conn);
	if (outbox && !frame.masked && !compressed &&
	    adopt_gathered(worker, outbox, header, header_size, data, size, &full)) {
		rc_worker_queue(worker, slot);
		return 0;
	}
	uint8_t *at = outbox ? rc_outbox_add(outbox, &worker->pool, header_size + size, max, &full) : NULL;
	if (!at)
		return full ? -ENOBUFS : -ENOMEM;
	memcpy(at, header, header_size);
	if (frame.masked)
		rc_unmask(at + header_size, data, size, frame.mask);
	else if (size)
		memcpy(at + header_size, data, size);
	rc_worker_queue(worker, slot);
	return 0;
}

void rc_connection_say_close(struct worker *worker, uint32_t slot, uint16_t code, const char *reason,
                             size_t reason_size)
{
	struct connection *conn = &worker->connections[slot];
	uint8_t payload[RC_CONTROL_SIZE_MAX];
	if (conn->close_sent)
		return;
	conn->close_sent = true;
	if (!conn->close_code)
		conn->close_code = code;
	size_t size = rc_close_payload(payload, code, reason, reason_size);
	if (rc_connection_queue(worker, slot, RC_FRAME_CLOSE, payload, size) < 0)
		rc_connection_end(worker, slot, code, NULL, 0);
}

void rc_connection_close(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	const struct connection *conn = &worker->connections[slot];
	if (conn->state != CONNECTION_OPEN)
		return;
	if (conn->form == FORM_ANSWER && rc_request_answer(worker, slot, 503, NULL, NULL, NULL, 0) == 0)
		return;
	if (conn->form != FORM_FRAMES) {
		rc_connection_leave(worker, slot, code);
		return;
	}
	rc_connection_set_state(worker, slot, CONNECTION_CLOSING, worker->server->config.close_timeout_ms);
	rc_connection_say_close(worker, slot, code, reason, reason_size);
}

void rc_connection_leave(struct worker *worker, uint32_t slot, uint16_t code)
{
	struct connection *conn = &worker->connections[slot];
	conn->close_code = code;
	conn->close_sent = conn->close_received = true;
	rc_fanout_unsubscribe_all(worker, slot);
	rc_connection_set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	rc_worker_queue(worker, slot);
}

void rc_connection_finish(struct worker *worker, uint32_t slot, const void *bytes, size_t size, bool lingers)
{
	struct connection *conn = &worker->connections[slot];
	rc_connection_free_parts(worker, conn, conn->state);
	rc_connection_set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	if (lingers)
		conn->lingers = true;
	bool full;
	struct rc_outbox *outbox = rc_connection_outbox(worker, conn);
	uint8_t *at = outbox && size ? rc_outbox_add(outbox, &worker->pool, size, SIZE_MAX, &full) : NULL;
	if (!at) {
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		return;
	}
	memcpy(at, bytes, size);
	rc_worker_queue(worker, slot);
}

void rc_connection_flushed(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state != CONNECTION_FLUSHING)
		return;
	if (!conn->lingers || !conn->receiving) {
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		return;
	}
	rc_connection_set_state(worker, slot, CONNECTION_LINGER,
	                        RC_MIN(LINGER_MS, worker->server->config.close_timeout_ms));
	if (conn->client)
		return; /* the server closes first */
	conn->shutting = true;
	rc_ring_shutdown(worker->ring, slot, rc_tag(worker, TAG_SHUT, slot, 0));
}

/* ---- time ---- */

/* From its reader nothing is ever heard: a comment now and then finds out whether it is still there, and who takes
 * nothing from one time to the next is not. */
static void expired_stream(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	bool stuck = conn->polling;
	if (stuck && conn->pinged) {
		rc_count(&worker->stats.timeouts, 1);
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, "idle", 4);
		return;
	}
	if (stuck)
		conn->pinged = true;
	else if (!conn->outbox)
		rc_connection_queue(worker, slot, RC_FRAME_PING, NULL, 0);
	rc_worker_set_timer(worker, slot, rc_connection_idle_ping_ms(worker));
}

static void expired_open(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	uint64_t timeout_ms = worker->server->config.idle_timeout_ms;
	uint64_t silent_ms = (uint64_t)(uint32_t)(rc_ticks(worker) - conn->heard) * (TICK_NS / 1000000);
	if (silent_ms >= timeout_ms) {
		rc_count(&worker->stats.timeouts, 1);
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, "idle", 4);
		return;
	}
	if (silent_ms >= rc_connection_idle_ping_ms(worker)) {
		if (!conn->pinged)
			rc_connection_queue(worker, slot, RC_FRAME_PING, NULL, 0);
		conn->pinged = true;
		rc_worker_set_timer(worker, slot, timeout_ms - silent_ms);
	} else {
		rc_worker_set_timer(worker, slot, rc_connection_idle_ping_ms(worker) - silent_ms);
	}
}

/* A wheel holds what is further away than its turn in its last bucket: then it is not time yet. */
static bool is_early(struct worker *worker, uint32_t slot, uint64_t timeout_ms)
{
	uint64_t passed_ms = (uint64_t)(uint32_t)(rc_ticks(worker) - worker->connections[slot].heard) *
	                     (TICK_NS / 1000000);
	if (passed_ms >= timeout_ms)
		return false;
	rc_worker_set_timer(worker, slot, timeout_ms - passed_ms);
	return true;
}

void rc_connection_expired(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_config *config = &worker->server->config;
	switch (conn->state) {
	case CONNECTION_HANDSHAKE:
		if (is_early(worker, slot, config->handshake_timeout_ms))
			return;
		rc_count(&worker->stats.timeouts, 1);
		if (conn->client)
			rc_connection_end_with(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0, -ETIMEDOUT);
		else if (conn->secure && !rc_secure_is_open(worker, slot))
			rc_connection_stream_ended(worker, slot, -ETIMEDOUT);
		else
			rc_connection_refuse(worker, slot, 408, NULL);
		break;
	case CONNECTION_OPEN:
		if (conn->form == FORM_FRAMES)
			expired_open(worker, slot);
		else if (conn->form == FORM_EVENTS)
			expired_stream(worker, slot);
		break;
	case CONNECTION_CLOSING:
	case CONNECTION_FLUSHING:
		if (is_early(worker, slot, config->close_timeout_ms))
			return;
		rc_count(&worker->stats.timeouts, 1);
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		break;
	case CONNECTION_ENDING:
		rc_hold_abort(worker, slot);
		break;
	default:
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		break;
	}
}
