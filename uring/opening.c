/* SPDX-License-Identifier: MIT
 *
 * opening.c - see opening.h. It must not know frames.
 *
 * Invariant: from the moment a request is accepted until handlers.close, connection.opened is set.
 */
#include "opening.h"

#include "agree.h"
#include "form.h"
#include "keep.h"
#include "proxy.h"
#include "trace.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void cut(struct worker *worker, uint32_t slot, int status)
{
	rc_ending_note(
	    worker, &(struct ending){ .kind = ENDING_CUT, .slot = slot, .code = RC_CLOSE_ABNORMAL, .status = status });
}

static void open_connection(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	rc_times_note(&worker->times.handshake, worker->now_ns - conn->handshake->began_ns);
	/* Between two requests nothing else counts a connection: who only asks stays among those not yet open. */
	if (!rc_form_has_handshake(conn, CONNECTION_OPEN)) {
		rc_connection_free_parts(worker, conn, CONNECTION_HANDSHAKE);
		rc_accept_opened(worker, slot);
	}
	rc_connection_set_state(worker, slot, CONNECTION_OPEN, rc_connection_silence_ms(worker, conn));
	/* cppcheck-suppress sizeofwithnumericparameter; the probe asks for the size of its arguments */
	RC_TRACE2(handshake, slot, 101);
	if (conn->client)
		rc_dial_opened(worker, slot);
	if (handlers->open)
		handlers->open(handlers->context, rc_handle(worker, slot), conn->user);
}

/* ---- the server's side ---- */

static void tell_refused(struct worker *worker, uint32_t slot, int status, const char *words)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	char peer[INET6_ADDRSTRLEN];
	if (!handlers->refused)
		return;
	rc_peer_name(peer, &worker->connections[slot].handshake->peer);
	handlers->refused(handlers->context, peer, status, words);
}

void rc_opening_refuse(struct worker *worker, uint32_t slot, int status, const char *words)
{
	char response[1024];
	size_t size = rc_http_response(response, sizeof response, status, NULL, words, words ? strlen(words) : 0, false,
	                               RC_HTTP_CLOSES);
	RC_TRACE2(handshake, slot, status);
	rc_count(&worker->stats.handshakes_failed, 1);
	tell_refused(worker, slot, status, words);
	if (rc_connection_put(worker, slot, response, size))
		rc_ending_note(worker, &(struct ending){ .kind = ENDING_ANSWERED, .slot = slot, .lingers = true });
	else
		cut(worker, slot, 0);
}

/* The response goes before all that the application has said meanwhile. */
static bool put_first(struct worker *worker, uint32_t slot, const char *bytes, size_t size)
{
	struct rc_outbox *outbox = rc_connection_outbox(worker, &worker->connections[slot]);
	uint8_t *at = outbox ? rc_outbox_add_first(outbox, &worker->pool, size) : NULL;
	if (!at)
		return false;
	memcpy(at, bytes, size);
	rc_worker_queue(worker, slot);
	return true;
}

static void accept_request(struct worker *worker, uint32_t slot, const struct rc_verdict *verdict, bool in_line)
{
	struct connection *conn = &worker->connections[slot];
	conn->user = verdict->user;
	conn->opened = true; /* from here on, whatever happens, the application hears of the end */
	bool later = rc_form_of(conn)->answers_later;
	/* Before other answers it must not stand, nor behind what was said meanwhile: who opens reads before. */
	if (later || (verdict->response && !in_line && put_first(worker, slot, verdict->response, verdict->size)))
		open_connection(worker, slot);
	else
		cut(worker, slot, 0);
}

static void answer_request(struct worker *worker, uint32_t slot, struct rc_http_request *request)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_verdict verdict = { 0 };
	bool in_line = conn->outbox && rc_outbox_size(conn->outbox);
	if (in_line && request->websocket) {
		rc_opening_refuse(worker, slot, 400, "read the answer to the request before, then open a WebSocket\n");
		return;
	}
	conn->handshake->keeps = request->keeps;
	rc_request_judge(worker, slot, request, &verdict);
	if (verdict.accepted)
		accept_request(worker, slot, &verdict, in_line);
	else if (!verdict.response || !rc_connection_put(worker, slot, verdict.response, verdict.size))
		cut(worker, slot, 0);
	else if (verdict.keeps && !conn->ends && !conn->subscription_count)
		rc_keep_next(worker, slot);
	else
		rc_ending_note(worker,
		               &(struct ending){ .kind = ENDING_ANSWERED, .slot = slot, .lingers = verdict.lingers });
	free(verdict.response);
}

static bool refuse_over_limit(struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	if (!conn->refused && !conn->crowded && !conn->starved)
		return false;
	rc_count(&worker->stats.refused, 1);
	if (conn->refused)
		rc_opening_refuse(worker, slot, 503, "the connection limit is reached\n");
	else if (conn->starved)
		rc_opening_refuse(worker, slot, 503, "memory is short\n");
	else
		rc_opening_refuse(worker, slot, 429, "too many connections from this address\n");
	return true;
}

/* Whether the body of a request may come, by its head alone. Otherwise the request has its answer. */
static bool may_have_body(struct worker *worker, uint32_t slot, struct rc_http_request *request)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct handshake *handshake = worker->connections[slot].handshake;
	struct rc_verdict verdict = { 0 };
	handshake->head_judged = true;
	rc_request_judge_head(worker, slot, request, &verdict);
	if (!verdict.status) {
		/* RFC 9110, section 10.1.1: not where the body is here already. */
		bool awaited = request->continues && !request->body_size;
		if (!awaited || rc_connection_put(worker, slot, go_on, sizeof go_on - 1))
			return true;
		cut(worker, slot, 0);
		return false;
	}
	/* The peer may go on sending what nobody reads. */
	if (verdict.response && rc_connection_put(worker, slot, verdict.response, verdict.size))
		rc_ending_note(worker, &(struct ending){ .kind = ENDING_ANSWERED, .slot = slot, .lingers = true });
	else
		cut(worker, slot, 0);
	free(verdict.response);
	return false;
}

/* A head whose body is awaited. Returns 0 when it may come, or a negative number. */
static int judge_head(struct worker *worker, uint32_t slot, const char *bytes, int size)
{
	char copy[RC_REQUEST_SIZE_MAX]; /* parsing changes it, and all is parsed once more with the body */
	struct rc_http_request request;
	RC_ASSERT((size_t)size <= sizeof copy);
	memcpy(copy, bytes, (size_t)size);
	int result = rc_handshake_parse_head(&request, copy, size, worker->server->config.body_size_max);
	if (result < 0) {
		rc_opening_refuse(worker, slot, -result, NULL);
		return result;
	}
	return refuse_over_limit(worker, slot) || !may_have_body(worker, slot, &request) ? -1 : 0;
}

static int judge_request(struct worker *worker, uint32_t slot, char *bytes, size_t size)
{
	struct handshake *handshake = worker->connections[slot].handshake;
	struct rc_http_request request;
	int result = rc_handshake_parse_body(&request, bytes, size, worker->server->config.body_size_max,
	                                     &handshake->chunks);
	if (result < 0)
		rc_opening_refuse(worker, slot, -result, NULL);
	else if (result == 0 && request.head_size && !handshake->head_judged)
		return judge_head(worker, slot, bytes, request.head_size);
	else if (result > 0 && !refuse_over_limit(worker, slot) &&
	         (!request.body_size || handshake->head_judged || may_have_body(worker, slot, &request)))
		answer_request(worker, slot, &request);
	return result;
}

/* ---- the client's side ---- */

/* Why the response opened nothing. */
static void refused(struct worker *worker, uint32_t slot, int result, const char *why)
{
	char *words = worker->dialler.why;
	int status = result <= -100 ? -result : result, size = 0;
	if (status > 0)
		size = snprintf(words, sizeof worker->dialler.why, "the server answered with HTTP status %d %s", status,
		                rc_http_status_text(status));
	else if (why)
		size = snprintf(words, sizeof worker->dialler.why, "the answer opens no WebSocket: %s", why);
	else
		size = snprintf(words, sizeof worker->dialler.why, "out of memory");
	rc_ending_note(worker, &(struct ending){ .kind = ENDING_CUT,
	                                         .slot = slot,
	                                         .code = RC_CLOSE_ABNORMAL,
	                                         .status = status,
	                                         .reason = words,
	                                         .reason_size = (size_t)size });
}

static int judge_response(struct worker *worker, uint32_t slot, const char *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	char protocol[RC_PROTOCOL_NAME_MAX];
	struct rc_deflate agreed;
	const char *why;
	int result = rc_handshake_response_parse(bytes, size, conn->handshake->nonce, conn->handshake->protocols,
	                                         protocol, conn->handshake->offers_deflate ? &rc_dial_wish : NULL,
	                                         &agreed, &why);
	if (result > 0 && !rc_agree_with_server(worker, slot, &agreed))
		result = -ENOMEM;
	if (result < 0)
		refused(worker, slot, result, why);
	else if (result > 0)
		open_connection(worker, slot);
	return result;
}

/* ---- bytes ---- */

size_t rc_opening_take(struct worker *worker, uint32_t slot, uint8_t *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	struct handshake *handshake = conn->handshake;
	char *head = (char *)bytes;
	size_t total = size, before = handshake->size;
	if (handshake->answered && !before) {
		handshake->began_ns = worker->now_ns;
		rc_connection_set_state(worker, slot, CONNECTION_HANDSHAKE,
		                        worker->server->config.handshake_timeout_ms);
	}
	if (before && !(head = rc_handshake_gather(worker, handshake, bytes, size, &total))) {
		cut(worker, slot, conn->client ? -ENOMEM : 0);
		return size;
	}
	int used = conn->client ? judge_response(worker, slot, head, total) : judge_request(worker, slot, head, total);
	if (used == 0 && !before && !rc_handshake_gather(worker, handshake, bytes, size, &total))
		cut(worker, slot, conn->client ? -ENOMEM : 0);
	/* Frames after the head lie in the receive buffer, whichever way the head was gathered. */
	return used > 0 ? (size_t)used - before : size;
}
