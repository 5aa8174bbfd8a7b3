/* SPDX-License-Identifier: MIT
 *
 * dial.h - the client role's beginning: from a URL to a connection that has sent its request.
 */
#ifndef RC_DIAL_H
#define RC_DIAL_H

#include "bounds.h"

struct worker;
struct command;
struct dial;
struct rc_deflate_wish;

struct dialler {
	struct command *waiting, **waiting_end;
	struct dial *dials[RC_DIALS_MAX];
	unsigned free[RC_DIALS_MAX], free_count;
};

/* What our client role offers of permessage-deflate. */
extern const struct rc_deflate_wish rc_dial_wish;

void rc_dialler_open(struct dialler *dialler);

/* Begins connects that wait, as many as may be on their way. */
void rc_dial_more(struct worker *worker);

/* A connect has completed: a slot, or a negative errno. */
void rc_dial_done(struct worker *worker, unsigned index, int result);

/* Tells the application of each connect that has not completed that it never will. */
void rc_dial_close(struct worker *worker);

#endif
