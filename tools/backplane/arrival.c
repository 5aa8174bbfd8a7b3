/* SPDX-License-Identifier: MIT
 *
 * arrival.c - see node.h: a packet that came from the engine, from bytes to whoever delivers. It is measured as a whole
 * before any of it is delivered.
 */
#include <errno.h>
#include <time.h>

#include "lib/log.h"
#include "node.h"
#include "ringcast_publish.h"

#define FULL_REST_NS 1000000 /* before the log is asked again whether it has room */

/* ---- to the log ---- */

static int64_t publish(struct backplane *backplane, struct rc_batch_message *batch, size_t count)
{
	int64_t code;
	while ((code = rc_publish_many(backplane->server, batch, count, 0)) == -EAGAIN &&
	       !atomic_load(&backplane->ending))
		nanosleep(&(struct timespec){ .tv_nsec = FULL_REST_NS }, NULL);
	return code;
}

/* What cannot be published as one is published one by one, so that one message harms no other. */
static void publish_all(struct backplane *backplane, struct rc_batch_message *batch, struct backplane_message *messages,
                        size_t count)
{
	int64_t code = publish(backplane, batch, count);
	for (size_t i = 0; i < count; i++) {
		if (code < 0 && count > 1) {
			int64_t one = publish(backplane, &batch[i], 1);
			messages[i].result = one < 0 ? one : batch[i].result;
		} else {
			messages[i].result = code < 0 ? code : batch[i].result;
		}
	}
}

void backplane_deliver(struct backplane *backplane, struct backplane_message *messages, size_t count)
{
	enum { AT_ONCE = 128 };
	struct rc_batch_message batch[AT_ONCE];
	for (size_t from = 0, size; from < count; from += size) {
		size = count - from < AT_ONCE ? count - from : AT_ONCE;
		for (size_t i = 0; i < size; i++) {
			const struct backplane_message *message = &messages[from + i];
			batch[i] = (struct rc_batch_message){ .name = message->channel,
				                              .name_size = message->channel_size,
				                              .data = message->data,
				                              .size = message->size,
				                              .flags = message->flags,
				                              .time_ns = message->time_ns,
				                              .key = message->key,
				                              .key_size = message->key_size,
				                              .at_epoch = message->epoch,
				                              .at_sequence = message->sequence };
		}
		publish_all(backplane, batch, messages + from, size);
	}
}

/* ---- from the packet ---- */

static void deliver(struct backplane *backplane, struct backplane_message *messages, size_t count)
{
	struct backplane_counters *counters = &backplane->counters;
	const struct backplane_handlers *handlers = &backplane->handlers;
	if (handlers->deliver)
		handlers->deliver(handlers->context, messages, count);
	else
		backplane_deliver(backplane, messages, count);
	for (size_t i = 0; i < count; i++)
		if (messages[i].result < 0 && messages[i].result != -EEXIST &&
		    atomic_fetch_add(&counters->failed, 1) == 0)
			log_say(LEVEL_ERROR, "backplane", NULL, "a message of another node is lost here: %s",
			        rc_strerror((int)messages[i].result));
}

static void handle_control(struct backplane *backplane, struct backplane_message *message, bool again)
{
	const struct backplane_handlers *handlers = &backplane->handlers;
	bool own = message->origin == backplane->node;
	if (message->kind == BACKPLANE_AT_ONCE) {
		if (own)
			return;
		message->epoch = message->sequence = 0; /* the server numbers it */
		deliver(backplane, message, 1);
	} else if (message->kind == KIND_LEASE) {
		if (!again && !own)
			presence_heard(backplane, message->origin);
	} else if (message->kind >= BACKPLANE_CONTROL && handlers->control) {
		handlers->control(handlers->context, message, own, again);
	}
}

/* Reads all of them into the follower's room. Returns how many, or -1: it is no packet. */
static int read_all(struct backplane *backplane, const struct packet_head *head, struct engine_position position,
                    const uint8_t *bytes, size_t size)
{
	const uint8_t *at = bytes + PACKET_HEAD_SIZE, *end = bytes + size;
	for (uint32_t i = 0; i < head->count; i++) {
		struct backplane_message *message = &backplane->follower.messages[i];
		if (!packet_read_message(message, &at, end))
			return -1;
		message->origin = head->node;
		message->epoch = atomic_load(&backplane->epoch);
		message->sequence = position.sequence * NUMBERS_A_PACKET + i;
		message->result = (int64_t)message->sequence;
	}
	return at == end ? (int)head->count : -1;
}

void arrival_take(struct backplane *backplane, const struct packet_head *head, struct engine_position position,
                  const uint8_t *bytes, size_t size)
{
	struct follower *follower = &backplane->follower;
	struct backplane_message *messages = follower->messages;
	int count = read_all(backplane, head, position, bytes, size);
	if (count < 0) {
		atomic_fetch_add(&backplane->counters.broken, 1);
		return;
	}
	for (int from = 0, to; from < count; from = to) {
		to = from + 1;
		if (messages[from].kind != BACKPLANE_TOPIC) {
			handle_control(backplane, &messages[from], follower->starting);
			continue;
		}
		while (to < count && messages[to].kind == BACKPLANE_TOPIC)
			to++;
		deliver(backplane, &messages[from], (size_t)(to - from));
	}
	atomic_fetch_add(&backplane->counters.received, (uint64_t)count);
	if (follower->repairing && !follower->starting)
		atomic_fetch_add(&backplane->counters.repaired, (uint64_t)count);
	if (head->node != backplane->node)
		return;
	for (int i = 0; i < count; i++)
		follower->numbers[i] = (struct backplane_number){ messages[i].epoch, messages[i].result == -EEXIST
			                                                                 ? (int64_t)messages[i].sequence
			                                                                 : messages[i].result };
	outbox_confirm(&backplane->outbox, head->token, follower->numbers, (size_t)count);
}
