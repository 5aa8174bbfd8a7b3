/* SPDX-License-Identifier: MIT
 *
 * pages.h - what pages and small programs send over plain HTTP, without a key of the API: what they measured. For
 * whoever may connect, with the bounds of whoever asks by plain HTTP.
 */
#ifndef APP_PAGES_H
#define APP_PAGES_H

#include "ringcast.h"

struct app;

/* The methods that a path takes; null: it is none of these. */
const char *app_pages_methods(const char *path);
/* Whether the body of such a request may come, as handlers.head says it; and its answer, as handlers.request does. */
int app_pages_head(struct app *app, rc_request *request);
int app_pages_answer(struct app *app, rc_request *request);

#endif
