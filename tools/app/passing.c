/* SPDX-License-Identifier: MIT
 *
 * passing.c - see passing.h. It must not know what a message says.
 *
 * Who follows: whoever is there when the first message comes is told by letter, and begins at the number that the topic
 * had then, so however late the letter is nothing is missed. Who comes later sees by the flag that there is a topic.
 * The flag is set, and the letters are posted, under the directory's lock, under which everybody comes.
 */
#define XXH_INLINE_ALL
#include "passing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "app.h"
#include "client.h"
#include "directory.h"
#include "feeds.h"
#include "letters.h"
#include "lib/log.h"
#include "names.h"
#include "ringcast_stats.h"
#include "wire.h"

#define USERS APP_PASSING "@"
#define EVERYBODY APP_PASSING "*" /* no room's topic: those have a number there */
#define KEYS_MAX 64               /* senders and types of one reading */
#define VISITS_MAX 1000u          /* messages that are looked at for them */

struct app_passing_types {
	unsigned count;
	uint64_t hashes[APP_PASSING_TYPES_MAX];
};

struct topic {
	size_t size;
	char name[RC_TOPIC_NAME_MAX + 1];
};

/* "room/12/NAME" has "room/~12/NAME" beside it. */
static struct topic topic_of_room(const struct app_room *room)
{
	struct topic topic;
	topic.size = (size_t)snprintf(topic.name, sizeof topic.name, APP_PASSING "%s", strchr(room->topic, '/') + 1);
	return topic;
}

static struct topic topic_of_user(const char *name, size_t size)
{
	struct topic topic;
	topic.size = (size_t)snprintf(topic.name, sizeof topic.name, USERS "%.*s", (int)size, name);
	return topic;
}

/* ---- keys ---- */

static uint64_t hash_of(const struct app *app, const char *text, size_t size)
{
	return XXH3_64bits_withSeed(text, size, app->directory.users.seed);
}

bool app_passing_key(struct app_client *client, const char *type, size_t size, struct app_passing_key *key)
{
	struct app_passing_types *types = client->passing_types;
	*key = (struct app_passing_key){ .sender = client->user->node.hash, .type = hash_of(client->app, type, size) };
	if (!types)
		types = client->passing_types = calloc(1, sizeof *types);
	if (!types)
		return false;
	for (unsigned i = 0; i < types->count; i++)
		if (types->hashes[i] == key->type)
			return true;
	if (types->count == APP_PASSING_TYPES_MAX)
		return false;
	types->hashes[types->count++] = key->type;
	return true;
}

struct app_passing_key app_passing_key_of(const struct app *app, const char *from, const char *type)
{
	return (struct app_passing_key){ .sender = hash_of(app, from, strlen(from)),
		                         .type = hash_of(app, type, strlen(type)) };
}

/* ---- who follows ---- */

/* Whether the client is still where this topic belongs to. */
static bool belongs(const struct app_client *client, const char *name, size_t size)
{
	if (!client->user)
		return false;
	if (strcmp(name, EVERYBODY) == 0)
		return true;
	if (strncmp(name, USERS, sizeof USERS - 1) == 0)
		return strcmp(name + sizeof USERS - 1, client->user->name) == 0;
	for (const struct app_member *member = client->members; member; member = member->next_room)
		if (member->placed && member->room->topic_size + 1 == size &&
		    strcmp(strchr(member->room->topic, '/') + 1, name + sizeof APP_PASSING - 1) == 0)
			return true;
	return false;
}

static void follow(struct app_client *client, const struct topic *topic, struct rc_start *start)
{
	int code = app_feeds_follow(client, topic->name, topic->size, true, start);
	if (code && code != -EEXIST)
		log_say(LEVEL_WARNING, "passing", client->id,
		        "does not get what passes in %s: it has too many subscriptions, or there is no memory",
		        topic->name);
}

static void open_begin(struct app_client *client, const struct app_letter *letter)
{
	struct topic topic = { .size = letter->size };
	struct rc_start start = { .resume = true, .since = letter->number };
	memcpy(topic.name, letter->bytes, letter->size + 1);
	if (belongs(client, topic.name, topic.size))
		follow(client, &topic, &start);
}

static struct app_letter letter_about(struct app *app, const struct topic *topic)
{
	struct rc_topic_stats stats = { 0 };
	rc_topic_stats(app->server, topic->name, topic->size, &stats);
	return (struct app_letter){ .number = stats.sequence, .bytes = topic->name, .size = topic->size };
}

static void tell(struct app *app, const struct app_client *client, const struct app_letter *letter)
{
	if (app_letter_post(app, client->conn, open_begin, letter))
		log_say(LEVEL_ERROR, "passing", client->id, "was not told of what passes in %s", letter->bytes);
}

/* (lock) */
static void begin_room(struct app *app, struct app_room *room, const struct topic *topic)
{
	if (room->passing)
		return;
	const struct app_letter letter = letter_about(app, topic);
	room->passing = true;
	for (const struct app_member *member = room->members; member; member = member->next)
		tell(app, member->client, &letter);
}

/* (lock) */
static void begin_user(struct app *app, struct app_user *user, const struct topic *topic)
{
	if (user->passing)
		return;
	const struct app_letter letter = letter_about(app, topic);
	user->passing = true;
	for (const struct app_client *device = user->devices; device; device = device->next_device)
		tell(app, device, &letter);
}

struct beginning {
	struct app *app;
	struct app_letter letter;
};

static void begin_one(void *context, struct app_node *node)
{
	const struct beginning *beginning = context;
	const struct app_user *user = (const struct app_user *)node;
	for (const struct app_client *device = user->devices; device; device = device->next_device)
		tell(beginning->app, device, &beginning->letter);
}

/* (lock) */
static void begin_all(struct app *app, const struct topic *topic)
{
	if (app->passing)
		return;
	struct beginning beginning = { .app = app, .letter = letter_about(app, topic) };
	app->passing = true;
	app_table_each(&app->directory.users, begin_one, &beginning);
}

void app_passing_enter(struct app_client *client, const struct app_room *room)
{
	if (!room->passing)
		return;
	const struct topic topic = topic_of_room(room);
	follow(client, &topic, NULL);
}

void app_passing_leave(struct app_client *client, const struct app_room *room)
{
	if (!room->passing)
		return;
	const struct topic topic = topic_of_room(room);
	app_feeds_unfollow(client, topic.name, topic.size);
}

void app_passing_arrive(struct app_client *client)
{
	const struct topic everybody = { sizeof EVERYBODY - 1, EVERYBODY };
	const struct topic own = topic_of_user(client->user->name, client->user->node.name_size);
	pthread_mutex_lock(&client->app->directory.lock);
	bool passing = client->user->passing;
	pthread_mutex_unlock(&client->app->directory.lock);
	if (passing)
		follow(client, &own, NULL);
	if (client->app->passing)
		follow(client, &everybody, NULL);
}

/* ---- publishing ---- */

static int64_t publish(struct app *app, const struct topic *topic, const struct app_client *sender,
                       const struct app_passing_key *key, const struct app_out *message, size_t count)
{
	struct rc_publication publication = { .data = message->bytes,
		                              .size = message->size,
		                              .flags = RC_PUBLISH_REMOVE,
		                              .except = sender ? sender->conn : 0,
		                              .key = key,
		                              .key_size = sizeof *key };
	if (message->failed)
		return -ENOMEM;
	int64_t code = count ? rc_publish_with(app->server, topic->name, topic->size, &publication) : 0;
	return code < 0 ? code : (int64_t)count;
}

int64_t app_passing_to_room(struct app *app, struct app_room *room, const struct app_client *sender,
                            const struct app_passing_key *key, const struct app_out *message)
{
	const struct topic topic = topic_of_room(room);
	size_t others = room->member_count - 1;
	if (others && !room->passing) {
		pthread_mutex_lock(&app->directory.lock);
		begin_room(app, room, &topic);
		pthread_mutex_unlock(&app->directory.lock);
	}
	return publish(app, &topic, sender, key, message, others);
}

int64_t app_passing_to_room_named(struct app *app, const char *name, size_t size, const struct app_passing_key *key,
                                  const struct app_out *message)
{
	struct topic topic;
	size_t count = 0;
	pthread_mutex_lock(&app->directory.lock);
	struct app_room *room = app_directory_room(&app->directory, name, size);
	if (room) {
		topic = topic_of_room(room);
		count = room->member_count;
		begin_room(app, room, &topic);
	}
	pthread_mutex_unlock(&app->directory.lock);
	return count ? publish(app, &topic, NULL, key, message, count) : 0;
}

int64_t app_passing_to_user(struct app *app, const char *name, size_t size, const struct app_client *sender,
                            const struct app_passing_key *key, const struct app_out *message)
{
	const struct topic topic = topic_of_user(name, size);
	size_t count = 0;
	pthread_mutex_lock(&app->directory.lock);
	struct app_user *user = app_directory_user(&app->directory, name, size, false);
	for (const struct app_client *device = user ? user->devices : NULL; device; device = device->next_device)
		count += device != sender;
	if (count)
		begin_user(app, user, &topic);
	pthread_mutex_unlock(&app->directory.lock);
	return publish(app, &topic, sender, key, message, count);
}

int64_t app_passing_to_all(struct app *app, const struct app_client *sender, const struct app_passing_key *key,
                           const struct app_out *message)
{
	const struct topic topic = { sizeof EVERYBODY - 1, EVERYBODY };
	size_t count = app->counters.open;
	if (!app->passing) {
		pthread_mutex_lock(&app->directory.lock);
		begin_all(app, &topic);
		pthread_mutex_unlock(&app->directory.lock);
	}
	return publish(app, &topic, sender, key, message, count - (count && sender));
}

/* ---- reading, where nobody follows ---- */

struct reading {
	const struct app_client *client;
	struct app_out *lines;
	uint64_t reached, until;
	unsigned count;
	struct app_passing_key keys[KEYS_MAX];
	size_t places[KEYS_MAX]; /* of the newest line of each */
};

/* Under the log's lock. */
static bool take(void *context, const struct rc_past *past)
{
	struct reading *reading = context;
	unsigned i = 0;
	while (i < reading->count && memcmp(&reading->keys[i], past->key, sizeof reading->keys[i]) != 0)
		i++;
	if (i == KEYS_MAX || past->sequence > reading->until || reading->lines->failed)
		return false;
	reading->reached = past->sequence;
	if (past->except == reading->client->conn)
		return true;
	if (i < reading->count)
		reading->lines->bytes[reading->places[i]] = 0;
	memcpy(&reading->keys[i], past->key, sizeof reading->keys[i]);
	reading->places[i] = reading->lines->size;
	reading->count += i == reading->count;
	app_out_line(reading->lines, past->data, past->size);
	return true;
}

uint64_t app_passing_read(const struct app_client *client, const char *topic, size_t size, uint64_t since,
                          uint64_t until, struct app_out *lines)
{
	struct reading reading = { .client = client, .lines = lines, .until = until };
	reading.reached = until > VISITS_MAX && since < until - VISITS_MAX ? until - VISITS_MAX : since;
	rc_topic_read(client->app->server, topic, size, reading.reached, VISITS_MAX, take, &reading);
	return reading.reached;
}

bool app_passing_is_topic(const char *topic)
{
	return strncmp(topic, APP_PASSING, sizeof APP_PASSING - 1) == 0;
}

void app_passing_resume(struct app_client *client, const char *topic, uint64_t until)
{
	struct app_out *lines = &client->crew->tail, *out = &client->crew->out;
	app_out_clear(lines);
	app_passing_read(client, topic, strlen(topic), 0, until, lines);
	for (size_t at = 0; at < lines->size;) {
		const char *line = lines->bytes + at;
		size_t size = (size_t)((const char *)memchr(line, '\n', lines->size - at) - line);
		app_out_clear(out);
		app_out_bytes(out, line, size);
		if (*line && !app_send_if_room(client, out))
			return;
		at += size + 1;
	}
}
