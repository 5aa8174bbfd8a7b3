/* SPDX-License-Identifier: MIT
 *
 * recorded.h - level-2 updates as exchanges write them, told apart into changes of one level each. It knows JSON, and
 * no file and no book.
 */
#ifndef BOOK_RECORDED_H
#define BOOK_RECORDED_H

#include "book.h"

/* What one message holds is told to a caller: a symbol first, then each of its levels. */
struct recorded_reader {
	void *context;
	/* The message is of this symbol; with `snapshot`, levels that it does not name are gone. Returns whether to go
	 * on. */
	bool (*begin)(void *context, const char *symbol, bool snapshot);
	bool (*level)(void *context, enum book_side side, const char *price, const char *quantity);
};

/* Reads one message. Returns null, or what is wrong with it. Messages of other kinds are passed over. */
const char *recorded_read(const char *json, size_t size, const struct recorded_reader *reader);

#endif
