/* SPDX-License-Identifier: MIT
 *
 * publisher.h - publishes a market's changes into a server of this process: each under the key of its level, in the
 * topic of its book, with the checksum of the book behind it.
 */
#ifndef BOOK_PUBLISHER_H
#define BOOK_PUBLISHER_H

#include "market.h"
#include "ringcast.h"

#define BOOK_TOPIC "book." /* and the symbol */
#define BOOK_TOPIC_MAX (sizeof BOOK_TOPIC + MARKET_SYMBOL_MAX)

/* What was published of a book. */
struct book_published {
	rc_topic topic;
	uint64_t number; /* updates; the payload's own count */
	uint64_t epoch, sequence;
	uint32_t checksum; /* of the whole book behind the latest */
};

struct book_publisher {
	rc_server *server;
	const struct market *market;
	char *names; /* of the topics, as a JSON list */
	struct book_published books[MARKET_BOOKS_MAX];
};

/* The name of a book's topic. Returns its size. */
size_t book_topic(const struct market *market, unsigned book, char topic[BOOK_TOPIC_MAX]);

/* Opens the topics. Returns 0 or a negative errno. */
int book_publisher_open(struct book_publisher *publisher, rc_server *server, const struct market *market);
/* Publishes a change that the market's book has already. Waits where a worker is a whole log behind. Returns 0, or a
 * negative errno as rc_publish() does. */
int book_publish(struct book_publisher *publisher, const struct market_change *change);
/* Publishes every level that the market's books have. Returns likewise. */
int book_publish_all(struct book_publisher *publisher);
void book_publisher_close(struct book_publisher *publisher);

#endif
