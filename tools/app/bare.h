/* SPDX-License-Identifier: MIT
 *
 * bare.h - clients that do not speak the dialect: /echo, where what comes goes back, and with --plain-chat a chat of
 * lines of text, as the first chapter of every tutorial has it. They have no user; what they say is counted by their
 * address.
 *
 *      Welcome to the chat, 127.0.0.1       to who comes
 *      127.0.0.1: hello                     to all others
 *      error: ...                           to who said what is not handed on
 */
#ifndef APP_BARE_H
#define APP_BARE_H

#include "ringcast.h"

struct app;
struct app_client;

enum app_bare { APP_BARE_NOT, APP_BARE_ECHO, APP_BARE_CHAT };

/* Lets a client in whose address has been counted; as handlers.request. */
int app_bare_judge(struct app *app, rc_request *request, struct app_client *client, enum app_bare bare);
void app_bare_open(struct app_client *client);
void app_bare_receive(struct app_client *client, const struct rc_message *message);

#endif
