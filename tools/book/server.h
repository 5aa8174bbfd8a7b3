/* SPDX-License-Identifier: MIT
 *
 * server.h - a server of books in this process: it answers what `ringcast serve` answers, and the page of the ladder,
 * and publishes a market's changes, each under the key of its level.
 */
#ifndef BOOK_SERVER_H
#define BOOK_SERVER_H

#include "market.h"
#include "ringcast.h"
#include "serve/routes.h"

#define SERVER_TOPIC "book." /* and the symbol */
#define SERVER_TOPIC_MAX (sizeof SERVER_TOPIC + MARKET_SYMBOL_MAX)

/* What was published of a book. */
struct server_book {
	rc_topic topic;
	uint64_t number; /* updates; the payload's own count */
	uint64_t epoch, sequence;
	uint32_t checksum; /* of the whole book behind the latest */
};

struct book_server {
	/* Set before the start. */
	const struct market *market;
	size_t log_size;
	bool conflating; /* every other of the first books conflates its slow readers by key; the others' begin anew */

	rc_server *server;
	struct serve_routes routes;
	struct rc_handlers answers; /* of the routes */
	char *names;                /* of the topics, as JSON, for the page */
	struct server_book books[MARKET_BOOKS_MAX];
};

/* Starts it. Returns the port, or -1 after printing why. */
int book_server_start(struct book_server *server, const char *address);
/* Publishes a change that the market's book has already. Waits where a worker is a whole log behind. Returns false
 * after printing why. */
bool book_server_publish(struct book_server *server, const struct market_change *change);
/* Publishes every level that the market's books have. Returns false after printing why. */
bool book_server_publish_all(struct book_server *server);
void book_server_end(struct book_server *server);

/* The name of a book's topic. Returns its size. */
size_t book_server_topic(const struct market *market, unsigned book, char topic[SERVER_TOPIC_MAX]);

#endif
