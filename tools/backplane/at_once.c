/* SPDX-License-Identifier: MIT
 *
 * at_once.c - see node.h: messages of topics that care for no order. They are in the log of this node before anybody
 * else has heard of them, and their publisher is answered at once; other nodes publish them when they come, each with
 * numbers of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"
#include "ringcast_publish.h"

bool backplane_is_local(const struct backplane *backplane, const char *topic, size_t size)
{
	const struct option_list *local = &backplane->settings.local;
	for (unsigned i = 0; i < local->count; i++) {
		const char *pattern = local->items[i];
		size_t length = strlen(pattern);
		if (length && pattern[length - 1] == '*' ? size >= length - 1 && !memcmp(pattern, topic, length - 1)
		                                         : size == length && !memcmp(pattern, topic, size))
			return true;
	}
	return false;
}

static int64_t publish_here(struct backplane *backplane, const struct backplane_message *messages, size_t count,
                            struct rc_batch_message *batch)
{
	for (size_t i = 0; i < count; i++)
		batch[i] = (struct rc_batch_message){ .name = messages[i].channel,
			                              .name_size = messages[i].channel_size,
			                              .data = messages[i].data,
			                              .size = messages[i].size,
			                              .flags = messages[i].flags,
			                              .time_ns = messages[i].time_ns,
			                              .key = messages[i].key,
			                              .key_size = messages[i].key_size };
	return rc_publish_many(backplane->server, batch, count, 0);
}

void backplane_hand_over(struct backplane *backplane, const struct backplane_message *messages, size_t count)
{
	struct backplane_message *there = calloc(count, sizeof *there);
	for (size_t i = 0; there && i < count; i++) {
		there[i] = messages[i];
		there[i].kind = BACKPLANE_AT_ONCE;
	}
	int code = there ? outbox_add(&backplane->outbox, there, count, state_clock_ns(), NULL, NULL, NULL) : -ENOMEM;
	atomic_fetch_add(code ? &backplane->counters.refused : &backplane->counters.sent, code ? 1 : count);
	free(there);
}

bool at_once_wanted(const struct backplane *backplane, const struct backplane_message *messages, size_t count,
                    int *code)
{
	size_t local = 0;
	for (size_t i = 0; i < count && backplane->settings.local.count; i++)
		local += messages[i].kind == BACKPLANE_TOPIC &&
		         backplane_is_local(backplane, messages[i].channel, messages[i].channel_size);
	*code = local && local < count ? -EINVAL : 0;
	return local;
}

int at_once_publish(struct backplane *backplane, const struct backplane_message *messages, size_t count,
                    backplane_done *done, void *context)
{
	struct rc_batch_message *batch = calloc(count, sizeof *batch);
	struct backplane_number *numbers = calloc(count, sizeof *numbers);
	int64_t code = -ENOMEM;
	if (batch && numbers)
		code = publish_here(backplane, messages, count, batch);
	if (code > 0) {
		backplane_hand_over(backplane, messages, count);
		for (size_t i = 0; i < count; i++)
			numbers[i] = (struct backplane_number){ batch[i].epoch, batch[i].result };
		if (done)
			done(context, 0, numbers, count);
	}
	free(batch);
	free(numbers);
	return code < 0 ? (int)code : 0;
}
