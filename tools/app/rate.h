/* SPDX-License-Identifier: MIT
 *
 * rate.h - how much a client may say: each message has a cost in units, of which so many flow to it a second. What a
 * message costs is at least what it makes others do, so that no client makes more work by large or expensive messages
 * than by many small ones. The costs stand here alone (DIALECT.md shows them):
 *
 *      any message          1 for each KiB that it begins, taken before it is read
 *      one in a batch       1 more
 *      what it makes known  1 for each hundred who are told: a room, everybody, the devices of a user
 *      a topic, a pattern   1 for each 8 names of a subscribe, 10 for each pattern, which looks at all topics
 *      a state              1 for each name of a subscribe that begins with it
 *      auth                 5: a signature
 *      an answer            1 for each 16 KiB of history or of a page, taken afterwards
 */
#ifndef APP_RATE_H
#define APP_RATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app_client;

#define APP_COST_AUTH 5
#define APP_COST_PATTERN 10

static inline uint32_t app_cost_of_size(size_t size)
{
	return size <= 1024 ? 1 : (uint32_t)((size + 1023) / 1024);
}

static inline uint32_t app_cost_of_audience(size_t count)
{
	return (uint32_t)(count / 100);
}

static inline uint32_t app_cost_of_answer(size_t size)
{
	return (uint32_t)(size / (16 << 10));
}

/* Of what a subscribe names. */
uint32_t app_cost_of_subscribe(const json_t *message);

/* A client has come: it begins with what its user, or else its address, has left. And it goes. */
void app_rate_begin(struct app_client *client);
void app_rate_end(struct app_client *client);
/* It has shown that it is this user, and takes the user's claims next. `price` is what that cost: the user's to pay, so
 * that many who log in at one address do not use it up for each other. */
void app_rate_become(struct app_client *client, const char *user, uint32_t price);

/* Takes what a message of this size costs, before anybody reads it. False: it is not to be read; the client has been
 * told or closed. Who has yet to say who it is may send a few small messages. */
bool app_rate_admit(struct app_client *client, const json_t *id, size_t size);
/* The same; what is refused is refused by the id that stands near the beginning of its bytes. */
bool app_rate_admit_unread(struct app_client *client, const void *bytes, size_t size);
/* Takes units for work that is about to be done. False: it is not to be done; the client has been told or closed. */
bool app_rate_take(struct app_client *client, const json_t *id, uint32_t cost);
/* Takes units for work that has been done. */
void app_rate_drain(struct app_client *client, uint32_t cost);

#endif
