/* SPDX-License-Identifier: MIT
 *
 * bare.c - see bare.h.
 */
#include "bare.h"

#include <stdlib.h>
#include <string.h>

#include "access.h"
#include "app.h"
#include "client.h"
#include "content.h"
#include "feeds.h"
#include "fields.h"
#include "lib/local.h"
#include "paths.h"
#include "rate.h"
#include "updates.h"
#include "wire.h"

#define CHAT_TOPIC "room/!chat" /* no room's: those have a number there */

int app_bare_judge(struct app *app, rc_request *request, struct app_client *client, enum app_bare bare)
{
	const struct app_settings *settings = app_settings_now(app);
	char scratch[ADDRESS_TEXT_SIZE];
	if (!app_paths_agree(settings, request, &client->form))
		return 503;
	client->shown = strdup(local_client(&settings->proxies, request, scratch));
	if (!client->shown)
		return 503;
	client->bare = bare;
	client->opened = true;
	return 0;
}

void app_bare_open(struct app_client *client)
{
	struct app_out *out = &client->crew->out;
	if (client->bare != APP_BARE_CHAT)
		return;
	app_out_clear(out);
	app_out_text(out, "Welcome to the chat, ");
	app_out_text(out, client->shown);
	app_send(client, out);
	if (app_feeds_follow(client, CHAT_TOPIC, sizeof CHAT_TOPIC - 1, true, NULL))
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
}

/* A line is one line: what a sender could make look like another's begins no new one. */
static void write_line(struct app_out *out, const struct app_client *client, const struct rc_message *message)
{
	size_t begin = 0, size = message->size;
	const char *text = (const char *)message->data;
	app_out_text(out, client->shown);
	app_out_text(out, ": ");
	begin = out->size;
	while (size && (text[size - 1] == '\n' || text[size - 1] == '\r'))
		size--;
	app_content_text(out, text, size, app_settings_now(client->app)->sanitize);
	for (size_t i = begin; i < out->size; i++)
		if ((unsigned char)out->bytes[i] < 0x20 || out->bytes[i] == 0x7f)
			out->bytes[i] = ' ';
}

static void chat(struct app_client *client, const struct rc_message *message)
{
	struct app_out *head = &client->crew->head;
	size_t max = app_settings_now(client->app)->content_max;
	if (message->opcode != RC_TEXT) {
		app_send_error(client, NULL, "INVALID_FIELD", "only text goes here");
		return;
	}
	if (app_field_characters((const char *)message->data, message->size) > max) {
		app_send_error(client, NULL, "TOO_LONG", "this line is too long");
		return;
	}
	if (!app_rate_take(client, NULL, app_cost_of_audience(client->app->counters.open)))
		return;
	app_out_clear(head);
	write_line(head, client, message);
	if (app_updates_publish_room(client->app, CHAT_TOPIC, sizeof CHAT_TOPIC - 1, head, NULL, client->conn, NULL) <
	    0)
		app_send_error(client, NULL, "TRY_LATER", "the server is overloaded; this was not sent");
}

void app_bare_receive(struct app_client *client, const struct rc_message *message)
{
	APP_COUNT(client->app, received);
	if (!app_rate_admit_unread(client, message->data, message->size))
		return;
	if (client->bare == APP_BARE_CHAT)
		chat(client, message);
	else
		app_send_back(client, message);
}
