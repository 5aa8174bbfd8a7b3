/* SPDX-License-Identifier: MIT
 *
 * frames.c - see frames.h. It must not know how bytes arrive, nor how they leave.
 *
 * Invariant: between two calls a connection within a message has a session of its own; one at rest has none, and reads
 * with the worker's.
 */
#include "frames.h"

#include "form.h"
#include "say.h"
#include "worker.h"

#include <string.h>

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
	if (rc_say_frame(worker, slot, RC_FRAME_PONG, event->data, event->size) == 0)
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): queued, so there is an outbox */
		conn->outbox->pong_count++;
}

static void fail(struct worker *worker, uint32_t slot, uint16_t code, const char *why)
{
	const struct ending ending = {
		.kind = ENDING_FAILED, .slot = slot, .code = code, .reason = why, .reason_size = why ? strlen(why) : 0
	};
	rc_count(&worker->stats.protocol_errors, 1);
	rc_ending_note(worker, &ending);
}

static void take_close(struct worker *worker, uint32_t slot, const struct rc_event *event)
{
	struct endings *endings = &worker->endings;
	/* The reason lies in the session, which may be gone by then. */
	memcpy(endings->peer_reason, event->data, event->size);
	rc_ending_note(worker, &(struct ending){ .kind = ENDING_CLOSED,
	                                         .slot = slot,
	                                         .code = event->code,
	                                         .reason = endings->peer_reason,
	                                         .reason_size = event->size });
}

static void take_message(struct worker *worker, uint32_t slot, const struct rc_event *event)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	struct rc_message message = { event->data, event->size, (enum rc_opcode)event->opcode };
	struct rc_inflated_message inflated = { 0 };
	if (event->compressed) {
		uint16_t code;
		const char *wrong = rc_compress_inflate(worker, slot, event, &inflated, &code);
		if (wrong) {
			fail(worker, slot, code, wrong);
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
	bool open = conn->state == CONNECTION_OPEN;
	switch (event->kind) {
	case RC_EVENT_MESSAGE:
		if (open)
			take_message(worker, slot, event);
		break;
	case RC_EVENT_PING:
		if (open)
			answer_ping(worker, slot, event);
		break;
	case RC_EVENT_PONG:
		if (conn->asked) {
			conn->asked = false;
			conn->pace = rc_times_take_pong(worker, event->data, event->size) & 3;
		}
		if (open && handlers->pong)
			handlers->pong(handlers->context, rc_handle(worker, slot), conn->user, event->data,
			               event->size);
		break;
	case RC_EVENT_CLOSE:
		take_close(worker, slot, event);
		break;
	case RC_EVENT_FAIL:
		fail(worker, slot, event->code, event->why);
		break;
	case RC_EVENT_NONE:
		break;
	}
}

/* At rest, but for a block that a message may have left behind when it was handed over. */
static bool is_between_messages(const struct rc_session *session)
{
	return !session->in_frame && !session->in_message && !session->over && !session->header_size;
}

/* Puts a session that is within a message into a block of its own. Null when memory is out. */
static struct rc_session *keep(struct worker *worker, struct rc_session *session)
{
	size_t capacity;
	struct rc_session *own = rc_pool_take(&worker->pool, sizeof *own, &capacity);
	if (own)
		*own = *session;
	else
		rc_session_reset(session, &worker->pool);
	memset(&worker->scratch, 0, sizeof worker->scratch);
	return own;
}

static struct rc_session_rules rules_of(struct worker *worker, const struct connection *conn)
{
	return (struct rc_session_rules){
		.client = conn->client,
		.message_size_max = worker->server->config.message_size_max,
		.fragments_max = worker->server->config.fragments_max,
		.deflate = conn->deflate,
		.ahead = conn->bulk ? RC_MIN((size_t)1 << conn->bulk, RC_BULK_AHEAD_MAX) : 0,
		.pool = &worker->pool,
	};
}

static bool is_last(const struct rc_event *event)
{
	return event->kind == RC_EVENT_CLOSE || event->kind == RC_EVENT_FAIL;
}

/* A message tells how large the next one may well be. */
static void note_size(struct connection *conn, const struct rc_event *event)
{
	if (event->kind == RC_EVENT_MESSAGE && (conn->bulk || event->size >= RC_BULK_SIZE_MIN))
		conn->bulk = event->size < RC_BULK_SIZE_MIN ? 0
		                                            : (64 - (unsigned)__builtin_clzll(event->size - 1)) & 0xff;
}

static void hand_over(struct worker *worker, uint32_t slot, struct rc_session *session, const struct rc_event *event)
{
	note_size(&worker->connections[slot], event);
	worker->reading = session->gathered ? session : NULL;
	take_event(worker, slot, event);
	worker->reading = NULL;
}

/* No more comes now: a session at rest is given back, one within a message is the connection's own. */
static void settle(struct worker *worker, uint32_t slot, struct rc_session *session, bool over)
{
	struct connection *conn = &worker->connections[slot];
	if (!conn->session && rc_session_at_rest(session)) {
		return; /* nothing was kept: nearly always */
	} else if (over || is_between_messages(session)) {
		rc_session_reset(session, &worker->pool);
		rc_pool_give(&worker->pool, conn->session, RC_POOL_BLOCK_MIN);
		conn->session = NULL;
	} else if (!conn->session && !(conn->session = keep(worker, session))) {
		fail(worker, slot, RC_CLOSE_INTERNAL, "out of memory");
	}
}

uint8_t *rc_frames_take(struct worker *worker, uint32_t slot, uint8_t *at, uint8_t *end)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_session_rules rules = rules_of(worker, conn);
	if (!rc_form_of(conn)->websocket)
		return end; /* a client that asked by plain HTTP has nothing more to say */
	struct rc_session *session = conn->session ? conn->session : &worker->scratch;
	struct rc_event event = { 0 };
	while (at < end && !conn->ends && rc_session_next(session, &rules, &at, end, &event) != RC_EVENT_NONE)
		hand_over(worker, slot, session, &event);
	settle(worker, slot, session, is_last(&event));
	return is_last(&event) ? end : at;
}

/* The session of a connection within a message; of any other null. */
static struct rc_session *own_session(const struct connection *conn)
{
	bool reads = conn->state == CONNECTION_OPEN || conn->state == CONNECTION_CLOSING;
	return reads ? conn->session : NULL;
}

size_t rc_frames_rest(const struct connection *conn)
{
	const struct rc_session *session = own_session(conn);
	return session && session->in_frame ? (size_t)(session->frame.size - session->frame_done) : 0;
}

size_t rc_frames_place(struct worker *worker, uint32_t slot, uint8_t **to)
{
	const struct connection *conn = &worker->connections[slot];
	const struct rc_session_rules rules = rules_of(worker, conn);
	struct rc_session *session = own_session(conn);
	return session ? rc_session_place(session, &rules, to) : 0;
}

void rc_frames_placed(struct worker *worker, uint32_t slot, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_session_rules rules = rules_of(worker, conn);
	struct rc_session *session = conn->session;
	struct rc_event event = { 0 };
	if (rc_session_placed(session, &rules, size, &event) != RC_EVENT_NONE)
		hand_over(worker, slot, session, &event);
	settle(worker, slot, session, is_last(&event));
}
