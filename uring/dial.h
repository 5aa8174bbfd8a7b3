/* SPDX-License-Identifier: MIT
 *
 * dial.h - the client role's beginning: from a URL to a connection that is open, and after its end to the next.
 *
 *      WAITS -> [ ASKS for the name -> WAITS ] -> CONNECTS -> BEGAN (it has a slot: handshake, open)
 *        ^                                           |           |
 *        +------------- PAUSES <---------------------+-----------+
 *
 * Given up by rc_close() it is OVER, once nothing of it is with the ring. That is told after the event, and then its
 * handle is stale.
 */
#ifndef RC_DIAL_H
#define RC_DIAL_H

#include "bounds.h"
#include "handshake.h"
#include "mailbox.h"
#include "names.h"
#include "wheel.h"

struct worker;
struct lookup;
struct rc_deflate_wish;
struct tag;

enum dial_state { DIAL_WAITS, DIAL_ASKS, DIAL_CONNECTS, DIAL_BEGAN, DIAL_PAUSES, DIAL_OVER };

struct dial {
	struct command command;     /* with which it comes to its worker */
	struct dial *next, **place; /* in a list of the dialler */
	uint32_t index;             /* of its handle */
	enum dial_state state;
	bool given_up; /* rc_close() was called */
	/* what was asked for */
	struct rc_url url;
	char *protocols, *headers; /* or null */
	struct rc_address source;  /* its family is 0: none */
	void *user;
	bool deflate;
	unsigned timeout_ms, again_ms, again_max_ms;
	/* this attempt */
	uint64_t until_ns; /* by then it must be open; 0: the attempt has not begun */
	uint64_t due_ns;   /* the timer's: an address's share of that, all of it, or the end of a pause */
	struct lookup *lookup;
	struct rc_address addresses[RC_ADDRESSES_MAX];
	unsigned address_count, address_at;
	unsigned failed_at; /* the address whose failure says most ... */
	int status;         /* ... and how it failed; 0: none did */
	/* all of them */
	uint64_t opened_ns; /* 0: this attempt has not opened */
	bool was_open;      /* ever */
	unsigned step_ms;   /* of the pause before */
};

struct dial_list {
	struct dial *first, **end;
};

struct dialler {
	struct dial_list waiting, over;
	unsigned on_their_way; /* names asked for, and connects */
	struct rc_wheel wheel;
	struct rc_wheel_link *links; /* one an index */
	uint32_t link_count;
	char why[384]; /* the words that are being told */
};

/* What our client role offers of permessage-deflate. */
extern const struct rc_deflate_wish rc_dial_wish;

void rc_dialler_open(struct worker *worker);

/* The function of a new dial's command. */
void rc_dial_begin(struct worker *worker, struct command *command);

void rc_dial_free(struct dial *dial); /* null is allowed */

/* Goes on with those that wait, as many as may be on their way, and tells of those that are over. */
void rc_dial_more(struct worker *worker);

/* Acts on the time-outs and pauses that have passed. What it finds of connections is noted. */
void rc_dial_timers(struct worker *worker);

/* When one of these two has something to do. */
uint64_t rc_dial_next_ns(const struct worker *worker);

/* A connect has completed: a slot, or a negative errno. */
void rc_dial_done(struct worker *worker, const struct tag *tag, int result);

/* The connection in the slot is open. */
void rc_dial_opened(struct worker *worker, uint32_t slot);

/* The connection in the slot has ended, and handlers.close is about to say so: fills in when the next attempt comes. If
 * none does, the handle is stale. */
void rc_dial_left(struct worker *worker, uint32_t slot, struct rc_closing *closing);

/* rc_close() on a handle: nothing is tried again. What is not open yet ends. Returns 0, or -ENOTCONN when it is over
 * already, or was open and is not to be opened again. */
int rc_dial_give_up(struct worker *worker, rc_conn conn);

/* Tells the application of each that is left that it is over. */
void rc_dial_close(struct worker *worker);

#endif
