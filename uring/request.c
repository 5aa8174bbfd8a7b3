/* SPDX-License-Identifier: MIT
 *
 * request.c - what the application sees of an opening handshake or a plain HTTP request, and its verdict. It must not
 * know how a response leaves.
 */
#include "agree.h"
#include "form.h"
#include "frame.h"
#include "keep.h"
#include "opening.h"
#include "proxy.h"
#include "ringcast_refuse.h"
#include "ringcast_request.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rc_request {
	struct worker *worker;
	uint32_t slot;
	struct rc_http_request *http;
	const struct handshake *handshake;
	struct rc_verdict *verdict;
	const char *protocol;
	bool is_head; /* its body is not awaited yet: whoever answers now does not read it */
	size_t headers_size, scratch_size;
	char peer_text[INET6_ADDRSTRLEN]; /* made when it is asked for */
	/* Large, and written before they are read: nobody clears them. */
	char subject[512];
	char headers[RC_RESPONSE_HEADERS_SIZE];
	char scratch[RC_REQUEST_LINE_MAX]; /* decoded query values */
};

static void begin(rc_request *request, struct worker *worker, uint32_t slot, struct rc_http_request *http,
                  struct rc_verdict *verdict)
{
	request->worker = worker;
	request->slot = slot;
	request->http = http;
	request->handshake = worker->connections[slot].handshake;
	request->verdict = verdict;
	request->protocol = NULL;
	request->is_head = false;
	request->headers_size = request->scratch_size = 0;
	request->peer_text[0] = 0;
}

rc_server *rc_request_server(const rc_request *request)
{
	return request->worker->server;
}
const char *rc_request_method(const rc_request *request)
{
	return request->http->method;
}
const char *rc_request_path(const rc_request *request)
{
	return request->http->path;
}
const char *rc_request_query_string(const rc_request *request)
{
	return request->http->query;
}
bool rc_request_is_websocket(const rc_request *request)
{
	return request->http->websocket;
}
bool rc_request_is_tls(const rc_request *request)
{
	return request->worker->connections[request->slot].secure;
}
rc_conn rc_request_conn(const rc_request *request)
{
	return rc_handle(request->worker, request->slot);
}
void rc_request_set_user(rc_request *request, void *user)
{
	request->verdict->user = user;
}
const char *rc_request_peer(const rc_request *request)
{
	if (!request->peer_text[0])
		rc_peer_name(((rc_request *)request)->peer_text, &request->handshake->peer);
	return request->peer_text;
}
unsigned rc_request_listener(const rc_request *request)
{
	return request->worker->connections[request->slot].listener;
}

const char *rc_request_proxy(const rc_request *request)
{
	return *request->handshake->proxy ? request->handshake->proxy : NULL;
}

const void *rc_request_body(const rc_request *request, size_t *size)
{
	*size = request->is_head ? 0 : request->http->body_size;
	return request->http->body;
}

const char *rc_request_peer_subject(rc_request *request)
{
	const struct rc_tls_stream *stream = request->worker->secure.of_slot[request->slot].stream;
	return stream && rc_tls_subject(stream, request->subject, sizeof request->subject) ? request->subject : NULL;
}

const char *rc_request_header(const rc_request *request, const char *name)
{
	return rc_http_header(request->http, name);
}

const char *rc_request_header_at(const rc_request *request, const char *name, unsigned index)
{
	return rc_http_header_at(request->http, name, index);
}

const char *rc_request_query(rc_request *request, const char *name)
{
	char *to = request->scratch + request->scratch_size;
	int size = rc_query_get(request->http->query, name, to, sizeof request->scratch - request->scratch_size);
	if (size < 0)
		return NULL;
	request->scratch_size += (size_t)size + 1;
	return to;
}

bool rc_request_peer_is_local(const rc_request *request)
{
	const struct sockaddr_storage *peer = &request->handshake->peer;
	if (peer->ss_family == AF_UNIX)
		return true;
	if (peer->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)peer)->sin_addr.s_addr) >> 24 == 127;
	return peer->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)peer)->sin6_addr);
}

bool rc_request_choose_protocol(rc_request *request, const char *protocol)
{
	if (!request->http->websocket || !rc_handshake_offers(request->http, protocol))
		return false;
	request->protocol = protocol;
	return true;
}

static int respond(rc_request *request, int status, const char *type, const void *body, size_t size)
{
	struct rc_verdict *verdict = request->verdict;
	char *response = malloc(size + RC_RESPONSE_HEAD_SIZE_MAX);
	if (!response)
		return -ENOMEM;
	bool keeps = !request->is_head && rc_keep_may(request->worker, request->slot);
	size_t used = rc_http_response(response, size + RC_RESPONSE_HEAD_SIZE_MAX, status, type, body, size,
	                               strcmp(request->http->method, "HEAD") == 0,
	                               keeps ? RC_HTTP_KEEPS : RC_HTTP_CLOSES);
	if (!used) {
		free(response);
		return -EINVAL; /* what was answered before stands */
	}
	free(verdict->response);
	verdict->response = response;
	verdict->size = used;
	verdict->status = status;
	verdict->keeps = keeps;
	return 0;
}

int rc_request_respond(rc_request *request, int status, const char *type, const void *body, size_t size)
{
	if (status < 200 || status > 599)
		return -EINVAL;
	if (size > request->worker->server->config.send_size_max)
		return -ENOBUFS;
	return respond(request, status, type, body, size);
}

/* The 101 and a Close in one, and no connection that opens: all else about it is as of any other refusal. */
int rc_request_refuse(rc_request *request, int status, uint16_t code, const char *reason, size_t reason_size)
{
	struct rc_verdict *verdict = request->verdict;
	uint8_t frame[RC_FRAME_HEADER_MAX + RC_CONTROL_SIZE_MAX];
	if (status < 400 || status > 599 || !rc_close_code_valid(code) || !request->http->websocket ||
	    reason_size > RC_CONTROL_SIZE_MAX - 2)
		return -EINVAL;
	char *response = malloc(RC_RESPONSE_HEAD_SIZE_MAX + sizeof frame);
	if (!response)
		return -ENOMEM;
	size_t head_size = rc_handshake_response(response, RC_RESPONSE_HEAD_SIZE_MAX, request->http->key,
	                                         request->protocol, NULL);
	size_t size = rc_close_payload(frame + 2, code, reason, reason_size);
	rc_frame_write(frame, &(struct rc_frame){ .fin = true, .opcode = RC_FRAME_CLOSE, .size = size });
	memcpy(response + head_size, frame, size + 2);
	free(verdict->response);
	verdict->response = response;
	verdict->size = head_size + size + 2;
	verdict->status = status;
	verdict->keeps = false;
	verdict->lingers = true; /* its Close may come, and must not meet a reset */
	return 0;
}

int rc_request_status(const rc_request *request)
{
	const struct form *form = rc_form_of(&request->worker->connections[request->slot]);
	if (request->verdict->status)
		return request->verdict->status;
	if (request->http->websocket)
		return 101;
	if (request->is_head || form->answers_later)
		return 0;
	return form->websocket ? 426 : 200;
}

int rc_request_add_header(rc_request *request, const char *name, const char *value)
{
	struct rc_span field = { name, strlen(name) };
	size_t room = sizeof request->headers - request->headers_size;
	for (const char *at = value; *at; at++)
		if ((unsigned char)*at < ' ' && *at != '\t')
			return -EINVAL;
	if (!rc_span_is_token(field))
		return -EINVAL;
	int size = snprintf(request->headers + request->headers_size, room, "%s: %s\r\n", name, value);
	if (size < 0 || (size_t)size >= room)
		return -ENOSPC;
	request->headers_size += (size_t)size;
	return 0;
}

static void splice_headers(const rc_request *request, struct rc_verdict *verdict)
{
	if (!request->headers_size || !verdict->response)
		return;
	char *bytes = realloc(verdict->response, verdict->size + request->headers_size);
	if (!bytes)
		return; /* the answer leaves without them */
	verdict->size = rc_answer_insert_headers(bytes, verdict->size, request->headers, request->headers_size);
	verdict->response = bytes;
}

/* ---- streams and answers that come later ---- */

static int set_form(rc_request *request, enum connection_form form)
{
	struct connection *conn = &request->worker->connections[request->slot];
	if (request->http->websocket || request->is_head)
		return -EINVAL;
	if (conn->subscription_count)
		return -EBUSY;
	conn->form = (uint8_t)form;
	return 0;
}

int rc_request_events(rc_request *request)
{
	return strcmp(request->http->method, "GET") == 0 ? set_form(request, FORM_EVENTS) : -EINVAL;
}

int rc_request_wait(rc_request *request)
{
	return set_form(request, FORM_ANSWER);
}

int rc_request_form(rc_request *request, enum rc_form form)
{
	static const uint8_t of_websocket[] = { [RC_FORM_PLAIN] = FORM_FRAMES,
		                                [RC_FORM_JSON] = FORM_JSON,
		                                [RC_FORM_BINARY] = FORM_BINARY,
		                                [RC_FORM_OWN] = FORM_OWN,
		                                [RC_FORM_OWN_2] = FORM_OWN_2 },
			     of_events[] = { [RC_FORM_PLAIN] = FORM_EVENTS, [RC_FORM_JSON] = FORM_JSON_EVENTS };
	struct connection *conn = &request->worker->connections[request->slot];
	bool websocket = request->http->websocket;
	unsigned count = websocket ? sizeof of_websocket : sizeof of_events;
	if (request->is_head || (unsigned)form >= count ||
	    (!websocket && conn->form != FORM_EVENTS && conn->form != FORM_JSON_EVENTS))
		return -EINVAL;
	if (form >= RC_FORM_OWN && !request->worker->server->own[form - RC_FORM_OWN].write)
		return -EINVAL;
	if (conn->subscription_count)
		return -EBUSY;
	conn->form = websocket ? of_websocket[form] : of_events[form];
	return 0;
}

/* The response that opens a stream. */
static void begin_stream(struct rc_verdict *verdict, const char *head)
{
	verdict->size = strlen(head);
	verdict->response = malloc(verdict->size);
	if (verdict->response)
		memcpy(verdict->response, head, verdict->size);
}

void rc_request_judge_head(struct worker *worker, uint32_t slot, struct rc_http_request *http,
                           struct rc_verdict *verdict)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	rc_request request;
	if (!handlers->head)
		return;
	begin(&request, worker, slot, http, verdict);
	request.is_head = true;
	int status = handlers->head(handlers->context, &request);
	if (!status && !verdict->status)
		return;
	rc_count(&worker->stats.http_requests, 1);
	if (!verdict->status)
		respond(&request, status < 400 || status > 599 ? 500 : status, NULL, NULL, 0);
	splice_headers(&request, verdict);
}

void rc_request_judge(struct worker *worker, uint32_t slot, struct rc_http_request *http, struct rc_verdict *verdict)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	const struct connection *conn = &worker->connections[slot];
	rc_request request;
	begin(&request, worker, slot, http, verdict);
	int status = handlers->request ? handlers->request(handlers->context, &request) : 0;
	if (!http->websocket)
		rc_count(&worker->stats.http_requests, 1);
	if (verdict->status)
		status = verdict->status; /* it answered itself */
	else if (!status && !http->websocket && rc_form_of(conn)->websocket)
		status = 426;
	else if (status && (status < 400 || status > 599))
		status = 500;
	if (status && !verdict->response)
		respond(&request, status, NULL, NULL, 0);
	if (status && http->websocket)
		rc_count(&worker->stats.handshakes_failed, 1);
	if (status || verdict->response) {
		splice_headers(&request, verdict);
		return;
	}
	verdict->accepted = true;
	if (!http->websocket) {
		if (rc_form_of(conn)->head)
			begin_stream(verdict, rc_form_of(conn)->head);
		splice_headers(&request, verdict);
		return;
	}
	char response[RC_RESPONSE_HEAD_SIZE_MAX], extensions[RC_EXTENSION_SIZE_MAX];
	rc_agree_with_client(worker, slot, http, extensions);
	verdict->size = rc_handshake_response(response, sizeof response, http->key, request.protocol,
	                                      extensions[0] ? extensions : NULL);
	verdict->response = verdict->size ? malloc(verdict->size) : NULL;
	if (verdict->response)
		memcpy(verdict->response, response, verdict->size);
	splice_headers(&request, verdict);
}
