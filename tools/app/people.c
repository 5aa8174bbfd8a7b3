/* SPDX-License-Identifier: MIT
 *
 * people.c - see people.h.
 *
 * Order: what was stored is taken while the lock is held, and sent by the arriving client's own worker before it does
 * anything else. What others hand it from then on is posted behind that.
 */
#include "people.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "date.h"
#include "directory.h"
#include "feeds.h"
#include "fields.h"
#include "letters.h"
#include "reliable.h"
#include "wire.h"

#define BROADCAST_TOPIC "room/*" /* not a room's topic: those have a number here */

bool app_people_reserve(struct app *app, struct app_client *client, const char *name)
{
	unsigned max = app_settings_now(app)->connections_per_user;
	struct app_directory *directory = &app->directory;
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = app_directory_user(directory, name, strlen(name), true);
	bool may = user && (!max || user->device_count < max);
	if (may) {
		if (user->known && !user->device_count)
			APP_COUNT(app, reconnections);
		user->known = true;
		user->device_count++;
		app_directory_settle(app, user);
		client->user = user;
	}
	pthread_mutex_unlock(&directory->lock);
	return may;
}

static void send_stored(struct app_client *client, const struct app_stored *stored)
{
	struct app_out *out = &client->crew->out;
	if (client->reliable || stored->number) {
		app_reliable_send(client, stored->number ? stored->number : atomic_fetch_add(&client->app->numbers, 1),
		                  stored->bytes, stored->size, true);
		return;
	}
	app_out_clear(out);
	app_out_bytes(out, stored->bytes, stored->size);
	app_send(client, out);
}

void app_people_arrive(struct app_client *client)
{
	struct app *app = client->app;
	struct app_user *user = client->user;
	struct app_store waiting;
	struct app_stored *stored;
	pthread_mutex_lock(&app->directory.lock);
	client->next_device = user->devices;
	user->devices = client;
	waiting = app_directory_take(app, user);
	pthread_mutex_unlock(&app->directory.lock);

	app_feeds_follow(client, BROADCAST_TOPIC, sizeof BROADCAST_TOPIC - 1, true, NULL);
	while (!client->closing && (stored = app_store_take(&waiting))) {
		send_stored(client, stored);
		free(stored);
	}
	if (!waiting.count)
		return;
	pthread_mutex_lock(&app->directory.lock);
	while ((stored = app_store_take(&waiting))) {
		app_directory_keep(app, user, stored->number, stored->bytes, stored->size);
		free(stored);
	}
	pthread_mutex_unlock(&app->directory.lock);
}

void app_people_leave(struct app_client *client)
{
	struct app *app = client->app;
	struct app_user *user = client->user;
	if (!user)
		return;
	pthread_mutex_lock(&app->directory.lock);
	for (struct app_client **link = &user->devices; *link; link = &(*link)->next_device) {
		if (*link == client) {
			*link = client->next_device;
			break;
		}
	}
	user->device_count--;
	app_reliable_return(client);
	app_directory_settle(app, user);
	client->user = NULL;
	pthread_mutex_unlock(&app->directory.lock);
}

static void open_text(struct app_client *client, const struct app_letter *letter)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_bytes(out, letter->bytes, letter->size);
	app_send(client, out);
}

static void open_reliable(struct app_client *client, const struct app_letter *letter)
{
	app_reliable_send(client, letter->number, letter->bytes, letter->size, true);
}

/* With the lock. Nothing here calls back: a send to a connection of this worker is only queued. */
static bool hand_over(struct app *app, const struct app_client *device, uint64_t number, const char *bytes, size_t size,
                      bool reliable)
{
	static const char slow[] = "reads too slowly";
	if (reliable || device->reliable)
		return app_letter_post(app, device->conn, open_reliable, number, bytes, size) == 0;
	if (device->by_letter)
		return app_letter_post(app, device->conn, open_text, 0, bytes, size) == 0;
	int code = rc_send(app->server, device->conn, RC_TEXT, bytes, size);
	if (code == -ENOBUFS)
		app_letter_close(app, device->conn, RC_CLOSE_POLICY, slow, sizeof slow - 1);
	if (code == 0)
		APP_COUNT(app, sent);
	return code == 0;
}

int app_people_deliver(struct app *app, const char *name, size_t name_size, const char *bytes, size_t size,
                       bool reliable, const struct app_client *except)
{
	struct app_directory *directory = &app->directory;
	uint64_t number = atomic_fetch_add(&app->numbers, 1);
	int devices = 0;
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = app_directory_user(directory, name, name_size, true);
	for (struct app_client *device = user ? user->devices : NULL; device; device = device->next_device)
		if (device != except)
			devices += hand_over(app, device, number, bytes, size, reliable);
	if (user && !devices && !(except && user->devices))
		devices = app_directory_keep(app, user, reliable ? number : 0, bytes, size) ? -1 : -2;
	if (user && !user->device_count)
		app_directory_settle(app, user);
	pthread_mutex_unlock(&directory->lock);
	return user ? devices : -2;
}

/* ---- messages ---- */

void app_people_direct(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_out *out = &client->crew->out;
	size_t size;
	const char *to = app_field_text(client, message, id, "to", APP_SUBJECT_SIZE_MAX, &size);
	const json_t *content = to ? app_field_content(client, message, id) : NULL;
	if (!content)
		return;
	app_out_clear(out);
	app_out_format(out,
	               "{\"type\":\"direct\",\"id\":\"%llx-%llx\",\"from\":", (unsigned long long)client->app->epoch,
	               (unsigned long long)atomic_fetch_add(&client->app->numbers, 1));
	app_out_string(out, client->user->name, client->user->node.name_size);
	app_out_text(out, ",\"content\":");
	app_out_value(out, content);
	app_out_ref(out, id);
	app_out_format(out, ",\"timestamp\":%llu}", (unsigned long long)app_date_ms());
	if (out->failed || app_people_deliver(client->app, to, size, out->bytes, out->size, false, NULL) == -2)
		app_send_error(client, id, "NOT_DELIVERED", "The user is away and the message cannot be stored");
}

void app_people_broadcast(struct app *app, const char *from, const json_t *content, const json_t *id)
{
	struct app_out head = { 0 }, tail = { 0 };
	app_out_text(&head, "{\"type\":\"broadcast\",\"id\":\"");
	app_out_text(&tail, "\",\"from\":");
	app_out_string(&tail, from, strlen(from));
	app_out_text(&tail, ",\"content\":");
	app_out_value(&tail, content);
	app_out_ref(&tail, id);
	app_out_format(&tail, ",\"timestamp\":%llu}", (unsigned long long)app_date_ms());
	app_feeds_publish_numbered(app, BROADCAST_TOPIC, sizeof BROADCAST_TOPIC - 1, &head, &tail, true, 0);
	app_out_free(&head);
	app_out_free(&tail);
}
