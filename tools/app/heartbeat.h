/* SPDX-License-Identifier: MIT
 *
 * heartbeat.h - heartbeats as messages, {"type":"ping"}, for clients that ask for them: pages do not see the Pings of
 * the protocol. How often they come follows from how long the answer took.
 */
#ifndef APP_HEARTBEAT_H
#define APP_HEARTBEAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct app_client;

#define APP_HEARTBEAT_WORDS "true, false, or a number of seconds from 1 to 300"

/* What a client said: true, false, or seconds. False: none of these. */
bool app_heartbeat_of_value(const json_t *value, unsigned *interval_ms);
bool app_heartbeat_of_text(const char *text, unsigned *interval_ms);

/* From now on a ping comes every so often; 0: no more. The caller sets the clock. */
void app_heartbeat_set(struct app_client *client, unsigned interval_ms);
/* Sends one. */
void app_heartbeat_due(struct app_client *client, uint64_t now_ns);

/* Messages: `pong`, and `hello`, which says what a client wishes. */
void app_heartbeat_pong(struct app_client *client, const json_t *message, const json_t *id);
void app_heartbeat_hello(struct app_client *client, const json_t *message, const json_t *id);

#endif
