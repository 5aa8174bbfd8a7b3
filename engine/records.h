/* SPDX-License-Identifier: MIT
 *
 * records.h - the reading end of a producer's ring (ringcast_record.h): from memory that another process may write at
 * any moment to records that cannot change any more. It must not know where the memory comes from, nor what a record is
 * for.
 *
 * Invariant: what lies in the shared memory is read once, into memory of our own, and judged there. Nothing that the
 * other process writes leads to a byte outside its ring: at worst it is a fault, and its own messages are nonsense.
 */
#ifndef RC_RECORDS_H
#define RC_RECORDS_H

#include "bounds.h"
#include "ringcast_record.h"

#include <stdbool.h>

/* Our own positions: those in the shared memory are written for the producer, and never read back. */
struct rc_records {
	struct rc_producer_shared *shared;
	const uint8_t *bytes;
	uint64_t size;     /* of the ring, a power of two */
	uint64_t tail;     /* the next record */
	uint64_t after;    /* behind the record that rc_records_next() returned */
	uint64_t head;     /* as last read, and found possible */
	uint64_t shown;    /* of the tail, to the producer */
	bool ended;        /* the head is not read any more */
	const char *fault; /* why rc_records_next() returned -EPROTO */
};

/* A record, in memory of ours. */
struct rc_record {
	uint32_t topic;
	unsigned flags;
	uint64_t time_ns;
	const uint8_t *key, *data;
	size_t key_size, size;
};

/* `memory` has RC_PRODUCER_BYTES_AT + ring_size bytes, all zero. */
void rc_records_init(struct rc_records *records, void *memory, uint64_t ring_size);

/* The next record, copied into `buffer` of RC_PRODUCER_RECORD_MAX(ring_size) bytes. Returns 1, 0 when there is none, or
 * -EPROTO when the ring makes no sense: it is not to be read any more then. Until rc_records_take() the same record
 * comes again. */
int rc_records_next(struct rc_records *records, uint32_t topic_count, uint8_t *buffer, struct rc_record *record);

/* The record has been dealt with. Returns the bytes that it took in the ring. */
uint64_t rc_records_take(struct rc_records *records);

/* Gives the producer the room of what was taken. */
void rc_records_show(struct rc_records *records);

/* From now on only what is complete now is read. */
void rc_records_end(struct rc_records *records);

/* Says that the reader is about to sleep. Returns false when there is something to read, and it must not. */
bool rc_records_sleep(struct rc_records *records);
void rc_records_wake(struct rc_records *records);

/* Says that the record was refused, for this reason. */
void rc_records_refuse(struct rc_records *records, int reason);

/* Says that nobody reads any more. */
void rc_records_gone(struct rc_records *records);

#endif
