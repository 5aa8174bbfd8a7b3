/* SPDX-License-Identifier: MIT
 *
 * feeds_messages.h - the messages about feeds: subscribe, unsubscribe, history.
 */
#ifndef APP_FEEDS_MESSAGES_H
#define APP_FEEDS_MESSAGES_H

#include <jansson.h>

struct app_client;

void app_feeds_subscribe(struct app_client *client, const json_t *message, const json_t *id);
void app_feeds_unsubscribe(struct app_client *client, const json_t *message, const json_t *id);
void app_feeds_history(struct app_client *client, const json_t *message, const json_t *id);

/* The client's rights have changed: gives up what they no longer allow, and says so. */
void app_feeds_recheck(struct app_client *client);

#endif
