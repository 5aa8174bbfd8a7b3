/* SPDX-License-Identifier: MIT
 *
 * updates.h - what is published to feeds and rooms: messages that hold their own numbers. Any thread.
 *
 *      {"type":"update","topic":T,"key"?:K,"removed"?:true,"snapshot"?:true,"seq":N,"epoch":E,"prev":P,"data":D}
 *
 * P is the number of the topic's message before it.
 */
#ifndef APP_UPDATES_H
#define APP_UPDATES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"
#include "ringcast.h"

struct app;

#define APP_UPDATES_MAX 1024 /* that are published as one */

struct app_update {
	const char *topic;
	size_t topic_size;
	const char *key; /* null: it has none */
	size_t key_size;
	bool removed, snapshot;
	const json_t *data; /* null for null */
	/* out */
	int64_t sequence;
	uint64_t epoch;
};

/* Publishes all of them as one, or none. Returns 0, or what rc_publish_many() does. */
int app_updates_publish(struct app *app, struct app_update *updates, size_t count);

struct backplane_message;
#define APP_UPDATE_TAG 1 /* what travels is known to be JSON: a node of this command wrote it */

/* The topic's number before a message that came: what it stands at, or, of a topic that is not there yet, behind which
 * it begins; *begins: it has no message yet. */
uint64_t app_updates_previous(struct app *app, const struct backplane_message *message, bool *begins);

/* Several nodes: publishes what came of topics at the numbers that it has everywhere, and sets each one's result. What
 * travels is the update's data, so that any program can publish it: text that is no JSON counts as a text. The context
 * is the app. On the follower's thread. */
void app_updates_came(void *context, struct backplane_message *messages, size_t count);

/* Publishes one without a key. Returns its sequence, or a negative errno. */
int64_t app_updates_publish_data(struct app *app, const char *topic, size_t size, const json_t *data);

#define APP_NUMBER_SIZE 40

/* Publishes a message of a room: `head` "EPOCH-SEQ" `tail`, or with a null tail the head alone. Nothing goes to
 * `except`, if it is not 0. `number`, of APP_NUMBER_SIZE bytes or null, gets what
 * stands between the two, or would. Returns its sequence, or a negative
 * errno. */
int64_t app_updates_publish_room(struct app *app, const char *topic, size_t topic_size, const struct app_out *head,
                                 const struct app_out *tail, rc_conn except, char *number);

#endif
