/* SPDX-License-Identifier: MIT
 *
 * reader.h - one reader's book: built from what a server sent, and proven. It knows no socket: whoever has one hands it
 * each message.
 *
 * When a checksum can be held against the book: an update carries that of the whole book behind it, so it says nothing
 * before the book has everything up to that update. That is so whenever the numbers fit one after the other, and at the
 * end of a run that a mark announced (a state, or the newest of each key); inside a run it is not.
 *
 * Invariant: every update behind which the book is whole was checked.
 */
#ifndef BOOK_READER_H
#define BOOK_READER_H

#include "book.h"
#include "lib/keyed.h"

struct book_reader {
	struct follow follow;
	struct book book;
	uint64_t number; /* the publisher's own, of the last update; valid while the book is whole */
	/* For whoever tells them. */
	uint64_t updates;
	uint64_t checks;                                         /* updates whose checksum was held against the book */
	uint64_t wrong;                                          /* of those, where it differed */
	uint64_t silent;                                         /* updates that are missing although the numbers fit */
	uint64_t states, resyncs, conflated, resets, heartbeats; /* marks by kind */
	uint64_t malformed;
};

/* Takes a message of the reader's topic. Returns false when something is missing for good: it has to ask for the state.
 */
bool book_reader_take(struct book_reader *reader, const struct keyed_message *message);
void book_reader_free(struct book_reader *reader);

#endif
