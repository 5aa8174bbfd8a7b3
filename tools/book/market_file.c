/* SPDX-License-Identifier: MIT
 *
 * market_file.c - a recording read into a market: all its changes, in memory, each tried on a book while it is read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/feed.h"
#include "lib/options.h"
#include "market.h"
#include "recorded.h"

struct loader {
	struct market *market;
	unsigned book;
	uint64_t capacity;
	const char *wrong;
};

static bool add(struct loader *loader, enum book_side side, const char *price, const char *quantity)
{
	struct market *market = loader->market;
	if (market->recorded_count == loader->capacity) {
		uint64_t capacity = loader->capacity ? loader->capacity * 2 : 4096;
		struct market_change *changes = realloc(market->recorded, capacity * sizeof *changes);
		if (!changes)
			return loader->wrong = "no memory", false;
		market->recorded = changes;
		loader->capacity = capacity;
	}
	loader->wrong = book_set(&market->books[loader->book], side, price, quantity);
	if (loader->wrong)
		return false;
	struct market_change *change = &market->recorded[market->recorded_count++];
	*change = (struct market_change){ .book = loader->book, .side = side };
	snprintf(change->price, sizeof change->price, "%s", price);
	snprintf(change->quantity, sizeof change->quantity, "%s", quantity);
	return true;
}

/* What stands in the book is gone where a snapshot does not say it again. */
static bool remove_all(struct loader *loader)
{
	struct book *book = &loader->market->books[loader->book];
	for (int side = 0; side < 2; side++) {
		while (book->sides[side].count) {
			char price[BOOK_TEXT_MAX + 1];
			strcpy(price, book->sides[side].items[book->sides[side].count - 1].price_text);
			if (!add(loader, (enum book_side)side, price, "0"))
				return false;
		}
	}
	return true;
}

static bool on_begin(void *context, const char *symbol, bool snapshot)
{
	struct loader *loader = context;
	struct market *market = loader->market;
	size_t size = strlen(symbol);
	if (!size || size > MARKET_SYMBOL_MAX || symbol[strcspn(symbol, ",/?#%")])
		return loader->wrong = "a symbol has 1 to 31 bytes, and none of , / ? # %", false;
	for (loader->book = 0; loader->book < market->book_count; loader->book++) {
		if (!strcmp(market->symbols[loader->book], symbol))
			return !snapshot || remove_all(loader);
	}
	if (market->book_count == MARKET_BOOKS_MAX)
		return loader->wrong = "more than 1000 symbols", false;
	memcpy(market->symbols[market->book_count++], symbol, size + 1);
	return true;
}

static bool on_level(void *context, enum book_side side, const char *price, const char *quantity)
{
	return add(context, side, price, quantity);
}

static int read_all(struct loader *loader, struct feed *feed)
{
	const struct recorded_reader reader = { loader, on_begin, on_level };
	struct feed_record record;
	int code;
	while ((code = feed_next(feed, &record)) > 0) {
		const char *wrong = recorded_read(record.payload, record.payload_size, &reader);
		if (wrong)
			return -command_failed("%s:%" PRIu64 ": %s", feed->path, feed->line,
			                       loader->wrong ? loader->wrong : wrong);
	}
	if (code)
		return -command_failed("%s", feed->error);
	if (!loader->market->recorded_count)
		return -command_failed("%s: there are no level-2 updates of Coinbase or Binance in it", feed->path);
	return 0;
}

int market_read(struct market *market, const char *path)
{
	struct loader loader = { .market = market };
	struct feed feed;
	*market = (struct market){ 0 };
	if (feed_open(&feed, path))
		return -command_failed("%s", feed.error);
	int code = read_all(&loader, &feed);
	feed_close(&feed);
	/* The changes are what is wanted: the books begin empty. */
	for (unsigned i = 0; i < market->book_count; i++)
		book_clear(&market->books[i]);
	if (code)
		market_close(market);
	return code;
}
