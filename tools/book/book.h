/* SPDX-License-Identifier: MIT
 *
 * book.h - an order book: the levels of both sides, the best first, and the checksum of the ten best of each. Pure. It
 * knows prices and quantities as the decimal text that they came as, and nothing of who sent them.
 *
 * Invariant: each side is sorted, no price stands in it twice, and no quantity in it is zero.
 */
#ifndef BOOK_BOOK_H
#define BOOK_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOK_TEXT_MAX 24      /* bytes of a price or a quantity */
#define BOOK_DEPTH 10         /* levels of a side that the checksum covers */
#define BOOK_LEVELS_MAX 65536 /* of a side */

enum book_side { BOOK_BID, BOOK_ASK };

struct book_level {
	int64_t price; /* in units of 10^-10, for the order */
	char price_text[BOOK_TEXT_MAX + 1];
	char quantity[BOOK_TEXT_MAX + 1];
};

struct book_levels {
	struct book_level *items;
	unsigned count, capacity;
};

struct book {
	struct book_levels sides[2];
};

/* Sets the quantity at a price; zero, or an empty text, removes the level. Returns null, or what is wrong with it:
 * nothing has changed then. */
const char *book_set(struct book *book, enum book_side side, const char *price, const char *quantity);
void book_clear(struct book *book);
void book_free(struct book *book);

/* As Kraken has it: CRC32 over the ten best asks, then the ten best bids, the best first; of each its price and its
 * quantity, without the point and without the zeros in front. */
uint32_t book_checksum(const struct book *book);

/* The key of a level: "bid:427.84". Returns its size, which is at most BOOK_KEY_MAX. */
#define BOOK_KEY_MAX (4 + BOOK_TEXT_MAX)
size_t book_key(enum book_side side, const char *price, char key[BOOK_KEY_MAX + 1]);
/* The side of a key, and where its price begins. Returns null where it is no key of a level. */
const char *book_key_price(const char *key, enum book_side *side);

#endif
