/* SPDX-License-Identifier: MIT
 *
 * book.c - order books: the checksum that Kraken documents, levels and their order, what is refused, made-up and
 * recorded changes, the payload of an update, and a reader that proves its book. At the end the real recordings, where
 * they are.
 */
#include "book/book.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "book/market.h"
#include "book/payload.h"
#include "book/reader.h"
#include "book/recorded.h"
#include "seed.h"

Test(book, checksum_of_kraken)
{
	static const char *const asks[] = { "0.05005", "0.05010", "0.05015", "0.05020", "0.05025", "0.05030",
		                            "0.05035", "0.05040", "0.05045", "0.05050", "0.05055" };
	static const char *const bids[] = { "0.05000", "0.04995", "0.04990", "0.04980", "0.04975", "0.04970",
		                            "0.04965", "0.04960", "0.04955", "0.04950", "0.04945" };
	struct book book = { 0 };
	cr_assert_eq(book_checksum(&book), 0);
	for (int i = 10; i >= 0; i--) {
		cr_assert_null(book_set(&book, BOOK_ASK, asks[i], "0.00000500"));
		cr_assert_null(book_set(&book, BOOK_BID, bids[i], "0.00000500"));
	}
	cr_assert_eq(book_checksum(&book), 974947235, "the example of Kraken's guide: %u", book_checksum(&book));
	cr_assert_null(book_set(&book, BOOK_ASK, asks[10], "1"));
	cr_assert_eq(book_checksum(&book), 974947235, "the eleventh level does not count");
	cr_assert_null(book_set(&book, BOOK_BID, bids[9], "0.00000000"));
	cr_assert_neq(book_checksum(&book), 974947235);
	cr_assert_eq(book.sides[BOOK_BID].count, 10);
	book_free(&book);
}

Test(book, wrong_levels)
{
	struct book book = { 0 };
	static const struct {
		const char *price, *quantity;
		bool good;
	} cases[] = {
		{ "1", "1", true },
		{ "1.0000000001", "1.", true },
		{ "900000000", "0.5", true },
		{ "", "1", false },
		{ "900000001", "1", false },
		{ "1.00000000001", "1", false },
		{ ".5", "1", false },
		{ "-1", "1", false },
		{ "1e3", "1", false },
		{ "1", ".5", false },
		{ "1", "1e3", false },
		{ "1", "1.2.3", false },
		{ "2", "12345678901234567890123456789", false },
		{ "1", " 1", false },
		{ "7", "0", true },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned before = book.sides[BOOK_ASK].count;
		bool good = !book_set(&book, BOOK_ASK, cases[i].price, cases[i].quantity);
		cr_expect_eq(good, cases[i].good, "'%s' '%s'", cases[i].price, cases[i].quantity);
		if (!good)
			cr_expect_eq(book.sides[BOOK_ASK].count, before);
	}
	book_free(&book);
}

Test(book, keys)
{
	char key[BOOK_KEY_MAX + 1];
	enum book_side side;
	cr_assert_eq(book_key(BOOK_ASK, "427.84", key), 10);
	cr_assert_str_eq(key, "ask:427.84");
	cr_assert_str_eq(book_key_price(key, &side), "427.84");
	cr_assert_eq(side, BOOK_ASK);
	cr_assert_null(book_key_price("mid:1", &side));
	cr_assert_leq(BOOK_KEY_MAX, KEYED_KEY_MAX);
}

Test(book, payload)
{
	struct payload payload = { .quantity = "12.50", .number = UINT64_MAX, .checksum = UINT32_MAX }, read;
	char text[PAYLOAD_MAX];
	size_t size = payload_write(&payload, text);
	cr_assert(payload_read(text, size, &read));
	cr_assert_str_eq(read.quantity, "12.50");
	cr_assert(read.number == UINT64_MAX && read.checksum == UINT32_MAX);
	for (size_t cut = 0; cut < size; cut++)
		cr_expect_not(payload_read(text, cut, &read), "%zu bytes", cut);
	static const char *const wrong[] = { "",
		                             "{}",
		                             "{\"q\":\"x\",\"n\":1,\"c\":1}",
		                             "{\"q\":\"1\",\"n\":1,\"c\":1} ",
		                             "{\"q\":\"1\",\"n\":-1,\"c\":1}",
		                             "{\"q\":\"1\",\"n\":1,\"c\":4294967296}" };
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		cr_expect_not(payload_read(wrong[i], strlen(wrong[i]), &read), "%s", wrong[i]);
}

static void check_order(const struct book *book)
{
	const struct book_levels *bids = &book->sides[BOOK_BID], *asks = &book->sides[BOOK_ASK];
	for (unsigned i = 1; i < bids->count; i++)
		cr_assert_gt(bids->items[i - 1].price, bids->items[i].price);
	for (unsigned i = 1; i < asks->count; i++)
		cr_assert_lt(asks->items[i - 1].price, asks->items[i].price);
}

/* A made-up market: the same seed twice, no book crossed, and a book kept by its changes alone is the same. */
Test(book, made_up)
{
	static struct market one, other;
	uint64_t seed = seed_of("market");
	struct book mine = { 0 };
	market_open(&one, seed, 3);
	market_open(&other, seed, 3);
	for (unsigned n = 0; n < 30000; n++) {
		struct market_change change, again;
		market_next(&one, &change);
		market_next(&other, &again);
		cr_assert(change.book == again.book && change.side == again.side);
		cr_assert_str_eq(change.price, again.price);
		cr_assert_str_eq(change.quantity, again.quantity);
		const struct book *book = &one.books[change.book];
		const struct book_levels *bids = &book->sides[BOOK_BID], *asks = &book->sides[BOOK_ASK];
		cr_assert(!bids->count || !asks->count || bids->items[0].price < asks->items[0].price, "crossed");
		if (change.book == 1) {
			cr_assert_null(book_set(&mine, change.side, change.price, change.quantity));
			cr_assert_eq(book_checksum(&mine), book_checksum(book));
		}
	}
	check_order(&one.books[1]);
	cr_assert_gt(one.books[1].sides[BOOK_BID].count, 10);
	book_free(&mine);
	market_close(&one);
	market_close(&other);
}

/* -------------------------------------------------------------------------------------------------- recordings -- */

static char told[512];

static bool on_begin(void *context, const char *symbol, bool snapshot)
{
	(void)context;
	snprintf(told + strlen(told), sizeof told - strlen(told), "%s%s", symbol, snapshot ? "!" : "");
	return true;
}

static bool on_level(void *context, enum book_side side, const char *price, const char *quantity)
{
	(void)context;
	snprintf(told + strlen(told), sizeof told - strlen(told), " %c%s=%s", side == BOOK_BID ? 'b' : 'a', price,
	         quantity);
	return true;
}

Test(book, recorded_messages)
{
	static const struct recorded_reader reader = { NULL, on_begin, on_level };
	static const struct {
		const char *json, *told;
		bool good;
	} cases[] = {
		{ "{\"type\":\"snapshot\",\"product_id\":\"A-B\",\"asks\":[[\"2\",\"1\"]],\"bids\":[[\"1\",\"5\"]]}",
		  "A-B! b1=5 a2=1", true },
		{ "{\"type\":\"l2update\",\"product_id\":\"A\",\"changes\":[[\"sell\",\"1\",\"0\"],[\"buy\",\"2\","
		  "\"3\"]]}",
		  "A a1=0 b2=3", true },
		{ "{\"e\":\"depthUpdate\",\"s\":\"X\",\"b\":[[\"1\",\"2\"]],\"a\":[]}", "X b1=2", true },
		{ "{\"type\":\"ticker\",\"product_id\":\"A\"}", "", true },
		{ "{\"type\":\"l2update\",\"product_id\":\"A\",\"changes\":[[\"hold\",\"1\",\"0\"]]}", "A", false },
		{ "{\"e\":\"depthUpdate\",\"s\":\"X\",\"b\":[[1,2]]}", "X", false },
		{ "[1]", "", false },
		{ "{", "", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		*told = 0;
		bool good = !recorded_read(cases[i].json, strlen(cases[i].json), &reader);
		cr_expect_eq(good, cases[i].good, "%s", cases[i].json);
		cr_expect_str_eq(told, cases[i].told);
	}
}

static void try_recording(const char *path, unsigned books, uint64_t changes_min)
{
	static struct market market;
	if (access(path, R_OK))
		cr_skip_test("there is no %s", path);
	cr_assert_eq(market_read(&market, path), 0);
	cr_assert_geq(market.book_count, books);
	cr_assert_geq(market.recorded_count, changes_min);
	for (uint64_t i = 0; i < market.recorded_count; i++) {
		struct market_change change;
		market_next(&market, &change);
	}
	for (unsigned i = 0; i < market.book_count; i++)
		check_order(&market.books[i]);
	market_close(&market);
}

Test(book, recording_of_coinbase)
{
	try_recording("../shared/data/market/coinbase.tsv", 10, 9719);
}

Test(book, recording_of_binance)
{
	try_recording("../shared/data/market/binance.tsv", 5, 5000);
}

/* ------------------------------------------------------------------------------------------------------ a reader -- */

static void make_message(struct keyed_message *message, const struct market_change *change, const struct book *book,
                         uint64_t sequence, char text[PAYLOAD_MAX])
{
	struct payload payload = { .number = sequence, .checksum = book_checksum(book) };
	strcpy(payload.quantity, change->quantity);
	*message = (struct keyed_message){ .sequence = sequence, .epoch = 1, .previous = sequence - 1 };
	message->key_size = book_key(change->side, change->price, message->key);
	message->removed = !strcmp(change->quantity, "0");
	message->payload_size = payload_write(&payload, text);
	message->payload = text;
}

/* A reader that gets everything checks everything; one from whom the server hides an update, and numbers on as if there
 * had been none, finds it by the publisher's count and by the checksum. */
Test(book, reader)
{
	static struct market market;
	struct book_reader good = { 0 }, robbed = { 0 };
	uint64_t sequence = 0, hidden = 0;
	market_open(&market, seed_of("reader"), 1);
	for (unsigned n = 0; n < 5000; n++) {
		struct market_change change;
		struct keyed_message message;
		char text[PAYLOAD_MAX];
		market_next(&market, &change);
		make_message(&message, &change, &market.books[0], ++sequence, text);
		cr_assert(book_reader_take(&good, &message));
		if (n == 4000) {
			hidden++;
			continue;
		}
		message.sequence -= hidden;
		message.previous -= hidden;
		cr_assert(book_reader_take(&robbed, &message));
	}
	cr_assert(good.checks == 5000 && !good.wrong && !good.silent && !good.follow.gaps);
	cr_assert_eq(robbed.silent, 1);
	cr_assert_eq(robbed.follow.gaps, 0);
	book_reader_free(&good);
	book_reader_free(&robbed);
	market_close(&market);
}
