/* SPDX-License-Identifier: MIT
 *
 * apart.c - see apart.h. It must not know what a message says.
 *
 * Whoever is to get it is listed under the directory's lock, and each worker is posted its part of the list, once: the
 * lock is held for no longer than it takes to look, and no worker's mailbox fills.
 */
#include "apart.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "directory.h"
#include "lib/text.h"
#include "token.h"
#include "wire.h"

/* A worker's part. */
struct part {
	struct app *app;
	bool passes;
	size_t count, size;
	char *bytes;
	rc_conn conns[];
};

struct list {
	const struct app_apart *apart;
	const struct app_user *excluded[APP_EXCLUDE_MAX];
	unsigned excluded_count;
	rc_conn *conns;
	size_t count, capacity;
	bool failed;
};

bool app_apart_is_list(const json_t *exclude)
{
	size_t index;
	json_t *each;
	if (!exclude)
		return true;
	if (!json_is_array(exclude) || json_array_size(exclude) > APP_EXCLUDE_MAX)
		return false;
	json_array_foreach((json_t *)exclude, index, each)
	{
		size_t size = json_string_length(each);
		if (!json_is_string(each) || size > APP_SUBJECT_SIZE_MAX ||
		    !text_is_name(json_string_value(each), size))
			return false;
	}
	return true;
}

/* ---- who gets it (lock) ---- */

static void find_excluded(struct app *app, struct list *list)
{
	size_t index;
	json_t *each;
	json_array_foreach((json_t *)list->apart->exclude, index, each)
	{
		const struct app_user *user = app_directory_user(&app->directory, json_string_value(each),
		                                                 json_string_length(each), false);
		if (user)
			list->excluded[list->excluded_count++] = user;
	}
}

static void add(struct list *list, const struct app_client *client)
{
	if (client == list->apart->sender || client->conn == list->apart->except)
		return;
	for (unsigned i = 0; i < list->excluded_count; i++)
		if (client->user == list->excluded[i])
			return;
	if (list->count == list->capacity) {
		size_t capacity = list->capacity * 2 + 64;
		rc_conn *conns = realloc(list->conns, capacity * sizeof *conns);
		if (!conns) {
			list->failed = true;
			return;
		}
		list->conns = conns;
		list->capacity = capacity;
	}
	list->conns[list->count++] = client->conn;
}

static void add_devices(void *context, struct app_node *node)
{
	const struct app_user *user = (const struct app_user *)node;
	for (const struct app_client *device = user->devices; device; device = device->next_device)
		add(context, device);
}

/* ---- handing over ---- */

static void deliver(void *argument)
{
	struct part *part = argument;
	for (size_t i = 0; i < part->count; i++) {
		struct app_crew *crew = &part->app->crews[rc_conn_worker(part->conns[i])];
		struct app_client *client = app_crew_find(crew, part->conns[i]);
		if (!client || !client->opened || client->closing)
			continue;
		app_out_clear(&crew->out);
		app_out_bytes(&crew->out, part->bytes, part->size);
		if (part->passes)
			app_send_if_room(client, &crew->out);
		else
			app_send(client, &crew->out);
	}
	free(part->bytes);
	free(part);
}

static bool post_part(struct app *app, const struct list *list, unsigned worker)
{
	const struct app_out *message = list->apart->message;
	size_t count = 0;
	for (size_t i = 0; i < list->count; i++)
		count += rc_conn_worker(list->conns[i]) == worker;
	if (!count)
		return true;
	struct part *part = malloc(sizeof *part + count * sizeof *part->conns);
	char *bytes = malloc(message->size);
	if (part && bytes) {
		*part =
		    (struct part){ .app = app, .passes = list->apart->passes, .size = message->size, .bytes = bytes };
		memcpy(bytes, message->bytes, message->size);
		for (size_t i = 0; i < list->count; i++)
			if (rc_conn_worker(list->conns[i]) == worker)
				part->conns[part->count++] = list->conns[i];
		if (rc_post(app->server, worker, deliver, part) == 0)
			return true;
	}
	free(bytes);
	free(part);
	return false;
}

static int64_t hand_over(struct app *app, struct list *list)
{
	bool all = !list->failed && !list->apart->message->failed;
	for (unsigned worker = 0; worker < app->crew_count && all; worker++)
		all = post_part(app, list, worker);
	free(list->conns);
	return all ? (int64_t)list->count : -EAGAIN;
}

int64_t app_apart_to_room(struct app *app, const char *name, size_t size, const struct app_apart *apart)
{
	struct list list = { .apart = apart };
	pthread_mutex_lock(&app->directory.lock);
	const struct app_room *room = app_directory_room(&app->directory, name, size);
	find_excluded(app, &list);
	for (const struct app_member *member = room ? room->members : NULL; member; member = member->next)
		add(&list, member->client);
	pthread_mutex_unlock(&app->directory.lock);
	return hand_over(app, &list);
}

int64_t app_apart_to_all(struct app *app, const struct app_apart *apart)
{
	struct list list = { .apart = apart };
	pthread_mutex_lock(&app->directory.lock);
	find_excluded(app, &list);
	app_table_each(&app->directory.users, add_devices, &list);
	pthread_mutex_unlock(&app->directory.lock);
	return hand_over(app, &list);
}
