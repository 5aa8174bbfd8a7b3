/* SPDX-License-Identifier: MIT
 *
 * arrivals.c - see arrivals.h.
 *
 * Order: what was stored leaves for the client's worker before anything that comes behind its record does, by the same
 * way. If the client is gone when it gets there, all of it is written down again, for wherever the user is next.
 */
#include "arrivals.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "directory.h"
#include "people.h"
#include "reliable.h"
#include "span.h"
#include "taken.h"

struct arrival {
	struct app *app;
	rc_conn conn;
	struct app_store store;
	size_t user_size;
	char user[];
};

/* Takes it out of those that arrive. (lock) */
static struct app_client *take_arriving(struct app_user *user, struct app_device device)
{
	for (struct app_client **link = &user->arriving; *link; link = &(*link)->next_device) {
		struct app_client *client = *link;
		if (app_device_of(client).client != device.client)
			continue;
		*link = client->next_device;
		return client;
	}
	return NULL;
}

/* (lock) */
static void give_back(struct arrival *arrival)
{
	struct app *app = arrival->app;
	struct app_stored *stored;
	while ((stored = app_store_take(&arrival->store, &app->directory.budget))) {
		const struct app_directed directed = { .to = arrival->user,
			                               .to_size = arrival->user_size,
			                               .bytes = stored->bytes,
			                               .size = stored->size,
			                               .number = stored->number,
			                               .sender = stored->sender,
			                               .flags = stored->number ? APP_RECORD_RELIABLE : 0 };
		if (app_span_direct(&(struct app_said){ .app = app }, &directed))
			APP_COUNT(app, store_dropped);
		free(stored);
	}
}

/* On the client's worker: it is the only one that changes what waits for the client, and nothing does before this. */
static void hand_over(void *argument)
{
	struct arrival *arrival = argument;
	struct app *app = arrival->app;
	struct app_client *client = app_crew_find(&app->crews[rc_conn_worker(arrival->conn)], arrival->conn);
	bool there = client && client->user && !client->waiting.count && !client->closing &&
	             strcmp(client->user->name, arrival->user) == 0;
	pthread_mutex_lock(&app->directory.lock);
	if (there) {
		client->waiting = arrival->store;
		client->took = true;
	} else {
		give_back(arrival);
	}
	pthread_mutex_unlock(&app->directory.lock);
	free(arrival);
	if (there)
		app_reliable_refill(client);
}

/* What the nodes hold until the device has it: here it is a copy, so that what there is goes to the device in any case.
 * (lock) */
static void hand_to_own(struct app *app, struct app_user *user, struct app_device device, rc_conn conn)
{
	struct app_directory *directory = &app->directory;
	const size_t size = user->node.name_size;
	struct arrival *arrival = calloc(1, sizeof *arrival + size + 1);
	if (!arrival)
		return;
	*arrival = (struct arrival){ .app = app, .conn = conn, .store = app_directory_take(user), .user_size = size };
	memcpy(arrival->user, user->name, size);
	app_taken_add(user, device, app_directory_copy(app, &arrival->store), &directory->budget);
	if (conn && !rc_post(app->server, rc_conn_worker(conn), hand_over, arrival))
		return;
	give_back(arrival);
	free(arrival);
}

/* One that was taken for dead, and enters again, is among the devices already. (lock) */
static rc_conn arrive(struct app_user *user, struct app_device device)
{
	struct app_client *client = take_arriving(user, device);
	if (client) {
		client->next_device = user->devices;
		user->devices = client;
		return client->conn;
	}
	for (client = user->devices; client; client = client->next_device)
		if (app_device_of(client).client == device.client)
			return client->conn;
	return 0;
}

void app_arrivals_came(struct app *app, const char *name, size_t size, struct app_device device, bool own)
{
	struct app_directory *directory = &app->directory;
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = app_directory_user(directory, name, size, false);
	rc_conn conn = own && user ? arrive(user, device) : 0;
	if (user && user->store.count && own)
		hand_to_own(app, user, device, conn);
	else if (user && user->store.count)
		app_taken_add(user, device, app_directory_take(user), &directory->budget);
	if (user)
		app_directory_settle(app, user);
	pthread_mutex_unlock(&directory->lock);
}

void app_arrivals_had(struct app *app, const char *name, size_t size, struct app_device device)
{
	struct app_directory *directory = &app->directory;
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = app_directory_user(directory, name, size, false);
	if (user) {
		struct app_store had = app_taken_take(user, device);
		app_store_clear(&had, &directory->budget);
		app_directory_settle(app, user);
	}
	pthread_mutex_unlock(&directory->lock);
}

void app_arrivals_died(struct app *app, const char *name, size_t size, struct app_device device)
{
	struct app_directory *directory = &app->directory;
	struct app_stored *stored;
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = app_directory_user(directory, name, size, false);
	struct app_store left = user ? app_taken_take(user, device) : (struct app_store){ 0 };
	bool away = !app_span_devices(app, name, size);
	while ((stored = app_store_take(&left, &directory->budget))) {
		const struct app_directed directed = { .to = name,
			                               .to_size = size,
			                               .bytes = stored->bytes,
			                               .size = stored->size,
			                               .number = stored->number,
			                               .sender = stored->sender,
			                               .flags = stored->number ? APP_RECORD_RELIABLE : 0 };
		pthread_mutex_unlock(&directory->lock);
		app_people_hand(app, &directed, !away, away);
		free(stored);
		pthread_mutex_lock(&directory->lock);
	}
	user = app_directory_user(directory, name, size, false);
	if (user)
		app_directory_settle(app, user);
	pthread_mutex_unlock(&directory->lock);
}
