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

struct app;
struct app_client;

/* Makes a client one of a user's devices. False: the user has all it may have, or there is no memory. */
bool app_people_reserve(struct app *app, struct app_client *client, const char *name);
/* From now on the client hears what is for its user; first it is sent what has waited. */
void app_people_arrive(struct app_client *client);
void app_people_leave(struct app_client *client);

/* Hands a message to a user's devices, or stores it, for account of `sender` (store.h). Returns how many devices; -1:
 * it was stored; -2: neither. */
int app_people_deliver(struct app *app, const char *user, size_t user_size, const char *bytes, size_t size,
                       bool reliable, uint64_t sender);
/* Sends a message to everyone. `id` is what the sender called it, or null. */
void app_people_broadcast(struct app *app, const char *from, const json_t *content, const json_t *id);

/* Messages. */
void app_people_direct(struct app_client *client, const json_t *message, const json_t *id);

#endif
