/* SPDX-License-Identifier: MIT
 *
 * crowd.h - many readers of books over real sockets, each with a book that it proves, and some with manners that a
 * server has to stand: they stop reading, break off and resume, read a few bytes at a time, or ask for few updates a
 * second.
 *
 * One thread serves all of them. It must not know how the server comes to be: it is told a port.
 */
#ifndef BOOK_CROWD_H
#define BOOK_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#include "market.h"
#include "reader.h"
#include "socket.h"
#include "stage.h"

enum crowd_manner {
	CROWD_STEADY,
	CROWD_STALLS, /* stops reading for a while, again and again, with a small buffer */
	CROWD_BREAKS, /* drops the connection, and resumes from its position */
	CROWD_SLOW,   /* reads a few bytes at a time */
	CROWD_RATED,  /* asks for a few updates a second */
	CROWD_RUDE,   /* stalls, then drops what it did not read, in the middle of a message */
	CROWD_MANNERS,
};

struct crowd_reader {
	struct book_socket socket;
	struct book_reader reader;
	enum crowd_manner manner;
	unsigned book;
	bool json;       /* reads the JSON form; else the binary one */
	bool is_watched; /* by epoll: it reads as soon as it can */
	bool is_done;    /* its book is the publisher's, at the end */
	uint64_t act_ns; /* when it does what its manner is, or connects again */
};

struct crowd {
	/* Set before the start. */
	const struct market *market;
	const struct stage_board *board;
	unsigned reader_count;
	bool hostile;
	uint64_t seed;

	struct crowd_reader *readers;
	struct keyed_scratch scratch;
	int epoll;
	uint64_t random[4];
	/* For whoever tells them. */
	uint64_t connects, refused, closed; /* connections made; that failed; that the server closed by a Close */
	uint64_t stalls, breaks;
	unsigned done_count;
};

/* Makes the readers. Returns 0, or -1 after printing why. */
int crowd_open(struct crowd *crowd);
/* Serves all of them until clock_now() is `until_ns`. */
void crowd_turn(struct crowd *crowd, uint64_t until_ns);
void crowd_close(struct crowd *crowd);

/* Whether a reader's book is what the publisher says it must be at the end. */
bool crowd_is_right(const struct crowd *crowd, const struct crowd_reader *reader);

#endif
