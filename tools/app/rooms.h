/* SPDX-License-Identifier: MIT
 *
 * rooms.h - joining, leaving, talking. A room's members are those who follow its topic of the log.
 *
 * How a message to a room travels: it is published once, and every member is a cursor. The sender is left out by name
 * (rc_publication.except), so all others still share one plan. Sending a copy to each member instead would cost a copy,
 * a posting and a queue a member, and would leave nothing for `history` to read.
 */
#ifndef APP_ROOMS_H
#define APP_ROOMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app;
struct app_client;
struct app_member;
struct app_room;

/* Messages. */
void app_rooms_join(struct app_client *client, const json_t *message, const json_t *id);
void app_rooms_leave(struct app_client *client, const json_t *message, const json_t *id);
void app_rooms_message(struct app_client *client, const json_t *message, const json_t *id);
void app_rooms_partial(struct app_client *client, const json_t *message, const json_t *id);
void app_rooms_members(struct app_client *client, const json_t *message, const json_t *id);

/* The membership in the `room` of a message; null after telling what is wrong. */
struct app_member *app_rooms_need(struct app_client *client, const json_t *message, const json_t *id);
/* Null: the client is not in a room of this name. */
struct app_member *app_rooms_find(const struct app_client *client, const char *room, size_t size);
/* Behind which number of its topic a room's history begins, when the topic stands at `sequence` in this epoch. */
uint64_t app_rooms_begin(struct app *app, const struct app_room *room, uint64_t epoch, uint64_t sequence);
/* Puts a client that says one message, and has no connection, into a room in which somebody is. Nobody is told. False:
 * there is nobody, or it may not be there. */
bool app_rooms_visit(struct app_client *client, const char *name, size_t size);
/* Whether another of its user's devices is in the room. */
bool app_rooms_has_user(const struct app_client *client, const struct app_room *room);
void app_rooms_end_visits(struct app_client *client);
void app_rooms_leave_all(struct app_client *client);
/* Leaves those that the client's new claims do not allow. */
void app_rooms_recheck(struct app_client *client);

#endif
