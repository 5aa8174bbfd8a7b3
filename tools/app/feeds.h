/* SPDX-License-Identifier: MIT
 *
 * feeds.h - what the messages about feeds (feeds_messages.c) need of the feeds themselves (feeds.c).
 */
#ifndef APP_FEEDS_H
#define APP_FEEDS_H

#include "app.h"

bool app_feed_matches(const char *pattern, size_t pattern_size, const char *name, size_t size);

/* Follows every topic that matches: `follow` is called for those that are there, and returns what app_feeds_follow()
 * does; later ones begin with their first message. Returns 0, -ENOSPC, -ENOMEM. */
int app_feeds_subscribe_pattern(struct app_client *client, const char *pattern, size_t size, bool conflate,
                                int (*follow)(void *context, const char *name, size_t size), void *context);

/* Gives up a name or a pattern: what nothing else asks for is no longer followed. */
void app_feeds_drop(struct app_client *client, const char *name, size_t size);

#endif
