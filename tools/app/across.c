/* SPDX-License-Identifier: MIT
 *
 * across.c - see across.h.
 */
#include "across.h"

#include <errno.h>
#include <string.h>

#include "app.h"
#include "client.h"

#define EVERYBODY "room/*"

/* ---- how it is written ---- */

static int64_t write_apart(const struct app_across *across, const struct app_channel *channel)
{
	struct app_out list = { 0 };
	app_out_value(&list, across->exclude);
	struct app_record record = { .flags = (across->passes ? APP_RECORD_PASSES : 0) |
		                              (across->others ? APP_RECORD_OTHERS : 0),
		                     .head = list.bytes,
		                     .head_size = list.size,
		                     .text = across->head->bytes,
		                     .text_size = across->head->size };
	int code = list.failed || across->head->failed
	               ? -ENOMEM
	               : app_span_say(&across->said, APP_RECORD_APART, channel->name, channel->size, &record);
	app_out_free(&list);
	return code;
}

static int64_t write_passing(const struct app_across *across, const struct app_channel *channel)
{
	struct app_record record = { .number = across->key.sender,
		                     .sender = across->key.type,
		                     .text = across->head->bytes,
		                     .text_size = across->head->size };
	if (across->head->failed)
		return -ENOMEM;
	return app_span_say(&across->said, APP_RECORD_PASS, channel->name, channel->size, &record);
}

static int64_t write_plain(const struct app_across *across, const struct app_channel *channel)
{
	const struct app_out *head = across->head, *tail = across->tail;
	struct app_record record = { .text = head->bytes, .text_size = head->size, .flags = APP_RECORD_WHOLE };
	if (tail)
		record = (struct app_record){
			.head = head->bytes, .head_size = head->size, .text = tail->bytes, .text_size = tail->size
		};
	if (head->failed || (tail && tail->failed))
		return -ENOMEM;
	return app_span_say(&across->said, APP_RECORD_SAY, channel->name, channel->size, &record);
}

/* ---- to whom ---- */

static size_t count_devices(struct app *app, const struct app_channel *channel)
{
	pthread_mutex_lock(&app->directory.lock);
	const struct app_group *group = app_replica_group(&app->span.replica, channel->name, channel->size);
	size_t count = group ? group->device_count : 0;
	pthread_mutex_unlock(&app->directory.lock);
	return count;
}

int64_t app_across_to_room(struct app_across *across, const char *room, size_t size)
{
	struct app *app = across->said.app;
	struct app_client *client = across->said.client;
	const struct app_channel channel = app_channel_of(APP_ROOM_CHANNEL, room, size);
	size_t count = count_devices(app, &channel);
	int64_t code;
	if (!count && !client)
		return 0; /* there is no such room */
	across->said.count = count - (client && count);
	if (across->exclude) {
		code = write_apart(across, &channel);
	} else if (across->passes) {
		const struct app_member *member = NULL;
		for (member = client ? client->members : NULL; member; member = member->next_room)
			if (member->room->topic_size == channel.size &&
			    memcmp(member->room->topic, channel.name, channel.size) == 0)
				break;
		if (member)
			app_passing_to_room(app, member->room, client, &across->key, across->head);
		else
			app_passing_to_room_named(app, room, size, &across->key, across->head);
		code = write_passing(across, &channel);
	} else {
		code = write_plain(across, &channel);
	}
	return code < 0 ? code : (int64_t)across->said.count;
}

int64_t app_across_to_all(struct app_across *across)
{
	struct app *app = across->said.app;
	const struct app_channel channel = app_channel_of("", EVERYBODY, sizeof EVERYBODY - 1);
	int64_t code;
	pthread_mutex_lock(&app->directory.lock);
	across->said.count = app->span.replica.device_count;
	pthread_mutex_unlock(&app->directory.lock);
	if (across->exclude) {
		code = write_apart(across, &channel);
	} else if (across->passes) {
		app_passing_to_all(app, across->said.client, &across->key, across->head);
		code = write_passing(across, &channel);
	} else {
		code = write_plain(across, &channel);
	}
	return code < 0 ? code : (int64_t)across->said.count;
}

int app_across_to_user(struct app_across *across, const char *user, size_t size, bool reliable, uint64_t sender)
{
	struct app *app = across->said.app;
	const struct app_channel channel = app_channel_of(APP_USER_CHANNEL, user, size);
	size_t count = count_devices(app, &channel);
	const struct app_directed directed = { .to = user,
		                               .to_size = size,
		                               .bytes = across->head->bytes,
		                               .size = across->head->size,
		                               .number = atomic_fetch_add(&app->numbers, 1),
		                               .sender = sender,
		                               .flags = reliable ? APP_RECORD_RELIABLE : 0 };
	across->said.count = count;
	if (across->passes) {
		app_passing_to_user(app, user, size, across->said.client, &across->key, across->head);
		across->said.status = "accepted";
		return write_passing(across, &channel) ? -3 : (int)count;
	}
	across->said.status = count ? "delivered" : "stored";
	if (across->head->failed || app_span_direct(&across->said, &directed))
		return -3;
	return count ? (int)count : -1;
}
