/* SPDX-License-Identifier: MIT
 *
 * feeds.c - see feeds.h.
 *
 * The log knows no patterns: a client that has one follows each topic that matches it. Topics that are there are looked
 * up when the pattern comes. A later topic shows itself by its first message, whose number is 1. It is then followed
 * from its beginning, so that nothing of it is missed however late the letter comes.
 */
#include "feeds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "letters.h"
#include "lib/log.h"
#include "names.h"
#include "ringcast_stats.h"

struct app_watch {
	struct app_watch *next;
	rc_conn conn;
	struct rc_start start; /* of the topics to come */
	size_t size;
	char pattern[];
};

/* ---- following ---- */

struct app_feed *app_feeds_find(const struct app_client *client, const char *name, size_t size)
{
	struct app_feed *feed = client->feeds;
	while (feed && (feed->size != size || memcmp(feed->name, name, size) != 0))
		feed = feed->next;
	return feed;
}

bool app_feeds_begins_with_state(const struct rc_start *start)
{
	/* What is resumed goes on right behind it, or else the state comes. */
	return (start->state || start->snapshot) && !start->resumed && (!start->resume || start->lost);
}

/* Sets where a feed begins that is read in batches, by the rules of struct rc_start. */
static void begin_pulled(struct app_client *client, struct app_feed *feed, struct rc_start *start)
{
	struct rc_topic_stats stats = { 0 };
	rc_topic_stats(client->app->server, feed->name, feed->size, &stats);
	feed->pulled = true;
	feed->epoch = stats.epoch;
	feed->since = stats.sequence;
	if (start && start->resume && (start->since < stats.sequence || stats.elsewhere))
		feed->since = start->since;
	else if (start && start->last && stats.sequence)
		feed->since = stats.sequence - 1;
	if (!start)
		return;
	start->lost = start->resume && stats.lost > feed->since ? stats.lost : 0;
	start->first = (stats.lost > feed->since ? stats.lost : feed->since) + 1;
	feed->state = start->state || start->snapshot;
	feed->owes = app_feeds_begins_with_state(start);
	if (feed->owes)
		start->first = stats.sequence + 1;
}

/* A topic in which there never was a message is there only because of those who follow it. (A room's members have their
 * stakes.) */
static bool may_keep(struct app_client *client, struct app_feed *feed)
{
	struct app *app = client->app;
	struct rc_topic_stats stats = { 0 };
	bool there = !rc_topic_stats(app->server, feed->name, feed->size, &stats);
	if (feed->room || (there && stats.sequence))
		return true;
	pthread_mutex_lock(&app->directory.lock);
	feed->stake = app_stake_take(app, client->address, feed->name, feed->size, !there);
	pthread_mutex_unlock(&app->directory.lock);
	return feed->stake;
}

static void free_feed(struct app_client *client, struct app_feed *feed)
{
	struct app *app = client->app;
	if (feed->stake) {
		pthread_mutex_lock(&app->directory.lock);
		app_stake_give(app, feed->stake);
		pthread_mutex_unlock(&app->directory.lock);
	}
	free(feed);
}

/* What goes wrong with it costs time alone: the next request finds what this one was not woken by. */
static void await(struct app_client *client, const struct app_feed *feed)
{
	struct rc_start start = { .resume = true, .since = feed->since, .epoch = feed->epoch };
	if (feed->pulled)
		rc_subscribe(client->app->server, client->polled, feed->name, feed->size, &start);
}

void app_feeds_await(struct app_client *client)
{
	for (const struct app_feed *feed = client->feeds; feed; feed = feed->next)
		await(client, feed);
}

int app_feeds_follow(struct app_client *client, const char *name, size_t size, bool room, struct rc_start *start)
{
	if (app_feeds_find(client, name, size))
		return -EEXIST;
	if (client->feed_count >= app_settings_now(client->app)->subscriptions_max)
		return -ENOSPC;
	struct app_feed *feed = calloc(1, sizeof *feed + size + 1);
	if (!feed)
		return -ENOMEM;
	*feed = (struct app_feed){ .next = client->feeds, .room = room, .size = size };
	memcpy(feed->name, name, size);
	int code = 0;
	if (!may_keep(client, feed))
		code = -ENOSPC;
	else if (client->batch_count)
		begin_pulled(client, feed, start);
	else
		code = rc_subscribe(client->app->server, client->conn, name, size, start);
	if (code) {
		free_feed(client, feed);
		return code;
	}
	client->feeds = feed;
	client->feed_count++;
	if (client->polled)
		await(client, feed);
	return 0;
}

void app_feeds_unfollow(struct app_client *client, const char *name, size_t size)
{
	for (struct app_feed **link = &client->feeds; *link; link = &(*link)->next) {
		struct app_feed *feed = *link;
		if (feed->size != size || memcmp(feed->name, name, size) != 0)
			continue;
		if (!feed->pulled && !client->closing)
			rc_unsubscribe(client->app->server, client->conn, name, size);
		*link = feed->next;
		client->feed_count--;
		free_feed(client, feed);
		return;
	}
}

/* ---- patterns ---- */

static bool watch(struct app_client *client, const char *pattern, size_t size, const struct rc_start *start)
{
	struct app *app = client->app;
	struct app_watch *made = malloc(sizeof *made + size);
	char *copy = strndup(pattern, size);
	if (!made || !copy) {
		free(made);
		free(copy);
		return false;
	}
	*made = (struct app_watch){ .conn = client->conn, .start = *start, .size = size };
	memcpy(made->pattern, pattern, size);
	client->patterns[client->pattern_count++] = copy;
	pthread_mutex_lock(&app->watches.lock);
	made->next = app->watches.first;
	app->watches.first = made;
	atomic_fetch_add(&app->watches.count, 1);
	pthread_mutex_unlock(&app->watches.lock);
	return true;
}

static void unwatch(struct app_client *client, unsigned index)
{
	struct app *app = client->app;
	char *pattern = client->patterns[index];
	size_t size = strlen(pattern);
	pthread_mutex_lock(&app->watches.lock);
	for (struct app_watch **link = &app->watches.first; *link; link = &(*link)->next) {
		struct app_watch *found = *link;
		if (found->conn != client->conn || found->size != size || memcmp(found->pattern, pattern, size) != 0)
			continue;
		*link = found->next;
		free(found);
		atomic_fetch_sub(&app->watches.count, 1);
		break;
	}
	pthread_mutex_unlock(&app->watches.lock);
	client->patterns[index] = client->patterns[--client->pattern_count];
	free(pattern);
}

static int find_pattern(const struct app_client *client, const char *pattern)
{
	for (unsigned i = 0; i < client->pattern_count; i++)
		if (strcmp(client->patterns[i], pattern) == 0)
			return (int)i;
	return -1;
}

static bool is_watched(const struct app_client *client, const char *name, size_t size)
{
	for (unsigned i = 0; i < client->pattern_count; i++)
		if (app_name_matches(client->patterns[i], strlen(client->patterns[i]), name, size))
			return true;
	return false;
}

/* What a later topic keeps of a subscription by pattern, as a letter's number. */
static uint64_t put_start(const struct rc_start *start)
{
	return (uint64_t)start->rate << 3 | (start->snapshot ? 4 : 0) | (start->state ? 2 : 0) |
	       (start->conflate ? 1 : 0);
}

static struct rc_start take_start(uint64_t number)
{
	return (struct rc_start){ .resume = true,
		                  .conflate = number & 1,
		                  .state = number & 2,
		                  .snapshot = number & 4,
		                  .rate = (unsigned)(number >> 3) };
}

/* A topic that one of the client's patterns was waiting for has begun. By now it may have given the pattern up. */
static void begin_topic(struct app_client *client, const struct app_letter *letter)
{
	struct rc_start start = take_start(letter->number);
	if (is_watched(client, letter->bytes, letter->size))
		app_feeds_follow(client, letter->bytes, letter->size, false, &start);
}

void app_feeds_begun(struct app *app, const char *topic, size_t size)
{
	if (!atomic_load(&app->watches.count))
		return;
	struct app_letter letter = { .bytes = topic, .size = size };
	pthread_mutex_lock(&app->watches.lock);
	for (const struct app_watch *each = app->watches.first; each; each = each->next) {
		letter.number = put_start(&each->start);
		if (app_name_reaches(each->pattern, each->size, topic, size) &&
		    app_letter_post(app, each->conn, begin_topic, &letter))
			log_say(LEVEL_ERROR, "pattern", NULL, "a subscriber of %.*s was not told of a new topic",
			        (int)each->size, each->pattern);
	}
	pthread_mutex_unlock(&app->watches.lock);
}

int app_feeds_subscribe_pattern(struct app_client *client, const char *pattern, size_t size,
                                const struct rc_start *start,
                                int (*follow)(void *context, const char *name, size_t size), void *context)
{
	struct rc_topic_stats *found;
	if (find_pattern(client, pattern) >= 0)
		return 0;
	if (client->pattern_count == APP_PATTERNS_MAX)
		return -ENOSPC;
	found = calloc(RC_TOPICS_LISTED_MAX, sizeof *found);
	/* First it waits for new topics, then it looks for old ones: one that begins in between is found twice. */
	if (!found || !watch(client, pattern, size, start)) {
		free(found);
		return -ENOMEM;
	}
	size_t count = rc_topics_match(client->app->server, pattern, size, found, RC_TOPICS_LISTED_MAX);
	int code = 0;
	for (size_t i = 0; i < count && i < RC_TOPICS_LISTED_MAX && (!code || code == -EEXIST); i++) {
		size_t name_size = strlen(found[i].name);
		if (app_name_reaches(pattern, size, found[i].name, name_size))
			code = follow(context, found[i].name, name_size);
	}
	free(found);
	return code == -EEXIST ? 0 : code;
}

void app_feeds_drop(struct app_client *client, const char *name, size_t size)
{
	int index = find_pattern(client, name);
	struct app_feed *feed = app_feeds_find(client, name, size);
	if (index >= 0)
		unwatch(client, (unsigned)index);
	if (feed && !feed->room)
		feed->chosen = false;
	for (struct app_feed *each = client->feeds, *next; each; each = next) {
		next = each->next;
		if (!each->room && !each->chosen && !is_watched(client, each->name, each->size))
			app_feeds_unfollow(client, each->name, each->size);
	}
}

bool app_feeds_drop_one(struct app_client *client,
                        const char *(*why_not)(const struct app_client *client, const char *name, size_t size),
                        char *name)
{
	const char *found = NULL;
	for (unsigned i = 0; i < client->pattern_count && !found; i++)
		if (why_not(client, client->patterns[i], strlen(client->patterns[i])))
			found = client->patterns[i];
	for (const struct app_feed *feed = client->feeds; feed && !found; feed = feed->next)
		if (!feed->room && why_not(client, feed->name, feed->size))
			found = feed->name;
	if (!found)
		return false;
	strcpy(name, found);
	app_feeds_drop(client, name, strlen(name));
	return true;
}

void app_feeds_leave_all(struct app_client *client)
{
	while (client->pattern_count)
		unwatch(client, 0);
	while (client->feeds)
		app_feeds_unfollow(client, client->feeds->name, client->feeds->size);
}
