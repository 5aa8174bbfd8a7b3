/* SPDX-License-Identifier: MIT
 *
 * login.h - who a client is: tokens in a request and in messages, and what happens when a token's time is over.
 */
#ifndef APP_LOGIN_H
#define APP_LOGIN_H

#include <jansson.h>
#include <stdint.h>

#include "ringcast.h"

struct app;
struct app_address;
struct app_client;

/* Both set client->opened when the client may come in. Otherwise the request has been answered and they return 0, or
 * they return the status that the library is to answer. */
int app_login_judge(struct app *app, rc_request *request, struct app_client *client);
int app_login_judge_plain(struct app *app, rc_request *request, struct app_client *client);

/* The message `auth`: another token, perhaps another user's. */
void app_login_auth(struct app_client *client, const json_t *message, const json_t *id);
/* Other settings hold: what they say of the client's rights counts from now on. */
void app_login_recheck(struct app_client *client);
/* The time to send a token is over, or that of the token. */
void app_login_due(struct app_client *client, uint64_t now_ns);

/* Whether somebody who asks from this address may say what he measured: with a token where one is needed. */
bool app_login_may_report(struct app *app, rc_request *request, const struct app_address *address);

#endif
