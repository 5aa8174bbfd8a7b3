/* SPDX-License-Identifier: MIT
 *
 * market.h - where level-2 updates come from: made up from a seed, or read from a recording. It keeps the publisher's
 * own book of each symbol. Pure but for reading the file: it reads no clock and knows no server.
 *
 * Invariant: the same seed, or the same recording, gives the same changes again.
 */
#ifndef BOOK_MARKET_H
#define BOOK_MARKET_H

#include "book.h"

#define MARKET_BOOKS_MAX 1000
#define MARKET_SYMBOL_MAX 31

/* One level of one book. */
struct market_change {
	unsigned book; /* index */
	enum book_side side;
	char price[BOOK_TEXT_MAX + 1];
	char quantity[BOOK_TEXT_MAX + 1]; /* "0" removes the level */
};

struct market {
	unsigned book_count;
	struct book books[MARKET_BOOKS_MAX];
	char symbols[MARKET_BOOKS_MAX][MARKET_SYMBOL_MAX + 1];
	uint64_t random[4];
	/* Of a recording; null: the changes are made up. Behind the last comes the first again. */
	struct market_change *recorded;
	uint64_t recorded_count, recorded_at;
};

/* A market that is made up, with `book_count` books. */
void market_open(struct market *market, uint64_t seed, unsigned book_count);
/* One that was recorded from Coinbase (`snapshot` and `l2update`) or Binance (`depthUpdate`):
 * seconds<TAB>topic<TAB>JSON. What else is in the file is passed over. Returns 0, or -1 after printing why. */
int market_read(struct market *market, const char *path);
/* The next change, which the book has already. */
void market_next(struct market *market, struct market_change *change);
void market_close(struct market *market);

#endif
