/* SPDX-License-Identifier: MIT
 *
 * dialect.h - the messages of ringcast.json (DIALECT.md): from text to a type and its handler.
 */
#ifndef APP_DIALECT_H
#define APP_DIALECT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "ringcast.h"

struct app_client;

void app_dialect_receive(struct app_client *client, const struct rc_message *message);
/* The backend has answered: what the client said meanwhile is handled. */
void app_dialect_resume(struct app_client *client);

/* A message that the server says for a client, as if it had come from it; it is asked about and costs like that. */
void app_dialect_say(struct app_client *client, const json_t *message);
/* One from a client without a connection (client->answers), about which no backend is asked. */
void app_dialect_say_alone(struct app_client *client, const json_t *message);

#endif
