/* SPDX-License-Identifier: MIT
 *
 * forward.h - POST /api/publish on several nodes: updates go to the backplane instead of the log, and the request waits
 * until it has them and this node has delivered them. Then it is answered as on one node, with their numbers.
 */
#ifndef APP_FORWARD_H
#define APP_FORWARD_H

#include "updates.h"

struct app;

/* Hands updates over as one. The request of this connection is to wait when it returns 0. Otherwise it returns what
 * backplane_publish() does. */
int app_forward_updates(struct app *app, rc_conn conn, const struct app_update *updates, size_t count, bool single);

/* Tells the other nodes of updates that are published here already: of topics that are delivered at once. */
void app_forward_local(struct app *app, const struct app_update *updates, size_t count);

/* Such an error, or one that came later, as a status and in words. */
int app_forward_status(int code);
const char *app_forward_words(int code);

#endif
