/* SPDX-License-Identifier: MIT
 *
 * clients.h - the callbacks of the library, and what is due for a client: where everything else is called from.
 */
#ifndef APP_CLIENTS_H
#define APP_CLIENTS_H

#include <stdint.h>

#include "ringcast.h"

struct app;
struct app_client;

struct rc_handlers app_clients_handlers(struct app *app);

/* Takes a client out of everything, and frees it: when its connection is closed, or it never had one. On its worker. */
void app_clients_end(struct app_client *client);

/* For app_clock_start(). */
void app_clients_due(struct app_client *client, uint64_t now_ns);

#endif
