/* SPDX-License-Identifier: MIT
 *
 * plain.h - feeds for clients without WebSocket: a stream of server-sent events, or one answer after another.
 *
 * Who asks is a client like any other, but one that cannot speak: it follows feeds through the same cursors. A poll is
 * told by its cursor that there is something, and then reads the log.
 */
#ifndef APP_PLAIN_H
#define APP_PLAIN_H

#include "ringcast.h"

struct app_client;

/* After it was let in: begins a stream or a wait; or answers at once, and then client->opened is false. Returns 0, or a
 * status to answer. */
int app_plain_begin(struct app_client *client, rc_request *request);
/* Reads what is new for a poll, and writes the answer into crew->out; out->failed: no memory. Returns how many messages
 * it has. */
size_t app_plain_page(struct app_client *client);
/* Its stream or its wait has begun. */
void app_plain_open(struct app_client *client);
/* What it waited for behind app_plain_open(), the backend's word, has come: it begins now, or is refused. */
void app_plain_go(struct app_client *client);
void app_plain_refuse(struct app_client *client, int status, const char *words);
/* Something has come in a topic that it waits for. */
void app_plain_ready(struct app_client *client);
/* It has waited for as long as it wanted. */
void app_plain_due(struct app_client *client);

#endif
