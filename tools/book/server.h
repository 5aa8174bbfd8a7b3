/* SPDX-License-Identifier: MIT
 *
 * server.h - a server of books in this process: it answers what `ringcast serve` answers, and the page of the ladder.
 * It publishes nothing by itself: its owner does, through its publisher.
 */
#ifndef BOOK_SERVER_H
#define BOOK_SERVER_H

#include "publisher.h"
#include "serve/routes.h"

struct book_server {
	/* Set before the start. */
	const struct market *market;
	size_t log_size;
	bool conflating; /* every other of the first books conflates its slow readers by key; the others' begin anew */

	rc_server *server;
	struct serve_routes routes;
	struct admin admin;
	struct health health;
	struct service service;
	int (*answer)(void *context, rc_request *request); /* the routes' */
	struct book_publisher publisher;
};

/* Starts it. Returns the port, or -1 after printing why. */
int book_server_start(struct book_server *server, const char *address);
void book_server_end(struct book_server *server);

#endif
