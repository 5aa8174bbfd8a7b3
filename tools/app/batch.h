/* SPDX-License-Identifier: MIT
 *
 * batch.h - several messages in one, both ways. Towards a client that asked for it: what is its own is gathered
 * (wire.h), and what it follows is read from the log when its delay is over. A batch is the log read at another speed:
 * nothing is queued for it that the log has anyway.
 */
#ifndef APP_BATCH_H
#define APP_BATCH_H

#include <jansson.h>
#include <stdint.h>

struct app_client;

/* The message `batch`: each message in it is handed to `handle`, at depth 1. */
void app_batch_receive(struct app_client *client, const json_t *message, const json_t *id,
                       void (*handle)(struct app_client *client, const json_t *message, unsigned depth));
/* The message `batching`: from now on the client is sent batches, or no more. */
void app_batch_set(struct app_client *client, const json_t *message, const json_t *id);
/* Hands on what has come in what a client reads so, until that is `size_max` in client->answers; what was left out
 * comes first the next time. */
void app_batch_pull(struct app_client *client, size_t size_max);
/* Sends what has come since the last time. */
void app_batch_due(struct app_client *client, uint64_t now_ns);

#endif
