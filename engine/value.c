/* SPDX-License-Identifier: MIT
 *
 * value.c - see value.h. It must not know who is told.
 */
#include "value.h"

static void set_frame(struct rc_value *value, const uint8_t *frame, uint32_t size)
{
	uint32_t header_size = frame[1] < 126 ? 2 : frame[1] == 126 ? 4 : 10; /* ours are never masked */
	value->frame = frame;
	value->frame_size = size;
	value->data = frame + header_size;
	value->size = size - header_size;
	value->opcode = frame[0] & 15;
}

static void set_numbers(struct rc_value *value, const struct rc_topic *topic, uint64_t sequence, uint64_t previous)
{
	value->topic = topic->name;
	value->topic_size = topic->name_size;
	value->epoch = topic->epoch;
	value->sequence = sequence;
	value->previous = previous;
}

void rc_value_of_entry(struct rc_value *value, const struct rc_log *log, uint64_t number)
{
	const struct rc_entry *entry = rc_log_entry(log, number);
	const struct rc_aside *aside = rc_log_aside(log, number);
	*value = (struct rc_value){ 0 };
	set_frame(value, rc_log_frame(log, entry), entry->size);
	set_numbers(value, rc_topic_at(log->topics, entry->topic), entry->sequence, entry->before);
	if (!aside || !aside->key)
		return;
	const struct rc_key *key = rc_key_at(log->keys, aside->key - 1);
	value->snapshot = !key->size;
	value->removed = aside->removed;
	value->key = key->size ? key->name : NULL;
	value->key_size = key->size;
}

void rc_value_of_key(struct rc_value *value, const struct rc_log *log, const struct rc_key *key)
{
	if (key->newest != RC_NONE) {
		rc_value_of_entry(value, log, key->newest);
		return;
	}
	*value =
	    (struct rc_value){ .key = key->size ? key->name : NULL, .key_size = key->size, .snapshot = !key->size };
	set_frame(value, key->kept, key->kept_size);
	set_numbers(value, rc_topic_at(log->topics, key->topic), key->sequence, rc_key_kept_before(key));
}

void rc_value_of_kept(struct rc_value *value, const struct rc_topic *topic)
{
	*value = (struct rc_value){ 0 };
	set_frame(value, topic->kept, topic->kept_size);
	set_numbers(value, topic, atomic_load_explicit(&topic->sequence, memory_order_relaxed), topic->kept_before);
}
