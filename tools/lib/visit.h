/* SPDX-License-Identifier: MIT
 *
 * visit.h - something done on every worker, one after the other. Afterwards no callback is running that began before,
 * so that what callbacks read can be freed when it has been replaced.
 */
#ifndef LIB_VISIT_H
#define LIB_VISIT_H

#include "ringcast.h"

/* Waits for each; so from a thread that is no worker. `fn` may be null. */
void visit_workers(rc_server *server, void (*fn)(void *context, unsigned worker), void *context);

#endif
