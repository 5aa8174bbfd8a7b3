/* SPDX-License-Identifier: MIT
 *
 * conn.c - the public functions on one connection. Any thread may call them, except for rc_respond(): on the
 * connection's own worker they act at once, from elsewhere they are posted to it. act_or_post() decides that for all of
 * them. It must not know how anything is sent.
 */
#include "conn.h"

#include "form.h"
#include "growing.h"
#include "say.h"
#include "subscription.h"
#include "text.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>

unsigned rc_conn_worker(rc_conn conn)
{
	return (unsigned)(conn >> (32 + RC_SLOT_BITS));
}

struct worker *rc_conn_worker_of(rc_server *server, rc_conn conn)
{
	uint64_t index = conn >> (32 + RC_SLOT_BITS);
	return index < server->worker_count ? &server->workers[index] : NULL;
}

static uint32_t slot_in(rc_conn conn)
{
	return (uint32_t)(conn >> 32) & (RC_SLOTS_MAX - 1);
}

bool rc_conn_is_fresh(const struct worker *worker, rc_conn conn)
{
	uint32_t slot = slot_in(conn), generation = (uint32_t)conn;
	if (generation & RC_HANDLE_DIALLED)
		return rc_dialled_find(worker, conn);
	/* Only a slot that nobody has used yet has the generation 0. */
	return worker->connections && slot < worker->slot_count && generation &&
	       atomic_load_explicit(&worker->connections[slot].generation, memory_order_relaxed) == generation;
}

bool rc_conn_slot(const struct worker *worker, rc_conn conn, uint32_t *slot)
{
	const struct dialled *entry = rc_dialled_find(worker, conn);
	*slot = entry ? entry->slot - 1 : slot_in(conn);
	return !entry || entry->slot;
}

/* ---- at once, or posted ---- */

/* What is to be done on the connection's worker. */
struct call {
	int (*act)(struct worker *worker, uint32_t slot, const struct call *call);
	unsigned number; /* opcode or close code */
	const void *data;
	size_t size;
	struct rc_start *start;
};

struct posted_call {
	struct command command;
	rc_conn conn;
	struct call call;
	struct rc_start start;
	uint8_t bytes[];
};

static int close_here(struct worker *worker, uint32_t slot, const struct call *call);

static int act_here(struct worker *worker, rc_conn conn, const struct call *call)
{
	uint32_t slot;
	bool stops = call->act == close_here && rc_dial_give_up(worker, conn) == 0;
	int result = rc_conn_slot(worker, conn, &slot) ? call->act(worker, slot, call) : -ENOTCONN;
	return stops ? 0 : result;
}

static void run_call(struct worker *worker, struct command *command)
{
	struct posted_call *posted = (struct posted_call *)command;
	if (rc_conn_is_fresh(worker, posted->conn))
		act_here(worker, posted->conn, &posted->call);
	free(posted);
}

static int post_call(struct worker *worker, rc_conn conn, const struct call *call)
{
	struct posted_call *posted = malloc(sizeof *posted + call->size + 1);
	if (!posted)
		return -ENOMEM;
	posted->command = (struct command){ .run = run_call };
	posted->conn = conn;
	posted->call = *call;
	if (call->start) {
		posted->start = *call->start;
		posted->call.start = &posted->start;
	}
	if (call->size)
		memcpy(posted->bytes, call->data, call->size);
	posted->call.data = posted->bytes;
	int result = rc_mailbox_post(&worker->mailbox, &posted->command);
	if (result < 0)
		free(posted);
	return result;
}

static int act_or_post(rc_server *server, rc_conn conn, const struct call *call)
{
	struct worker *worker = rc_conn_worker_of(server, conn);
	if (!worker || !rc_conn_is_fresh(worker, conn))
		return -ENOTCONN;
	if (worker != rc_worker_here)
		return post_call(worker, conn, call);
	/* What rc_connect() has just posted to this very worker is met behind it. */
	const struct dialled *entry = rc_dialled_find(worker, conn);
	bool begins = entry && !entry->dial && !entry->slot;
	return begins && call->act == close_here ? post_call(worker, conn, call) : act_here(worker, conn, call);
}

/* ---- saying something ---- */

static int send_here(struct worker *worker, uint32_t slot, const struct call *call)
{
	if (!rc_connection_is_open(&worker->connections[slot]))
		return -ENOTCONN;
	int result = rc_say(worker, slot, (uint8_t)call->number, call->data, call->size);
	if (result == 0 && !(call->number & 8))
		rc_count(&worker->stats.messages_sent, 1);
	return result;
}

int rc_send(rc_server *server, rc_conn conn, enum rc_opcode opcode, const void *data, size_t size)
{
	if (opcode == RC_TEXT && size <= server->config.send_size_max && !rc_utf8_valid(data, size))
		return -EILSEQ;
	return rc_send_unchecked(server, conn, opcode, data, size);
}

int rc_send_unchecked(rc_server *server, rc_conn conn, enum rc_opcode opcode, const void *data, size_t size)
{
	if (opcode != RC_TEXT && opcode != RC_BINARY)
		return -EINVAL;
	if (size > server->config.send_size_max)
		return -ENOBUFS;
	return act_or_post(server, conn, &(struct call){ send_here, (unsigned)opcode, data, size, NULL });
}

int rc_ping(rc_server *server, rc_conn conn, const void *data, size_t size)
{
	if (size > RC_CONTROL_SIZE_MAX)
		return -EINVAL;
	return act_or_post(server, conn, &(struct call){ send_here, RC_FRAME_PING, data, size, NULL });
}

/* ---- the end ---- */

/* A Close is queued now, since its reason is the caller's; the rest comes after the event. */
static int close_here(struct worker *worker, uint32_t slot, const struct call *call)
{
	const struct connection *conn = &worker->connections[slot];
	const struct ending ending = { .kind = ENDING_CLOSE, .slot = slot, .code = (uint16_t)call->number };
	if (!rc_connection_is_open(conn))
		return -ENOTCONN;
	if (rc_form_of(conn)->websocket)
		rc_say_close(worker, slot, ending.code, call->data, call->size);
	rc_ending_note(worker, &ending);
	return 0;
}

int rc_close(rc_server *server, rc_conn conn, uint16_t code, const char *reason, size_t reason_size)
{
	if (!rc_close_code_valid(code) || reason_size > RC_CONTROL_SIZE_MAX - 2)
		return -EINVAL;
	if (!rc_utf8_valid(reason, reason_size))
		reason_size = 0;
	return act_or_post(server, conn, &(struct call){ close_here, code, reason, reason_size, NULL });
}

int rc_respond(rc_server *server, rc_conn conn, int status, const char *content_type, const char *headers,
               const void *body, size_t size)
{
	uint32_t slot;
	struct worker *worker = rc_conn_worker_of(server, conn);
	if (!worker || !rc_conn_is_fresh(worker, conn))
		return -ENOTCONN;
	if (worker != rc_worker_here || !rc_conn_slot(worker, conn, &slot))
		return -EINVAL;
	const struct connection *found = &worker->connections[slot];
	if (status < 200 || status > 599 || !rc_form_of(found)->answers_later)
		return -EINVAL;
	if (size > server->config.send_size_max)
		return -ENOBUFS;
	return rc_connection_is_open(found) ? rc_answer(worker, slot, status, content_type, headers, body, size)
	                                    : -ENOTCONN;
}

/* ---- subscriptions ---- */

static bool may_subscribe(const struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	return (conn->state == CONNECTION_OPEN || conn->state == CONNECTION_HANDSHAKE) && !conn->ends;
}

static int subscribe_here(struct worker *worker, uint32_t slot, const struct call *call)
{
	return may_subscribe(worker, slot) ? rc_subscription_begin(worker, slot, call->data, call->size, call->start)
	                                   : -ENOTCONN;
}

int(rc_subscribe)(rc_server *server, rc_conn conn, const char *topic, size_t topic_size, struct rc_start *given,
                  size_t struct_size)
{
	struct rc_start start = { 0 };
	if (!topic_size || topic_size > RC_TOPIC_NAME_MAX)
		return -EINVAL;
	int result = given ? rc_growing_take(&start, sizeof start, given, struct_size) : 0;
	if (result == 0)
		result = act_or_post(server, conn,
		                     &(struct call){ subscribe_here, 0, topic, topic_size, given ? &start : NULL });
	if (result == 0 && given)
		rc_growing_give(given, struct_size, &start, sizeof start);
	return result;
}

static int unsubscribe_here(struct worker *worker, uint32_t slot, const struct call *call)
{
	return may_subscribe(worker, slot) ? rc_subscription_end(worker, slot, call->data, call->size) : -ENOTCONN;
}

int rc_unsubscribe(rc_server *server, rc_conn conn, const char *topic, size_t topic_size)
{
	if (!topic_size || topic_size > RC_TOPIC_NAME_MAX)
		return -ENOENT;
	return act_or_post(server, conn, &(struct call){ unsubscribe_here, 0, topic, topic_size, NULL });
}

/* ---- workers ---- */

struct posted_function {
	struct command command;
	void (*fn)(void *argument);
	void *argument;
};

static void run_function(struct worker *worker, struct command *command)
{
	const struct posted_function *posted = (const struct posted_function *)command;
	(void)worker;
	posted->fn(posted->argument);
	free(command);
}

int rc_post(rc_server *server, unsigned worker, void (*fn)(void *argument), void *argument)
{
	if (worker >= server->worker_count || !fn)
		return -EINVAL;
	struct posted_function *posted = malloc(sizeof *posted);
	if (!posted)
		return -ENOMEM;
	*posted = (struct posted_function){ { .run = run_function }, fn, argument };
	int result = rc_mailbox_post(&server->workers[worker].mailbox, &posted->command);
	if (result < 0)
		free(posted);
	return result;
}
