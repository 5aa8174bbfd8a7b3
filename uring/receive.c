/* SPDX-License-Identifier: MIT
 *
 * receive.c - what arrives: bytes of an opening handshake to its verdict, bytes of frames to events and what follows
 * from them. It must not know how bytes leave. Invariant: a connection's session is off the connection while it is
 * read, so that whatever ends the connection meanwhile does not free it under the reader.
 */
#include "compress.h"
#include "fanout.h"
#include "proxy.h"
#include "trace.h"

#include <stdlib.h>
#include <string.h>

/* ---- the opening handshake ---- */

static void open_connection(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	rc_connection_free_parts(worker, conn, CONNECTION_HANDSHAKE);
	rc_connection_set_state(worker, slot, CONNECTION_OPEN, rc_connection_idle_ping_ms(worker));
	/* cppcheck-suppress sizeofwithnumericparameter; the probe asks for the size of its arguments */
	RC_TRACE2(handshake, slot, 101);
	if (handlers->open)
		handlers->open(handlers->context, rc_handle(worker, slot), conn->user);
}

void rc_connection_refuse(struct worker *worker, uint32_t slot, int status, const char *words)
{
	char response[1024];
	size_t size = rc_http_response(response, sizeof response, status, NULL, words, words ? strlen(words) : 0,
	                               false);
	RC_TRACE2(handshake, slot, status);
	rc_count(&worker->stats.handshakes_failed, 1);
	rc_connection_finish(worker, slot, response, size, true);
}

static void answer_request(struct worker *worker, uint32_t slot, struct rc_http_request *request)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_verdict verdict = { 0 };
	rc_request_judge(worker, slot, request, conn->handshake, &verdict);
	bool later = !verdict.status && conn->form == FORM_ANSWER;
	if (!verdict.response && !later) {
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
	conn->opened = true; /* from here on, whatever happens, the application hears of the end */
	if (later) {
		open_connection(worker, slot);
		return;
	}
	struct rc_outbox *outbox = rc_connection_outbox(worker, conn);
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
	int result = rc_handshake_response_parse(
	    bytes, size, conn->handshake->nonce, conn->handshake->protocols, protocol,
	    conn->handshake->offers_deflate ? &rc_connection_client_wish : NULL, &agreed);
	if (result > 0 && !rc_compress_agreed(worker, slot, &agreed))
		result = -ENOMEM;
	if (result < 0)
		rc_connection_end_with(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0, result <= -100 ? -result : result);
	else if (result > 0)
		open_connection(worker, slot);
	return result;
}

static int judge_head(struct worker *worker, uint32_t slot, char *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->client)
		return judge_response(worker, slot, bytes, size);
	struct rc_http_request request;
	int result = rc_handshake_parse_body(&request, bytes, size, worker->server->config.body_size_max);
	if (result < 0) {
		rc_connection_refuse(worker, slot, -result, NULL);
	} else if (result > 0 && conn->refused) {
		rc_count(&worker->stats.refused, 1);
		rc_connection_refuse(worker, slot, 503, "the connection limit is reached\n");
	} else if (result > 0 && conn->crowded) {
		rc_count(&worker->stats.refused, 1);
		rc_connection_refuse(worker, slot, 429, "too many connections from this address\n");
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
	bool answer = !conn->close_sent;
	conn->close_received = true;
	if (answer) {
		conn->by_peer = true;
		conn->close_code = event->code;
		rc_connection_say_close(worker, slot, event->code, NULL, 0);
	}
	if (conn->state == CONNECTION_ENDING)
		return;
	/* Section 7.1.1: the server closes the TCP connection first, the client waits for that. */
	rc_fanout_unsubscribe_all(worker, slot);
	conn->opened = false;
	if (conn->client)
		conn->lingers = true;
	rc_connection_set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	rc_worker_queue(worker, slot);
	/* Last, so that the handler cannot send anything behind the Close. */
	rc_connection_tell_closed(worker, slot, rc_handle(worker, slot), event->code, (const char *)event->data,
	                          event->size, 0);
}

static void fail(struct worker *worker, uint32_t slot, const struct rc_event *event)
{
	struct connection *conn = &worker->connections[slot];
	rc_count(&worker->stats.protocol_errors, 1);
	rc_fanout_unsubscribe_all(worker, slot);
	rc_connection_say_close(worker, slot, event->code, event->why, event->why ? strlen(event->why) : 0);
	if (conn->state == CONNECTION_ENDING)
		return;
	conn->lingers = true;
	rc_connection_set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
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
			handlers->pong(handlers->context, rc_handle(worker, slot), conn->user, event->data,
			               event->size);
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
		.client = conn->client,
		.message_size_max = worker->server->config.message_size_max,
		.fragments_max = worker->server->config.fragments_max,
		.deflate = conn->deflate,
		.pool = &worker->pool,
	};
	struct rc_session *own = conn->session, *session = own ? own : &worker->scratch;
	struct rc_event event;
	if (conn->form != FORM_FRAMES)
		return; /* who asked by plain HTTP has nothing more to say */
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
		conn->pinged = false;
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
void rc_connection_stream_ended(struct worker *worker, uint32_t slot, int result)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->secure && conn->state < CONNECTION_FLUSHING)
		rc_secure_ended(worker, slot);
	if (conn->state == CONNECTION_FLUSHING && result == 0)
		return; /* it may still want to read the answer */
	int status = conn->client && conn->state == CONNECTION_HANDSHAKE ? (result ? result : -ECONNRESET) : 0;
	rc_connection_end_with(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0, status);
}

void rc_connection_drop(struct worker *worker, uint32_t slot, int status, const char *why)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state >= CONNECTION_FLUSHING)
		return;
	rc_conn handle = rc_handle(worker, slot);
	bool opening = conn->state == CONNECTION_HANDSHAKE; /* of us as a client, if anybody hears of it */
	rc_connection_free_parts(worker, conn, conn->state);
	conn->partial = 0;
	rc_fanout_unsubscribe_all(worker, slot);
	rc_fanout_catch_up(worker, conn);
	/* Of a TLS connection nothing but ciphertext is on its way, unless that is the kernel's to make. */
	if (!conn->kernel_tls || !conn->sending) {
		rc_outbox_free(conn->outbox, &worker->pool);
		conn->outbox = NULL;
	}
	rc_connection_set_state(worker, slot, CONNECTION_FLUSHING, worker->server->config.close_timeout_ms);
	bool owed = conn->opened;
	conn->opened = false;
	conn->lingers = true;
	rc_worker_queue(worker, slot);
	if (owed)
		rc_connection_tell_closed(worker, slot, handle, RC_CLOSE_ABNORMAL, why, strlen(why),
		                          opening ? status : 0);
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
	if (conn->secure)
		rc_secure_received(worker, slot, bytes, size);
	else
		rc_connection_take_bytes(worker, slot, bytes, size);
}

void rc_connection_received(struct worker *worker, uint32_t slot, const struct rc_completion *completion)
{
	struct connection *conn = &worker->connections[slot];
	if (!(completion->flags & RC_RING_MORE))
		conn->receiving = false;
	if (completion->result > 0)
		take_received(worker, slot, completion->data, (size_t)completion->result);
	else if (completion->result == -ENOBUFS)
		rc_count(&worker->stats.receive_starved, 1);
	else if (conn->state != CONNECTION_ENDING)
		rc_connection_stream_ended(worker, slot, completion->result);
	if (completion->result == -ENOBUFS)
		RC_TRACE1(no_buffers, slot);
	if (completion->flags & RC_RING_BUFFER)
		rc_ring_buffer_return(worker->ring, completion->buffer);
	/* It also ends when the buffers or the completion queue ran out, and is then begun again. */
	bool again = completion->result > 0 || completion->result == -ENOBUFS;
	if (!conn->receiving && again && conn->state != CONNECTION_ENDING)
		rc_connection_receive(worker, slot);
	rc_connection_try_close_slot(worker, slot);
}
