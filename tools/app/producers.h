/* SPDX-License-Identifier: MIT
 *
 * producers.h - what processes publish through shared memory, as updates of feeds: a record is the JSON value of
 * `data`, and what is around it is added here, as it is for POST /api/publish.
 */
#ifndef APP_PRODUCERS_H
#define APP_PRODUCERS_H

#include "ringcast.h"

struct app;
struct app_settings;

/* Lets producers in, if the settings have a place for them. Returns 0, or a negative errno with *error in words. */
int app_producers_listen(struct app *app, const struct app_settings *settings, struct rc_error *error);

#endif
