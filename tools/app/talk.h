/* SPDX-License-Identifier: MIT
 *
 * talk.h - what clients say to a user or to everybody, and messages of types that are not the dialect's own: those of
 * --types, which go on exactly as they were sent, and `chat`, `message` and `system` in the shape that tutorials give
 * them.
 */
#ifndef APP_TALK_H
#define APP_TALK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct app_client;

/* Messages. */
void app_talk_direct(struct app_client *client, const json_t *message, const json_t *id);
void app_talk_broadcast(struct app_client *client, const json_t *message, const json_t *id);
void app_talk_own(struct app_client *client, const json_t *message, const json_t *id);

/* Null, or what app_talk_own() refuses a type with, which is none that the dialect handles otherwise. */
const char *app_talk_why_not(const struct app_client *client, const char *type, size_t size);
/* Whether a message would be taken, of a type that app_talk_own() handles: for who wants to be asked about it before.
 */
bool app_talk_is_taken(const struct app_client *client, const json_t *message);
/* What a message that says whom it is for costs. */
uint32_t app_talk_cost(const struct app_client *client, const json_t *message);

#endif
