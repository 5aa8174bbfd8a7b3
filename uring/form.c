/* SPDX-License-Identifier: MIT
 *
 * form.c - see form.h: the table, and what its rows name. It must not know how bytes leave, nor what was received.
 */
#include "form.h"

#include "http.h"
#include "keep.h"
#include "own.h"
#include "say.h"
#include "sse.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- a WebSocket ---- */

static void close_websocket(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	rc_connection_set_state(worker, slot, CONNECTION_CLOSING, worker->server->config.close_timeout_ms);
	rc_say_close(worker, slot, code, reason, reason_size);
}

/* ---- a stream of server-sent events ---- */

/* The stream is not chunked: it ends with the connection (RFC 9112, section 6.3). So nothing stands between two events,
 * and all streams share them. */
#define STREAM_HEAD                                                                                                    \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"   \
	"Connection: close\r\n\r\n"

/* Text is an event, and a Ping a sign of life. */
static int say_event(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size)
{
	const struct rc_event_id none = { 0 };
	bool is_text = opcode == RC_FRAME_TEXT, full = false;
	if (!is_text && opcode != RC_FRAME_PING)
		return -EINVAL;
	size_t event_size = is_text ? rc_sse_write(NULL, none, data, size) : sizeof RC_SSE_HEARTBEAT - 1;
	struct rc_outbox *outbox = rc_connection_outbox(worker, &worker->connections[slot]);
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

static void close_stream(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	(void)reason, (void)reason_size;
	rc_ending_note(worker, &(struct ending){ .kind = ENDING_ANSWERED, .slot = slot, .code = code });
}

/* ---- one answer to a plain request, later ---- */

static int say_nothing(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size)
{
	(void)worker, (void)slot, (void)opcode, (void)data, (void)size;
	return -EINVAL;
}

static void close_request(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size)
{
	if (rc_answer(worker, slot, 503, NULL, NULL, NULL, 0) < 0)
		close_stream(worker, slot, code, reason, reason_size);
}

/* Whether the line that begins at `at` has the same name as one of the headers. */
static bool is_said(const char *at, const char *headers, size_t headers_size)
{
	size_t name_size = strcspn(at, ":") + 1;
	for (const char *line = headers, *end = headers + headers_size; line < end;) {
		if ((size_t)(end - line) >= name_size && strncasecmp(line, at, name_size) == 0)
			return true;
		const char *next = memchr(line, '\n', (size_t)(end - line));
		line = next ? next + 1 : end;
	}
	return false;
}

size_t rc_answer_insert_headers(char *bytes, size_t size, const char *headers, size_t headers_size)
{
	static const char *const demanded[] = { "Allow:", "Retry-After:" };
	size_t line_size = (size_t)((char *)memchr(bytes, '\n', size) - bytes) + 1;
	char *own = bytes + line_size; /* what a status demands stands first */
	for (size_t i = 0; i < sizeof demanded / sizeof *demanded; i++) {
		char *end = memchr(own, '\n', size - line_size);
		if (!end || strncmp(own, demanded[i], strlen(demanded[i])) != 0 || !is_said(own, headers, headers_size))
			continue;
		size_t own_size = (size_t)(end - own) + 1;
		size -= own_size;
		memmove(own, own + own_size, size - line_size);
	}
	memmove(bytes + line_size + headers_size, bytes + line_size, size - line_size);
	memcpy(bytes + line_size, headers, headers_size);
	return size + headers_size;
}

int rc_answer(struct worker *worker, uint32_t slot, int status, const char *type, const char *headers, const void *body,
              size_t size)
{
	headers = headers ? headers : "";
	size_t headers_size = strlen(headers);
	char *response = malloc(size + headers_size + RC_RESPONSE_HEAD_SIZE_MAX);
	if (!response)
		return -ENOMEM;
	bool keeps = status != 503 && rc_keep_may(worker, slot);
	size_t used = rc_http_response(response, size + RC_RESPONSE_HEAD_SIZE_MAX, status, type, body, size, false,
	                               keeps ? RC_HTTP_KEEPS : RC_HTTP_CLOSES);
	if (!used) {
		free(response);
		return -EINVAL;
	}
	used = rc_answer_insert_headers(response, used, headers, headers_size);
	uint16_t code = status == 503 ? RC_CLOSE_GOING_AWAY : RC_CLOSE_NORMAL;
	if (rc_connection_put(worker, slot, response, used))
		rc_ending_note(worker, &(struct ending){
					   .kind = keeps ? ENDING_KEPT : ENDING_ANSWERED, .slot = slot, .code = code });
	else
		rc_ending_cut(worker, slot, RC_CLOSE_ABNORMAL);
	free(response);
	return 0;
}

/* ---- what they make of messages and marks ---- */

static size_t write_in(uint8_t *to, enum rc_encoding_id encoding, const struct rc_value *value)
{
	const struct rc_event_id none = { 0 };
	enum rc_payload payload = RC_PAYLOAD_UNKNOWN;
	return rc_envelope_write(to, encoding, value, none, &payload);
}

static size_t write_frame(const struct rc_server *server, uint8_t *to, const struct rc_value *value)
{
	(void)server;
	return write_in(to, RC_ENCODING_LOG, value);
}

static size_t write_json(const struct rc_server *server, uint8_t *to, const struct rc_value *value)
{
	(void)server;
	return write_in(to, RC_ENCODING_JSON, value);
}

static size_t write_binary(const struct rc_server *server, uint8_t *to, const struct rc_value *value)
{
	(void)server;
	return write_in(to, RC_ENCODING_BINARY, value);
}

static size_t write_event(const struct rc_server *server, uint8_t *to, const struct rc_value *value)
{
	(void)server;
	return write_in(to, RC_ENCODING_SSE, value);
}

static size_t write_json_event(const struct rc_server *server, uint8_t *to, const struct rc_value *value)
{
	(void)server;
	return write_in(to, RC_ENCODING_SSE_JSON, value);
}

static size_t write_own(const struct rc_server *server, uint8_t *to, const struct rc_value *value)
{
	return rc_own_write(server, RC_ENCODING_OWN, to, value);
}

static size_t write_own_2(const struct rc_server *server, uint8_t *to, const struct rc_value *value)
{
	return rc_own_write(server, RC_ENCODING_OWN_2, to, value);
}

static size_t write_nothing(const struct rc_server *server, uint8_t *to, const struct rc_value *value)
{
	(void)server, (void)to, (void)value;
	return 0;
}

static size_t mark_json(uint8_t *to, const struct rc_mark *mark)
{
	return rc_mark_write(to, RC_ENCODING_JSON, mark);
}

static size_t mark_binary(uint8_t *to, const struct rc_mark *mark)
{
	return rc_mark_write(to, RC_ENCODING_BINARY, mark);
}

static size_t mark_json_event(uint8_t *to, const struct rc_mark *mark)
{
	return rc_mark_write(to, RC_ENCODING_SSE_JSON, mark);
}

/* ---- the table ---- */

const struct form rc_forms[FORM_COUNT] = {
	[FORM_FRAMES] = {
		.websocket = true,
		.follows = true,
		.encoding = RC_ENCODING_LOG,
		.write = write_frame,
		.silence = SILENCE_PING,
		.say = rc_say_frame,
		.close = close_websocket,
	},
	[FORM_JSON] = {
		.websocket = true,
		.follows = true,
		.encoding = RC_ENCODING_JSON,
		.write = write_json,
		.mark = mark_json,
		.silence = SILENCE_PING,
		.say = rc_say_frame,
		.close = close_websocket,
	},
	[FORM_BINARY] = {
		.websocket = true,
		.follows = true,
		.encoding = RC_ENCODING_BINARY,
		.write = write_binary,
		.mark = mark_binary,
		.silence = SILENCE_PING,
		.say = rc_say_frame,
		.close = close_websocket,
	},
	[FORM_OWN] = {
		.websocket = true,
		.follows = true,
		.encoding = RC_ENCODING_OWN,
		.write = write_own,
		.silence = SILENCE_PING,
		.say = rc_say_frame,
		.close = close_websocket,
	},
	[FORM_OWN_2] = {
		.websocket = true,
		.follows = true,
		.encoding = RC_ENCODING_OWN_2,
		.write = write_own_2,
		.silence = SILENCE_PING,
		.say = rc_say_frame,
		.close = close_websocket,
	},
	[FORM_EVENTS] = {
		.follows = true,
		.encoding = RC_ENCODING_SSE,
		.write = write_event,
		.silence = SILENCE_STREAM,
		.head = STREAM_HEAD,
		.say = say_event,
		.close = close_stream,
	},
	[FORM_JSON_EVENTS] = {
		.follows = true,
		.encoding = RC_ENCODING_SSE_JSON,
		.write = write_json_event,
		.mark = mark_json_event,
		.silence = SILENCE_STREAM,
		.head = STREAM_HEAD,
		.say = say_event,
		.close = close_stream,
	},
	[FORM_ANSWER] = {
		.answers_later = true,
		.encoding = RC_ENCODING_LOG,
		.write = write_nothing,
		.silence = SILENCE_NONE,
		.say = say_nothing,
		.close = close_request,
	},
};

int rc_say(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size)
{
	return rc_form_of(&worker->connections[slot])->say(worker, slot, opcode, data, size);
}

bool rc_form_is_busy(const struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	return conn->sending || conn->polling || conn->outbox || conn->cursor.owed ||
	       (conn->secure && rc_secure_has_aside(worker, slot)) || !rc_form_of(conn)->follows;
}
