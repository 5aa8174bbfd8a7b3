/* SPDX-License-Identifier: MIT
 *
 * post.c - see post.h.
 */
#include "post.h"

#include <stdio.h>

#include "across.h"
#include "apart.h"
#include "app.h"
#include "client.h"
#include "content.h"
#include "date.h"
#include "directory.h"
#include "fields.h"
#include "names.h"
#include "people.h"
#include "rate.h"
#include "status.h"
#include "updates.h"

/* One that goes to each connection by itself costs as much as if ten times as many got it. */
#define APART_PRICE 10

bool app_post_begin(struct app_post *post, struct app_client *client, const json_t *message, const json_t *id)
{
	const json_t *ephemeral = json_object_get(message, "ephemeral"), *type = json_object_get(message, "type");
	const char *list = app_settings_now(client->app)->ephemeral, *name = json_string_value(type);
	size_t size = json_string_length(type);
	*post = (struct app_post){ .client = client, .id = id, .exclude = json_object_get(message, "exclude") };
	if (!app_apart_is_list(post->exclude)) {
		app_field_wrong(client, id, "exclude", post->exclude, "an array of at most 32 names of users");
		return false;
	}
	if (ephemeral && !json_is_boolean(ephemeral)) {
		app_field_wrong(client, id, "ephemeral", ephemeral, "true or false");
		return false;
	}
	post->passes = ephemeral ? json_is_true(ephemeral) : list && app_names_hold(list, name, size);
	if (post->passes && !app_passing_key(client, name, size, &post->key)) {
		app_send_error(client, id, "TOO_MANY_TYPES", "Too many ephemeral types on this connection: at most 32");
		return false;
	}
	return true;
}

/* ---- one text ---- */

void app_post_write(const struct app_post *post, const char *type, const struct app_room *room, const json_t *content)
{
	const struct app_client *client = post->client;
	struct app_out *head = &client->crew->head, *tail = &client->crew->tail;
	const int mode = app_settings_now(client->app)->sanitize;
	app_out_clear(head);
	app_out_clear(tail);
	app_out_text(head, "{\"type\":\"");
	app_out_text(head, type);
	app_out_text(head, "\",\"id\":\"");
	app_out_text(tail, "\",\"from\":");
	app_out_string(tail, client->user->name, client->user->node.name_size);
	if (room) {
		app_out_text(tail, ",\"room\":");
		app_out_string(tail, room->name, room->node.name_size);
	}
	app_out_text(tail, ",\"content\":");
	app_content_write(tail, content, mode);
	app_content_ref(tail, post->id, mode);
	app_out_text(tail, ",\"timestamp\":");
	app_out_number(tail, app_date_ms());
	app_out_text(tail, post->passes ? ",\"ephemeral\":true}" : "}");
}

/* Puts the parts together where no number of the log comes between them. */
static const struct app_out *join(const struct app_post *post, struct app_out *head, const struct app_out *tail)
{
	struct app *app = post->client->app;
	if (!tail)
		return head;
	app_out_format(head, "%llx-%llx", (unsigned long long)app->epoch,
	               (unsigned long long)atomic_fetch_add(&app->numbers, 1));
	app_out_bytes(head, tail->bytes, tail->size);
	head->failed |= tail->failed;
	return head;
}

/* ---- what the sender is told ---- */

static bool is_told(const struct app_post *post)
{
	return post->id || post->client->inside;
}

static void tell(const struct app_post *post, int64_t count, const char *number)
{
	if (count < 0)
		app_send_error(post->client, post->id, "TRY_LATER",
		               "The server is overloaded; the message was not sent");
	else if (is_told(post))
		app_status_tell(post->client, post->id, "accepted", (size_t)count, number);
}

static bool pay(const struct app_post *post, size_t count)
{
	return !post->exclude || app_rate_take(post->client, post->id,
	                                       app_cost_of_audience(count * APART_PRICE) - app_cost_of_audience(count));
}

/* ---- on several nodes ---- */

static struct app_across begin_across(const struct app_post *post, struct app_out *head, const struct app_out *tail)
{
	const bool whole = post->exclude || post->passes || !tail;
	return (struct app_across){
		.said = { .app = post->client->app, .client = post->client, .id = post->id, .status = "accepted" },
		.exclude = post->exclude,
		.passes = post->passes,
		.key = post->key,
		.head = whole ? join(post, head, tail) : head,
		.tail = whole ? NULL : tail,
	};
}

/* What is well is told when the engine has it. */
static void end_across(const struct app_post *post, int64_t count)
{
	if (count < 0)
		app_send_error(post->client, post->id, "TRY_LATER", APP_SPAN_AWAY);
}

/* ---- to whom ---- */

void app_post_to_room(const struct app_post *post, struct app_member *member, struct app_out *head,
                      const struct app_out *tail)
{
	struct app_client *client = post->client;
	struct app *app = client->app;
	struct app_room *room = member->room;
	char number[APP_NUMBER_SIZE] = "";
	int64_t count = (int64_t)room->member_count - 1;
	if (!pay(post, room->member_count))
		return;
	if (app_spans(app)) {
		struct app_across across = begin_across(post, head, tail);
		across.others = true;
		end_across(post, app_across_to_room(&across, room->name, room->node.name_size));
		return;
	}
	if (post->exclude) {
		const struct app_apart apart = { .exclude = post->exclude,
			                         .sender = client,
			                         .passes = post->passes,
			                         .message = join(post, head, tail) };
		count = app_apart_to_room(app, room->name, room->node.name_size, &apart);
	} else if (post->passes) {
		count = app_passing_to_room(app, room, client, &post->key, join(post, head, tail));
	} else {
		int64_t sequence = app_updates_publish_room(app, room->topic, room->topic_size, head, tail,
		                                            client->conn, is_told(post) ? number : NULL);
		count = sequence < 0 ? sequence : count;
	}
	tell(post, count, number);
}

void app_post_to_user(const struct app_post *post, const char *name, size_t size, struct app_out *head,
                      const struct app_out *tail)
{
	struct app_client *client = post->client;
	const struct app_out *message = join(post, head, tail);
	if (app_spans(client->app)) {
		struct app_across across = begin_across(post, head, NULL);
		int count = app_across_to_user(&across, name, size, false, app_people_account(client));
		if (count > 0)
			app_rate_drain(client, app_cost_of_audience((size_t)count));
		end_across(post, count == -3 ? -1 : 0);
		return;
	}
	if (post->passes) {
		tell(post, app_passing_to_user(client->app, name, size, client, &post->key, message), "");
		return;
	}
	int devices = message->failed ? -2
	                              : app_people_deliver(client->app, name, size, message->bytes, message->size,
	                                                   false, app_people_account(client));
	if (devices > 0)
		app_rate_drain(client, app_cost_of_audience((size_t)devices));
	if (devices == -2)
		app_send_error(client, post->id, "NOT_DELIVERED", "The user is away and the message cannot be stored");
	else if (post->id || client->inside)
		app_status_tell(client, post->id, devices < 0 ? "stored" : "delivered",
		                devices < 0 ? 0 : (size_t)devices, "");
}

void app_post_to_all(const struct app_post *post, struct app_out *head, const struct app_out *tail)
{
	struct app_client *client = post->client;
	char number[APP_NUMBER_SIZE] = "";
	int64_t count = (int64_t)client->app->counters.open;
	if (!pay(post, (size_t)count))
		return;
	if (app_spans(client->app)) {
		struct app_across across = begin_across(post, head, tail);
		across.others = post->passes;
		end_across(post, app_across_to_all(&across));
		return;
	}
	if (post->exclude) {
		const struct app_apart apart = { .exclude = post->exclude,
			                         .sender = post->passes ? client : NULL,
			                         .passes = post->passes,
			                         .message = join(post, head, tail) };
		count = app_apart_to_all(client->app, &apart);
	} else if (post->passes) {
		count = app_passing_to_all(client->app, client, &post->key, join(post, head, tail));
	} else {
		int64_t sequence = app_people_publish(client->app, head, tail, post->id ? number : NULL);
		count = sequence < 0 ? sequence : count;
	}
	tell(post, count, number);
}
