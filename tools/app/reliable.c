/* SPDX-License-Identifier: MIT
 *
 * reliable.c - DATA and ACK, both ways: a client's DATA is handled once however often it comes; ours is sent again,
 * each time after twice as long, until its ACK comes or we give up.
 */
#define XXH_INLINE_ALL
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "app.h"
#include "lib/wait.h"

/* ---- theirs ---- */

static void acknowledge(struct rc_app_client *client, const json_t *id)
{
	struct rc_out *out = &client->crew->out;
	rc_out_clear(out);
	rc_out_text(out, "{\"type\":\"ACK\",\"data\":{\"messageId\":");
	rc_out_value(out, id);
	rc_out_text(out, "}}");
	rc_app_send(client, out);
}

void rc_reliable_heartbeat(struct rc_app_client *client, const json_t *id)
{
	acknowledge(client, id);
}

/* Whether this id is new among those of the user, on whatever device. */
static bool is_new(struct rc_app_client *client, const json_t *id)
{
	struct rc_app *app = client->app;
	uint64_t age_ns = rc_app_settings(app)->dedupe_ms * UINT64_C(1000000);
	json_int_t number = json_integer_value(id);
	uint64_t hash = json_is_string(id)
	                    ? XXH3_64bits_withSeed(json_string_value(id), json_string_length(id), app->epoch)
	                    : XXH3_64bits_withSeed(&number, sizeof number, ~app->epoch);
	pthread_mutex_lock(&app->directory.lock);
	struct rc_user *user = client->user;
	if (!user->window)
		user->window = calloc(1, sizeof *user->window);
	bool fresh = !user->window || rc_window_add(user->window, hash, rc_clock_now(), age_ns);
	pthread_mutex_unlock(&app->directory.lock);
	return fresh;
}

/* What is no message of the dialect goes to whoever of the application listens. */
static void publish_data(struct rc_app_client *client, const json_t *data)
{
	char topic[sizeof "data/" + RC_SUBJECT_SIZE_MAX];
	int size = snprintf(topic, sizeof topic, "data/%s", client->user->name);
	rc_feeds_publish(client->app, topic, (size_t)size, data);
}

void rc_reliable_data(struct rc_app_client *client, const json_t *message, const json_t *id, unsigned depth)
{
	const json_t *data = json_object_get(message, "data");
	if (!id || !data) {
		rc_dialect_error(client, id, "MISSING_FIELD", id ? "Missing field: data" : "Missing field: id");
		return;
	}
	if (!client->user || client->expired) {
		rc_dialect_error(client, id, "AUTH_REQUIRED", "Authentication required");
		return;
	}
	bool inner = json_is_string(json_object_get(data, "type"));
	if (!inner && !(client->permissions & (RC_MAY_WRITE | RC_MAY_ADMIN))) {
		rc_dialect_error(client, id, "PERMISSION_DENIED", "Permission denied");
		return;
	}
	/* While draining some members have gone already: unacknowledged, it is sent again to the next server. */
	if (atomic_load(&client->app->draining))
		return;
	if (!is_new(client, id))
		RC_COUNT(client->app, duplicates);
	else if (inner)
		rc_dialect_handle_admitted(client, data, depth + 1);
	else
		publish_data(client, data);
	acknowledge(client, id);
}

/* ---- ours ---- */

static void send_pending(struct rc_app_client *client, struct rc_pending *pending, uint64_t now_ns)
{
	struct rc_out *out = &client->crew->out;
	uint64_t wait_ns = rc_app_settings(client->app)->resend_ms * UINT64_C(1000000);
	pending->due_ns = now_ns + (wait_ns << (pending->tries < 10 ? pending->tries : 10));
	if (pending->due_ns < client->resend_ns)
		client->resend_ns = pending->due_ns;
	rc_out_clear(out);
	rc_out_format(out, "{\"type\":\"DATA\",\"id\":\"%llx-%llx\",\"data\":", (unsigned long long)client->app->epoch,
	              (unsigned long long)pending->number);
	rc_out_bytes(out, pending->data, pending->data_size);
	rc_out_format(out, ",\"timestamp\":%llu}", (unsigned long long)rc_time_ms());
	rc_app_send(client, out);
}

void rc_reliable_send(struct rc_app_client *client, uint64_t number, const char *data, size_t size, bool keep)
{
	struct rc_pending *pending = malloc(sizeof *pending + size);
	if (!pending) {
		rc_app_close(client, RC_CLOSE_INTERNAL, "out of memory");
		return;
	}
	*pending = (struct rc_pending){ .number = number, .sent_ns = rc_clock_now(), .keep = keep, .data_size = size };
	memcpy(pending->data, data, size);
	if (client->pending_last)
		client->pending_last->next = pending;
	else
		client->pending = pending;
	client->pending_last = pending;
	client->pending_count++;
	/* Whoever acknowledges nothing has gone, whatever its connection says; what it did not take waits for it. */
	if (client->pending_count > rc_app_settings(client->app)->unacknowledged_max) {
		rc_app_close(client, RC_CLOSE_POLICY, "too many messages without ACK");
		return;
	}
	send_pending(client, pending, pending->sent_ns);
	rc_clock_set(client);
}

static void remove_pending(struct rc_app_client *client, struct rc_pending **link)
{
	struct rc_pending *pending = *link;
	*link = pending->next;
	if (client->pending_last == pending) {
		client->pending_last = NULL;
		for (struct rc_pending *each = client->pending; each; each = each->next)
			client->pending_last = each;
	}
	client->pending_count--;
	free(pending);
}

void rc_reliable_ack(struct rc_app_client *client, const json_t *message, const json_t *id)
{
	struct rc_app *app = client->app;
	const char *told = json_string_value(json_object_get(json_object_get(message, "data"), "messageId"));
	char *end = NULL;
	if (!told) {
		rc_dialect_error(client, id, "MISSING_FIELD", "Missing field: data.messageId");
		return;
	}
	bool ours = strtoull(told, &end, 16) == app->epoch && *end == '-';
	uint64_t number = ours ? strtoull(end + 1, &end, 16) : 0;
	for (struct rc_pending **link = &client->pending; ours && !*end && *link; link = &(*link)->next) {
		if ((*link)->number != number)
			continue;
		uint64_t took_ns = rc_clock_now() - (*link)->sent_ns;
		rc_figures_latency(app->counters.ack, took_ns / 1000000);
		atomic_fetch_add(&app->counters.ack_ns, took_ns);
		RC_COUNT(app, ack_count);
		remove_pending(client, link);
		break;
	}
	/* An ACK for what is not waiting any more is one that came twice. */
}

/* It waits for the user's next connection. */
static void keep(struct rc_app_client *client, const struct rc_pending *pending)
{
	struct rc_app *app = client->app;
	pthread_mutex_lock(&app->directory.lock);
	if (pending->keep && client->user && !client->user->devices->next_device)
		rc_people_store(app, client->user, pending->number, pending->data, pending->data_size);
	pthread_mutex_unlock(&app->directory.lock);
}

void rc_reliable_return(struct rc_app_client *client)
{
	/* Another device has had them as well. */
	bool alone = !client->user->devices;
	while (client->pending) {
		struct rc_pending *pending = client->pending;
		if (alone && pending->keep)
			rc_people_store(client->app, client->user, pending->number, pending->data, pending->data_size);
		remove_pending(client, &client->pending);
	}
}

void rc_reliable_due(struct rc_app_client *client, uint64_t now_ns)
{
	const unsigned tries_max = rc_app_settings(client->app)->resend_max;
	client->resend_ns = RC_NEVER;
	for (struct rc_pending **link = &client->pending; *link && !client->closing;) {
		struct rc_pending *pending = *link;
		if (pending->due_ns <= now_ns && pending->tries == tries_max) {
			RC_COUNT(client->app, unacknowledged);
			rc_log_say(RC_LOG_INFO, "unacknowledged", client->id, "%llx after %u times",
			           (unsigned long long)pending->number, tries_max + 1);
			keep(client, pending);
			remove_pending(client, link);
			continue;
		}
		if (pending->due_ns <= now_ns) {
			pending->tries++;
			RC_COUNT(client->app, resent);
			send_pending(client, pending, now_ns);
		} else if (pending->due_ns < client->resend_ns) {
			client->resend_ns = pending->due_ns;
		}
		link = &pending->next;
	}
}
