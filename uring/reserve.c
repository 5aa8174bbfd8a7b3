/* SPDX-License-Identifier: MIT
 *
 * reserve.c - messages that are built in the log itself. It must not know who is subscribed.
 *
 * A place is its publisher's until he gives it back; that alone keeps him from writing over somebody's message
 * (engine/block.h). Reserving and abandoning change nothing that a reader sees.
 */
#include "publish.h"

#include "frame.h"

#include <time.h>

/* Segments that are left out of the log, to find a free block, before the lock is given back. */
#define SKIPS_AT_ONCE 8

/* A few milliseconds late, and far cheaper than the exact one: it is for the limit of a second. */
static uint64_t coarse_now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* A piece of the search: with the lock. Sets *goes_on where the log could let go of more. */
static struct rc_block *look_for_block(rc_server *server, struct rc_block *in_hand, size_t size, bool *goes_on,
                                       int *error)
{
	struct appending appending;
	unsigned held_by;
	rc_appending_begin(server, &appending);
	struct rc_block *block = rc_blocks_take(&server->log.blocks, in_hand, size, error);
	*goes_on = !block && *error == -EAGAIN;
	for (unsigned i = 0; *goes_on && i < SKIPS_AT_ONCE; i++) {
		*goes_on = rc_log_skip(&server->log, &held_by);
		if (*goes_on)
			block = rc_blocks_take(&server->log.blocks, NULL, size, error);
		*goes_on &= !block && *error == -EAGAIN;
	}
	rc_appending_end(server, &appending, block || *goes_on ? 0 : *error, 0);
	return block;
}

/* Where all blocks are full, the log goes on without a message, until it has forgotten those in one of them: all that
 * it has, where places were far larger than what was committed. */
static struct rc_block *take_block(rc_server *server, struct rc_block *in_hand, size_t size, int *error)
{
	bool goes_on;
	struct rc_block *block = look_for_block(server, in_hand, size, &goes_on, error);
	for (unsigned skips = SKIPS_AT_ONCE; goes_on && skips <= RC_LOG_SEGMENTS; skips += SKIPS_AT_ONCE) {
		rc_appending_pass(server);
		block = look_for_block(server, NULL, size, &goes_on, error);
	}
	return block;
}

int rc_reserve(rc_server *server, size_t size, rc_place *place, void **data)
{
	struct rc_blocks *blocks = &server->log.blocks;
	int error = 0;
	*place = 0;
	*data = NULL;
	if (size > blocks->block_size - RC_FRAME_HEADER_MAX)
		return -EMSGSIZE;
	struct rc_block *block = rc_blocks_handy(blocks);
	if (!block || !rc_block_has_room(blocks, block, size))
		block = take_block(server, block, size, &error);
	if (!block)
		return error;
	*place = rc_block_begin(blocks, block, size, coarse_now());
	*data = rc_block_data(blocks, block);
	return 0;
}

/* What is built becomes a message. With the lock. */
static int64_t append_built(rc_server *server, struct rc_block *block, struct rc_log_message *message, uint64_t now_ns)
{
	struct rc_log *log = &server->log;
	uint64_t frame_size = rc_frame_header_size(message->size) + message->size;
	unsigned held_by;
	message->topic->entry_count++; /* before making room, which might forget the topic */
	if (!rc_log_make_room(log, log->write_position + frame_size, 1, &held_by)) {
		message->topic->entry_count--;
		return -EAGAIN;
	}
	message->built_at = rc_block_finish(&log->blocks, block, message->opcode, message->size);
	uint64_t sequence = rc_log_put(log, message, now_ns);
	rc_block_end(&log->blocks, block, message->built_at + frame_size);
	rc_log_show(log);
	return (int64_t)sequence;
}

static int64_t commit_once(rc_server *server, rc_place place, rc_topic topic, struct rc_log_message *message,
                           uint64_t now_ns, unsigned flags)
{
	struct appending appending;
	int64_t result = -EALREADY;
	rc_appending_begin(server, &appending);
	/* Looked up once more: another thread may have given it back meanwhile. */
	struct rc_block *block = rc_blocks_find(&server->log.blocks, place);
	message->topic = block ? rc_topics_opened(&server->topics, topic) : NULL;
	if (message->topic) {
		result = rc_appending_number(server, &appending, &message->topic, 0, 0);
		if (result == 0)
			result = append_built(server, block, message, now_ns);
		appending.mask = message->topic->worker_mask;
	} else if (block) {
		result = -ENOENT;
	}
	rc_appending_end(server, &appending, result, flags);
	return result;
}

int rc_abandon(rc_server *server, rc_place place)
{
	struct rc_blocks *blocks = &server->log.blocks;
	pthread_mutex_lock(&server->log_lock);
	struct rc_block *block = rc_blocks_find(blocks, place);
	if (block)
		rc_block_end(blocks, block, 0);
	RC_VERIFY(rc_blocks_check(blocks));
	pthread_mutex_unlock(&server->log_lock);
	return block ? 0 : -EALREADY;
}

int64_t rc_commit(rc_server *server, rc_place place, rc_topic topic, size_t size, uint64_t time_ns, unsigned flags)
{
	struct rc_log_message message = { .size = size,
		                          .opcode = flags & RC_PUBLISH_BINARY ? RC_BINARY : RC_TEXT,
		                          .source_ns = time_ns };
	struct rc_place_seen seen;
	uint64_t now_ns = rc_server_now();
	if (!rc_blocks_see(&server->log.blocks, place, &seen))
		return -EALREADY;
	if (now_ns > seen.began_ns && now_ns - seen.began_ns > RC_PLACE_TIME_MS * UINT64_C(1000000))
		return rc_abandon(server, place) ? -EALREADY : -ETIMEDOUT;
	if (flags & ~(unsigned)(RC_PUBLISH_OF_MESSAGES | RC_PUBLISH_OF_CALLS))
		return -EINVAL;
	if (size > seen.size_max)
		return -EMSGSIZE;
	if (!rc_publish_is_right(seen.data, size, flags)) /* or by now it is another one's text */
		return rc_blocks_find(&server->log.blocks, place) ? -EILSEQ : -EALREADY;
	int64_t result;
	do {
		result = commit_once(server, place, topic, &message, now_ns, flags);
	} while (result == -EAGAIN && rc_appending_waits(server, flags));
	return result;
}
