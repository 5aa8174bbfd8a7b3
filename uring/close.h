/* SPDX-License-Identifier: MIT
 *
 * close.h - the one place that ends connections: it acts on what was noted (ending.h), after the event.
 */
#ifndef RC_CLOSE_H
#define RC_CLOSE_H

#include <stdint.h>

struct worker;

/* Acts on every note. handlers.close runs here, and what it notes is acted on too. A connect that became no
 * connection is told of by dial.c. */
void rc_close_noted(struct worker *worker);

/* After a completion: closes the slot of a connection that is ENDING and has nothing on its way any more. */
void rc_close_try_slot(struct worker *worker, uint32_t slot);

/* The ring has closed the slot: it is free. */
void rc_close_done(struct worker *worker, uint32_t slot);

#endif
