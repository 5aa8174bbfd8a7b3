/* SPDX-License-Identifier: MIT
 *
 * value.c - see value.h.
 */
#include "value.h"

#include "frame.h"

void rc_value_of_entry(struct rc_value *value, const struct rc_log *log, uint64_t number)
{
	const struct rc_entry *entry = rc_log_entry(log, number);
	const struct rc_topic *topic = rc_topic_at(log->topics, entry->topic);
	const uint8_t *frame = rc_log_frame(log, entry);
	struct rc_frame header;
	size_t header_size = (size_t)rc_frame_read(&header, frame, entry->size);
	*value = (struct rc_value){
		.topic = topic->name,
		.topic_size = topic->name_size,
		.frame = frame,
		.frame_size = entry->size,
		.data = frame + header_size,
		.size = (size_t)header.size,
		.epoch = topic->epoch,
		.sequence = entry->sequence,
		.previous = entry->sequence - 1,
		.opcode = header.opcode,
	};
}
