/* SPDX-License-Identifier: MIT
 *
 * history.c - reading the log without subscribing: what was published in a topic. It must not know who is subscribed.
 *
 * A page is read in pieces, each under the log's lock, so that no publisher waits for longer than one takes. Between
 * two the log may go on: where what comes next was recycled meanwhile, the page ends, and whoever asks for the next
 * sees the gap at its beginning.
 */
#include "envelope.h"
#include "growing.h"
#include "publish.h"
#include "value.h"
#include "worker.h"

#define READ_AT_ONCE 32
#define SIZE_AT_ONCE (64 * RC_KIB)

struct page {
	uint64_t epoch;    /* of the topic; 0 before the first message */
	uint64_t sequence; /* of the last message read */
	unsigned count, max;
	bool over;
	bool (*visit)(void *context, const struct rc_past *past);
	void *context;
};

struct rc_past rc_history_past(const struct rc_value *value)
{
	return (struct rc_past){
		.epoch = value->epoch,
		.sequence = value->sequence,
		.opcode = (enum rc_opcode)value->opcode,
		.data = value->data,
		.size = value->size,
		.key = value->key,
		.key_size = value->key_size,
		.previous = value->previous,
		.removed = value->removed,
		.snapshot = value->snapshot,
	};
}

static bool visit_entry(const struct rc_log *log, uint64_t number, uint64_t now_ns, const struct page *page)
{
	const struct rc_entry *entry = rc_log_entry(log, number);
	struct rc_value value;
	rc_value_of_entry(&value, log, number);
	struct rc_past past = rc_history_past(&value);
	past.age_ns = now_ns > entry->time_ns ? now_ns - entry->time_ns : 0;
	past.time_ns = rc_log_source_ns(log, number);
	past.except = rc_log_except(log, number);
	return page->visit(page->context, &past);
}

/* Where the page goes on, or RC_NONE. With the lock. */
static uint64_t next_of(const struct rc_log *log, const struct rc_topic *topic, const struct page *page)
{
	if (!topic || page->sequence == UINT64_MAX || (page->count && topic->epoch != page->epoch))
		return RC_NONE;
	uint64_t number = rc_log_first_sequence(log, topic, page->sequence + 1, 0);
	bool gap = number != RC_NONE && page->count && rc_log_entry(log, number)->before > page->sequence;
	return gap ? RC_NONE : number;
}

/* With the lock. */
static void read_piece(const struct rc_log *log, const struct rc_topic *topic, struct page *page)
{
	uint64_t head = rc_log_head(log), now_ns = rc_server_now(), size = 0;
	uint64_t number = next_of(log, topic, page);
	page->over = number == RC_NONE;
	for (unsigned i = 0; !page->over && i < READ_AT_ONCE && size < SIZE_AT_ONCE; i++) {
		page->epoch = topic->epoch;
		page->sequence = rc_log_entry(log, number)->sequence;
		page->count++;
		size += rc_log_entry(log, number)->size;
		page->over = !visit_entry(log, number, now_ns, page) || page->count == page->max;
		number = rc_log_next(log, number, head);
		page->over |= number == head;
	}
}

size_t(rc_form_write)(enum rc_form form, void *to, const char *topic, size_t topic_size, const struct rc_past *given,
                      size_t struct_size)
{
	struct rc_past past = { 0 };
	if ((unsigned)form > RC_FORM_BINARY || !topic_size || topic_size > RC_TOPIC_NAME_MAX ||
	    rc_growing_take(&past, sizeof past, given, struct_size) < 0 || past.key_size > RC_KEY_MAX)
		return 0;
	enum rc_payload payload = RC_PAYLOAD_UNKNOWN;
	const struct rc_value value = {
		.topic = topic,
		.topic_size = (uint32_t)topic_size,
		.data = past.data,
		.size = past.size,
		.epoch = past.epoch,
		.sequence = past.sequence,
		.previous = past.previous,
		.key = past.key,
		.key_size = (uint32_t)past.key_size,
		.opcode = (uint8_t)past.opcode,
		.removed = past.removed,
		.snapshot = past.snapshot,
	};
	return rc_envelope_form(to, form, &value, &payload);
}

int rc_topic_read(rc_server *server, const char *name, size_t name_size, uint64_t since, unsigned max,
                  bool (*visit)(void *context, const struct rc_past *past), void *context)
{
	struct page page = { .sequence = since, .max = max, .over = !max, .visit = visit, .context = context };
	if (!name_size || name_size > RC_TOPIC_NAME_MAX || max > INT32_MAX)
		return -EINVAL;
	uint64_t hash = rc_topic_hash(&server->topics, name, name_size);
	while (!page.over) {
		pthread_mutex_lock(&server->log_lock);
		read_piece(&server->log, rc_topics_find(&server->topics, name, name_size, hash), &page);
		pthread_mutex_unlock(&server->log_lock);
		rc_appending_pass(server);
	}
	return (int)page.count;
}
