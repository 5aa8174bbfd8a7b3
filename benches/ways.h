/* SPDX-License-Identifier: MIT
 *
 * ways.h - the ways in which publish.c publishes, each one call that is timed. A call of some publishes many messages.
 */
#ifndef BENCHES_WAYS_H
#define BENCHES_WAYS_H

#include "drive.h"
#include "ringcast_publish.h"

#include <pthread.h>

#define WAY_KEYS 16 /* of each of the topics */
#define WAY_MANY 50 /* messages of one call, as a tick of 50 symbols */

enum way {
	WAY_NAME,
	WAY_HANDLE,
	WAY_KEYED, /* by handle, with one of many keys */
	WAY_BUILT, /* reserve, write, commit */
	WAY_QUIET, /* by handle, all of them quiet, then rc_flush() */
	WAY_BATCH, /* by handle, as one */
};

/* The floor. */
struct ring {
	pthread_mutex_t lock;
	uint8_t *bytes;
	size_t at, size;
};

struct name {
	char text[11];
	uint8_t size;
};

struct target {
	rc_server *server;
	struct ring ring; /* where there is no server */
	struct name *names;
	rc_topic *handles;
	unsigned topics;
	enum way way;
	const uint8_t *payload;
	size_t size;
};

static inline unsigned way_count(const struct target *target)
{
	return target->way >= WAY_QUIET ? WAY_MANY : 1;
}

static inline void ring_write(struct ring *ring, const uint8_t *payload, size_t size)
{
	pthread_mutex_lock(&ring->lock);
	if (ring->at + size > ring->size)
		ring->at = 0;
	memcpy(ring->bytes + ring->at, payload, size);
	ring->at += size;
	pthread_mutex_unlock(&ring->lock);
}

/* The keys of a book: most come again soon, some seldom. */
static inline bool way_keyed(struct target *target, uint32_t topic)
{
	static _Thread_local uint32_t count;
	uint32_t key = ++count * 2654435761u >> 8;
	key = (key & (key >> 12)) % WAY_KEYS;
	struct rc_publication message = { .data = target->payload,
		                          .size = target->size,
		                          .flags = RC_PUBLISH_BINARY,
		                          .topic = target->handles[topic],
		                          .key = &key,
		                          .key_size = sizeof key };
	return rc_publish_with(target->server, NULL, 0, &message) > 0;
}

static inline bool way_built(struct target *target, uint32_t topic)
{
	rc_place place;
	void *data;
	if (rc_reserve(target->server, target->size, &place, &data) < 0)
		return false;
	memcpy(data, target->payload, target->size);
	if (rc_commit(target->server, place, target->handles[topic], target->size, 0, RC_PUBLISH_BINARY) > 0)
		return true;
	rc_abandon(target->server, place);
	return false;
}

static inline bool way_quiet(struct target *target, uint32_t topic)
{
	bool taken = true;
	for (unsigned i = 0; i < WAY_MANY; i++)
		taken &= rc_publish_to(target->server, target->handles[(topic + i * 7) % target->topics],
		                       target->payload, target->size, RC_PUBLISH_BINARY | RC_PUBLISH_QUIET) > 0;
	rc_flush(target->server);
	return taken;
}

static inline bool way_batch(struct target *target, uint32_t topic)
{
	struct rc_batch_message messages[WAY_MANY] = { 0 };
	for (unsigned i = 0; i < WAY_MANY; i++) {
		messages[i].topic = target->handles[(topic + i * 7) % target->topics];
		messages[i].data = target->payload;
		messages[i].size = target->size;
		messages[i].flags = RC_PUBLISH_BINARY;
	}
	return rc_publish_many(target->server, messages, WAY_MANY, 0) > 0;
}

/* Returns whether all of it was taken. */
static inline bool way_publish(struct target *target, uint32_t topic)
{
	const struct name *name = &target->names[topic];
	if (!target->server) {
		ring_write(&target->ring, target->payload, target->size);
		return true;
	}
	switch (target->way) {
	case WAY_KEYED:
		return way_keyed(target, topic);
	case WAY_BUILT:
		return way_built(target, topic);
	case WAY_QUIET:
		return way_quiet(target, topic);
	case WAY_BATCH:
		return way_batch(target, topic);
	case WAY_HANDLE:
		return rc_publish_to(target->server, target->handles[topic], target->payload, target->size,
		                     RC_PUBLISH_BINARY) > 0;
	default:
		return rc_publish(target->server, name->text, name->size, target->payload, target->size,
		                  RC_PUBLISH_BINARY) > 0;
	}
}

#endif
