/* SPDX-License-Identifier: MIT
 *
 * partials.h - a message to a room that comes in pieces, as an answer that is being written: it begins, grows and ends
 * under one id. Who joins meanwhile gets what there is of it; the history gets it whole.
 *
 *      {"type":"partial","part":"begin","id","room","content"?}    {..., "from","index":0,"content":SO_FAR,"timestamp"}
 *      {"type":"partial","part":"piece","id","room","content"}     {..., "from","index":N,"content":PIECE}
 *      {"type":"partial","part":"end","id","room","content"?}      {...,
 * "from","index":N,"content":ALL_OF_IT,"timestamp"}
 *
 * One that its sender leaves behind ends as far as it came, with "incomplete":true: when the sender leaves the room, or
 * says nothing more of it for partial-timeout. What is kept of such messages is bounded for each, for each connection
 * and address, and for all.
 */
#ifndef APP_PARTIALS_H
#define APP_PARTIALS_H

#include <jansson.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct app_client;
struct app_partial;
struct app_room;

#define APP_PARTIAL_SIZE_MAX (64u << 10)      /* of one */
#define APP_PARTIAL_PIECES_MAX 10000u         /* of one */
#define APP_PARTIALS_MAX 4u                   /* of a connection */
#define APP_PARTIALS_ROOM_MAX 16u             /* in a room */
#define APP_PARTIALS_SHARE ((size_t)1 << 20)  /* of what is kept, of an address */
#define APP_PARTIALS_TOTAL ((size_t)16 << 20) /* of all */
#define APP_PARTIAL_AGE_S 600u

struct app_partials {
	pthread_mutex_t lock; /* taken before the directory's and the log's */
	size_t size;
};

/* A message to a room in which the client is. */
void app_partials_message(struct app_client *client, struct app_room *room, const json_t *message, const json_t *id);

/* Follows the topic of a room, so that nothing of what is being said there is missed or comes twice: what there is so
 * far is written into crew->tail, for app_partials_tell(). Returns as app_feeds_follow(). */
int app_partials_follow(struct app_client *client, const struct app_room *room);
void app_partials_tell(struct app_client *client);

/* The client is about to leave a room: what it has not ended there ends. */
void app_partials_leave(struct app_client *client, struct app_room *room);
/* What it has said nothing more of for too long ends. */
void app_partials_due(struct app_client *client, uint64_t now_ns);

#endif
