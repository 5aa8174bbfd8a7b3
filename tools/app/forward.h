/* SPDX-License-Identifier: MIT
 *
 * forward.h - calls of /api on several nodes: what they say goes to the backplane, and the request waits until it has
 * that and this node has delivered it. Then it is answered as on one node. Of POST /api/publish these are updates, with
 * their numbers; of the others, records (span.h).
 */
#ifndef APP_FORWARD_H
#define APP_FORWARD_H

#include "out.h"
#include "updates.h"

struct app;

/* Hands updates over as one. The request of this connection is to wait when it returns 0. Otherwise it returns what
 * backplane_publish() does. */
int app_forward_updates(struct app *app, rc_conn conn, const struct app_update *updates, size_t count, bool single);

/* Tells the other nodes of updates that are published here already: of topics that are delivered at once. */
void app_forward_local(struct app *app, const struct app_update *updates, size_t count);

/* A request that waits for a record. Null without memory. On the worker of its connection, all three. */
struct app_forwarded;
struct app_forwarded *app_forward_begin(struct app *app, rc_conn conn);
/* For who writes the record, which then has it (app_said.done). */
struct backplane_number;
void app_forward_done(void *forwarded, int code, const struct backplane_number *numbers, size_t count);
/* The record is written: what is answered when the backplane has it, an object, as JSON. With `numbered`, its number is
 * added as `id`. The request is to wait. */
void app_forward_answer(struct app_forwarded *forwarded, const struct app_out *text, bool numbered);
/* It was not written. Null is allowed. */
void app_forward_cancel(struct app_forwarded *forwarded);

/* Such an error, or one that came later, as a status and in words. */
int app_forward_status(int code);
const char *app_forward_words(int code);

#endif
