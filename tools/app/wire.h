/* SPDX-License-Identifier: MIT
 *
 * wire.h - what is sent to a client, at once or gathered in a batch, and how its connection is ended. On the client's
 * own worker.
 */
#ifndef APP_WIRE_H
#define APP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"
#include "ringcast.h"

#define APP_BATCH_SIZE_MAX (256u << 10) /* a batch is sent when it has grown to this */
#define APP_HEARD_SIZE_MAX (1u << 20)   /* what waits for a client's next poll */

struct app_client;

/* Sends what is in *out: in a batch, where the client asked for that. A client that is closing, or polls, hears
 * nothing. A client that reads too slowly is closed. */
void app_send(struct app_client *client, struct app_out *out);
/* The same for a large answer that may be asked for again: false when too much waits for the client already. */
bool app_send_if_room(struct app_client *client, struct app_out *out);
/* Sends a message as it came. */
void app_send_back(struct app_client *client, const struct rc_message *message);
void app_close(struct app_client *client, uint16_t code, const char *reason);

/* Answers the request of a poll, which is over then; with words, as an error. */
void app_respond(struct app_client *client, int status, const char *body, size_t size);
void app_respond_error(struct app_client *client, int status, const char *words);
/* There is something for a client whose user polls. */
void app_wake(struct app_client *client);

/* Adds a message to the client's batch, and sends it when it is full. */
void app_batch_add(struct app_client *client, const char *bytes, size_t size);
/* Sends the batch as it is, unless it is empty. */
void app_batch_flush(struct app_client *client);

#endif
