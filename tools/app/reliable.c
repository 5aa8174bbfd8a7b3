/* SPDX-License-Identifier: MIT
 *
 * reliable.c - see reliable.h.
 */
#define XXH_INLINE_ALL
#include "reliable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "app.h"
#include "backplane/backplane.h"
#include "client.h"
#include "date.h"
#include "directory.h"
#include "fields.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/wait.h"
#include "span.h"
#include "updates.h"
#include "wire.h"

/* ---- theirs ---- */

static struct app_out *write_acknowledgement(struct app_client *client, const json_t *id,
                                             const struct app_outcome *outcome)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_type(out, "ACK", id);
	app_out_text(out, ",\"data\":{\"messageId\":");
	app_out_value(out, id);
	app_out_text(out, "}");
	if (outcome->status)
		app_status_write(out, outcome->status, outcome->count);
	app_out_format(out, ",\"timestamp\":%llu}", (unsigned long long)app_date_ms());
	return out;
}

static void acknowledge(struct app_client *client, const json_t *id, const struct app_outcome *outcome)
{
	app_send(client, write_acknowledgement(client, id, outcome));
}

void app_reliable_heartbeat(struct app_client *client, const json_t *message, const json_t *id)
{
	(void)message;
	acknowledge(client, id, &(struct app_outcome){ 0 });
}

static uint64_t hash_of(const struct app *app, const json_t *id)
{
	json_int_t number = json_integer_value(id);
	return json_is_string(id) ? XXH3_64bits_withSeed(json_string_value(id), json_string_length(id), app->epoch)
	                          : XXH3_64bits_withSeed(&number, sizeof number, ~app->epoch);
}

/* (lock) */
static bool remember(struct app *app, struct app_user *user, uint64_t hash)
{
	uint64_t age_ns = app_settings_now(app)->dedupe_ms * UINT64_C(1000000);
	if (!user->window)
		user->window = calloc(1, sizeof *user->window);
	return !user->window || app_window_add(user->window, hash, clock_now(), age_ns);
}

/* Whether this id is new among those of the user, from any device. */
static bool is_new(struct app_client *client, const json_t *id)
{
	struct app *app = client->app;
	pthread_mutex_lock(&app->directory.lock);
	bool fresh = remember(app, client->user, hash_of(app, id));
	pthread_mutex_unlock(&app->directory.lock);
	return fresh;
}

bool app_reliable_is_new(struct app *app, const char *user_name, size_t size, const char *id, size_t id_size)
{
	struct app_directory *directory = &app->directory;
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = app_directory_user(directory, user_name, size, true);
	bool fresh = !user || remember(app, user, XXH3_64bits_withSeed(id, id_size, app->epoch + 1));
	if (user)
		app_directory_settle(app, user);
	pthread_mutex_unlock(&directory->lock);
	return fresh;
}

static bool is_known(struct app_client *client, const json_t *id)
{
	struct app *app = client->app;
	uint64_t age_ns = app_settings_now(app)->dedupe_ms * UINT64_C(1000000);
	pthread_mutex_lock(&app->directory.lock);
	const struct app_window *window = client->user->window;
	bool known = window && app_window_has(window, hash_of(app, id), clock_now(), age_ns);
	pthread_mutex_unlock(&app->directory.lock);
	return known;
}

/* What was refused may come again under the same id. */
static void forget(struct app_client *client, const json_t *id)
{
	struct app *app = client->app;
	pthread_mutex_lock(&app->directory.lock);
	if (client->user && client->user->window)
		app_window_remove(client->user->window, hash_of(app, id));
	pthread_mutex_unlock(&app->directory.lock);
}

static int write_feed(struct app_client *client, const char *topic, size_t topic_size, const struct app_out *text)
{
	const struct app_said said = { .app = client->app, .client = client };
	struct app_record record = { .text = text->bytes, .text_size = text->size };
	return app_span_say(&said, APP_RECORD_FEED, topic, topic_size, &record);
}

/* Data that is not a message of the dialect goes to whichever part of the application listens. What the queue of
 * services did not take was perhaps fed already: it is sent again, and its record counts once. Returns 0, or why not.
 */
static int publish_data(struct app_client *client, const json_t *data, const json_t *id)
{
	const struct app *app = client->app;
	char topic[sizeof "data/" + APP_SUBJECT_SIZE_MAX];
	int size = snprintf(topic, sizeof topic, "data/%s", client->user->name);
	if (!app_spans(app))
		return app_updates_publish_data(client->app, topic, (size_t)size, data) < 0 ? -EAGAIN : 0;
	bool out = backplane_hands_out(app->backplane);
	if (out && json_is_string(id) && !text_is_name(json_string_value(id), json_string_length(id)))
		return -EINVAL;
	struct app_out text = { 0 };
	app_out_value(&text, data);
	int code = text.failed ? -ENOMEM : 0;
	if (!code && !(out && app->started->out_only))
		code = write_feed(client, topic, (size_t)size, &text);
	if (!code && out)
		code = app_span_hand_out(client, text.bytes, text.size);
	app_out_free(&text);
	return code;
}

static void refuse_data(struct app_client *client, const json_t *id, int code)
{
	if (code == -EINVAL)
		app_send_error(client, id, "INVALID_FIELD",
		               "An id that goes to services is a text of at least one byte without control characters");
	else if (code == -EMSGSIZE)
		app_send_error(client, id, "TOO_LONG", "The message is larger than the nodes take");
	else
		app_send_error(client, id, "TRY_LATER", "The server is overloaded; the message was not sent");
}

/* Does what a DATA asks for. Errors meanwhile carry its id, or that of the DATA around it, and refuse it. */
static bool handle_data(struct app_client *client, const json_t *data, const json_t *id,
                        void (*handle)(struct app_client *client, const json_t *message, unsigned depth),
                        unsigned depth)
{
	const json_t *outer = client->inside;
	int code;
	client->inside = outer ? outer : id;
	client->refused = false;
	client->outcome = (struct app_outcome){ 0 };
	if (json_is_string(json_object_get(data, "type")))
		handle(client, data, depth + 1);
	else if ((code = publish_data(client, data, id)))
		refuse_data(client, id, code);
	client->inside = outer;
	return !client->refused;
}

/* On several nodes what a message does is written down with its id, and counts once, wherever it comes again
 * (replicate.h). What it does here alone, as joining a room, is done once on this node. */
static void handle_once(struct app_client *client, const json_t *id, const json_t *data,
                        void (*handle)(struct app_client *client, const json_t *message, unsigned depth),
                        unsigned depth)
{
	struct app_in_hand in_hand;
	if (is_known(client, id)) {
		APP_COUNT(client->app, duplicates);
		acknowledge(client, id, &(struct app_outcome){ 0 });
		return;
	}
	app_in_hand_begin(client, id, &in_hand);
	bool done = handle_data(client, data, id, handle, depth);
	const struct app_outcome outcome = client->outcome;
	if (in_hand.count) {
		app_in_hand_end(client, &in_hand, done ? write_acknowledgement(client, id, &outcome) : NULL);
		return;
	}
	app_in_hand_end(client, &in_hand, NULL);
	if (done) {
		is_new(client, id);
		acknowledge(client, id, &outcome);
	}
}

void app_reliable_data(struct app_client *client, const json_t *message, const json_t *id,
                       void (*handle)(struct app_client *client, const json_t *message, unsigned depth), unsigned depth)
{
	const json_t *data = json_object_get(message, "data");
	if (!id || !data) {
		app_send_error(client, id, "MISSING_FIELD", id ? "Missing field: data" : "Missing field: id");
		return;
	}
	if (!client->user || client->expired) {
		app_send_error(client, id, "AUTH_REQUIRED", "Authentication required");
		return;
	}
	bool inner = json_is_string(json_object_get(data, "type"));
	if (!inner && !(client->permissions & (APP_MAY_WRITE | APP_MAY_ADMIN))) {
		app_send_error(client, id, "PERMISSION_DENIED", "Permission denied");
		return;
	}
	/* While the server drains, some members have left already. Without an ACK this is sent again to the next
	 * server. */
	if (atomic_load(&client->app->draining))
		return;
	if (app_spans(client->app)) {
		handle_once(client, id, data, handle, depth);
		return;
	}
	struct app_outcome outcome = { 0 };
	if (!is_new(client, id)) {
		APP_COUNT(client->app, duplicates);
	} else if (!handle_data(client, data, id, handle, depth)) {
		forget(client, id);
		return;
	} else {
		outcome = client->outcome;
	}
	acknowledge(client, id, &outcome);
}

/* ---- ours ---- */

static void send_pending(struct app_client *client, struct app_pending *pending, uint64_t now_ns)
{
	struct app_out *out = &client->crew->out;
	uint64_t wait_ns = app_settings_now(client->app)->resend_ms * UINT64_C(1000000);
	pending->due_ns = now_ns + (wait_ns << (pending->tries < 10 ? pending->tries : 10));
	if (pending->due_ns < client->times.resend_ns)
		client->times.resend_ns = pending->due_ns;
	app_out_clear(out);
	app_out_format(out, "{\"type\":\"DATA\",\"id\":\"%llx-%llx\",\"data\":", (unsigned long long)client->app->epoch,
	               (unsigned long long)pending->number);
	app_out_bytes(out, pending->data, pending->data_size);
	app_out_format(out, ",\"timestamp\":%llu}", (unsigned long long)app_date_ms());
	app_send(client, out);
}

static void send_plain(struct app_client *client, const void *bytes, size_t size)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_bytes(out, bytes, size);
	app_send(client, out);
}

/* What is for a user who polls waits for the next poll. */
static bool has_room(const struct app_client *client)
{
	return !client->session && client->pending_count < app_settings_now(client->app)->unacknowledged_max;
}

/* Sends a message now. */
static void send_item(struct app_client *client, const struct app_item *item)
{
	struct app_pending *pending = has_room(client) ? malloc(sizeof *pending + item->size) : NULL;
	if (!pending) {
		send_plain(client, item->bytes, item->size);
		return;
	}
	*pending = (struct app_pending){ .number = item->number,
		                         .sender = item->sender,
		                         .at_ns = item->at_ns,
		                         .sent_ns = clock_now(),
		                         .only = item->only,
		                         .data_size = item->size };
	memcpy(pending->data, item->bytes, item->size);
	if (client->pending_last)
		client->pending_last->next = pending;
	else
		client->pending = pending;
	client->pending_last = pending;
	client->pending_count++;
	send_pending(client, pending, pending->sent_ns);
	app_clock_set(client);
}

void app_reliable_send(struct app_client *client, const struct app_item *item)
{
	struct app *app = client->app;
	if (!client->reliable || (!client->waiting.count && has_room(client))) {
		send_item(client, item);
		return;
	}
	pthread_mutex_lock(&app->directory.lock);
	bool kept = app_directory_keep_in(app, &client->waiting, item);
	pthread_mutex_unlock(&app->directory.lock);
	if (!kept)
		APP_COUNT(app, store_dropped);
	app_wake(client);
}

/* Without an ACK that is awaited, all that was handed to the client has gone out, or was acknowledged. */
static void settle_taken(struct app_client *client)
{
	if (client->took && !client->closing && !client->waiting.count && !client->pending_count)
		client->took = app_span_had(client) != 0;
}

void app_reliable_refill(struct app_client *client)
{
	struct app_stored *stored;
	app_wake(client);
	while (!client->closing && client->waiting.count && (!client->reliable || has_room(client)) &&
	       (stored = app_directory_next(client->app, &client->waiting))) {
		struct app_item item = { .at_ns = stored->at_ns,
			                 .number = stored->number,
			                 .sender = stored->sender,
			                 .only = stored->only,
			                 .bytes = stored->bytes,
			                 .size = stored->size };
		if (client->reliable && !item.number)
			item.number = atomic_fetch_add(&client->app->numbers, 1);
		if (item.number)
			send_item(client, &item);
		else
			send_plain(client, item.bytes, item.size);
		free(stored);
	}
	settle_taken(client);
}

/* A client that lost its connection asks for what it has not had: what waits for its ACK comes again at once, and no
 * longer only when its time has come. */
void app_reliable_reconnect(struct app_client *client, const json_t *message, const json_t *id)
{
	uint64_t now_ns = clock_now();
	(void)message;
	acknowledge(client, id, &(struct app_outcome){ 0 });
	for (struct app_pending *pending = client->pending; pending && !client->closing; pending = pending->next)
		send_pending(client, pending, now_ns);
	app_clock_set(client);
}

static void remove_pending(struct app_client *client, struct app_pending **link)
{
	struct app_pending *pending = *link;
	*link = pending->next;
	if (client->pending_last == pending) {
		client->pending_last = NULL;
		for (struct app_pending *each = client->pending; each; each = each->next)
			client->pending_last = each;
	}
	client->pending_count--;
	free(pending);
}

void app_reliable_ack(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app *app = client->app;
	const json_t *data = json_object_get(message, "data");
	const char *told = json_string_value(json_object_get(data ? data : message, "messageId"));
	char *end = NULL;
	if (!told && !data)
		told = json_string_value(id);
	if (!told) {
		app_send_error(client, id, "MISSING_FIELD", "Missing field: data.messageId");
		return;
	}
	bool ours = strtoull(told, &end, 16) == app->epoch && *end == '-';
	uint64_t number = ours ? strtoull(end + 1, &end, 16) : 0;
	for (struct app_pending **link = &client->pending; ours && !*end && *link; link = &(*link)->next) {
		if ((*link)->number != number)
			continue;
		uint64_t took_ns = clock_now() - (*link)->sent_ns;
		app_latency_add(&app->counters.ack, took_ns);
		remove_pending(client, link);
		app_reliable_refill(client);
		break;
	}
	/* An ACK for a message that no longer waits has come twice. */
}

/* A message for the user's next connection; with `next` not for one that is there. On several nodes it is written down
 * again: the user may be on another one by now. (lock) */
static bool keep_item(struct app *app, struct app_user *user, const struct app_item *item, bool next)
{
	if (!app_spans(app))
		return app_directory_keep(app, user, item);
	const struct app_directed directed = { .to = user->name,
		                               .to_size = user->node.name_size,
		                               .bytes = item->bytes,
		                               .size = item->size,
		                               .number = item->number,
		                               .sender = item->sender,
		                               .flags = (item->number ? APP_RECORD_RELIABLE : 0) |
		                                        (next ? APP_RECORD_NEXT : 0) };
	return app_span_direct(&(struct app_said){ .app = app }, &directed) == 0;
}

/* (lock) */
static void keep(struct app_client *client, const struct app_pending *pending, bool next)
{
	const struct app_item item = { .at_ns = pending->at_ns,
		                       .number = pending->number,
		                       .sender = pending->sender,
		                       .bytes = pending->data,
		                       .size = pending->data_size };
	if (!keep_item(client->app, client->user, &item, next))
		APP_COUNT(client->app, store_dropped);
}

/* Whether this device of the user is the only one, on all nodes. (lock) */
static bool is_alone(const struct app_client *client, const struct app_client *others)
{
	const struct app *app = client->app;
	const struct app_user *user = client->user;
	return !others && (!app_spans(app) || !app_span_elsewhere(app, user->name, user->node.name_size));
}

/* Keeps a message for the user's next connection, unless another device has had it. */
static void give_up(struct app_client *client, const struct app_pending *pending)
{
	struct app *app = client->app;
	pthread_mutex_lock(&app->directory.lock);
	const struct app_client *devices = client->user ? client->user->devices : NULL;
	if (client->user && (pending->only || is_alone(client, devices ? devices->next_device : NULL)))
		keep(client, pending, true);
	pthread_mutex_unlock(&app->directory.lock);
}

void app_reliable_return(struct app_client *client)
{
	struct app *app = client->app;
	struct app_stored *stored;
	/* If there is another device, it has had them as well. */
	bool alone = is_alone(client, client->user->devices);
	while (client->pending) {
		if (alone || client->pending->only)
			keep(client, client->pending, false);
		remove_pending(client, &client->pending);
	}
	while ((stored = app_store_take(&client->waiting, &app->directory.budget))) {
		const struct app_item item = { .at_ns = stored->at_ns,
			                       .number = stored->number,
			                       .sender = stored->sender,
			                       .bytes = stored->bytes,
			                       .size = stored->size };
		if ((alone || stored->only) && !keep_item(app, client->user, &item, false))
			APP_COUNT(app, store_dropped);
		free(stored);
	}
}

void app_reliable_due(struct app_client *client, uint64_t now_ns)
{
	const unsigned tries_max = app_settings_now(client->app)->resend_max;
	client->times.resend_ns = APP_NEVER;
	for (struct app_pending **link = &client->pending; *link && !client->closing;) {
		struct app_pending *pending = *link;
		if (pending->due_ns <= now_ns && pending->tries == tries_max) {
			APP_COUNT(client->app, unacknowledged);
			log_say(LEVEL_INFO, "unacknowledged", client->id, "%llx after %u times",
			        (unsigned long long)pending->number, tries_max + 1);
			give_up(client, pending);
			remove_pending(client, link);
			continue;
		}
		if (pending->due_ns <= now_ns) {
			pending->tries++;
			APP_COUNT(client->app, resent);
			send_pending(client, pending, now_ns);
		} else if (pending->due_ns < client->times.resend_ns) {
			client->times.resend_ns = pending->due_ns;
		}
		link = &pending->next;
	}
	app_reliable_refill(client);
}
