/* SPDX-License-Identifier: MIT
 *
 * stage.h - the server of a run of `ringcast book`: a process of its own, so that it can be killed as servers are
 * killed. What the readers' process must know of it lies in memory that both see.
 *
 * After a kill the next life publishes all levels again, in topics of new epochs, and the market goes on where it
 * stood.
 */
#ifndef BOOK_STAGE_H
#define BOOK_STAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "market.h"

/* How a book ended: what each of its readers has to have. */
struct stage_end {
	uint64_t epoch, sequence;
	uint32_t checksum;
};

/* In memory that both processes see. */
struct stage_board {
	_Atomic int port; /* of the first life, and then of all; 0: not yet */
	/* A life listens. Who connects while none does may be given its port by the system, and meet himself there. */
	_Atomic bool up;
	_Atomic uint64_t published; /* changes of the market, over all lives */
	_Atomic bool done;          /* all were published, and `ends` is right */
	_Atomic bool failed;        /* it said why */
	struct stage_end ends[MARKET_BOOKS_MAX];
};

struct stage {
	/* Set before the start. */
	struct market *market; /* untouched so far: each life goes through it from the beginning */
	uint64_t updates_max;
	double rate; /* changes a second; 0: as fast as the log takes them */
	size_t log_size;
	bool hostile;

	struct stage_board *board;
	pid_t process; /* 0: none runs */
};

/* Makes the board. Returns 0, or -1 after printing why. */
int stage_open(struct stage *stage);
/* Starts a life of the server. The caller must have no other thread. Returns 0, or -1 after printing why. */
int stage_start(struct stage *stage);
/* Ends it as kill -9 does, and waits until it is gone. */
void stage_kill(struct stage *stage);
void stage_close(struct stage *stage);

#endif
