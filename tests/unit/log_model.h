/* SPDX-License-Identifier: MIT
 *
 * log_model.h - the log beside a naive one: a growing list of messages, searched from end to end. Every append is
 * foretold (its place, what is recycled for it, who holds it back) and compared. What a message holds follows from its
 * topic and sequence, so the list needs no bytes.
 */
#ifndef RC_TESTS_LOG_MODEL_H
#define RC_TESTS_LOG_MODEL_H

#include "check.h"
#include "log.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

enum { MODEL_NAMES = 8, MODEL_READERS = 4 };

struct model_message {
	uint64_t position, sequence, before, epoch, time_ns;
	size_t size;
	uint32_t topic;
	unsigned name;
	enum rc_opcode opcode;
};

struct model_topic {
	bool exists;
	uint32_t id, subscriptions;
	uint64_t epoch, sequence, entry_count;
	uint64_t newest, kept; /* messages, or RC_NONE */
};

struct model {
	struct rc_log log;
	struct rc_topics topics;
	struct rc_entry *entries;
	_Atomic uint64_t floors[MODEL_READERS];
	struct model_message *messages;
	uint64_t head, tail, granted, granted_position, end, wanted, capacity;
	size_t kept_size, kept_size_max;
	uint64_t refused, published_size;
	uint64_t holes; /* seed of the numbers that topics leave out; 0: they leave out none */
	struct model_topic names[MODEL_NAMES];
	uint8_t *frame; /* room for the largest */
};

/* Topics with an odd number keep their last value. */
static inline size_t model_name(char *text, unsigned name)
{
	return (size_t)snprintf(text, 16, name % 2 ? "keep/%u" : "plain/%u", name);
}

static inline void model_begin(struct model *m, uint64_t size, uint64_t entry_count, unsigned readers,
                               size_t kept_size_max)
{
	static const struct rc_topic_options defaults, keep = { .keep_last = true };
	memset(m, 0, sizeof *m);
	uint8_t *bytes = malloc(size);
	m->entries = malloc(entry_count * sizeof *m->entries);
	m->frame = malloc(size / 4);
	m->capacity = 1024;
	m->messages = malloc(m->capacity * sizeof *m->messages);
	cr_assert(bytes && m->entries && m->frame && m->messages);
	/* No test may depend on fresh memory being zero. */
	memset(bytes, 0xdb, size);
	memset(m->entries, 0xdb, entry_count * sizeof *m->entries);
	m->kept_size_max = kept_size_max;
	cr_assert_eq(rc_topics_init(&m->topics, &defaults, kept_size_max, 1, 1), 0);
	cr_assert_eq(rc_topics_add_rule(&m->topics, "keep/*", &keep), 0);
	rc_log_init(&m->log, &m->topics, bytes, size, m->entries, entry_count, m->floors, readers);
	for (unsigned i = 0; i < MODEL_NAMES; i++)
		m->names[i].newest = m->names[i].kept = RC_NONE;
}

static inline void model_end(struct model *m)
{
	rc_topics_destroy(&m->topics);
	free(m->log.bytes);
	free(m->entries);
	free(m->messages);
	free(m->frame);
}

/* ---- what a message looks like ---- */

static inline void model_payload(uint8_t *to, size_t size, uint64_t topic, uint64_t sequence)
{
	uint64_t word = (topic + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ (sequence + 1) * UINT64_C(0xD1B54A32D192ED03);
	for (size_t i = 0; i < size; i += 8, word += UINT64_C(0x8CB92BA72F3D8DD7))
		memcpy(to + i, &word, RC_MIN(size - i, 8));
}

/* RFC 6455, section 5.2, spelled out: no mask, one frame a message. */
static inline size_t model_header(uint8_t *to, size_t size, enum rc_opcode opcode)
{
	size_t at = 0;
	to[at++] = (uint8_t)(0x80 | opcode);
	unsigned length_size = size <= 125 ? 0 : size <= 0xffff ? 2 : 8;
	to[at++] = (uint8_t)(length_size == 0 ? size : length_size == 2 ? 126 : 127);
	for (unsigned i = length_size; i--;)
		to[at++] = (uint8_t)((uint64_t)size >> 8 * i);
	return at;
}

static inline size_t model_frame_size(size_t size)
{
	return size + (size <= 125 ? 2 : size <= 0xffff ? 4 : 10);
}

static inline size_t model_frame(uint8_t *to, const struct model_message *message)
{
	size_t header_size = model_header(to, message->size, message->opcode);
	model_payload(to + header_size, message->size, message->name, message->sequence);
	return header_size + message->size;
}

/* ---- topics ---- */

static inline struct rc_topic *model_find(const struct model *m, unsigned name)
{
	char text[16];
	size_t size = model_name(text, name);
	return rc_topics_find(&m->topics, text, size, rc_topic_hash(&m->topics, text, size));
}

static inline struct rc_topic *model_get(struct model *m, unsigned name)
{
	char text[16];
	size_t size = model_name(text, name);
	int error = 0;
	struct rc_topic *topic = rc_topics_get(&m->topics, text, size, rc_topic_hash(&m->topics, text, size), &error);
	struct model_topic *expected = &m->names[name];
	cr_assert(topic, "error %d", error);
	if (!expected->exists) {
		cr_assert_gt(topic->epoch, expected->epoch, "a topic that was forgotten is another one now");
		*expected = (struct model_topic){
			.exists = true, .id = topic->id, .epoch = topic->epoch, .newest = RC_NONE, .kept = RC_NONE
		};
		for (unsigned i = 0; i < MODEL_NAMES; i++)
			cr_assert(i == name || !m->names[i].exists || m->names[i].id != topic->id);
	}
	cr_assert_eq(topic->id, expected->id);
	cr_assert_eq(topic->epoch, expected->epoch);
	return topic;
}

static inline void model_release(struct model *m, unsigned name)
{
	struct model_topic *topic = &m->names[name];
	if (!topic->subscriptions && !topic->entry_count && topic->kept == RC_NONE)
		topic->exists = false;
}

static inline void model_unkeep(struct model *m, struct model_topic *topic)
{
	if (topic->kept != RC_NONE)
		m->kept_size -= model_frame_size(m->messages[topic->kept].size);
	topic->kept = RC_NONE;
}

/* ---- appending ---- */

/* What is recycled is recycled oldest first, in whole segments of bytes or of the index. */
static inline void model_recycle(struct model *m, uint64_t to)
{
	for (; m->tail < to; m->tail++) {
		const struct model_message *message = &m->messages[m->tail];
		struct model_topic *topic = &m->names[message->name];
		size_t size = model_frame_size(message->size);
		topic->entry_count--;
		if (topic->newest != m->tail)
			continue;
		topic->newest = RC_NONE;
		if (message->name % 2 && m->kept_size + size <= m->kept_size_max) {
			topic->kept = m->tail;
			m->kept_size += size;
		}
		model_release(m, message->name);
	}
}

/* Where a frame will stand, and up to where readers must let go for it: whole segments of bytes or of the index. */
static inline uint64_t model_place(const struct model *m, size_t frame_size, uint64_t *granted_position,
                                   uint64_t *granted)
{
	uint64_t size = m->log.size, position = m->end;
	if (position % size + frame_size > size)
		position += size - position % size;
	*granted = m->granted;
	*granted_position = m->granted_position;
	while (position + frame_size - *granted_position > size)
		*granted_position += size / RC_LOG_SEGMENTS;
	while (*granted < m->head && m->messages[*granted].position < *granted_position)
		++*granted;
	if (m->head - *granted == m->log.entry_count)
		*granted += m->log.entry_count / RC_LOG_SEGMENTS;
	return position;
}

/* What is recycled with a message: all that is in its way, and no more than a few besides, of what is granted. */
static inline uint64_t model_tail(const struct model *m, uint64_t end)
{
	enum { FEW = 4 };
	uint64_t tail = m->tail;
	while (tail < m->head &&
	       (m->messages[tail].position + m->log.size < end || m->head - tail == m->log.entry_count))
		tail++;
	tail = RC_MIN(tail + FEW, m->granted);
	return RC_MAX(tail, m->tail);
}

static inline void model_check_log(const struct model *m)
{
	const struct rc_log *log = &m->log;
	cr_assert_eq(rc_log_head(log), m->head);
	cr_assert_eq(atomic_load(&log->tail), m->tail);
	cr_assert_eq(log->write_position, m->end);
	cr_assert_eq(atomic_load(&log->end), m->end);
	cr_assert_eq(atomic_load(&log->wanted), m->wanted);
	cr_assert_eq(log->refused, m->refused);
	cr_assert_eq(log->published_size, m->published_size);
	cr_assert_leq(log->write_position - log->tail_position, log->size);
	cr_assert_eq(log->granted, m->granted);
	cr_assert_eq(log->granted_position, m->granted_position);
	cr_assert_eq(log->segments_recycled, log->granted_position / log->segment_size);
	cr_assert_eq(m->topics.kept_size, m->kept_size);
	for (unsigned i = 0; i < log->floor_count; i++)
		cr_assert(m->floors[i] >= m->granted && m->floors[i] <= m->head);
}

static inline void model_check_topic(const struct model *m, unsigned name)
{
	const struct model_topic *expected = &m->names[name];
	const struct rc_topic *topic = model_find(m, name);
	cr_assert_eq(topic != NULL, expected->exists, "topic %u", name);
	if (!topic)
		return;
	cr_assert_eq(topic->epoch, expected->epoch);
	cr_assert_eq(atomic_load(&topic->newest), expected->newest);
	cr_assert_eq(atomic_load(&topic->sequence), expected->sequence);
	cr_assert_eq(topic->entry_count, expected->entry_count);
	cr_assert_eq(topic->subscription_count, expected->subscriptions);
	cr_assert_eq(topic->kept != NULL, expected->kept != RC_NONE, "topic %u", name);
	if (topic->kept) {
		size_t size = model_frame(m->frame, &m->messages[expected->kept]);
		cr_assert_eq(topic->kept_size, size);
		cr_assert(memcmp(topic->kept, m->frame, size) == 0);
	}
}

static inline uint64_t model_previous(const struct model *m, uint64_t number)
{
	for (uint64_t at = number; at-- > m->tail;)
		if (m->messages[at].topic == m->messages[number].topic)
			return at;
	return RC_NONE;
}

static inline void model_check_entry(const struct model *m, uint64_t number)
{
	const struct rc_entry *entry = rc_log_entry(&m->log, number);
	const struct model_message *message = &m->messages[number];
	size_t size = model_frame(m->frame, message);
	cr_assert_eq(entry->position, message->position);
	cr_assert_eq(entry->sequence, message->sequence);
	cr_assert_eq(entry->size, size);
	cr_assert_eq(entry->topic, message->topic);
	cr_assert_eq(entry->time_ns, message->time_ns);
	cr_assert_leq(entry->position % m->log.size + size, m->log.size, "a frame never wraps");
	cr_assert(memcmp(rc_log_frame(&m->log, entry), m->frame, size) == 0, "entry %lu", number);
	cr_assert_eq(entry->before, message->before);
	uint64_t jump = rc_log_back(number, entry->jump), back = rc_log_back(number, entry->previous);
	if (jump != RC_NONE && jump >= m->tail)
		cr_assert(jump < number && m->messages[jump].topic == message->topic);
	uint64_t previous = model_previous(m, number);
	if (previous != RC_NONE)
		cr_assert_eq(back, previous);
	else
		cr_assert(back == RC_NONE || back < m->tail);
}

static inline int64_t append_raw(struct rc_log *log, struct rc_topic *topic, enum rc_opcode opcode, const void *data,
                                 size_t size, uint64_t sequence, uint64_t now_ns, unsigned *held_by)
{
	const struct rc_log_message message = {
		.topic = topic, .opcode = opcode, .data = data, .size = size, .sequence = sequence
	};
	return rc_log_append(log, &message, now_ns, held_by);
}

/* As a publisher does it. Returns what rc_log_append() returned, which is what was to be expected. */
static inline int64_t model_append(struct model *m, unsigned name, size_t size, enum rc_opcode opcode)
{
	struct rc_topic *topic = model_get(m, name);
	struct model_topic *expected = &m->names[name];
	uint64_t granted_position = 0, granted = m->granted, position = 0, time_ns = m->head * 1000 + name;
	bool held = false, fits = size <= m->log.size / 4 - RC_FRAME_HEADER_MAX;
	if (fits)
		position = model_place(m, model_frame_size(size), &granted_position, &granted);
	for (unsigned i = 0; i < m->log.floor_count; i++)
		held |= granted > m->granted && m->floors[i] < granted;

	unsigned held_by = 77;
	uint64_t sequence = expected->sequence + 1 + (m->holes ? below(&m->holes, 4) * below(&m->holes, 1000) : 0);
	if (fits)
		model_payload(m->frame, size, name, sequence);
	int64_t result = append_raw(&m->log, topic, opcode, m->frame, size, m->holes ? sequence : 0, time_ns, &held_by);
	if (result < 0)
		rc_topics_release(&m->topics, topic);
	if (!fits || held) {
		cr_assert_eq(result, fits ? -EAGAIN : -EMSGSIZE);
		cr_assert(!fits || (held_by < m->log.floor_count && m->floors[held_by] < granted), "reader %u is free",
		          held_by);
		m->refused += fits;
		if (fits)
			m->wanted = position + model_frame_size(size);
		model_release(m, name);
		return result;
	}
	expected->entry_count++;
	m->granted = granted;
	m->granted_position = granted_position;
	model_recycle(m, model_tail(m, position + model_frame_size(size)));
	model_unkeep(m, expected);
	expected->newest = m->head;
	if (m->head == m->capacity) {
		m->messages = realloc(m->messages, (m->capacity *= 2) * sizeof *m->messages);
		cr_assert(m->messages);
	}
	m->messages[m->head++] = (struct model_message){
		.position = position,
		.sequence = sequence,
		.before = expected->sequence,
		.epoch = expected->epoch,
		.time_ns = time_ns,
		.size = size,
		.topic = expected->id,
		.name = name,
		.opcode = opcode,
	};
	expected->sequence = sequence;
	m->wanted = 0;
	m->end = position + model_frame_size(size);
	m->published_size += size;
	cr_assert_eq(result, (int64_t)expected->sequence);
	model_check_entry(m, m->head - 1);
	return result;
}

static inline void model_subscribe(struct model *m, unsigned name)
{
	model_get(m, name)->subscription_count++;
	m->names[name].subscriptions++;
}

static inline void model_unsubscribe(struct model *m, unsigned name)
{
	struct rc_topic *topic = model_find(m, name);
	topic->subscription_count--;
	m->names[name].subscriptions--;
	rc_topics_release(&m->topics, topic);
	model_release(m, name);
}

/* The first message of the topic that is not below both, or RC_NONE. */
static inline uint64_t model_first(const struct model *m, unsigned name, uint64_t number_min, uint64_t sequence_min)
{
	const struct model_topic *topic = &m->names[name];
	for (uint64_t at = RC_MAX(number_min, m->tail); topic->exists && at < m->head; at++)
		if (m->messages[at].topic == topic->id && m->messages[at].sequence >= sequence_min)
			return at;
	return RC_NONE;
}

/* The oldest entry that leaves publishers their room, or the head. */
static inline uint64_t model_readable(const struct model *m)
{
	uint64_t at = m->tail, end = RC_MAX(m->end, m->wanted);
	while (at < m->head &&
	       (end - m->messages[at].position > m->log.size / 64 * 48 || m->head - at > m->log.entry_count / 64 * 48))
		at++;
	return at;
}

static inline void model_check_all(const struct model *m)
{
	model_check_log(m);
	for (unsigned i = 0; i < MODEL_NAMES; i++)
		model_check_topic(m, i);
	for (uint64_t number = m->tail; number < m->head; number++)
		model_check_entry(m, number);
}

#endif
