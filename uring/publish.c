/* SPDX-License-Identifier: MIT
 *
 * publish.c - the public functions that publish. Any thread may call them. It must not know who is subscribed, beyond
 * which workers are to be woken.
 */
#include "conn.h"
#include "growing.h"
#include "text.h"
#include "trace.h"
#include "worker.h"

#include <time.h>

#define WAIT_NS 50000 /* between two tries of a publisher that waits */

static void nap(void)
{
	const struct timespec time = { .tv_nsec = WAIT_NS };
	nanosleep(&time, NULL);
}

static void wake_all(struct rc_server *server)
{
	for (unsigned i = 0; i < server->worker_count; i++)
		rc_mailbox_wake(&server->workers[i].mailbox);
}

static void wake_masked(struct rc_server *server, uint64_t mask)
{
	if (server->worker_count > 64) {
		for (unsigned i = 0; i < server->worker_count; i++)
			if (mask >> (i % 64) & 1)
				rc_mailbox_wake(&server->workers[i].mailbox);
		return;
	}
	for (; mask; mask &= mask - 1)
		rc_mailbox_wake(&server->workers[__builtin_ctzll(mask)].mailbox);
}

bool rc_text_valid(const void *text, size_t size)
{
	return rc_utf8_valid(text, size);
}

static bool is_right(const struct rc_publication *message)
{
	return message->flags & (RC_PUBLISH_BINARY | RC_PUBLISH_UNCHECKED) ||
	       rc_utf8_valid(message->data, message->size);
}

/* Workers without subscribers sleep through messages, but must raise their floors before the log comes around: those
 * that are half of it back. As bits of a topic's worker_mask. With the lock. */
static uint64_t far_back(const struct rc_server *server)
{
	const struct rc_log *log = &server->log;
	uint64_t mask = 0, head = rc_log_head(log);
	for (unsigned i = 0; i < server->worker_count; i++) {
		uint64_t floor = atomic_load_explicit(&server->floors[i], memory_order_relaxed);
		if (floor < head && (head - floor > log->entry_count / 2 ||
		                     log->write_position - rc_log_entry(log, floor)->position > log->size / 2))
			mask |= UINT64_C(1) << i % 64;
	}
	return mask;
}

static int64_t publish_once(rc_server *server, const char *name, size_t name_size, uint64_t hash,
                            struct rc_publication *message)
{
	struct rc_log *log = &server->log;
	enum rc_opcode opcode = message->flags & RC_PUBLISH_BINARY ? RC_BINARY : RC_TEXT;
	int error = 0;
	unsigned held_by = 0;
	int64_t result;
	uint64_t mask = 0;
	uint64_t now_ns = rc_server_now();

	pthread_mutex_lock(&server->log_lock);
	struct rc_topic *topic = rc_topics_get(&server->topics, name, name_size, hash, &error);
	if (topic) {
		uint64_t segment = log->write_position / log->segment_size, recycled = log->segments_recycled;
		uint64_t sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed) + 1;
		message->epoch = topic->epoch;
		if (message->make)
			message->size = message->make(message->context, sequence, topic->epoch, &message->data);
		result = message->make && !is_right(message)
		             ? -EILSEQ
		             : rc_log_append(log, topic, opcode, message->data, message->size, now_ns, &held_by);
		if (result > 0 && message->except)
			atomic_store_explicit(&rc_log_newest(log, topic)->except, message->except,
			                      memory_order_relaxed);
		mask = topic->worker_mask;
		if (log->write_position / log->segment_size != segment)
			mask |= far_back(server);
		if (log->segments_recycled != recycled)
			RC_TRACE1(segment_recycled, log->segments_recycled);
		if (result < 0)
			rc_topics_release(&server->topics, topic);
	} else {
		result = error;
	}
	pthread_mutex_unlock(&server->log_lock);

	if (result == -EAGAIN)
		wake_all(server);
	else if (result > 0)
		wake_masked(server, mask);
	return result;
}

/* From now on the connection's plans are its own, until it is past what it must not get. This runs on its own worker,
 * so nothing is planned between here and the publishing. */
static bool leave_out(rc_server *server, rc_conn conn)
{
	uint32_t slot;
	struct worker *worker = rc_conn_worker_of(server, conn, &slot);
	if (!worker || worker != rc_worker_here)
		return false;
	if (rc_conn_is_fresh(worker, slot, conn))
		worker->connections[slot].cursor.own_ahead = true;
	return true;
}

static int64_t publish(rc_server *server, const char *topic, size_t topic_size, struct rc_publication *message)
{
	if (!topic_size || topic_size > RC_TOPIC_NAME_MAX || (message->except && !leave_out(server, message->except)))
		return -EINVAL;
	/* Before the lock: the copy under it then finds the bytes in the cache. */
	if (!message->make && !is_right(message))
		return -EILSEQ;
	uint64_t hash = rc_topic_hash(&server->topics, topic, topic_size);
	bool may_wait = message->flags & RC_PUBLISH_WAIT && !rc_worker_here;
	for (;;) {
		int64_t result = publish_once(server, topic, topic_size, hash, message);
		if (result != -EAGAIN || !may_wait || atomic_load(&server->stop_at_ns))
			return result;
		nap();
	}
}

int64_t(rc_publish_with)(rc_server *server, const char *topic, size_t topic_size, struct rc_publication *given,
                         size_t struct_size)
{
	struct rc_publication message = { 0 };
	int taken = rc_growing_take(&message, sizeof message, given, struct_size);
	if (taken < 0)
		return taken;
	int64_t result = publish(server, topic, topic_size, &message);
	if (RC_KNOWS(struct rc_publication, epoch, struct_size))
		given->epoch = message.epoch;
	return result;
}

int64_t rc_publish(rc_server *server, const char *topic, size_t topic_size, const void *data, size_t size,
                   unsigned flags)
{
	struct rc_publication message = { .data = data, .size = size, .flags = flags };
	return publish(server, topic, topic_size, &message);
}
