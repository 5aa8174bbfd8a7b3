/* SPDX-License-Identifier: MIT
 *
 * replicate.c - see replicate.h.
 *
 * Invariant: what a record changes in the replica, in the log and in the stores depends on the records before it alone,
 * so it is the same on all nodes. Only whom this node hands something to depends on who is here.
 */
#include "replicate.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apart.h"
#include "app.h"
#include "arrivals.h"
#include "backplane/backplane.h"
#include "client.h"
#include "feeds.h"
#include "lib/log.h"
#include "lib/wait.h"
#include "nodes.h"
#include "outside.h"
#include "passing.h"
#include "people.h"
#include "reliable.h"
#include "span.h"
#include "updates.h"

struct coming {
	struct app *app;
	struct backplane_message *message;
	struct app_record record;
	struct app_device device;
	bool own, again;
};

/* ---- into the log ---- */

/* Who does not get a message can be left out of it only by its own worker. So that worker publishes it, while this
 * thread waits: a worker never waits for this thread. */
struct errand {
	struct app *app;
	const char *topic;
	size_t topic_size;
	struct rc_publication *publication;
	int64_t result;
	sem_t done;
};

static void run_errand(void *argument)
{
	struct errand *errand = argument;
	errand->result = rc_publish_with(errand->app->server, errand->topic, errand->topic_size, errand->publication);
	sem_post(&errand->done);
}

static int64_t publish_once(struct app *app, const char *topic, size_t size, struct rc_publication *publication)
{
	struct errand errand = { .app = app, .topic = topic, .topic_size = size, .publication = publication };
	if (!publication->except)
		return rc_publish_with(app->server, topic, size, publication);
	sem_init(&errand.done, 0, 0);
	if (rc_post(app->server, rc_conn_worker(publication->except), run_errand, &errand)) {
		/* The worker ended, and the client with it. */
		publication->except = 0;
		errand.result = rc_publish_with(app->server, topic, size, publication);
	} else {
		while (sem_wait(&errand.done) && errno == EINTR)
			;
	}
	sem_destroy(&errand.done);
	return errand.result;
}

/* Waits while the log is full: nothing that has come may be lost. */
static void publish(const struct coming *coming, const struct app_out *out, bool leave_out)
{
	const struct backplane_message *message = coming->message;
	struct rc_publication publication = {
		.data = out->bytes,
		.size = out->size,
		.except = leave_out && coming->own && !coming->again ? coming->record.conn : 0,
		.at_epoch = message->epoch,
		.at_sequence = message->sequence,
	};
	int64_t result = -ENOMEM;
	while (!out->failed &&
	       (result = publish_once(coming->app, message->channel, message->channel_size, &publication)) == -EAGAIN)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	coming->message->result = result;
	if (result < 0 && result != -EEXIST)
		log_say(LEVEL_ERROR, "backplane", NULL, "%.*s: a message is lost on this node: %s",
		        (int)message->channel_size, message->channel, rc_strerror((int)result));
}

/* ---- coming and going ---- */

static bool is_room(const struct coming *coming)
{
	return app_room_prefix(coming->message->channel, coming->message->channel_size);
}

/* Tells those in the room. While the node starts nobody is here to hear it. */
static void tell(const struct coming *coming, const char *type, const char *user, size_t size)
{
	const size_t prefix = sizeof APP_ROOM_CHANNEL - 1;
	struct app_out out = { 0 };
	if (coming->again || atomic_load(&coming->app->draining))
		return;
	app_out_type(&out, type, NULL);
	app_out_text(&out, ",\"userId\":");
	app_out_string(&out, user, size);
	app_out_text(&out, ",\"room\":");
	app_out_string(&out, coming->message->channel + prefix, coming->message->channel_size - prefix);
	app_out_text(&out, "}");
	publish(coming, &out, strcmp(type, "user_joined") == 0);
	app_out_free(&out);
}

static void on_enter(const struct coming *coming)
{
	struct app *app = coming->app;
	const struct backplane_message *message = coming->message;
	const struct app_record *record = &coming->record;
	const struct app_entering entering = {
		.channel = message->channel,
		.channel_size = message->channel_size,
		.user = record->user,
		.user_size = record->user_size,
		.device = coming->device,
		.repeat = record->repeat,
		.now = { message->epoch, message->sequence },
		.begin = { record->begin_epoch, record->begin_sequence },
	};
	struct app_change change;
	pthread_mutex_lock(&app->directory.lock);
	bool known = app_replica_enter(&app->span.replica, &entering, &change);
	app_replica_peer(&app->span.replica, coming->device.node, clock_now());
	pthread_mutex_unlock(&app->directory.lock);
	if (!known)
		log_say(LEVEL_ERROR, "memory", NULL, "no memory for a member on another node");
	if (is_room(coming)) {
		if (change.user_changed && change.others)
			tell(coming, "user_joined", record->user, record->user_size);
	} else if (change.changed) {
		app_arrivals_came(app, record->user, record->user_size, coming->device, coming->own);
	}
	coming->message->result = (int64_t)message->sequence; /* its place, whether others were told or not */
}

static void on_leave(const struct coming *coming)
{
	struct app *app = coming->app;
	char user[APP_SUBJECT_SIZE_MAX + 1];
	pthread_mutex_lock(&app->directory.lock);
	struct app_change change = app_replica_leave(&app->span.replica, coming->message->channel,
	                                             coming->message->channel_size, coming->device, user);
	pthread_mutex_unlock(&app->directory.lock);
	/* Another node took this one for dead. Whoever is still here is said again. */
	if (change.changed && !coming->own && coming->device.node == app->span.node)
		app_nodes_say_again(app);
	if (is_room(coming) && change.user_changed && change.others)
		tell(coming, "user_left", user, strlen(user));
	if (is_room(coming) || !change.changed)
		return;
	/* Its own node has written down again what it had not had; of one that is dead nobody has. */
	if (coming->message->origin == coming->device.node && !coming->record.node)
		app_arrivals_had(app, user, strlen(user), coming->device);
	else
		app_arrivals_died(app, user, strlen(user), coming->device);
}

static void on_had(const struct coming *coming)
{
	const size_t prefix = sizeof APP_USER_CHANNEL - 1;
	if (coming->message->channel_size > prefix)
		app_arrivals_had(coming->app, coming->message->channel + prefix, coming->message->channel_size - prefix,
		                 coming->device);
}

/* ---- what is said ---- */

/* What was sent again, because its sender heard nothing of it, counts once: on all nodes that which came first. */
static bool is_new(const struct coming *coming)
{
	const struct app_record *record = &coming->record;
	if (!record->id_size || !record->user_size ||
	    app_reliable_is_new(coming->app, record->user, record->user_size, record->id, record->id_size))
		return true;
	if (coming->own)
		APP_COUNT(coming->app, duplicates);
	return false;
}

static void on_say(const struct coming *coming)
{
	const struct app_record *record = &coming->record;
	const struct backplane_message *message = coming->message;
	struct app_out out = { 0 };
	if (!is_new(coming))
		return;
	app_out_bytes(&out, record->head, record->head_size);
	if (!(record->flags & APP_RECORD_WHOLE))
		app_out_format(&out, "%llx-%llu", (unsigned long long)message->epoch,
		               (unsigned long long)message->sequence);
	app_out_bytes(&out, record->text, record->text_size);
	publish(coming, &out, is_room(coming));
	app_out_free(&out);
}

/* The room's name in the channel; null: it is no room's. */
static const char *room_of(const struct coming *coming, size_t *size)
{
	const size_t prefix = sizeof APP_ROOM_CHANNEL - 1;
	*size = coming->message->channel_size - (is_room(coming) ? prefix : 0);
	return is_room(coming) ? coming->message->channel + prefix : NULL;
}

static void on_apart(const struct coming *coming)
{
	const struct app_record *record = &coming->record;
	size_t size;
	const char *room = room_of(coming, &size);
	if (coming->again || !is_new(coming))
		return;
	json_t *list = json_loadb(record->head, record->head_size, 0, NULL);
	struct app_out text = { 0 };
	app_out_bytes(&text, record->text, record->text_size);
	const struct app_apart apart = {
		.exclude = list,
		.except = coming->own && record->flags & APP_RECORD_OTHERS ? record->conn : 0,
		.passes = record->flags & APP_RECORD_PASSES,
		.message = &text,
	};
	if (list && app_apart_is_list(list) && room)
		app_apart_to_room(coming->app, room, size, &apart);
	else if (list && app_apart_is_list(list))
		app_apart_to_all(coming->app, &apart);
	app_out_free(&text);
	json_decref(list);
}

/* Those on its own node have had it. */
static void on_pass(const struct coming *coming)
{
	const struct app_record *record = &coming->record;
	const struct app_passing_key key = { .sender = record->number, .type = record->sender };
	const size_t prefix = sizeof APP_USER_CHANNEL - 1;
	size_t size;
	const char *room = room_of(coming, &size);
	struct app_out text = { 0 };
	if (coming->own || coming->again)
		return;
	app_out_bytes(&text, record->text, record->text_size);
	if (room)
		app_passing_to_room_named(coming->app, room, size, &key, &text);
	else if (size > prefix && memcmp(coming->message->channel, APP_USER_CHANNEL, prefix) == 0)
		app_passing_to_user(coming->app, coming->message->channel + prefix, size - prefix, NULL, &key, &text);
	else
		app_passing_to_all(coming->app, NULL, &key, &text);
	app_out_free(&text);
}

static void on_feed(const struct coming *coming)
{
	const struct backplane_message *message = coming->message;
	struct app_out out = { 0 };
	bool begins;
	if (!is_new(coming))
		return;
	uint64_t previous = app_updates_previous(coming->app, message, &begins);
	app_out_type(&out, "update", NULL);
	app_out_text(&out, ",\"topic\":");
	app_out_string(&out, message->channel, message->channel_size);
	app_out_format(&out,
	               ",\"seq\":%llu,\"epoch\":%llu,\"prev\":%llu,\"data\":", (unsigned long long)message->sequence,
	               (unsigned long long)message->epoch, (unsigned long long)previous);
	app_out_bytes(&out, coming->record.text, coming->record.text_size);
	app_out_text(&out, "}");
	publish(coming, &out, false);
	app_out_free(&out);
	if (begins)
		app_feeds_begun(coming->app, message->channel, message->channel_size);
}

static void on_direct(const struct coming *coming)
{
	struct app *app = coming->app;
	const struct app_record *record = &coming->record;
	const size_t prefix = sizeof APP_USER_CHANNEL - 1;
	if (coming->message->channel_size <= prefix || !is_new(coming))
		return;
	const struct app_directed directed = { .to = coming->message->channel + prefix,
		                               .to_size = coming->message->channel_size - prefix,
		                               .bytes = record->text,
		                               .size = record->text_size,
		                               .number = record->number,
		                               .sender = record->sender,
		                               .flags = (unsigned)record->flags };
	bool next = record->flags & APP_RECORD_NEXT;
	pthread_mutex_lock(&app->directory.lock);
	bool away = !app_span_devices(app, directed.to, directed.to_size);
	pthread_mutex_unlock(&app->directory.lock);
	app_people_hand(app, &directed, !next, next || away);
}

static void on_close(const struct coming *coming)
{
	const size_t prefix = sizeof APP_USER_CHANNEL - 1;
	const struct app_record *record = &coming->record;
	char id[APP_CLIENT_ID_SIZE + 1];
	if (coming->message->channel_size <= prefix || coming->again)
		return;
	snprintf(id, sizeof id, "%016llx", (unsigned long long)record->client);
	app_people_close(coming->app, coming->message->channel + prefix, coming->message->channel_size - prefix,
	                 record->client ? id : NULL, record->text, record->text_size);
}

/* ---- nodes ---- */

static void on_hello(const struct coming *coming)
{
	if (!coming->own && !coming->again)
		app_nodes_say_again(coming->app);
}

static void on_repeated(const struct coming *coming)
{
	struct app *app = coming->app;
	uint64_t now_ns = clock_now();
	pthread_mutex_lock(&app->directory.lock);
	struct app_peer *peer = app_replica_peer(&app->span.replica, coming->device.node, now_ns);
	if (peer) {
		peer->repeat = coming->record.repeat;
		peer->repeated_ns = now_ns;
	}
	pthread_mutex_unlock(&app->directory.lock);
}

static void on_ask(const struct coming *coming)
{
	if (!coming->own && !coming->again)
		app_nodes_tell(coming->app);
}

static void on_figures(const struct coming *coming)
{
	struct app *app = coming->app;
	char *figures = coming->own || coming->again ? NULL : strndup(coming->record.text, coming->record.text_size);
	if (!figures)
		return;
	pthread_mutex_lock(&app->directory.lock);
	struct app_peer *peer = app_replica_peer(&app->span.replica, coming->device.node, clock_now());
	if (peer) {
		free(peer->figures);
		peer->figures = figures;
		peer->told_ns = clock_now();
		figures = NULL;
	}
	pthread_mutex_unlock(&app->directory.lock);
	free(figures);
}

void app_replicate(void *context, struct backplane_message *message, bool own, bool again)
{
	static void (*const kinds[])(const struct coming *coming) = {
		[APP_RECORD_ENTER] = on_enter,     [APP_RECORD_LEAVE] = on_leave,       [APP_RECORD_SAY] = on_say,
		[APP_RECORD_FEED] = on_feed,       [APP_RECORD_DIRECT] = on_direct,     [APP_RECORD_CLOSE] = on_close,
		[APP_RECORD_HELLO] = on_hello,     [APP_RECORD_REPEATED] = on_repeated, [APP_RECORD_ASK] = on_ask,
		[APP_RECORD_FIGURES] = on_figures, [APP_RECORD_APART] = on_apart,       [APP_RECORD_PASS] = on_pass,
		[APP_RECORD_HAD] = on_had,
	};
	struct coming coming = { .app = context, .message = message, .own = own, .again = again };
	struct app_out out = { 0 };
	char channel[APP_CHANNEL_SIZE_MAX];
	message->result = -EINVAL;
	bool known = message->kind != BACKPLANE_PLAIN || app_outside_read(message, channel, &out);
	if (!known || message->kind >= sizeof kinds / sizeof *kinds || !kinds[message->kind] ||
	    !app_record_read(&coming.record, message->data, message->size)) {
		log_say(LEVEL_WARNING, "backplane", NULL, "a record of no known kind, or broken, was left out");
		app_out_free(&out);
		return;
	}
	coming.device.node = coming.record.node ? coming.record.node : message->origin;
	coming.device.client = coming.record.client;
	message->result = 0;
	kinds[message->kind](&coming);
	app_out_free(&out);
}
