/* SPDX-License-Identifier: MIT
 *
 * book.c - see book.h. A side is a sorted array: most changes are near its front, and whoever reads it reads the front.
 */
#include "book.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define PLACES 10 /* decimals of the number by which prices are ordered */
#define WHOLE_MAX INT64_C(900000000)

/* Reads decimal text. Returns whether it is such a number, with *number in units of 10^-PLACES. */
static bool read_decimal(const char *text, int64_t *number)
{
	int64_t whole = 0;
	int places = 0;
	size_t size = strlen(text), at = 0;
	if (!size || size > BOOK_TEXT_MAX || *text == '.')
		return false;
	for (; text[at] >= '0' && text[at] <= '9'; at++) {
		whole = whole * 10 + (text[at] - '0');
		if (whole > WHOLE_MAX)
			return false;
	}
	if (text[at] == '.')
		at++;
	for (; text[at] >= '0' && text[at] <= '9' && places < PLACES; at++, places++)
		whole = whole * 10 + (text[at] - '0');
	if (text[at])
		return false;
	for (; places < PLACES; places++)
		whole *= 10;
	*number = whole;
	return true;
}

/* Quantities are not ordered, so they may be of any size that fits. */
static bool is_quantity(const char *text)
{
	size_t size = strlen(text), whole = strspn(text, "0123456789");
	if (!whole || size > BOOK_TEXT_MAX)
		return false;
	return !text[whole] || (text[whole] == '.' && !text[whole + 1 + strspn(text + whole + 1, "0123456789")]);
}

static bool is_zero(const char *quantity)
{
	return !quantity[strspn(quantity, "0.")];
}

/* Where a price stands in its side, or would. */
static unsigned find(const struct book_levels *levels, enum book_side side, int64_t price)
{
	unsigned low = 0, high = levels->count;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int64_t other = levels->items[middle].price;
		if (side == BOOK_ASK ? other < price : other > price)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const char *insert(struct book_levels *levels, unsigned at)
{
	if (levels->count == BOOK_LEVELS_MAX)
		return "a side of a book has at most 65536 levels";
	if (levels->count == levels->capacity) {
		unsigned capacity = levels->capacity ? levels->capacity * 2 : 64;
		struct book_level *items = realloc(levels->items, capacity * sizeof *items);
		if (!items)
			return "no memory";
		levels->items = items;
		levels->capacity = capacity;
	}
	memmove(levels->items + at + 1, levels->items + at, (levels->count - at) * sizeof *levels->items);
	levels->count++;
	return NULL;
}

const char *book_set(struct book *book, enum book_side side, const char *price, const char *quantity)
{
	struct book_levels *levels = &book->sides[side];
	int64_t number;
	if (!read_decimal(price, &number))
		return "a price is a decimal number below 900 million, with at most 10 places behind the point";
	if (*quantity && !is_quantity(quantity))
		return "a quantity is a decimal number of at most 24 bytes";
	unsigned at = find(levels, side, number);
	bool there = at < levels->count && levels->items[at].price == number;
	if (is_zero(quantity)) {
		if (!there)
			return NULL;
		levels->count--;
		memmove(levels->items + at, levels->items + at + 1, (levels->count - at) * sizeof *levels->items);
		return NULL;
	}
	const char *wrong = there ? NULL : insert(levels, at);
	if (wrong)
		return wrong;
	levels->items[at].price = number;
	strcpy(levels->items[at].price_text, price);
	strcpy(levels->items[at].quantity, quantity);
	return NULL;
}

void book_clear(struct book *book)
{
	book->sides[BOOK_BID].count = book->sides[BOOK_ASK].count = 0;
}

void book_free(struct book *book)
{
	free(book->sides[BOOK_BID].items);
	free(book->sides[BOOK_ASK].items);
	*book = (struct book){ 0 };
}

/* Appends a number's digits without the point and the zeros in front. */
static char *add_digits(char *to, const char *text)
{
	for (text += strspn(text, "0."); *text; text++) {
		if (*text != '.')
			*to++ = *text;
	}
	return to;
}

uint32_t book_checksum(const struct book *book)
{
	static const enum book_side order[] = { BOOK_ASK, BOOK_BID };
	char digits[2 * BOOK_DEPTH * 2 * BOOK_TEXT_MAX], *end = digits;
	for (int i = 0; i < 2; i++) {
		const struct book_levels *levels = &book->sides[order[i]];
		for (unsigned at = 0; at < levels->count && at < BOOK_DEPTH; at++) {
			end = add_digits(end, levels->items[at].price_text);
			end = add_digits(end, levels->items[at].quantity);
		}
	}
	return (uint32_t)crc32(0, (const Bytef *)digits, (uInt)(end - digits));
}

size_t book_key(enum book_side side, const char *price, char key[BOOK_KEY_MAX + 1])
{
	return (size_t)snprintf(key, BOOK_KEY_MAX + 1, "%s:%s", side == BOOK_BID ? "bid" : "ask", price);
}

const char *book_key_price(const char *key, enum book_side *side)
{
	bool bid = !strncmp(key, "bid:", 4);
	if (!bid && strncmp(key, "ask:", 4))
		return NULL;
	*side = bid ? BOOK_BID : BOOK_ASK;
	return key + 4;
}
