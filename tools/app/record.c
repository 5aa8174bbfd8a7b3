/* SPDX-License-Identifier: MIT
 *
 * record.c - see record.h.
 */
#include "record.h"

#include <string.h>

#define NUMBERS 9

static void collect(const struct app_record *record, uint64_t numbers[NUMBERS])
{
	const uint64_t all[NUMBERS] = { record->node,   record->client,      record->conn,
		                        record->repeat, record->begin_epoch, record->begin_sequence,
		                        record->number, record->sender,      record->flags };
	memcpy(numbers, all, sizeof all);
}

static void put_number(struct app_out *out, uint64_t number, unsigned size)
{
	uint8_t bytes[8];
	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(number >> i * 8);
	app_out_bytes(out, bytes, size);
}

void app_record_write(struct app_out *out, const struct app_record *record)
{
	uint64_t numbers[NUMBERS];
	collect(record, numbers);
	for (unsigned i = 0; i < NUMBERS; i++)
		put_number(out, numbers[i], 8);
	put_number(out, record->user_size, 2);
	app_out_bytes(out, record->user, record->user_size);
	put_number(out, record->id_size, 2);
	app_out_bytes(out, record->id, record->id_size);
	put_number(out, record->head_size, 4);
	app_out_bytes(out, record->head, record->head_size);
	app_out_bytes(out, record->text, record->text_size);
}

struct reading {
	const uint8_t *at, *end;
};

static bool take_number(struct reading *reading, uint64_t *number, unsigned size)
{
	if ((size_t)(reading->end - reading->at) < size)
		return false;
	*number = 0;
	for (unsigned i = 0; i < size; i++)
		*number |= (uint64_t)*reading->at++ << i * 8;
	return true;
}

static bool take_text(struct reading *reading, unsigned size_size, const char **text, size_t *size)
{
	uint64_t told;
	if (!take_number(reading, &told, size_size) || told > (size_t)(reading->end - reading->at))
		return false;
	*text = (const char *)reading->at;
	*size = (size_t)told;
	reading->at += told;
	return true;
}

bool app_record_read(struct app_record *record, const void *bytes, size_t size)
{
	struct reading reading = { bytes, (const uint8_t *)bytes + size };
	*record = (struct app_record){ 0 };
	uint64_t *const numbers[NUMBERS] = { &record->node,   &record->client,      &record->conn,
		                             &record->repeat, &record->begin_epoch, &record->begin_sequence,
		                             &record->number, &record->sender,      &record->flags };
	for (unsigned i = 0; i < NUMBERS; i++)
		if (!take_number(&reading, numbers[i], 8))
			return false;
	if (!take_text(&reading, 2, &record->user, &record->user_size) ||
	    !take_text(&reading, 2, &record->id, &record->id_size) ||
	    !take_text(&reading, 4, &record->head, &record->head_size))
		return false;
	record->text = (const char *)reading.at;
	record->text_size = (size_t)(reading.end - reading.at);
	return true;
}
