/* SPDX-License-Identifier: MIT
 *
 * payload.h - what an update of a book carries: {"q":"12.50","n":17,"c":974947235}. The quantity at the level that is
 * the key; the number of the update among those of its book, which the publisher counts; and the checksum of the whole
 * book behind it. The last two are what lets a reader prove its book without asking anybody.
 */
#ifndef BOOK_PAYLOAD_H
#define BOOK_PAYLOAD_H

#include "book.h"

#define PAYLOAD_MAX 96

struct payload {
	char quantity[BOOK_TEXT_MAX + 1]; /* "0": the level is removed */
	uint64_t number;
	uint32_t checksum;
};

size_t payload_write(const struct payload *payload, char out[PAYLOAD_MAX]);
/* Reads what payload_write() made. Returns whether it is such a text. */
bool payload_read(const char *text, size_t size, struct payload *payload);

#endif
