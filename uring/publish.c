/* SPDX-License-Identifier: MIT
 *
 * publish.c - the public functions that publish. Any thread may call them. It must not know who is subscribed, beyond
 * which workers are to be woken.
 *
 * Whatever can be looked at without the log is looked at before its lock is taken. What may still fail under it is
 * found before the log changes: a topic, what rc_publication.make made, and room.
 */
#include "publish.h"

#include "conn.h"
#include "growing.h"
#include "text.h"
#include "trace.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_NS 50000 /* between two tries of a publisher that waits */

static_assert(RC_PUBLISH_MANY_MAX <= RC_PLAN_WINDOW, "a round has room for all that is seen at once");

/* ---- the lock, and who is woken ---- */

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

/* ---- a base is wanted ---- */

struct wish {
	struct command command;
	size_t size;
	char topic[];
};

static void tell_wish(struct worker *worker, struct command *command)
{
	struct wish *wish = (struct wish *)command;
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	handlers->snapshot_wanted(handlers->context, wish->topic, wish->size);
	free(wish);
}

/* Takes what the log has to ask of its publishers. With the lock. Without memory it is asked again later. */
static struct command *take_wishes(struct rc_server *server)
{
	struct command *first = NULL;
	while (server->log.wants_base) {
		const struct rc_topic *topic = rc_topic_at(&server->topics, server->log.wants_base - 1);
		struct wish *wish = malloc(sizeof *wish + topic->name_size + 1);
		server->log.wants_base = topic->state->wants_next;
		topic->state->base_wanted = wish != NULL;
		if (!wish)
			continue;
		wish->command = (struct command){ .next = first, .run = tell_wish };
		wish->size = topic->name_size;
		memcpy(wish->topic, topic->name, topic->name_size + 1);
		first = &wish->command;
	}
	return first;
}

static void pass_on_wishes(struct rc_server *server, struct command *wish)
{
	while (wish) {
		struct command *next = wish->next;
		if (rc_mailbox_deliver(&server->workers[0].mailbox, wish) < 0)
			free(wish);
		wish = next;
	}
}

/* Who is not woken now is noted for rc_flush(). */
static void leave_asleep(struct rc_server *server, uint64_t mask)
{
	if (mask & ~atomic_load_explicit(&server->quiet_mask, memory_order_relaxed))
		atomic_fetch_or(&server->quiet_mask, mask);
}

void rc_appending_end(struct rc_server *server, const struct appending *appending, int64_t result, unsigned flags)
{
	const struct rc_log *log = &server->log;
	uint64_t mask = 0;
	if (RC_UNLIKELY(log->write_position / log->segment_size != appending->segment))
		mask = far_back(server);
	if (RC_UNLIKELY(log->segments_recycled != appending->recycled))
		RC_TRACE1(segment_recycled, log->segments_recycled);
	struct command *wishes = RC_UNLIKELY(log->wants_base) ? take_wishes(server) : NULL;
	mask |= appending->left;
	pthread_mutex_unlock(&server->log_lock);
	if (RC_UNLIKELY(wishes))
		pass_on_wishes(server, wishes);
	if (result == -EAGAIN)
		wake_all(server);
	else if (result > 0 && flags & RC_PUBLISH_QUIET)
		leave_asleep(server, appending->mask);
	else if (result > 0)
		mask |= appending->mask;
	if (mask)
		wake_masked(server, mask);
}

bool rc_appending_waits(struct rc_server *server, unsigned flags)
{
	const struct timespec time = { .tv_nsec = WAIT_NS };
	if (!(flags & RC_PUBLISH_WAIT) || rc_worker_here || rc_workers_stepped || atomic_load(&server->stop_at_ns))
		return false;
	nanosleep(&time, NULL);
	return true;
}

void rc_flush(rc_server *server)
{
	uint64_t mask = atomic_load(&server->quiet_mask) ? atomic_exchange(&server->quiet_mask, 0) : 0;
	if (mask)
		wake_masked(server, mask);
}

size_t rc_server_room(rc_server *server, size_t *messages)
{
	uint64_t count;
	pthread_mutex_lock(&server->log_lock);
	uint64_t size = rc_log_room(&server->log, &count);
	pthread_mutex_unlock(&server->log_lock);
	if (messages)
		*messages = count;
	return size;
}

/* ---- text ---- */

bool rc_text_valid(const void *text, size_t size)
{
	return rc_utf8_valid(text, size);
}

bool rc_publish_is_right(const void *data, size_t size, unsigned flags)
{
	return flags & RC_PUBLISH_OF_MESSAGES || rc_utf8_valid(data, size);
}

static enum rc_opcode opcode_of(unsigned flags)
{
	return flags & RC_PUBLISH_BINARY ? RC_BINARY : RC_TEXT;
}

/* ---- topics ---- */

/* A name with its hash, or a handle. */
struct address {
	const char *name;
	size_t name_size;
	uint64_t hash;
	rc_topic handle;
	bool has_key;
	struct rc_key_name key;
};

/* With the lock. Null with *error. */
static struct rc_topic *topic_of(struct rc_server *server, const struct address *address, int *error)
{
	if (!address->handle)
		return rc_topics_get(&server->topics, address->name, address->name_size, address->hash, error);
	*error = -ENOENT;
	return rc_topics_opened(&server->topics, address->handle);
}

int rc_topic_open(rc_server *server, const char *name, size_t name_size, rc_topic *handle)
{
	int error = -EINVAL;
	*handle = 0;
	if (!name_size || name_size > RC_TOPIC_NAME_MAX)
		return error;
	uint64_t hash = rc_topic_hash(&server->topics, name, name_size);
	pthread_mutex_lock(&server->log_lock);
	struct rc_topic *topic = rc_topics_get(&server->topics, name, name_size, hash, &error);
	if (topic) {
		topic->open_count++;
		*handle = rc_topic_handle(topic);
	}
	pthread_mutex_unlock(&server->log_lock);
	return topic ? 0 : error;
}

int rc_topic_close(rc_server *server, rc_topic handle)
{
	pthread_mutex_lock(&server->log_lock);
	struct rc_topic *topic = rc_topics_held(&server->topics, handle);
	if (topic)
		rc_topics_close(&server->topics, topic);
	pthread_mutex_unlock(&server->log_lock);
	return topic ? 0 : -ENOENT;
}

/* ---- one message ---- */

static bool is_made(const struct rc_publication *message)
{
	return message->make || message->make_of;
}

/* With the lock. */
static int64_t append(struct rc_server *server, const struct address *address, struct rc_topic *topic,
                      struct rc_publication *message, uint64_t now_ns)
{
	unsigned held_by;
	int error = 0;
	message->epoch = topic->epoch;
	if (is_made(message)) {
		struct rc_numbers numbers = rc_publish_numbers(topic, message->at_sequence);
		message->size = message->make_of
		                    ? message->make_of(message->context, &numbers, &message->data)
		                    : message->make(message->context, numbers.sequence, numbers.epoch, &message->data);
		if (!rc_publish_is_right(message->data, message->size, message->flags))
			return -EILSEQ;
	}
	uint32_t key = address->has_key ? rc_keys_get(&server->keys, topic, &address->key, &error) : 0;
	if (error)
		return error;
	if (address->has_key)
		rc_log_expect(&server->log, key);
	const struct rc_log_message appended = { .topic = topic,
		                                 .data = message->data,
		                                 .size = message->size,
		                                 .opcode = opcode_of(message->flags),
		                                 .source_ns = message->time_ns,
		                                 .except = message->except,
		                                 .sequence = message->at_sequence,
		                                 .key = key + address->has_key,
		                                 .removed = message->flags & RC_PUBLISH_REMOVE };
	int64_t result = rc_log_append(&server->log, &appended, now_ns, &held_by);
	if (RC_UNLIKELY(result < 0 && address->has_key))
		rc_keys_unget(&server->keys, key);
	return result;
}

static int64_t publish_once(rc_server *server, const struct address *address, struct rc_publication *message)
{
	struct appending appending;
	int error = 0;
	uint64_t now_ns = rc_server_now();
	rc_appending_begin(server, &appending);
	struct rc_topic *topic = topic_of(server, address, &error);
	if (topic)
		error = rc_appending_number(server, &appending, &topic, message->at_epoch, message->at_sequence);
	int64_t result = error;
	if (topic) {
		if (!error)
			result = append(server, address, topic, message, now_ns);
		appending.mask = topic->worker_mask;
		if (result < 0)
			rc_topics_release(&server->topics, topic);
	}
	rc_appending_end(server, &appending, result, message->flags);
	return result;
}

static int64_t publish(rc_server *server, const struct address *address, struct rc_publication *message)
{
	int64_t result;
	do {
		result = publish_once(server, address, message);
	} while (result == -EAGAIN && rc_appending_waits(server, message->flags));
	return result;
}

/* From now on the connection's plans are its own, until it is past what it must not get. This runs on its own worker,
 * so nothing is planned between here and the publishing. */
static bool leave_out(rc_server *server, rc_conn conn)
{
	uint32_t slot;
	struct worker *worker = rc_conn_worker_of(server, conn);
	if (!worker || worker != rc_worker_here)
		return false;
	if (rc_conn_is_fresh(worker, conn) && rc_conn_slot(worker, conn, &slot))
		worker->connections[slot].cursor.own_ahead = true;
	return true;
}

static bool flags_are_known(unsigned flags)
{
	return !(flags & ~(unsigned)(RC_PUBLISH_OF_MESSAGES | RC_PUBLISH_OF_KEYS | RC_PUBLISH_OF_CALLS));
}

static void set_key(const struct rc_server *server, struct address *address, const struct rc_publication *message)
{
	address->has_key = message->key_size || message->flags & RC_PUBLISH_SNAPSHOT;
	if (address->has_key)
		address->key = (struct rc_key_name){ message->key, message->key_size,
			                             rc_topic_hash(&server->topics, message->key, message->key_size) };
}

static int64_t publish_checked(rc_server *server, const char *topic, size_t topic_size, struct rc_publication *message)
{
	struct address address = { .name = topic, .name_size = topic_size, .handle = message->topic };
	if ((!address.handle && (!topic_size || topic_size > RC_TOPIC_NAME_MAX)) || !flags_are_known(message->flags) ||
	    !rc_publish_key_is_right(message->key_size, message->flags) ||
	    !rc_publish_number_is_right(message->at_epoch, message->at_sequence) ||
	    (message->except && !leave_out(server, message->except)))
		return -EINVAL;
	/* Before the lock: the copy under it then finds the bytes in the cache. */
	if (!is_made(message) && !rc_publish_is_right(message->data, message->size, message->flags))
		return -EILSEQ;
	if (!address.handle)
		address.hash = rc_topic_hash(&server->topics, topic, topic_size);
	set_key(server, &address, message);
	int64_t result = publish(server, &address, message);
	if (message->except && result > 0)
		rc_worker_here->plans.own_end = rc_log_head(&server->log);
	return result;
}

int64_t(rc_publish_with)(rc_server *server, const char *topic, size_t topic_size, struct rc_publication *given,
                         size_t struct_size)
{
	struct rc_publication message = { 0 };
	int taken = rc_growing_take(&message, sizeof message, given, struct_size);
	if (taken < 0)
		return taken;
	int64_t result = publish_checked(server, topic, topic_size, &message);
	if (RC_KNOWS(struct rc_publication, epoch, struct_size))
		given->epoch = message.epoch;
	return result;
}

int64_t rc_publish(rc_server *server, const char *topic, size_t topic_size, const void *data, size_t size,
                   unsigned flags)
{
	struct rc_publication message = { .data = data, .size = size, .flags = flags };
	return publish_checked(server, topic, topic_size, &message);
}

int64_t rc_publish_to(rc_server *server, rc_topic topic, const void *data, size_t size, unsigned flags)
{
	struct address address = { .handle = topic };
	struct rc_publication message = { .data = data, .size = size, .flags = flags };
	if (!topic)
		return -ENOENT;
	if (!flags_are_known(flags) || !rc_publish_key_is_right(0, flags))
		return -EINVAL;
	if (!rc_publish_is_right(data, size, flags))
		return -EILSEQ;
	set_key(server, &address, &message);
	return publish(server, &address, &message);
}
