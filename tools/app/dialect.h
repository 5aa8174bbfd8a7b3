/* SPDX-License-Identifier: MIT
 *
 * dialect.h - the messages of ringcast.json (DIALECT.md): from text to a type and its handler.
 */
#ifndef APP_DIALECT_H
#define APP_DIALECT_H

#include "ringcast.h"

struct app_client;

void app_dialect_receive(struct app_client *client, const struct rc_message *message);
/* The backend has answered: what the client said meanwhile is handled. */
void app_dialect_resume(struct app_client *client);

#endif
