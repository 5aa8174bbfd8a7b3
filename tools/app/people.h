/* SPDX-License-Identifier: MIT
 *
 * people.h - users and their devices: who arrives and leaves, direct messages, also to those who are away, and
 * broadcasts.
 */
#ifndef APP_PEOPLE_H
#define APP_PEOPLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define APP_BROADCAST_TOPIC "room/*" /* not a room's topic: those have a number here */

struct app;
struct app_client;

/* Makes a client one of a user's devices. False: the user has all it may have, or there is no memory. */
bool app_people_reserve(struct app *app, struct app_client *client, const char *name);
/* From now on the client hears what is for its user; first it is sent what has waited. */
void app_people_arrive(struct app_client *client);
void app_people_leave(struct app_client *client);

/* Hands a message to a user's devices, or stores it, for account of `sender` (store.h). Returns how many devices; -1:
 * it was stored; -2: neither; -3: the other nodes cannot be reached. */
int app_people_deliver(struct app *app, const char *user, size_t user_size, const char *bytes, size_t size,
                       bool reliable, uint64_t sender);
struct app_directed;
/* Does so on this node: to its devices `now`, and else, or if none takes it, into the store if it is to `keep` it. */
int app_people_hand(struct app *app, const struct app_directed *directed, bool now, bool keep);
/* Sends a message to everyone. `client` says it, or null: the application; `id` is what the sender called it, or null.
 * Returns 0, or a negative errno: the other nodes cannot be reached. */
int app_people_broadcast(struct app *app, struct app_client *client, const char *from, const json_t *content,
                         const json_t *id);

/* Closes a user's connections to this node, or, with its id, one. Returns how many. */
unsigned app_people_close(struct app *app, const char *name, size_t size, const char *id, const char *reason,
                          size_t reason_size);

/* Messages. */
void app_people_direct(struct app_client *client, const json_t *message, const json_t *id);

#endif
