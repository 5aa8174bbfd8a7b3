/* SPDX-License-Identifier: MIT
 *
 * post.h - what a client says on its way to others: to a room, a user or everybody; kept or passing; to all of them or
 * without some. And what the sender is told of it. It must not know what a message says.
 */
#ifndef APP_POST_H
#define APP_POST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "out.h"
#include "passing.h"

struct app_client;
struct app_member;
struct app_room;

struct app_post {
	struct app_client *client;
	const json_t *id;      /* what the sender calls it, or null: then it is told nothing but errors */
	const json_t *exclude; /* users who do not get it, or null */
	bool passes;
	struct app_passing_key key; /* of what passes */
};

/* Reads `exclude` and `ephemeral`. False: the client has been told what is wrong. */
bool app_post_begin(struct app_post *post, struct app_client *client, const json_t *message, const json_t *id);

/* Writes a message of the dialect's own into the crew's head and tail: its type, who says it, where (null: no room),
 * the content, what the sender calls it, and when. */
void app_post_write(const struct app_post *post, const char *type, const struct app_room *room, const json_t *content);

/* Send `head` ID `tail`, where ID is the server's, or with a null tail the head alone. The client is told how it went.
 * app_post_to_all() has the sender's other devices and itself among those who get it, unless it passes. */
void app_post_to_room(const struct app_post *post, struct app_member *member, struct app_out *head,
                      const struct app_out *tail);
void app_post_to_user(const struct app_post *post, const char *name, size_t size, struct app_out *head,
                      const struct app_out *tail);
void app_post_to_all(const struct app_post *post, struct app_out *head, const struct app_out *tail);

#endif
