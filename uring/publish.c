/* SPDX-License-Identifier: MIT
 *
 * publish.c - the public functions that say something: to a topic, or to one connection. Any thread may call them; on a
 * connection's own worker they act at once, from elsewhere they are posted to it.
 */
#include "fanout.h"
#include "trace.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_NS 50000 /* between two tries of a publisher that waits */

static void nap(void)
{
	const struct timespec time = { .tv_nsec = WAIT_NS };
	nanosleep(&time, NULL);
}

/* ---- publishing ---- */

static void wake_all(struct rc_server *server)
{
	for (unsigned i = 0; i < server->worker_count; i++)
		rc_worker_wake(&server->workers[i]);
}

static void wake_masked(struct rc_server *server, uint64_t mask)
{
	if (server->worker_count > 64) {
		for (unsigned i = 0; i < server->worker_count; i++)
			if (mask >> (i % 64) & 1)
				rc_worker_wake(&server->workers[i]);
		return;
	}
	for (; mask; mask &= mask - 1)
		rc_worker_wake(&server->workers[__builtin_ctzll(mask)]);
}

static int64_t publish_once(rc_server *server, const char *name, size_t name_size, uint64_t hash,
                            struct rc_publication *message)
{
	struct rc_log *log = &server->log;
	enum rc_opcode opcode = message->flags & RC_PUBLISH_BINARY ? RC_BINARY : RC_TEXT;
	struct timespec time;
	int error = 0;
	unsigned held_by = 0;
	int64_t result;
	uint64_t mask = 0;
	bool new_segment = false;
	clock_gettime(CLOCK_MONOTONIC, &time);
	uint64_t now_ns = (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;

	pthread_mutex_lock(&server->log_lock);
	struct rc_topic *topic = rc_topics_get(&server->topics, name, name_size, hash, &error);
	if (topic) {
		uint64_t segment = log->write_position / log->segment_size, recycled = log->segments_recycled;
		uint64_t sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed) + 1;
		message->epoch = topic->epoch;
		if (message->make)
			message->size = message->make(message->context, sequence, topic->epoch, &message->data);
		result = rc_log_append(log, topic, opcode, message->data, message->size, now_ns, &held_by);
		if (result > 0 && message->except)
			atomic_store_explicit(&rc_log_newest(log, topic)->except, message->except,
			                      memory_order_relaxed);
		new_segment = log->write_position / log->segment_size != segment;
		if (log->segments_recycled != recycled)
			RC_TRACE1(segment_recycled, log->segments_recycled);
		mask = topic->worker_mask;
		if (result < 0)
			rc_topics_release(&server->topics, topic);
	} else {
		result = error;
	}
	pthread_mutex_unlock(&server->log_lock);

	/* Workers without subscribers sleep through messages, but must raise their floors before the log comes around.
	 */
	if (new_segment || result == -EAGAIN)
		wake_all(server);
	else if (result > 0)
		wake_masked(server, mask);
	return result;
}

static bool leave_out(rc_server *server, rc_conn conn);

int64_t rc_publish_with(rc_server *server, const char *topic, size_t topic_size, struct rc_publication *message)
{
	if (!topic_size || topic_size > RC_TOPIC_NAME_MAX || (message->except && !leave_out(server, message->except)))
		return -EINVAL;
	uint64_t hash = rc_topic_hash(topic, topic_size);
	bool may_wait = message->flags & RC_PUBLISH_WAIT && !rc_worker_here;
	for (;;) {
		int64_t result = publish_once(server, topic, topic_size, hash, message);
		if (result != -EAGAIN || !may_wait || atomic_load(&server->stop_at_ns))
			return result;
		nap();
	}
}

int64_t rc_publish(rc_server *server, const char *topic, size_t topic_size, const void *data, size_t size,
                   unsigned flags)
{
	struct rc_publication message = { .data = data, .size = size, .flags = flags };
	return rc_publish_with(server, topic, topic_size, &message);
}

/* ---- one connection ---- */

unsigned rc_conn_worker(rc_conn conn)
{
	return (unsigned)(conn >> (32 + RC_SLOT_BITS));
}

/* Its worker, or null for a handle that cannot be. */
static struct worker *worker_of(rc_server *server, rc_conn conn, uint32_t *slot)
{
	uint64_t index = conn >> (32 + RC_SLOT_BITS);
	if (index >= server->worker_count)
		return NULL;
	struct worker *worker = &server->workers[index];
	*slot = (uint32_t)(conn >> 32) & (RC_SLOTS_MAX - 1);
	return *slot < worker->slot_count ? worker : NULL;
}

/* Whether the handle means the connection that is in the slot now. */
static bool is_fresh(const struct worker *worker, uint32_t slot, rc_conn conn)
{
	/* No generation is 0, but that of a slot nobody has used yet. */
	return worker->connections && (uint32_t)conn &&
	       atomic_load_explicit(&worker->connections[slot].generation, memory_order_relaxed) == (uint32_t)conn;
}

/* From now on its plans are its own, until it is past what it must not get. On its own worker nothing has been planned
 * between the publishing and this. */
static bool leave_out(rc_server *server, rc_conn conn)
{
	uint32_t slot;
	struct worker *worker = worker_of(server, conn, &slot);
	if (!worker || worker != rc_worker_here)
		return false;
	if (is_fresh(worker, slot, conn))
		worker->connections[slot].own_ahead = true;
	return true;
}

static struct command *new_command(void (*run)(struct worker *, struct command *), rc_conn conn, unsigned number,
                                   const void *data, size_t size)
{
	struct command *command = malloc(sizeof *command + size + 1);
	if (!command)
		return NULL;
	memset(command, 0, sizeof *command);
	command->run = run;
	command->conn = conn;
	command->number = number;
	command->size = size;
	if (size)
		memcpy(command->bytes, data, size);
	command->bytes[size] = 0;
	return command;
}

static int post(struct worker *worker, struct command *command)
{
	if (!command)
		return -ENOMEM;
	int result = rc_worker_post(worker, command);
	if (result < 0)
		free(command);
	return result;
}

static int send_here(struct worker *worker, uint32_t slot, rc_conn conn, uint8_t opcode, const void *data, size_t size)
{
	if (!is_fresh(worker, slot, conn) || worker->connections[slot].state != CONNECTION_OPEN)
		return -ENOTCONN;
	int result = rc_connection_queue(worker, slot, opcode, data, size);
	if (result == 0 && !(opcode & 8))
		rc_count(&worker->stats.messages_sent, 1);
	return result;
}

static void run_send(struct worker *worker, struct command *command)
{
	uint32_t slot;
	if (worker_of(worker->server, command->conn, &slot))
		send_here(worker, slot, command->conn, (uint8_t)command->number, command->bytes, command->size);
	free(command);
}

static int send_frame(rc_server *server, rc_conn conn, uint8_t opcode, const void *data, size_t size)
{
	uint32_t slot;
	struct worker *worker = worker_of(server, conn, &slot);
	if (!worker || !is_fresh(worker, slot, conn))
		return -ENOTCONN;
	if (worker == rc_worker_here)
		return send_here(worker, slot, conn, opcode, data, size);
	if (size > server->config.send_size_max)
		return -ENOBUFS;
	return post(worker, new_command(run_send, conn, opcode, data, size));
}

int rc_send(rc_server *server, rc_conn conn, enum rc_opcode opcode, const void *data, size_t size)
{
	if (opcode != RC_TEXT && opcode != RC_BINARY)
		return -EINVAL;
	return send_frame(server, conn, (uint8_t)opcode, data, size);
}

int rc_ping(rc_server *server, rc_conn conn, const void *data, size_t size)
{
	if (size > RC_CONTROL_SIZE_MAX)
		return -EINVAL;
	return send_frame(server, conn, RC_FRAME_PING, data, size);
}

static void run_close(struct worker *worker, struct command *command)
{
	uint32_t slot;
	if (worker_of(worker->server, command->conn, &slot) && is_fresh(worker, slot, command->conn))
		rc_connection_close(worker, slot, (uint16_t)command->number, (const char *)command->bytes,
		                    command->size);
	free(command);
}

int rc_close(rc_server *server, rc_conn conn, uint16_t code, const char *reason, size_t reason_size)
{
	uint32_t slot;
	if (!rc_close_code_valid(code) || reason_size > RC_CONTROL_SIZE_MAX - 2)
		return -EINVAL;
	struct worker *worker = worker_of(server, conn, &slot);
	if (!worker || !is_fresh(worker, slot, conn))
		return -ENOTCONN;
	if (worker != rc_worker_here)
		return post(worker, new_command(run_close, conn, code, reason, reason_size));
	if (worker->connections[slot].state != CONNECTION_OPEN)
		return -ENOTCONN;
	rc_connection_close(worker, slot, code, reason, reason_size);
	return 0;
}

int rc_respond(rc_server *server, rc_conn conn, int status, const char *content_type, const char *headers,
               const void *body, size_t size)
{
	uint32_t slot;
	struct worker *worker = worker_of(server, conn, &slot);
	if (!worker || !is_fresh(worker, slot, conn))
		return -ENOTCONN;
	if (worker != rc_worker_here || status < 200 || status > 599)
		return -EINVAL;
	const struct connection *found = &worker->connections[slot];
	if (found->form != FORM_ANSWER)
		return -EINVAL;
	if (found->state != CONNECTION_OPEN)
		return -ENOTCONN;
	return rc_request_answer(worker, slot, status, content_type, headers, body, size);
}

static bool may_subscribe(const struct worker *worker, uint32_t slot, rc_conn conn)
{
	unsigned state = worker->connections[slot].state;
	return is_fresh(worker, slot, conn) && (state == CONNECTION_OPEN || state == CONNECTION_HANDSHAKE);
}

static void run_subscribe(struct worker *worker, struct command *command)
{
	uint32_t slot;
	if (worker_of(worker->server, command->conn, &slot) && may_subscribe(worker, slot, command->conn))
		rc_fanout_subscribe(worker, slot, (const char *)command->bytes, command->size,
		                    command->has_start ? &command->start : NULL);
	free(command);
}

int rc_subscribe(rc_server *server, rc_conn conn, const char *topic, size_t topic_size, struct rc_start *start)
{
	uint32_t slot;
	if (!topic_size || topic_size > RC_TOPIC_NAME_MAX)
		return -EINVAL;
	struct worker *worker = worker_of(server, conn, &slot);
	if (!worker || !is_fresh(worker, slot, conn))
		return -ENOTCONN;
	if (worker == rc_worker_here)
		return may_subscribe(worker, slot, conn) ? rc_fanout_subscribe(worker, slot, topic, topic_size, start)
		                                         : -ENOTCONN;
	struct command *command = new_command(run_subscribe, conn, 0, topic, topic_size);
	if (command && start) {
		command->start = *start;
		command->has_start = true;
	}
	return post(worker, command);
}

static void run_unsubscribe(struct worker *worker, struct command *command)
{
	uint32_t slot;
	if (worker_of(worker->server, command->conn, &slot) && may_subscribe(worker, slot, command->conn))
		rc_fanout_unsubscribe(worker, slot, (const char *)command->bytes, command->size);
	free(command);
}

int rc_unsubscribe(rc_server *server, rc_conn conn, const char *topic, size_t topic_size)
{
	uint32_t slot;
	struct worker *worker = worker_of(server, conn, &slot);
	if (!topic_size || topic_size > RC_TOPIC_NAME_MAX)
		return -ENOENT;
	if (!worker || !is_fresh(worker, slot, conn))
		return -ENOTCONN;
	if (worker == rc_worker_here)
		return may_subscribe(worker, slot, conn) ? rc_fanout_unsubscribe(worker, slot, topic, topic_size)
		                                         : -ENOTCONN;
	return post(worker, new_command(run_unsubscribe, conn, 0, topic, topic_size));
}

/* ---- workers ---- */

static void run_posted(struct worker *worker, struct command *command)
{
	(void)worker;
	command->fn(command->argument);
	free(command);
}

int rc_post(rc_server *server, unsigned worker, void (*fn)(void *argument), void *argument)
{
	if (worker >= server->worker_count || !fn)
		return -EINVAL;
	struct command *command = new_command(run_posted, 0, 0, NULL, 0);
	if (!command)
		return -ENOMEM;
	command->fn = fn;
	command->argument = argument;
	return post(&server->workers[worker], command);
}

int rc_connect(rc_server *server, unsigned worker, const char *url, const struct rc_connect_options *options)
{
	struct rc_url parsed;
	if (worker >= server->worker_count || rc_url_parse(&parsed, url) < 0)
		return -EINVAL;
	int needed = parsed.tls ? rc_certificates_need_client(server) : 0;
	if (needed < 0)
		return needed;
	struct command *command = new_command(rc_dial_run, 0, 0, url, strlen(url));
	if (!command)
		return -ENOMEM;
	if (options) {
		command->argument = options->user;
		command->deflate = options->deflate;
		command->protocols = options->protocols ? strdup(options->protocols) : NULL;
		command->source = options->source ? strdup(options->source) : NULL;
		if ((options->protocols && !command->protocols) || (options->source && !command->source)) {
			free(command->protocols);
			free(command->source);
			free(command);
			return -ENOMEM;
		}
	}
	int result = rc_worker_post(&server->workers[worker], command);
	if (result < 0) {
		free(command->protocols);
		free(command->source);
		free(command);
	}
	return result;
}
