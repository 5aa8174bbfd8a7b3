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
struct app_claims;
struct app_client;

/* Asks somebody else who a client is whose token none of our keys signed; `user` is the one of the path, or null. Null:
 * nobody is asked. Returns as the two below do. */
typedef int app_login_ask(struct app *app, rc_request *request, struct app_client *client, const char *user);

/* Both set client->opened when the client may come in. Otherwise the request has been answered and they return 0, or
 * they return the status that the library is to answer. */
int app_login_judge(struct app *app, rc_request *request, struct app_client *client, app_login_ask *ask);
int app_login_judge_plain(struct app *app, rc_request *request, struct app_client *client, app_login_ask *ask);
/* From now on the client has these claims, which are its own to free. */
void app_login_take(struct app_client *client, struct app_claims *claims);
/* Null, or why a client that asks by plain HTTP may not have what it asks for. */
const char *app_login_why_not_these(const struct app_client *client);

/* The message `auth`: another token, perhaps another user's. */
void app_login_auth(struct app_client *client, const json_t *message, const json_t *id);
/* Other settings hold: what they say of the client's rights counts from now on. */
void app_login_recheck(struct app_client *client);
/* The time to send a token is over, or that of the token. */
void app_login_due(struct app_client *client, uint64_t now_ns);

/* Says for whom a client speaks that has no connection; `user` is the one of the path, or null. Then client->user is
 * set. Otherwise the request has been answered, or is to be answered with what is returned. */
int app_login_judge_speaker(struct app *app, rc_request *request, struct app_client *client, const char *user,
                            app_login_ask *ask);
/* Whether somebody who asks from this address may say what he measured: with a token where one is needed. */
bool app_login_may_report(struct app *app, rc_request *request, const struct app_address *address);

#endif
