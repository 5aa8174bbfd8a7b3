/* SPDX-License-Identifier: MIT
 *
 * connection.c - see connection.h. It must not know how a broadcast is planned (fanout.c) nor what the kernel's
 * operations are (ring.c). Invariant: a slot is closed, once, when its connection is ENDING and nothing is on its way.
 */
#include "compress.h"
#include "fanout.h"
#include "proxy.h"

#include <stdlib.h>
#include <string.h>

#define LINGER_MS 2000

static void set_state(struct worker *worker, uint32_t slot, enum connection_state state, unsigned timeout_ms)
{
	struct connection *conn = &worker->connections[slot];
	conn->state = (uint8_t)state;
	conn->heard = rc_ticks(worker);
	if (timeout_ms)
		rc_worker_set_timer(worker, slot, timeout_ms);
	else
		rc_wheel_clear(&worker->wheel, slot);
}

static unsigned idle_ping_ms(const struct worker *worker) { return (worker->server->config.idle_timeout_ms + 1) / 2; }

static void receive(struct worker *worker, uint32_t slot)
{
	worker->connections[slot].flags |= RECEIVING;
	rc_ring_receive(worker->ring, slot, rc_tag(worker, TAG_RECEIVED, slot, 0));
}

/* ---- beginning ---- */

/* What our client role offers: the server may keep its compressor, ours begins anew with each message. */
static const struct rc_deflate_wish client_wish = { .server_takeover = true, .bits = 15 };

static void begin(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	RC_ASSERT(conn->state == CONNECTION_FREE && !(conn->flags & ON_THE_WAY));
	uint32_t generation = atomic_load_explicit(&conn->generation, memory_order_relaxed);
	uint32_t places = conn->flags & IN_PLACES;
	memset(conn, 0, sizeof *conn);
	conn->flags = places;
	atomic_store_explicit(&conn->generation, generation ? generation : 1, memory_order_relaxed);
	worker->used_count++;
	worker->slot_high = RC_MAX(worker->slot_high, slot + 1);
	rc_count(&worker->stats.connections, 1);
}

static void close_slot(struct worker *worker, uint32_t slot)
{
	worker->connections[slot].state = CONNECTION_ENDING;
	worker->connections[slot].flags |= CLOSING_SLOT;
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
	conn->flags |= listener << LISTENER_SHIFT;
	if (server->listeners[listener].secure)
		conn->flags |= SECURE;
	unsigned count = atomic_fetch_add_explicit(&server->connection_count, 1, memory_order_relaxed) + 1;
	unsigned max = server->config.connections_max;
	if (max && count > max)
		conn->flags |= REFUSED;
	if (server->addresses && peer) {
		unsigned here = rc_addresses_enter(server->addresses, peer, &worker->address_places[slot]);
		if (here)
			conn->flags |= COUNTED;
		if (here > server->config.connections_per_address)
			conn->flags |= CROWDED;
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
	set_state(worker, slot, CONNECTION_HANDSHAKE, server->config.handshake_timeout_ms);
	receive(worker, slot);
}

void rc_connection_dialled(struct worker *worker, uint32_t slot, struct handshake *handshake, const struct rc_url *url,
                           void *user)
{
	char request[4096];
	begin(worker, slot);
	rc_count(&worker->stats.connected, 1);
	atomic_fetch_add_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
	struct connection *conn = &worker->connections[slot];
	conn->flags |= CLIENT | OPENED;
	conn->handshake = handshake;
	conn->user = user;
	set_state(worker, slot, CONNECTION_HANDSHAKE, worker->server->config.handshake_timeout_ms);
	size_t size = rc_handshake_request(request, sizeof request, url, handshake->nonce, handshake->protocols,
	                                   handshake->offers_deflate ? &client_wish : NULL);
	bool full;
	uint8_t *at = NULL;
	if (size && (conn->outbox = rc_outbox_new(&worker->pool)))
		at = rc_outbox_add(conn->outbox, &worker->pool, size, SIZE_MAX, &full);
	if (url->tls)
		conn->flags |= SECURE;
	if (!at || (url->tls && !rc_secure_dial(worker, slot, url->host))) {
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		return;
	}
	memcpy(at, request, size);
	rc_worker_queue(worker, slot);
	receive(worker, slot);
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

static void free_parts(struct worker *worker, struct connection *conn, enum connection_state before)
{
	if (before == CONNECTION_HANDSHAKE) {
		free_handshake(worker, conn->handshake);
	} else if (conn->session) {
		rc_session_reset(conn->session, &worker->pool);
		rc_pool_give(&worker->pool, conn->session, 256);
	}
	conn->session = NULL;
}

static void tell_closed(struct worker *worker, uint32_t slot, rc_conn handle, uint16_t code, const char *reason,
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
	rc_count(&worker->stats.closed, 1);
	if (!(conn->flags & CLOSE_RECEIVED))
		rc_count(&worker->stats.closed_abnormal, 1);
	if (handlers->close)
		handlers->close(handlers->context, handle, conn->user, &closing);
}

/* Closes the slot if it is time to. */
static void try_close_slot(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state != CONNECTION_ENDING || conn->flags & ON_THE_WAY)
		return;
	rc_outbox_free(conn->outbox, &worker->pool);
	conn->outbox = NULL;
	rc_compress_end(worker, slot);
	close_slot(worker, slot);
}

static void end(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size, int status)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_ENDING || conn->state == CONNECTION_FREE)
		return;
	enum connection_state before = conn->state;
	rc_conn handle = rc_handle(worker, slot);
	conn->state = CONNECTION_ENDING;
	rc_wheel_clear(&worker->wheel, slot);
	rc_fanout_unsubscribe_all(worker, slot);
	rc_fanout_catch_up(worker, conn);
	/* A session being read right now is the worker's scratch; its owner sees the state and resets it. */
	free_parts(worker, conn, before);
	if (conn->flags & OPENED)
		tell_closed(worker, slot, handle, code, reason, reason_size, status);
	if (conn->flags & (RECEIVING | POLLING))
		rc_ring_cancel(worker->ring, slot, rc_tag(worker, TAG_CANCELLED, slot, 0));
	try_close_slot(worker, slot);
}

void rc_connection_end(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	end(worker, slot, code, reason, reason_size, 0);
}

void rc_connection_operation_done(struct worker *worker, uint32_t slot, uint32_t flag)
{
	worker->connections[slot].flags &= (uint32_t)~flag;
	try_close_slot(worker, slot);
}

void rc_connection_slot_closed(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	RC_ASSERT(conn->state == CONNECTION_ENDING);
	if (conn->flags & SECURE)
		rc_secure_free(worker, slot);
	if (conn->flags & COUNTED)
		rc_addresses_leave(worker->server->addresses, worker->address_places[slot]);
	uint32_t generation = atomic_load_explicit(&conn->generation, memory_order_relaxed) + 1;
	atomic_store_explicit(&conn->generation, generation ? generation : 1, memory_order_relaxed);
	conn->state = CONNECTION_FREE;
	conn->flags &= IN_PLACES;
	worker->used_count--;
	atomic_fetch_sub_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
	rc_count(&worker->stats.connections, (uint64_t)-1);
	/* A listener that ended because the table was full need not wait any longer. */
	if (worker->accept_again_ns)
		worker->accept_again_ns = worker->now_ns;
}

/* ---- saying something ---- */

static struct rc_outbox *outbox_of(struct worker *worker, struct connection *conn)
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

int rc_connection_queue(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	uint8_t header[RC_FRAME_HEADER_MAX];
	size_t compressed = conn->flags & DEFLATE && !(opcode & 8) ? rc_compress_message(worker, conn, data, size) : 0;
	if (compressed) {
		data = worker->scratch_bytes;
		size = compressed;
	}
	struct rc_frame frame = { .fin = true, .opcode = opcode, .size = size, .masked = conn->flags & CLIENT };
	frame.rsv = compressed ? RC_FRAME_RSV1 : 0;
	if (frame.masked)
		frame.mask = rc_worker_random(worker);
	size_t header_size = rc_frame_write(header, &frame);
	/* Control frames are small, bounded in number, and must not be kept back by messages. */
	size_t max = opcode & 8 ? SIZE_MAX : worker->server->config.send_size_max;
	bool full = false;
	struct rc_outbox *outbox = outbox_of(worker, conn);
	if (outbox && !frame.masked && !compressed && adopt_gathered(worker, outbox, header, header_size, data, size, &full)) {
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

static void queue_close(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	struct connection *conn = &worker->connections[slot];
	uint8_t payload[RC_CONTROL_SIZE_MAX];
	if (conn->flags & CLOSE_SENT)
		return;
	conn->flags |= CLOSE_SENT;
	if (!conn->close_code)
		conn->close_code = code;
	size_t size = rc_close_payload(payload, code, reason, reason_size);
	if (rc_connection_queue(worker, slot, RC_FRAME_CLOSE, payload, size) < 0)
		rc_connection_end(worker, slot, code, NULL, 0);
}

void rc_connection_close(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	if (worker->connections[slot].state != CONNECTION_OPEN)
		return;
	set_state(worker, slot, CONNECTION_CLOSING, worker->server->config.close_timeout_ms);
	queue_close(worker, slot, code, reason, reason_size);
}

void rc_connection_finish(struct worker *worker, uint32_t slot, const void *bytes, size_t size, bool lingers)
{
	struct connection *conn = &worker->connections[slot];
	free_parts(worker, conn, conn->state);
	set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	if (lingers)
		conn->flags |= LINGERS;
	bool full;
	struct rc_outbox *outbox = outbox_of(worker, conn);
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
	if (!(conn->flags & LINGERS) || !(conn->flags & RECEIVING)) {
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		return;
	}
	set_state(worker, slot, CONNECTION_LINGER, RC_MIN(LINGER_MS, worker->server->config.close_timeout_ms));
	if (conn->flags & CLIENT)
		return; /* the server closes first */
	conn->flags |= SHUTTING;
	rc_ring_shutdown(worker->ring, slot, rc_tag(worker, TAG_SHUT, slot, 0));
}

/* ---- the opening handshake ---- */

static void open_connection(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	free_parts(worker, conn, CONNECTION_HANDSHAKE);
	set_state(worker, slot, CONNECTION_OPEN, idle_ping_ms(worker));
	if (handlers->open)
		handlers->open(handlers->context, rc_handle(worker, slot), conn->user);
}

static void refuse(struct worker *worker, uint32_t slot, int status, const char *words)
{
	char response[1024];
	size_t size = rc_http_response(response, sizeof response, status, NULL, words, words ? strlen(words) : 0, false);
	rc_count(&worker->stats.handshakes_failed, 1);
	rc_connection_finish(worker, slot, response, size, true);
}

static void answer_request(struct worker *worker, uint32_t slot, struct rc_http_request *request)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_verdict verdict = { 0 };
	rc_request_judge(worker, slot, request, conn->handshake, &verdict);
	if (!verdict.response) {
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		return;
	}
	if (verdict.status) {
		rc_fanout_unsubscribe_all(worker, slot);
		rc_connection_finish(worker, slot, verdict.response, verdict.size, false);
		free(verdict.response);
		return;
	}
	conn->user = verdict.user;
	conn->flags |= OPENED; /* from here on, whatever happens, the application hears of the end */
	struct rc_outbox *outbox = outbox_of(worker, conn);
	uint8_t *at = outbox ? rc_outbox_add_first(outbox, &worker->pool, verdict.size) : NULL;
	if (at)
		memcpy(at, verdict.response, verdict.size);
	free(verdict.response);
	if (!at) {
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		return;
	}
	rc_worker_queue(worker, slot);
	open_connection(worker, slot);
}

char *rc_connection_gather(struct worker *worker, struct handshake *handshake, const uint8_t *bytes, size_t size,
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

static int judge_response(struct worker *worker, uint32_t slot, const char *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	char protocol[RC_PROTOCOL_NAME_MAX];
	struct rc_deflate agreed;
	int result = rc_handshake_response_parse(bytes, size, conn->handshake->nonce, conn->handshake->protocols, protocol,
	                                         conn->handshake->offers_deflate ? &client_wish : NULL, &agreed);
	if (result > 0 && !rc_compress_agreed(worker, slot, &agreed))
		result = -ENOMEM;
	if (result < 0)
		end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0, result <= -100 ? -result : result);
	else if (result > 0)
		open_connection(worker, slot);
	return result;
}

static int judge_head(struct worker *worker, uint32_t slot, char *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->flags & CLIENT)
		return judge_response(worker, slot, bytes, size);
	struct rc_http_request request;
	int result = rc_handshake_parse_body(&request, bytes, size, worker->server->config.body_size_max);
	if (result < 0) {
		refuse(worker, slot, -result, NULL);
	} else if (result > 0 && conn->flags & REFUSED) {
		rc_count(&worker->stats.refused, 1);
		refuse(worker, slot, 503, "the connection limit is reached\n");
	} else if (result > 0 && conn->flags & CROWDED) {
		rc_count(&worker->stats.refused, 1);
		refuse(worker, slot, 429, "too many connections from this address\n");
	} else if (result > 0) {
		answer_request(worker, slot, &request);
	}
	return result;
}

static void receive_frames(struct worker *worker, uint32_t slot, uint8_t *at, uint8_t *end);

static void receive_head(struct worker *worker, uint32_t slot, uint8_t *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	struct handshake *handshake = conn->handshake;
	char *head = (char *)bytes;
	size_t total = size, before = handshake->size;
	if (before && !(head = rc_connection_gather(worker, handshake, bytes, size, &total))) {
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		return;
	}
	int used = judge_head(worker, slot, head, total);
	if (used == 0 && !before && !rc_connection_gather(worker, handshake, bytes, size, &total))
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
	/* What came behind the head are frames; they lie in the receive buffer whichever way the head was gathered. */
	if (used > 0 && conn->state == CONNECTION_OPEN && (size_t)used < total)
		receive_frames(worker, slot, bytes + ((size_t)used - before), bytes + size);
}

/* ---- frames ---- */

static void answer_ping(struct worker *worker, uint32_t slot, const struct rc_event *event)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->outbox && conn->outbox->pong_count >= RC_PONGS_QUEUED_MAX) {
		/* Section 5.5.3: only the latest needs an answer; it is given when the others have left. */
		memcpy(conn->outbox->late_pong, event->data, event->size);
		conn->outbox->late_pong_size = (uint8_t)event->size;
		conn->outbox->late_pong_waits = true;
		return;
	}
	if (rc_connection_queue(worker, slot, RC_FRAME_PONG, event->data, event->size) == 0)
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): queued, so there is an outbox */
		conn->outbox->pong_count++;
}

static void close_received(struct worker *worker, uint32_t slot, const struct rc_event *event)
{
	struct connection *conn = &worker->connections[slot];
	bool answer = !(conn->flags & CLOSE_SENT);
	conn->flags |= CLOSE_RECEIVED;
	if (answer) {
		conn->by_peer = true;
		conn->close_code = event->code;
		queue_close(worker, slot, event->code, NULL, 0);
	}
	if (conn->state == CONNECTION_ENDING)
		return;
	/* Section 7.1.1: the server closes the TCP connection first, the client waits for that. */
	rc_fanout_unsubscribe_all(worker, slot);
	conn->flags &= (uint32_t)~OPENED;
	if (conn->flags & CLIENT)
		conn->flags |= LINGERS;
	set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	rc_worker_queue(worker, slot);
	/* Last, so that the handler cannot send anything behind the Close. */
	tell_closed(worker, slot, rc_handle(worker, slot), event->code, (const char *)event->data, event->size, 0);
}

static void fail(struct worker *worker, uint32_t slot, const struct rc_event *event)
{
	struct connection *conn = &worker->connections[slot];
	rc_count(&worker->stats.protocol_errors, 1);
	rc_fanout_unsubscribe_all(worker, slot);
	queue_close(worker, slot, event->code, event->why, event->why ? strlen(event->why) : 0);
	if (conn->state == CONNECTION_ENDING)
		return;
	conn->flags |= LINGERS;
	set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	rc_worker_queue(worker, slot);
}

static void take_message(struct worker *worker, uint32_t slot, const struct rc_event *event)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	struct rc_message message = { event->data, event->size, (enum rc_opcode)event->opcode };
	struct rc_inflated_message inflated = { 0 };
	if (event->compressed) {
		struct rc_event wrong = { .kind = RC_EVENT_FAIL };
		wrong.why = rc_compress_inflate(worker, slot, event, &inflated, &wrong.code);
		if (wrong.why) {
			fail(worker, slot, &wrong);
			return;
		}
		message.data = inflated.data;
		message.size = inflated.size;
	}
	rc_count(&worker->stats.messages_received, 1);
	if (handlers->message)
		handlers->message(handlers->context, rc_handle(worker, slot), conn->user, &message);
	rc_pool_give(&worker->pool, inflated.data, inflated.capacity);
}

static void take_event(struct worker *worker, uint32_t slot, const struct rc_event *event)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	switch (event->kind) {
	case RC_EVENT_MESSAGE:
		if (conn->state != CONNECTION_OPEN)
			break;
		take_message(worker, slot, event);
		break;
	case RC_EVENT_PING:
		if (conn->state == CONNECTION_OPEN)
			answer_ping(worker, slot, event);
		break;
	case RC_EVENT_PONG:
		if (conn->state == CONNECTION_OPEN && handlers->pong)
			handlers->pong(handlers->context, rc_handle(worker, slot), conn->user, event->data, event->size);
		break;
	case RC_EVENT_CLOSE:
		close_received(worker, slot, event);
		break;
	case RC_EVENT_FAIL:
		fail(worker, slot, event);
		break;
	case RC_EVENT_NONE:
		break;
	}
}

/* While a connection's session is being read it is taken off it, so that whatever ends the connection meanwhile does
 * not free it under the reader. */
static void receive_frames(struct worker *worker, uint32_t slot, uint8_t *at, uint8_t *end)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_session_rules rules = {
		.client = conn->flags & CLIENT,
		.message_size_max = worker->server->config.message_size_max,
		.fragments_max = worker->server->config.fragments_max,
		.deflate = conn->flags & DEFLATE,
		.pool = &worker->pool,
	};
	struct rc_session *own = conn->session, *session = own ? own : &worker->scratch;
	struct rc_event event;
	conn->session = NULL;
	while ((conn->state == CONNECTION_OPEN || conn->state == CONNECTION_CLOSING) &&
	       rc_session_next(session, &rules, &at, end, &event) != RC_EVENT_NONE) {
		worker->reading = session->gathered ? session : NULL;
		take_event(worker, slot, &event);
		worker->reading = NULL;
	}

	bool goes_on = conn->state == CONNECTION_OPEN || conn->state == CONNECTION_CLOSING;
	bool keep = goes_on && !rc_session_at_rest(session);
	if (keep && !own) {
		size_t capacity;
		static_assert(sizeof *own <= 256, "it lies in the smallest block");
		own = rc_pool_take(&worker->pool, sizeof *own, &capacity);
		if (own)
			*own = *session;
		else
			rc_session_reset(session, &worker->pool);
		memset(&worker->scratch, 0, sizeof worker->scratch);
	} else if (!keep) {
		rc_session_reset(session, &worker->pool);
		rc_pool_give(&worker->pool, own, 256);
		own = NULL;
	}
	conn->session = own;
	if (keep && !own) {
		event = (struct rc_event){ .kind = RC_EVENT_FAIL, .code = RC_CLOSE_INTERNAL, .why = "out of memory" };
		fail(worker, slot, &event);
	}
}

void rc_connection_take_bytes(struct worker *worker, uint32_t slot, uint8_t *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	rc_count(&worker->stats.bytes_received, size);
	switch (conn->state) {
	case CONNECTION_HANDSHAKE:
		receive_head(worker, slot, bytes, size);
		break;
	case CONNECTION_OPEN:
		conn->heard = rc_ticks(worker);
		conn->flags &= (uint32_t)~PINGED;
		receive_frames(worker, slot, bytes, bytes + size);
		break;
	case CONNECTION_CLOSING:
		receive_frames(worker, slot, bytes, bytes + size);
		break;
	default:
		break; /* nobody listens any more */
	}
}

/* The peer will send no more. */
static void stream_ended(struct worker *worker, uint32_t slot, int result)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->flags & SECURE && conn->state < CONNECTION_FLUSHING)
		rc_secure_ended(worker, slot);
	if (conn->state == CONNECTION_FLUSHING && result == 0)
		return; /* it may still want to read the answer */
	int status = conn->flags & CLIENT && conn->state == CONNECTION_HANDSHAKE ? (result ? result : -ECONNRESET) : 0;
	end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0, status);
}

void rc_connection_stream_ended(struct worker *worker, uint32_t slot) { stream_ended(worker, slot, 0); }

void rc_connection_drop(struct worker *worker, uint32_t slot, int status, const char *why)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state >= CONNECTION_FLUSHING)
		return;
	rc_conn handle = rc_handle(worker, slot);
	bool opening = conn->state == CONNECTION_HANDSHAKE; /* of us as a client, if anybody hears of it */
	free_parts(worker, conn, conn->state);
	conn->partial = 0;
	rc_fanout_unsubscribe_all(worker, slot);
	rc_fanout_catch_up(worker, conn);
	/* Of a TLS connection nothing but ciphertext is ever on its way. */
	rc_outbox_free(conn->outbox, &worker->pool);
	conn->outbox = NULL;
	set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	bool owed = conn->flags & OPENED;
	conn->flags = (conn->flags & (uint32_t)~OPENED) | LINGERS;
	rc_worker_queue(worker, slot);
	if (owed)
		tell_closed(worker, slot, handle, RC_CLOSE_ABNORMAL, why, strlen(why), opening ? status : 0);
}

/* The header that a proxy sends before all else, TLS included. Returns how many of these bytes were its last, 0 while
 * more is awaited or when it was none: nobody is there then to whom an answer would mean something. */
static size_t receive_proxy(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size)
{
	struct handshake *handshake = worker->connections[slot].handshake;
	size_t total = size, before = handshake->size;
	struct sockaddr_storage named;
	const char *head = before ? rc_connection_gather(worker, handshake, bytes, size, &total) : (const char *)bytes;
	int used = head ? rc_proxy_parse((const uint8_t *)head, total, &named) : -1;
	if (used == 0 && !before && !rc_connection_gather(worker, handshake, bytes, size, &total))
		used = -1;
	if (used < 0) {
		rc_count(&worker->stats.handshakes_failed, 1);
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
	}
	if (used <= 0)
		return 0;
	rc_peer_name(handshake->proxy, &handshake->peer);
	if (named.ss_family != AF_UNSPEC)
		handshake->peer = named;
	handshake->wants_proxy = false;
	handshake->size = 0;
	return (size_t)used - before;
}

static void take_received(struct worker *worker, uint32_t slot, uint8_t *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_HANDSHAKE && conn->handshake->wants_proxy) {
		size_t used = receive_proxy(worker, slot, bytes, size);
		if (!used || used == size)
			return;
		bytes += used;
		size -= used;
	}
	if (conn->flags & SECURE)
		rc_secure_received(worker, slot, bytes, size);
	else
		rc_connection_take_bytes(worker, slot, bytes, size);
}

void rc_connection_received(struct worker *worker, uint32_t slot, const struct rc_completion *completion)
{
	struct connection *conn = &worker->connections[slot];
	if (!(completion->flags & RC_RING_MORE))
		conn->flags &= (uint32_t)~RECEIVING;
	if (completion->result > 0)
		take_received(worker, slot, completion->data, (size_t)completion->result);
	else if (completion->result == -ENOBUFS)
		rc_count(&worker->stats.receive_starved, 1);
	else if (conn->state != CONNECTION_ENDING)
		stream_ended(worker, slot, completion->result);
	if (completion->flags & RC_RING_BUFFER)
		rc_ring_buffer_return(worker->ring, completion->buffer);
	/* It also ends when the buffers or the completion queue ran out, and is then begun again. */
	bool again = completion->result > 0 || completion->result == -ENOBUFS;
	if (!(conn->flags & RECEIVING) && again && conn->state != CONNECTION_ENDING)
		receive(worker, slot);
	try_close_slot(worker, slot);
}

/* ---- time ---- */

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
	if (silent_ms >= idle_ping_ms(worker)) {
		if (!(conn->flags & PINGED))
			rc_connection_queue(worker, slot, RC_FRAME_PING, NULL, 0);
		conn->flags |= PINGED;
		rc_worker_set_timer(worker, slot, timeout_ms - silent_ms);
	} else {
		rc_worker_set_timer(worker, slot, idle_ping_ms(worker) - silent_ms);
	}
}

/* A wheel holds what is further away than its turn in its last bucket: then it is not time yet. */
static bool is_early(struct worker *worker, uint32_t slot, uint64_t timeout_ms)
{
	uint64_t passed_ms = (uint64_t)(uint32_t)(rc_ticks(worker) - worker->connections[slot].heard) * (TICK_NS / 1000000);
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
		if (conn->flags & CLIENT)
			end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0, -ETIMEDOUT);
		else if (conn->flags & SECURE && !rc_secure_is_open(worker, slot))
			stream_ended(worker, slot, -ETIMEDOUT);
		else
			refuse(worker, slot, 408, NULL);
		break;
	case CONNECTION_OPEN:
		expired_open(worker, slot);
		break;
	case CONNECTION_CLOSING:
	case CONNECTION_FLUSHING:
		if (is_early(worker, slot, config->close_timeout_ms))
			return;
		rc_count(&worker->stats.timeouts, 1);
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		break;
	default:
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
		break;
	}
}
