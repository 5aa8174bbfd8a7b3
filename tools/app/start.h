/* SPDX-License-Identifier: MIT
 *
 * start.h - settings to a running server; or, without one that anybody reaches, to what is wrong with them.
 */
#ifndef APP_START_H
#define APP_START_H

#include <stdbool.h>
#include <stdio.h>

#include "app.h"

/* Starts it. What there is to say of the listeners goes to `said`: it is true only once all workers have their rings.
 * Returns false after saying what is wrong, and where that is set. app_free() is owed in any case. */
bool app_start(struct app *app, const struct app_settings *settings, FILE *said);
void app_free(struct app *app);

/* Does all that a start does, but nobody can connect and nobody is disturbed: addresses are looked at only. While it
 * runs, it shows its server to `look`. Returns as app_start() does. Once in a process. */
bool app_check(const struct app_settings *settings, void (*look)(rc_server *server));

/* The configuration of the library that the settings stand for, without handlers. */
void app_start_config(const struct app_settings *settings, struct rc_config *config);

#endif
