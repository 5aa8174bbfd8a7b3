/* SPDX-License-Identifier: MIT
 *
 * reliable.h - DATA and ACK, both ways: a client's DATA is handled once however often it comes; ours is sent again,
 * each time after twice as long, until its ACK comes or we give up. A client that acknowledges nothing is not closed;
 * it only gets no more.
 */
#ifndef APP_RELIABLE_H
#define APP_RELIABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"

struct app;
struct app_client;

/* A message that waits for its ACK. It goes back to the user's store if the client leaves without one. */
struct app_pending {
	struct app_pending *next;
	uint64_t number, sender;
	uint64_t at_ns, sent_ns, due_ns; /* at: when it came to be */
	unsigned tries;
	bool only; /* no other device has it */
	size_t data_size;
	char data[]; /* the value of "data" */
};

/* Messages. What DATA holds is handed to `handle` if it is a message itself, at the next depth: it has been counted
 * against the rate already. It is acknowledged, or refused with an error that has its id, and may come again then. */
void app_reliable_data(struct app_client *client, const json_t *message, const json_t *id,
                       void (*handle)(struct app_client *client, const json_t *message, unsigned depth),
                       unsigned depth);
/* Whether a record that was written for a DATA of this user is the first with its id. Any thread. */
bool app_reliable_is_new(struct app *app, const char *user, size_t size, const char *id, size_t id_size);
void app_reliable_heartbeat(struct app_client *client, const json_t *message, const json_t *id);
void app_reliable_reconnect(struct app_client *client, const json_t *message, const json_t *id);
void app_reliable_ack(struct app_client *client, const json_t *message, const json_t *id);

/* Sends a message as DATA, and again until it is acknowledged. What is more than may wait for a client's ACK stays in
 * client->waiting until there is room. Who did not ask for reliability is never made to wait: it then gets the message
 * as it is, and once. */
void app_reliable_send(struct app_client *client, const struct app_item *item);
/* Sends of client->waiting what there is room for. */
void app_reliable_refill(struct app_client *client);
/* Sends again what has waited for its ACK for long enough. */
void app_reliable_due(struct app_client *client, uint64_t now_ns);
/* What was not acknowledged goes back to its user's store. The caller holds the directory's lock. */
void app_reliable_return(struct app_client *client);

#endif
