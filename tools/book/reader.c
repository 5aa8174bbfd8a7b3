/* SPDX-License-Identifier: MIT
 *
 * reader.c - see reader.h.
 */
#include "reader.h"

#include "payload.h"

static bool take_mark(struct book_reader *reader, const struct keyed_message *message)
{
	uint64_t *counters[] = { [FOLLOW_STATE] = &reader->states,
		                 [FOLLOW_RESYNC] = &reader->resyncs,
		                 [FOLLOW_CONFLATED] = &reader->conflated,
		                 [FOLLOW_HEARTBEAT] = &reader->heartbeats,
		                 [FOLLOW_RESET] = &reader->resets };
	++*counters[message->kind];
	enum follow_verdict verdict = follow_mark(&reader->follow, message->kind, message->epoch, message->sequence);
	if (verdict == FOLLOW_FORGET) {
		book_clear(&reader->book);
		reader->number = 0;
	}
	return verdict != FOLLOW_GAP;
}

static bool apply(struct book_reader *reader, const struct keyed_message *message, const struct payload *payload)
{
	enum book_side side;
	const char *price = book_key_price(message->key, &side);
	return price && !book_set(&reader->book, side, price, message->removed ? "0" : payload->quantity);
}

bool book_reader_take(struct book_reader *reader, const struct keyed_message *message)
{
	struct payload payload;
	if (message->kind != FOLLOW_MESSAGE)
		return take_mark(reader, message);
	bool was_whole = follow_is_whole(&reader->follow);
	enum follow_verdict verdict = follow_message(&reader->follow, message->epoch, message->sequence,
	                                             message->previous);
	if (verdict == FOLLOW_OLD)
		return true;
	reader->updates++;
	if (!payload_read(message->payload, message->payload_size, &payload) || !apply(reader, message, &payload)) {
		reader->malformed++;
		return false;
	}
	if (follow_is_whole(&reader->follow)) {
		reader->checks++;
		reader->wrong += book_checksum(&reader->book) != payload.checksum;
		/* The publisher counts too. Where our numbers say that nothing is missing, so must its own. */
		reader->silent += was_whole && reader->number && payload.number != reader->number + 1;
		reader->number = payload.number;
	}
	return verdict != FOLLOW_GAP;
}

void book_reader_free(struct book_reader *reader)
{
	book_free(&reader->book);
}
