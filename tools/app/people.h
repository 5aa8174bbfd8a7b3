/* SPDX-License-Identifier: MIT
 *
 * people.h - users and their devices: who arrives and leaves, and how a message gets to a user, also to one who is
 * away, and to everybody.
 */
#ifndef APP_PEOPLE_H
#define APP_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updates.h"

#define APP_BROADCAST_TOPIC "room/*" /* not a room's topic: those have a number here */

struct app;
struct app_client;

/* Makes a client one of a user's devices. False: the user has all it may have, or there is no memory. */
bool app_people_reserve(struct app *app, struct app_client *client, const char *name);
/* Lets a client that has no connection speak for a user, until app_people_leave(). False without memory. */
bool app_people_lend(struct app_client *client, const char *name);
/* From now on the client hears what is for its user; first it is sent what has waited. */
void app_people_arrive(struct app_client *client);
void app_people_leave(struct app_client *client);

/* Hands a message to a user's devices, or stores it, for account of `sender` (store.h). Returns how many devices; -1:
 * it was stored; -2: neither. On one node alone: see across.h. */
int app_people_deliver(struct app *app, const char *user, size_t user_size, const char *bytes, size_t size,
                       bool reliable, uint64_t sender);
struct app_directed;
/* Does so on this node: to its devices `now`, and else, or if none takes it, into the store if it is to `keep` it. */
int app_people_hand(struct app *app, const struct app_directed *directed, bool now, bool keep);
/* Closes a user's connections to this node, or, with its id, one. Returns how many. */
unsigned app_people_close(struct app *app, const char *name, size_t size, const char *id, const char *reason,
                          size_t reason_size);
/* For whose account a client's messages wait. */
uint64_t app_people_account(const struct app_client *client);
/* Publishes a message to everybody, as app_updates_publish_room() does. */
int64_t app_people_publish(struct app *app, const struct app_out *head, const struct app_out *tail, char *number);

#endif
