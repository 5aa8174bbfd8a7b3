/* SPDX-License-Identifier: MIT
 *
 * many.c - many messages published as one. It must not know who is subscribed.
 *
 * Everything that can be wrong is found before the first message is written: what the messages hold before the lock,
 * their topics and the room with it. So what has begun is done.
 */
#include "publish.h"

#include "frame.h"
#include "growing.h"

/* What is known of a message so far. */
struct known {
	union {
		uint64_t hash;          /* of its topic's name */
		struct rc_topic *topic; /* with the lock */
	};
	uint64_t key_hash;
	uint32_t key; /* with the lock: its number + 1, or 0 */
	bool skipped; /* likewise: the topic has its number */
};

struct batch {
	rc_server *server;
	uint8_t *messages;
	size_t stride, count;
	struct known *known;
	struct appending *appending; /* with the lock */
};

static struct rc_batch_message *message_of(const struct batch *batch, size_t index)
{
	return (struct rc_batch_message *)(batch->messages + index * batch->stride);
}

/* What a program built before has of a message. */
#define LEAST_SIZE offsetof(struct rc_batch_message, key)

static const void *key_of(const struct batch *batch, const struct rc_batch_message *message, size_t *size)
{
	bool knows = RC_KNOWS(struct rc_batch_message, key_size, batch->stride);
	*size = knows ? message->key_size : 0;
	return knows ? message->key : NULL;
}

static bool has_key(const struct batch *batch, const struct rc_batch_message *message)
{
	size_t size;
	key_of(batch, message, &size);
	return size || message->flags & RC_PUBLISH_SNAPSHOT;
}

/* The number that it is given, or 0. */
static uint64_t number_of(const struct batch *batch, const struct rc_batch_message *message, uint64_t *epoch)
{
	bool knows = RC_KNOWS(struct rc_batch_message, at_sequence, batch->stride);
	*epoch = knows ? message->at_epoch : 0;
	return knows ? message->at_sequence : 0;
}

static bool makes_of(const struct batch *batch, const struct rc_batch_message *message)
{
	return RC_KNOWS(struct rc_batch_message, make_of, batch->stride) && message->make_of;
}

/* Whether it is made when its number is known. */
static bool is_made(const struct batch *batch, const struct rc_batch_message *message)
{
	return (RC_KNOWS(struct rc_batch_message, context, batch->stride) && message->make) || makes_of(batch, message);
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
	size_t key_size;
	const void *key = key_of(batch, message, &key_size);
	uint64_t epoch, sequence = number_of(batch, message, &epoch);
	if (message->flags & ~(unsigned)(RC_PUBLISH_OF_MESSAGES | RC_PUBLISH_OF_KEYS) ||
	    !rc_publish_key_is_right(key_size, message->flags) || !rc_publish_number_is_right(epoch, sequence))
		return -EINVAL;
	if (says_more(batch, message))
		return -E2BIG;
	bool checked = message->flags & (RC_PUBLISH_BINARY | RC_PUBLISH_UNCHECKED);
	if (is_made(batch, message) ? !checked : !rc_publish_is_right(message->data, message->size, message->flags))
		return is_made(batch, message) ? -EINVAL : -EILSEQ;
	bool named = !message->topic;
	if (named && (!message->name_size || message->name_size > RC_TOPIC_NAME_MAX))
		return -EINVAL;
	batch->known[index].key_hash = rc_topic_hash(&batch->server->topics, key, key_size);
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

/* The topic of a message, which counts one entry more from now on, so that making room does not forget it; or the
 * message is to be skipped. */
static bool find_topic(const struct batch *batch, struct rc_batch_message *message, struct known *known)
{
	struct rc_topics *topics = &batch->server->topics;
	uint64_t hash = known->hash, epoch, sequence = number_of(batch, message, &epoch);
	int error = -ENOENT;
	struct rc_topic *topic = message->topic
	                             ? rc_topics_opened(topics, message->topic)
	                             : rc_topics_get(topics, message->name, message->name_size, hash, &error);
	if (topic)
		error = rc_appending_number(batch->server, batch->appending, &topic, epoch, sequence);
	message->result = error;
	if (topic && error) {
		known->skipped = error == -EEXIST;
		rc_topics_release(topics, topic);
	}
	if (error || !topic)
		return known->skipped;
	known->topic = topic;
	topic->entry_count++;
	topic->claimed = sequence;
	return true;
}

/* As before, for the next try. */
static void let_go(const struct batch *batch, struct known *known)
{
	struct rc_topic *topic = known->topic;
	if (known->skipped)
		return;
	if (known->key)
		rc_keys_unget(&batch->server->keys, known->key - 1);
	known->key = 0;
	known->hash = topic->hash;
	topic->claimed = 0;
	topic->entry_count--;
	rc_topics_release(&batch->server->topics, topic);
}

/* The key likewise. */
static bool find_key(const struct batch *batch, struct rc_batch_message *message, struct known *known)
{
	struct rc_key_name name = { .hash = known->key_hash };
	int error = 0;
	if (known->skipped || !has_key(batch, message))
		return true;
	name.bytes = key_of(batch, message, &name.size);
	uint32_t key = rc_keys_get(&batch->server->keys, known->topic, &name, &error);
	message->result = error;
	known->key = error ? 0 : key + 1;
	return !error;
}

static bool find(const struct batch *batch, struct rc_batch_message *message, struct known *known)
{
	known->key = 0;
	known->skipped = false;
	if (!find_topic(batch, message, known))
		return false;
	if (find_key(batch, message, known))
		return true;
	let_go(batch, known);
	return false;
}

/* How many are put, and room for them. */
static bool make_room(const struct batch *batch, size_t *count)
{
	struct rc_log *log = &batch->server->log;
	uint64_t end = log->write_position;
	unsigned held_by;
	for (size_t i = 0; i < batch->count; i++) {
		uint64_t size = frame_size_of(message_of(batch, i));
		if (batch->known[i].skipped)
			continue;
		end = rc_log_place(log, end, size) + size;
		++*count;
	}
	return !*count || rc_log_make_room(log, end, *count, &held_by);
}

/* It takes no more than the room that was made for it. */
static void make(const struct batch *batch, const struct rc_batch_message *message, struct rc_log_message *put)
{
	struct rc_numbers numbers = rc_publish_numbers(put->topic, put->sequence);
	size_t size = makes_of(batch, message)
	                  ? message->make_of(message->context, &numbers, &put->data)
	                  : message->make(message->context, numbers.sequence, numbers.epoch, &put->data);
	put->size = RC_MIN(size, message->size);
}

/* Puts one, behind which so many come. */
static void put_one(const struct batch *batch, size_t index, size_t left, uint64_t now_ns)
{
	struct rc_batch_message *message = message_of(batch, index);
	uint64_t epoch;
	struct rc_log_message put = {
		.topic = batch->known[index].topic,
		.data = message->data,
		.size = message->size,
		.opcode = message->flags & RC_PUBLISH_BINARY ? RC_BINARY : RC_TEXT,
		.source_ns = message->time_ns,
		.sequence = number_of(batch, message, &epoch),
		.more = left > 0,
		.key = batch->known[index].key,
		.removed = message->flags & RC_PUBLISH_REMOVE,
	};
	if (is_made(batch, message))
		make(batch, message, &put);
	if (RC_KNOWS(struct rc_batch_message, epoch, batch->stride))
		message->epoch = put.topic->epoch;
	message->result = (int64_t)rc_log_put(&batch->server->log, &put, now_ns);
	put.topic->claimed = 0;
	batch->appending->mask |= put.topic->worker_mask;
}

static void put_all(const struct batch *batch, size_t left, uint64_t now_ns)
{
	if (!left)
		return;
	for (size_t i = 0; i < batch->count; i++)
		if (!batch->known[i].skipped)
			put_one(batch, i, --left, now_ns);
	rc_log_show(&batch->server->log);
}

static int publish_once(const struct batch *batch, unsigned flags)
{
	size_t found = 0, count = 0;
	int result = 0;
	uint64_t now_ns = rc_server_now();
	rc_appending_begin(batch->server, batch->appending);
	while (found < batch->count && find(batch, message_of(batch, found), &batch->known[found]))
		found++;
	if (found < batch->count)
		result = (int)message_of(batch, found)->result;
	else if (!make_room(batch, &count))
		result = -EAGAIN;
	if (result == 0)
		put_all(batch, count, now_ns);
	else
		while (found)
			let_go(batch, &batch->known[--found]);
	rc_appending_end(batch->server, batch->appending, result ? result : 1, flags);
	return result;
}

int64_t(rc_publish_many)(rc_server *server, struct rc_batch_message *messages, size_t count, unsigned flags,
                         size_t struct_size)
{
	struct known known[RC_PUBLISH_MANY_MAX];
	struct appending appending;
	const struct batch batch = { server, (uint8_t *)messages, struct_size, count, known, &appending };
	if (flags & ~(unsigned)RC_PUBLISH_OF_CALLS || struct_size < LEAST_SIZE)
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
