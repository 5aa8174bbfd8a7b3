/* SPDX-License-Identifier: MIT
 *
 * market.c - see market.h. A made-up book gets new levels a few ticks behind the best of the other side, so it never
 * crosses, and loses levels near the front, so its price walks.
 */
#include "market.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/random.h"

#define TICKS_BEGIN 10000       /* of a hundredth each */
#define TICK INT64_C(100000000) /* a hundredth, as book_level.price has it */
#define LEVELS_LOW 20           /* a side with fewer only gains levels */
#define LEVELS_HIGH 100         /* one with more only loses them */
#define DISTANCE_MAX 60

void market_open(struct market *market, uint64_t seed, unsigned book_count)
{
	*market = (struct market){ .book_count = book_count };
	random_seed(market->random, seed);
	for (unsigned i = 0; i < book_count; i++)
		snprintf(market->symbols[i], sizeof market->symbols[i], "%u", i);
}

/* Small numbers more often than large ones. */
static unsigned near(struct market *market, unsigned count)
{
	return random_below(market->random, 1 + random_below(market->random, count));
}

static void choose_price(struct market *market, struct market_change *change)
{
	const struct book_levels *other = &market->books[change->book].sides[!change->side];
	int64_t best = other->count ? other->items[0].price / TICK : TICKS_BEGIN + 100 * (int64_t)change->book;
	int64_t distance = 1 + near(market, DISTANCE_MAX);
	int64_t ticks = change->side == BOOK_ASK ? best + distance : best - distance;
	if (ticks < 1)
		ticks = 1;
	snprintf(change->price, sizeof change->price, "%lld.%02lld", (long long)(ticks / 100),
	         (long long)(ticks % 100));
}

static void make_up(struct market *market, struct market_change *change)
{
	change->book = random_below(market->random, market->book_count);
	change->side = (enum book_side)random_below(market->random, 2);
	const struct book_levels *levels = &market->books[change->book].sides[change->side];
	unsigned dice = random_below(market->random, 100);
	bool add = levels->count < LEVELS_LOW || (levels->count <= LEVELS_HIGH && dice < 40);
	bool remove = !add && (levels->count > LEVELS_HIGH || dice < 70);
	if (add)
		choose_price(market, change);
	else
		strcpy(change->price, levels->items[near(market, levels->count)].price_text);
	unsigned hundredths = 1 + random_below(market->random, 1 + random_below(market->random, 1000000));
	if (remove)
		strcpy(change->quantity, "0");
	else
		snprintf(change->quantity, sizeof change->quantity, "%u.%02u", hundredths / 100, hundredths % 100);
}

void market_next(struct market *market, struct market_change *change)
{
	if (market->recorded) {
		*change = market->recorded[market->recorded_at];
		market->recorded_at = (market->recorded_at + 1) % market->recorded_count;
	} else {
		make_up(market, change);
	}
	/* What is made up is right, and what was recorded was tried when it was read. */
	book_set(&market->books[change->book], change->side, change->price, change->quantity);
}

void market_close(struct market *market)
{
	for (unsigned i = 0; i < market->book_count; i++)
		book_free(&market->books[i]);
	free(market->recorded);
	market->recorded = NULL;
}
