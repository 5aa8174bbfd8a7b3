/* SPDX-License-Identifier: MIT
 *
 * producer.c - a producer's ring whose memory is whatever it likes: the input is the ring's bytes and the heads that it
 * shows, as steps. The reader never leaves the ring (which ends where its block ends), never stands still while it says
 * that there is a record, and hands out only what the bounds allow. What honest steps between them wrote comes out as
 * it went in, until the first dishonest one.
 */
#include "records.h"
#include "ringcast_producer.h"

#include "fuzz.h"

#include <errno.h>

enum { RING = 1024, TOPICS = 3, HONEST_MAX = 64 };

struct side {
	struct rc_records records;
	struct rc_producer producer;
	uint8_t *memory, *buffer;
	struct {
		uint8_t byte;
		uint16_t size;
	} sent[HONEST_MAX]; /* a ring of what has not been read */
	unsigned sent_first, sent_count;
	bool honest;
};

/* An honest record, as the header for producers writes it. */
static void publish(struct side *side, struct steps *steps)
{
	uint8_t payload[RC_PRODUCER_RECORD_MAX(RING)], byte = (uint8_t)step_byte(steps);
	uint16_t size = (uint16_t)step_below(steps, RC_PRODUCER_RECORD_MAX(RING) - 23);
	if (!side->honest || side->sent_count == HONEST_MAX)
		return;
	memset(payload, byte, size);
	const struct rc_producer_message message = { .topic = byte % TOPICS, .data = payload, .size = size };
	/* It looks for room beforehand: there is no socket that a full ring could ask. */
	size_t room = rc_producer_room(&side->producer);
	if (!room || room < size)
		return;
	HOLDS(rc_producer_publish_with(&side->producer, &message) == 0, "%zu bytes of room", room);
	unsigned last = (side->sent_first + side->sent_count++) % HONEST_MAX;
	side->sent[last].byte = byte;
	side->sent[last].size = size;
}

/* Bytes of the input over the memory, the positions before the ring included. */
static void scribble(struct side *side, struct steps *steps)
{
	bool shared = step_byte(steps) % 4 == 0;
	size_t at = shared ? step_below(steps, sizeof(struct rc_producer_shared))
	                   : RC_PRODUCER_BYTES_AT + step_below(steps, RING);
	size_t end = shared ? sizeof(struct rc_producer_shared) : RC_PRODUCER_BYTES_AT + RING;
	for (unsigned i = 0, count = step_below(steps, 33); i < count && at < end; i++)
		side->memory[at++] = (uint8_t)step_byte(steps);
	side->honest = false;
}

static void show_head(struct side *side, struct steps *steps)
{
	uint64_t head = side->records.tail + step_below(steps, 2 * RING);
	__atomic_store_n(&side->records.shared->head, step_byte(steps) % 8 ? head & ~UINT64_C(7) : head,
	                 __ATOMIC_RELEASE);
	side->honest = false;
}

static void check_honest(struct side *side, const struct rc_record *record)
{
	HOLDS(side->sent_count, "a record that nobody wrote");
	uint8_t byte = side->sent[side->sent_first].byte;
	HOLDS(record->size == side->sent[side->sent_first].size && record->topic == byte % TOPICS, "%zu bytes of %u",
	      record->size, record->topic);
	for (size_t i = 0; i < record->size; i++)
		HOLDS(record->data[i] == byte, "byte %zu is %u", i, record->data[i]);
	side->sent_first = (side->sent_first + 1) % HONEST_MAX;
	side->sent_count--;
}

/* Returns false when the ring was found to make no sense. */
static bool read_some(struct side *side, unsigned count)
{
	struct rc_records *records = &side->records;
	for (unsigned i = 0; i < count; i++) {
		struct rc_record record;
		uint64_t before = records->tail;
		int result = rc_records_next(records, TOPICS, side->buffer, &record);
		HOLDS(result == 1 || result == 0 || result == -EPROTO, "%d", result);
		HOLDS(records->tail % 8 == 0 && records->head - records->tail <= RING, "the reader stands nowhere");
		if (result < 0) {
			HOLDS(records->fault && !side->honest, "a fault in an honest ring: %s", records->fault);
			return false;
		}
		if (result == 0) {
			HOLDS(!side->honest || !side->sent_count, "%u records were not seen", side->sent_count);
			break;
		}
		HOLDS(record.topic < TOPICS && !(record.flags & ~(unsigned)RC_PRODUCER_BINARY), "%u", record.topic);
		HOLDS(record.key_size <= RC_PRODUCER_KEY_MAX && record.key == side->buffer, "%zu", record.key_size);
		HOLDS(record.data == side->buffer + record.key_size &&
		          record.key_size + record.size <= RC_PRODUCER_RECORD_MAX(RING),
		      "%zu bytes", record.size);
		if (side->honest)
			check_honest(side, &record);
		rc_records_take(records);
		HOLDS(records->tail > before && records->tail <= records->head, "it stands still");
	}
	rc_records_show(records);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct steps steps = { data, data + size };
	struct side side = { .honest = true };
	side.memory = calloc(1, RC_PRODUCER_BYTES_AT + RING);
	side.buffer = malloc(RC_PRODUCER_RECORD_MAX(RING));
	HOLDS(side.memory && side.buffer, "no memory");
	rc_records_init(&side.records, side.memory, RING);
	side.producer = (struct rc_producer){ .shared = side.records.shared,
		                              .bytes = side.memory + RC_PRODUCER_BYTES_AT,
		                              .size = RING,
		                              .topic_count = TOPICS,
		                              .socket = -1,
		                              .wake_fd = -1 };
	for (bool sane = true; sane && steps.at < steps.end;) {
		switch (step_byte(&steps) % 8) {
		case 0:
			scribble(&side, &steps);
			break;
		case 1:
			show_head(&side, &steps);
			break;
		case 2:
			/* Its state may be ASLEEP for the producer: there is no eventfd, and none is missed. */
			if (rc_records_sleep(&side.records))
				rc_records_wake(&side.records);
			break;
		case 3:
		case 4:
			sane = read_some(&side, 1 + step_below(&steps, 8));
			break;
		default:
			publish(&side, &steps);
			break;
		}
	}
	free(side.memory);
	free(side.buffer);
	return 0;
}
