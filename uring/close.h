/* SPDX-License-Identifier: MIT
 *
 * close.h - the one place that ends connections: it acts on what was noted (ending.h), after the event.
 */
#ifndef RC_CLOSE_H
#define RC_CLOSE_H

#include "worker.h"

/* Acts on every note. handlers.close runs here, and what it notes is acted on too. A connect that became no
 * connection is told of by dial.c. */
void rc_close_all_noted(struct worker *worker);

static inline void rc_close_noted(struct worker *worker)
{
	if (RC_UNLIKELY(worker->endings.count))
		rc_close_all_noted(worker);
}

/* Closes the slot of a connection that is ENDING, if it has nothing on its way any more. */
void rc_close_slot(struct worker *worker, uint32_t slot);

/* The same after a completion, of a connection in any state. */
static inline void rc_close_try_slot(struct worker *worker, uint32_t slot)
{
	if (RC_UNLIKELY(worker->connections[slot].state == CONNECTION_ENDING))
		rc_close_slot(worker, slot);
}

/* The ring has closed the slot: it is free. */
void rc_close_done(struct worker *worker, uint32_t slot);

#endif
