/* SPDX-License-Identifier: MIT
 *
 * exposure.h - what the settings open to whom: whether a server may start with them, and a table for people. It reads
 * settings, and knows no running server.
 */
#ifndef APP_EXPOSURE_H
#define APP_EXPOSURE_H

#include "lib/local.h"
#include "settings.h"

/* The first listener that others reach and that would let in everybody, though nobody has said that it may; or -1.
 * Those from `api_first` on serve /api alone, and so ask for a key. */
int app_exposure_too_open(const struct app_settings *settings, const struct local_listeners *listeners,
                          unsigned api_first);
/* What to say of it. */
#define APP_EXPOSURE_WORDS                                                                                             \
	"would let in everybody who reaches this machine: name a key for tokens (token-key, token-secret-file), or "   \
	"say that it is meant so (open)"

/* Prints what is open to whom. */
void app_exposure_print(const struct app_settings *settings);

#endif
