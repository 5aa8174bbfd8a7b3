/* SPDX-License-Identifier: MIT
 *
 * records.c - see records.h.
 */
#include "records.h"

#include "check.h"

#include <errno.h>
#include <string.h>

static_assert(offsetof(struct rc_producer_shared, tail) == 128, "the two ends write to lines of their own");
static_assert(offsetof(struct rc_producer_shared, state) == 256,
              "and what says who sleeps stays in the producer's cache");
static_assert(sizeof(struct rc_producer_shared) <= RC_PRODUCER_BYTES_AT, "all of it stands before the ring");
static_assert(sizeof(struct rc_producer_record) == 24, "a record's header is three words");
static_assert(offsetof(struct rc_producer_record, time_ns) == 16, "without holes");
static_assert(sizeof(struct rc_producer_answer) == 256, "an answer is the same in every language");

void rc_records_init(struct rc_records *records, void *memory, uint64_t ring_size)
{
	*records = (struct rc_records){ .shared = memory,
		                        .bytes = (uint8_t *)memory + RC_PRODUCER_BYTES_AT,
		                        .size = ring_size };
}

/* A word of the ring, read once: a plain load the compiler might repeat, and find another value. */
static uint64_t word_at(const struct rc_records *records, uint64_t position)
{
	return __atomic_load_n((const uint64_t *)(const void *)(records->bytes + (position & (records->size - 1))),
	                       __ATOMIC_RELAXED);
}

static int fail(struct rc_records *records, const char *fault)
{
	records->fault = fault;
	return -EPROTO;
}

/* Reads how far the producer is, unless that is known to be further than we are. */
static int look(struct rc_records *records)
{
	if (records->tail != records->head || records->ended)
		return 0;
	/* acquire: whoever sees the head sees the records before it */
	uint64_t head = __atomic_load_n(&records->shared->head, __ATOMIC_ACQUIRE);
	if (head - records->tail > records->size || head % 8)
		return fail(records, "its head is nowhere in the ring");
	records->head = head;
	return 0;
}

/* What the first word of a record says; the halves are in the order of memory. */
static struct rc_producer_record header_at(const struct rc_records *records, uint64_t position, unsigned words)
{
	uint64_t copy[sizeof(struct rc_producer_record) / 8] = { 0 };
	struct rc_producer_record header;
	for (unsigned i = 0; i < words; i++)
		copy[i] = word_at(records, position + i * UINT64_C(8));
	memcpy(&header, copy, sizeof header);
	return header;
}

static const char *judge(const struct rc_records *records, const struct rc_producer_record *header, uint64_t left,
                         uint32_t topic_count)
{
	if (header->size < sizeof *header)
		return "a record is shorter than its header";
	if (header->size > RC_PRODUCER_RECORD_MAX(records->size))
		return "a record is longer than a quarter of the ring";
	if (header->size > left)
		return "a record goes on behind the end of the ring or of what was written";
	if (header->key_size > RC_PRODUCER_KEY_MAX || header->key_size > header->size - sizeof *header)
		return "a record's key is too long";
	if (header->topic >= topic_count)
		return "a record is of a topic that was not registered";
	if (header->flags & ~(unsigned)RC_PRODUCER_BINARY || header->reserved)
		return "a record has unknown flags";
	return NULL;
}

/* Steps over the record that fills the rest of the ring, if there is one. */
static int skip(struct rc_records *records)
{
	uint64_t left = records->size - (records->tail & (records->size - 1));
	struct rc_producer_record header = header_at(records, records->tail, 1);
	if (header.topic != RC_PRODUCER_SKIP)
		return 0;
	if (header.size != left || records->head - records->tail < left)
		return fail(records, "the rest of the ring is filled wrongly");
	records->tail += left;
	return look(records);
}

int rc_records_next(struct rc_records *records, uint32_t topic_count, uint8_t *buffer, struct rc_record *record)
{
	if (look(records) < 0)
		return -EPROTO;
	if (records->tail == records->head)
		return 0;
	if (skip(records) < 0)
		return -EPROTO;
	if (records->tail == records->head)
		return 0;
	uint64_t at = records->tail & (records->size - 1);
	uint64_t left = RC_MIN(records->size - at, records->head - records->tail);
	if (left < sizeof(struct rc_producer_record))
		return fail(records, "a record goes on behind the end of the ring or of what was written");
	const struct rc_producer_record header = header_at(records, records->tail, 3);
	const char *fault = judge(records, &header, left, topic_count);
	if (fault)
		return fail(records, fault);
	size_t size = header.size - sizeof header;
	memcpy(buffer, records->bytes + at + sizeof header, size);
	records->after = records->tail + ((header.size + UINT64_C(7)) & ~UINT64_C(7));
	*record = (struct rc_record){
		.topic = header.topic,
		.flags = header.flags,
		.time_ns = header.time_ns,
		.key = buffer,
		.data = buffer + header.key_size,
		.key_size = header.key_size,
		.size = size - header.key_size,
	};
	return 1;
}

uint64_t rc_records_take(struct rc_records *records)
{
	uint64_t size = records->after - records->tail;
	RC_ASSERT(records->after > records->tail && records->after <= records->head);
	records->tail = records->after;
	return size;
}

void rc_records_show(struct rc_records *records)
{
	if (records->shown == records->tail)
		return;
	records->shown = records->tail;
	/* release: the bytes were read before the producer may write them anew */
	__atomic_store_n(&records->shared->tail, records->tail, __ATOMIC_RELEASE);
}

void rc_records_end(struct rc_records *records)
{
	/* What is not there now, or not possible, is not read: a process that lets go of its socket and not of its
	 * memory could write for ever. */
	uint64_t head = __atomic_load_n(&records->shared->head, __ATOMIC_ACQUIRE);
	if (!records->ended && head - records->tail <= records->size && head % 8 == 0)
		records->head = head;
	records->ended = true;
}

bool rc_records_sleep(struct rc_records *records)
{
	if (records->tail != records->head)
		return false;
	/* seq_cst, as the producer's store of its head and its look at the state: one of the two sees the other. */
	__atomic_store_n(&records->shared->state, RC_PRODUCER_ASLEEP, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&records->shared->head, __ATOMIC_SEQ_CST) == records->head)
		return true;
	rc_records_wake(records);
	return false;
}

void rc_records_wake(struct rc_records *records)
{
	__atomic_store_n(&records->shared->state, RC_PRODUCER_AWAKE, __ATOMIC_RELAXED);
}

void rc_records_refuse(struct rc_records *records, int reason)
{
	uint64_t refused = __atomic_load_n(&records->shared->refused, __ATOMIC_RELAXED);
	__atomic_store_n(&records->shared->reason, reason, __ATOMIC_RELAXED);
	__atomic_store_n(&records->shared->refused, refused + 1, __ATOMIC_RELEASE);
}

void rc_records_gone(struct rc_records *records)
{
	__atomic_store_n(&records->shared->state, RC_PRODUCER_GONE, __ATOMIC_SEQ_CST);
}
