/* SPDX-License-Identifier: MIT
 *
 * many.c - many messages published as one. It must not know who is subscribed.
 *
 * Everything that can be wrong is found before the first message is written: what the messages hold before the lock,
 * their topics and the room with it. So what has begun is done.
 */
#include "publish.h"

#include "frame.h"

/* What is known of a message so far. */
union known {
	uint64_t hash;          /* of its topic's name */
	struct rc_topic *topic; /* with the lock */
};

struct batch {
	rc_server *server;
	uint8_t *messages;
	size_t stride, count;
	union known *known;
};

static struct rc_batch_message *message_of(const struct batch *batch, size_t index)
{
	return (struct rc_batch_message *)(batch->messages + index * batch->stride);
}

static uint64_t frame_size_of(const struct rc_batch_message *message)
{
	return rc_frame_header_size(message->size) + message->size;
}

/* ---- before the lock ---- */

/* A later program's messages may say more than this library knows. */
static bool says_more(const struct batch *batch, const struct rc_batch_message *message)
{
	const uint8_t *bytes = (const uint8_t *)message;
	for (size_t i = sizeof *message; i < batch->stride; i++)
		if (bytes[i])
			return true;
	return false;
}

static int check_one(const struct batch *batch, size_t index)
{
	const struct rc_batch_message *message = message_of(batch, index);
	if (message->flags & ~(unsigned)RC_PUBLISH_OF_MESSAGES)
		return -EINVAL;
	if (says_more(batch, message))
		return -E2BIG;
	if (!rc_publish_is_right(message->data, message->size, message->flags))
		return -EILSEQ;
	bool named = !message->topic;
	if (named && (!message->name_size || message->name_size > RC_TOPIC_NAME_MAX))
		return -EINVAL;
	batch->known[index].hash = named ? rc_topic_hash(&batch->server->topics, message->name, message->name_size) : 0;
	return 0;
}

static int check_all(const struct batch *batch)
{
	const struct rc_log *log = &batch->server->log;
	uint64_t size = 0, size_max = rc_log_frame_max(log);
	for (size_t i = 0; i < batch->count; i++)
		message_of(batch, i)->result = 0;
	for (size_t i = 0; i < batch->count; i++) {
		struct rc_batch_message *message = message_of(batch, i);
		bool fits = message->size <= size_max && (size += message->size + RC_FRAME_HEADER_MAX) <= size_max;
		message->result = fits ? check_one(batch, i) : -EMSGSIZE;
		if (message->result < 0)
			return (int)message->result;
	}
	return 0;
}

/* ---- with the lock ---- */

/* The topic of a message, which counts one entry more from now on, so that making room does not forget it. */
static bool find_topic(const struct batch *batch, struct rc_batch_message *message, union known *known)
{
	struct rc_topics *topics = &batch->server->topics;
	uint64_t hash = known->hash;
	int error = -ENOENT;
	struct rc_topic *topic = message->topic
	                             ? rc_topics_opened(topics, message->topic)
	                             : rc_topics_get(topics, message->name, message->name_size, hash, &error);
	if (!topic) {
		message->result = error;
		return false;
	}
	known->topic = topic;
	topic->entry_count++;
	return true;
}

/* As before find_topic(), for the next try. */
static void let_go_of_topics(const struct batch *batch, size_t found)
{
	for (size_t i = 0; i < found; i++) {
		struct rc_topic *topic = batch->known[i].topic;
		batch->known[i].hash = topic->hash;
		topic->entry_count--;
		rc_topics_release(&batch->server->topics, topic);
	}
}

static bool make_room(const struct batch *batch)
{
	struct rc_log *log = &batch->server->log;
	uint64_t end = log->write_position;
	unsigned held_by;
	for (size_t i = 0; i < batch->count; i++) {
		uint64_t size = frame_size_of(message_of(batch, i));
		end = rc_log_place(log, end, size) + size;
	}
	return rc_log_make_room(log, end, batch->count, &held_by);
}

static uint64_t put_all(const struct batch *batch, uint64_t now_ns)
{
	uint64_t mask = 0;
	for (size_t i = 0; i < batch->count; i++) {
		struct rc_batch_message *message = message_of(batch, i);
		const struct rc_log_message put = {
			.topic = batch->known[i].topic,
			.data = message->data,
			.size = message->size,
			.opcode = message->flags & RC_PUBLISH_BINARY ? RC_BINARY : RC_TEXT,
			.source_ns = message->time_ns,
			.more = i + 1 < batch->count,
		};
		message->result = (int64_t)rc_log_put(&batch->server->log, &put, now_ns);
		mask |= put.topic->worker_mask;
	}
	rc_log_show(&batch->server->log);
	return mask;
}

static int publish_once(const struct batch *batch, unsigned flags)
{
	struct appending appending;
	size_t found = 0;
	int result = 0;
	uint64_t now_ns = rc_server_now();
	rc_appending_begin(batch->server, &appending);
	while (found < batch->count && find_topic(batch, message_of(batch, found), &batch->known[found]))
		found++;
	if (found < batch->count)
		result = (int)message_of(batch, found)->result;
	else if (!make_room(batch))
		result = -EAGAIN;
	if (result == 0)
		appending.mask = put_all(batch, now_ns);
	else
		let_go_of_topics(batch, found);
	rc_appending_end(batch->server, &appending, result ? result : 1, flags);
	return result;
}

int64_t(rc_publish_many)(rc_server *server, struct rc_batch_message *messages, size_t count, unsigned flags,
                         size_t struct_size)
{
	union known known[RC_PUBLISH_MANY_MAX];
	const struct batch batch = { server, (uint8_t *)messages, struct_size, count, known };
	if (flags & ~(unsigned)RC_PUBLISH_OF_CALLS || struct_size < sizeof *messages)
		return -EINVAL;
	if (count > RC_PUBLISH_MANY_MAX || count > server->log.entry_count / 4)
		return -EMSGSIZE;
	if (!count)
		return 0;
	int result = check_all(&batch);
	while (result == 0 && (result = publish_once(&batch, flags)) == -EAGAIN && rc_appending_waits(server, flags))
		result = 0;
	return result < 0 ? result : (int64_t)count;
}
