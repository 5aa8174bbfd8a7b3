/* SPDX-License-Identifier: MIT
 *
 * people.c - see people.h.
 *
 * Order: what was stored is taken while the lock is held, and sent by the arriving client's own worker before it does
 * anything else. What others hand it from then on is posted behind that. What a client has yet to acknowledge bounds
 * how much of it is sent; the rest waits (reliable.h).
 */
#include "people.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "directory.h"
#include "feeds.h"
#include "letters.h"
#include "lib/wait.h"
#include "passing.h"
#include "reliable.h"
#include "span.h"
#include "updates.h"
#include "wire.h"

bool app_people_reserve(struct app *app, struct app_client *client, const char *name)
{
	unsigned max = app_settings_now(app)->connections_per_user;
	struct app_directory *directory = &app->directory;
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = app_directory_user(directory, name, strlen(name), true);
	size_t elsewhere = app_spans(app) ? app_span_elsewhere(app, name, strlen(name)) : 0;
	bool may = user && (!max || user->device_count + elsewhere < max), returned = false;
	if (may) {
		returned = !user->device_count &&
		           app_returns_came(&app->returns, APP_RETURNING_USER, name, strlen(name), clock_now());
		user->device_count++;
		app_directory_settle(app, user);
		client->user = user;
	}
	pthread_mutex_unlock(&directory->lock);
	if (returned && !client->returned && client->opened)
		APP_COUNT(app, reconnections); /* else it is counted when it opens */
	client->returned |= returned;
	return may;
}

bool app_people_lend(struct app_client *client, const char *name)
{
	struct app *app = client->app;
	pthread_mutex_lock(&app->directory.lock);
	struct app_user *user = app_directory_user(&app->directory, name, strlen(name), true);
	if (user) {
		user->device_count++;
		app_directory_settle(app, user);
		client->user = user;
	}
	pthread_mutex_unlock(&app->directory.lock);
	return user;
}

void app_people_arrive(struct app_client *client)
{
	struct app *app = client->app;
	struct app_user *user = client->user;
	/* On several nodes it has arrived when its record has come back: what waits is then taken on all of them. */
	struct app_client **devices = app_spans(app) ? &user->arriving : &user->devices;
	pthread_mutex_lock(&app->directory.lock);
	client->next_device = *devices;
	*devices = client;
	if (!app_spans(app))
		client->waiting = app_directory_take(user);
	pthread_mutex_unlock(&app->directory.lock);
	app_feeds_follow(client, APP_BROADCAST_TOPIC, sizeof APP_BROADCAST_TOPIC - 1, true, NULL);
	app_passing_arrive(client);
	if (app_spans(app))
		app_span_arrive(client);
	else
		app_reliable_refill(client);
}

static bool unlink_device(struct app_client **link, const struct app_client *client)
{
	while (*link && *link != client)
		link = &(*link)->next_device;
	if (!*link)
		return false;
	*link = client->next_device;
	return true;
}

void app_people_leave(struct app_client *client)
{
	struct app *app = client->app;
	struct app_user *user = client->user;
	if (!user)
		return;
	pthread_mutex_lock(&app->directory.lock);
	bool there = unlink_device(&user->devices, client) || unlink_device(&user->arriving, client);
	if (!--user->device_count && app_client_stays(client))
		app_returns_left(&app->returns, APP_RETURNING_USER, user->name, user->node.name_size, clock_now());
	if (there && app_spans(app))
		app_span_leave(client);
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
	const struct app_item item = { .at_ns = clock_now(),
		                       .number = letter->number,
		                       .sender = letter->sender,
		                       .bytes = letter->bytes,
		                       .size = letter->size };
	app_reliable_send(client, &item);
}

/* What is handed to several devices, in each of their forms: made when it is first wanted. */
struct handed {
	const struct app_letter *letter;
	struct app_out forms[APP_FORM_COUNT];
};

static int send_in_form(struct app *app, const struct app_client *device, struct handed *handed)
{
	const struct app_letter *letter = handed->letter;
	struct app_out *coded = &handed->forms[device->form];
	if (device->form == APP_FORM_JSON)
		return rc_send(app->server, device->conn, RC_TEXT, letter->bytes, letter->size);
	if (!coded->size)
		app_form_write(device->form, letter->bytes, letter->size, coded);
	return coded->failed ? -ENOMEM : rc_send(app->server, device->conn, RC_BINARY, coded->bytes, coded->size);
}

/* With the lock. Nothing here calls back: a send to a connection of this worker is only queued. */
static bool hand_over(struct app *app, const struct app_client *device, struct handed *handed, bool reliable)
{
	const struct app_letter *letter = handed->letter;
	static const char slow[] = "reads too slowly";
	if (reliable || (device->reliable && !device->session))
		return app_letter_post(app, device->conn, open_reliable, letter) == 0;
	if (device->session) {
		/* It waits, and has no number by which it would be acknowledged. */
		const struct app_letter waiting = { .sender = letter->sender,
			                            .bytes = letter->bytes,
			                            .size = letter->size };
		return app_letter_post(app, device->conn, open_reliable, &waiting) == 0;
	}
	if (device->by_letter)
		return app_letter_post(app, device->conn, open_text, letter) == 0;
	int code = send_in_form(app, device, handed);
	if (code == -ENOBUFS)
		app_letter_close(app, device->conn, RC_CLOSE_POLICY, slow, sizeof slow - 1);
	if (code == 0)
		APP_COUNT(app, sent);
	return code == 0;
}

int app_people_hand(struct app *app, const struct app_directed *directed, bool now, bool keep)
{
	struct app_directory *directory = &app->directory;
	const bool reliable = directed->flags & APP_RECORD_RELIABLE;
	const uint64_t number = directed->number ? directed->number : atomic_fetch_add(&app->numbers, 1);
	const struct app_letter letter = {
		.number = number, .sender = directed->sender, .bytes = directed->bytes, .size = directed->size
	};
	const struct app_item item = { .at_ns = clock_now(),
		                       .number = reliable ? letter.number : 0,
		                       .sender = directed->sender,
		                       .bytes = directed->bytes,
		                       .size = directed->size };
	struct handed handed = { .letter = &letter };
	int devices = 0;
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = app_directory_user(directory, directed->to, directed->to_size, keep);
	for (struct app_client *device = user && now ? user->devices : NULL; device; device = device->next_device)
		devices += hand_over(app, device, &handed, reliable);
	if (user && !devices && keep)
		devices = app_directory_keep(app, user, &item) ? -1 : -2;
	if (user && !user->device_count)
		app_directory_settle(app, user);
	pthread_mutex_unlock(&directory->lock);
	for (unsigned i = 0; i < APP_FORM_COUNT; i++)
		app_out_free(&handed.forms[i]);
	return user ? devices : -2;
}

int app_people_deliver(struct app *app, const char *name, size_t name_size, const char *bytes, size_t size,
                       bool reliable, uint64_t sender)
{
	const struct app_directed directed = { .to = name,
		                               .to_size = name_size,
		                               .bytes = bytes,
		                               .size = size,
		                               .number = atomic_fetch_add(&app->numbers, 1),
		                               .sender = sender,
		                               .flags = reliable ? APP_RECORD_RELIABLE : 0 };
	return app_people_hand(app, &directed, true, true);
}

unsigned app_people_close(struct app *app, const char *name, size_t size, const char *id, const char *reason,
                          size_t reason_size)
{
	unsigned count = 0;
	pthread_mutex_lock(&app->directory.lock);
	const struct app_user *user = app_directory_user(&app->directory, name, size, false);
	const struct app_client *lists[] = { user ? user->devices : NULL, user ? user->arriving : NULL };
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		for (const struct app_client *device = lists[i]; device; device = device->next_device)
			if (!id || strcmp(id, device->id) == 0)
				count += app_letter_close(app, device->conn, RC_CLOSE_POLICY, reason, reason_size) == 0;
	pthread_mutex_unlock(&app->directory.lock);
	return count;
}

/* Who has no token may call itself as it likes, and counts by its address. */
uint64_t app_people_account(const struct app_client *client)
{
	bool proven = (client->has_token && !client->guest) || !client->address;
	return proven ? client->user->node.hash | 1 : client->address->node.hash & ~UINT64_C(1);
}

int64_t app_people_publish(struct app *app, const struct app_out *head, const struct app_out *tail, char *number)
{
	return app_updates_publish_room(app, APP_BROADCAST_TOPIC, sizeof APP_BROADCAST_TOPIC - 1, head, tail, 0,
	                                number);
}
