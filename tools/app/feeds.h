/* SPDX-License-Identifier: MIT
 *
 * feeds.h - following topics of the log: by name, by pattern, from its state or from a number on. It knows no message
 * that a client sends (feeds_messages.h), nor what is published (updates.h).
 */
#ifndef APP_FEEDS_H
#define APP_FEEDS_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ringcast.h"

struct app;
struct app_client;

struct app_feed {
	struct app_feed *next;
	bool pulled;           /* read from the log batch by batch, and not followed by a cursor: */
	uint64_t epoch, since; /* what it has had */
	bool chosen;           /* it was asked for by its name, not only by a pattern */
	bool state, owes;      /* of a pulled one: it asked for the state, and is to get it first */
	bool room;
	struct app_stake *stake; /* of its address, when no message had come; or null */
	unsigned told;           /* the last subscribe whose answer has it */
	size_t size;
	char name[];
};

/* Who waits for topics that have not begun. */
struct app_watches {
	pthread_mutex_t lock;
	struct app_watch *first;
	_Atomic unsigned count;
};

struct app_feed *app_feeds_find(const struct app_client *client, const char *name, size_t size);

/* Begins to follow a topic: through a cursor of its own, or batch by batch. *start as in rc_subscribe(). Returns 0,
 * -EEXIST, -ENOSPC, -ENOMEM or what rc_subscribe() does. */
int app_feeds_follow(struct app_client *client, const char *name, size_t size, bool room, struct rc_start *start);
void app_feeds_unfollow(struct app_client *client, const char *name, size_t size);

/* Has the request that waits for a client (client->polled) woken by what the client follows, behind what it has read.
 */
void app_feeds_await(struct app_client *client);

/* Whether what it is given first is the state, after app_feeds_follow() with this *start. */
bool app_feeds_begins_with_state(const struct rc_start *start);

/* Follows every topic that matches: `follow` is called for those that are there, and returns what app_feeds_follow()
 * does; later ones begin with their first message; of *start
 * conflate, state, snapshot and rate count for them. Returns 0, -ENOSPC, -ENOMEM. */
int app_feeds_subscribe_pattern(struct app_client *client, const char *pattern, size_t size,
                                const struct rc_start *start,
                                int (*follow)(void *context, const char *name, size_t size), void *context);

/* Gives up a name or a pattern: what nothing else asks for is no longer followed. */
void app_feeds_drop(struct app_client *client, const char *name, size_t size);
/* Gives up the first pattern, or else the first feed, of which `why_not` says something, and copies its name, of at
 * most APP_FEED_NAME_MAX bytes. False: there is none. */
bool app_feeds_drop_one(struct app_client *client,
                        const char *(*why_not)(const struct app_client *client, const char *name, size_t size),
                        char *name);
void app_feeds_leave_all(struct app_client *client);

/* A topic has had its first message: those whose patterns reach it follow it from there. Any thread. */
void app_feeds_begun(struct app *app, const char *topic, size_t size);

#endif
