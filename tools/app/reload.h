/* SPDX-License-Identifier: MIT
 *
 * reload.h - settings, certificates and the log of accesses, read anew while clients stay. Each part says for itself
 * whether it was taken.
 */
#ifndef APP_RELOAD_H
#define APP_RELOAD_H

#include "app.h"

/* On the main thread. */
void app_reload(struct app *app, const struct subcommand *command, int argc, char **argv);

#endif
