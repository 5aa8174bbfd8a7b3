/* SPDX-License-Identifier: MIT
 *
 * passing.h - messages that pass: typing, cursors, marks of what was read. They are in no history, nobody who is away
 * gets them, and a reader that is behind gets the newest of each sender and type.
 *
 * They go through a topic of their own beside the room's, the user's or everybody's, where each sender and type is a
 * key, and every message is also the key's removal. So the log conflates them for whoever is behind, queues nothing for
 * anybody, and keeps nothing of them as a state. Such a topic is followed only once there is something in it: a room
 * where nothing passes costs what it did.
 */
#ifndef APP_PASSING_H
#define APP_PASSING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app;
struct app_client;
struct app_room;
struct app_out;

#define APP_PASSING_TYPES_MAX 32 /* of one connection: what the keys of the log are bounded by */

struct app_passing_key {
	uint64_t sender, type;
};

/* The key of what a client says with this type. False: it has said things of too many types. */
bool app_passing_key(struct app_client *client, const char *type, size_t size, struct app_passing_key *key);
/* The same for the application, in the name of `from`. */
struct app_passing_key app_passing_key_of(const struct app *app, const char *from, const char *type);

/* Publish a message to a room, to a user's devices, or to all; not to `sender`, which may be null. Return for how many
 * connections it is, or a negative errno. In app_passing_to_room() the sender is a member of the room. */
int64_t app_passing_to_room(struct app *app, struct app_room *room, const struct app_client *sender,
                            const struct app_passing_key *key, const struct app_out *message);
int64_t app_passing_to_room_named(struct app *app, const char *name, size_t size, const struct app_passing_key *key,
                                  const struct app_out *message);
int64_t app_passing_to_user(struct app *app, const char *name, size_t size, const struct app_client *sender,
                            const struct app_passing_key *key, const struct app_out *message);
int64_t app_passing_to_all(struct app *app, const struct app_client *sender, const struct app_passing_key *key,
                           const struct app_out *message);

bool app_passing_is_topic(const char *topic);
/* Reads what such a topic has behind `since` and up to `until` for a client that does not follow it message by message:
 * of each sender and type the newest alone, from the newest messages. Writes a line each, of which those that begin
 * with a zero do not count. Returns the number that was reached. */
uint64_t app_passing_read(const struct app_client *client, const char *topic, size_t size, uint64_t since,
                          uint64_t until, struct app_out *lines);
/* A client was overrun in such a topic, and will hear what is behind `until`: it is sent the newest before that. */
void app_passing_resume(struct app_client *client, const char *topic, uint64_t until);

/* A client has entered a room, is leaving it, or has become a user's device. */
void app_passing_enter(struct app_client *client, const struct app_room *room);
void app_passing_leave(struct app_client *client, const struct app_room *room);
void app_passing_arrive(struct app_client *client);

#endif
