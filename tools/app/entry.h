/* SPDX-License-Identifier: MIT
 *
 * entry.h - letting a client in whom the backend knows (hook-connect), and a stream or a poll whose topics it allows
 * (hook-subscribe). A WebSocket and a stream are open while it is asked, but nothing is said to them, and nothing that
 * they say is handled; who is refused is told why by the code and words of the Close, which browsers show their pages.
 *
 *      {"hook":"connect","user":null,"authenticated":false,"address":A,"path":P,"query":Q,"headers":{NAME:VALUE}}
 *      {"user":NAME,"permissions"?,"rooms"?,"topics"?,"expires"?,"keep"?}     in as this user
 *      {"user":null}                                                         in, and it may yet send `auth`
 *      {"allow":true}                                                        in as the USER of its path, or a guest
 */
#ifndef APP_ENTRY_H
#define APP_ENTRY_H

#include "ringcast.h"

struct app;
struct app_client;

/* For app_login_judge() and app_login_judge_plain(), where there is a hook-connect. */
int app_entry_ask(struct app *app, rc_request *request, struct app_client *client, const char *user);
/* A stream or a poll whose user is known: asks about its topics if there is a hook for that. Sets client->opened, or
 * the request has been answered and it returns 0, or the status to answer. */
int app_entry_ask_topics(struct app_client *client, rc_request *request);

/* A WebSocket whose user is known, or may yet be told: it is welcomed. */
void app_entry_begin(struct app_client *client);

#endif
