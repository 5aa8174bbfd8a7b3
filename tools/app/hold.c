/* SPDX-License-Identifier: MIT
 *
 * hold.c - see hold.h.
 */
#include "hold.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "lib/wait.h"

#define GRACE_MS 1000 /* beyond the calls' own time-out: an answer that was given is not passed over */

bool app_hold_waits(const struct app_client *client)
{
	return client->hold && client->hold->ticket;
}

/* ---- the answer ---- */

static void decide(struct app_client *client, enum app_hook_verdict verdict, const char *bytes, size_t size)
{
	struct app_hold *hold = client->hold;
	json_t *answer = size ? json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL) : NULL;
	hold->ticket = 0;
	client->times.hook_ns = APP_NEVER;
	hold->decided(client, verdict, answer);
	json_decref(answer);
	if (!app_hold_waits(client) && !client->closing)
		client->app->resume(client);
	app_clock_set(client);
}

static void open_answer(struct app_client *client, const struct app_letter *letter)
{
	/* Another question may be under way: then this one's time ran out. */
	if (app_hold_waits(client) && client->hold->ticket == app_hooks_ticket(letter))
		decide(client, app_hooks_verdict(letter), letter->bytes, letter->size);
}

void app_hold_due(struct app_client *client)
{
	client->times.hook_ns = APP_NEVER;
	if (app_hold_waits(client))
		decide(client, app_hooks_away(client->app, client->hold->hook), NULL, 0);
}

/* ---- the question ---- */

static struct app_hold *need_hold(struct app_client *client)
{
	if (client->hold)
		return client->hold;
	client->hold = calloc(1, sizeof *client->hold);
	if (client->hold)
		STAILQ_INIT(&client->hold->held);
	return client->hold;
}

static uint64_t account_of(const struct app_client *client)
{
	return client->address ? client->address->node.hash | 1 : 1;
}

enum app_hook_verdict app_hold_ask(struct app_client *client, const struct app_question *question, json_t *message,
                                   unsigned depth, app_hold_decided *decided,
                                   bool (*pay)(struct app_client *client, const json_t *message), json_t **answer)
{
	struct app *app = client->app;
	struct app_question asked = *question;
	char *kept;
	size_t size;
	*answer = NULL;
	enum app_hook_verdict verdict = app_hooks_kept(app, &asked, &kept, &size);
	if (kept) {
		*answer = json_loadb(kept, size, JSON_REJECT_DUPLICATES, NULL);
		free(kept);
		return verdict;
	}
	struct app_hold *hold = need_hold(client);
	if (!hold)
		return APP_HOOK_BUSY;
	if (pay && !pay(client, message))
		return APP_HOOK_UNPAID;
	hold->tickets += 1 + !(hold->tickets + 1); /* never 0 */
	asked.account = account_of(client);
	asked.conn = client->conn;
	asked.ticket = hold->tickets;
	asked.open = open_answer;
	verdict = app_hooks_ask(app, &asked);
	if (verdict != APP_HOOK_ASKED)
		return verdict;
	json_decref(hold->message);
	hold->ticket = hold->tickets;
	hold->hook = asked.hook;
	hold->message = json_incref(message);
	hold->depth = depth;
	hold->decided = decided;
	client->times.hook_ns = clock_now() + (app->started->hooks.timeout_ms + GRACE_MS) * NS_PER_MS;
	if (client->opened)
		app_clock_set(client);
	return APP_HOOK_ASKED;
}

/* ---- what is held ---- */

bool app_hold_frame(struct app_client *client, const struct rc_message *frame)
{
	struct app_hold *hold = client->hold;
	if (hold->count >= APP_HELD_MAX || hold->size + frame->size > APP_HELD_SIZE)
		return false;
	struct app_held *held = malloc(sizeof *held + frame->size);
	if (!held)
		return false;
	*held = (struct app_held){ .frame = *frame };
	memcpy(held->bytes, frame->data, frame->size);
	held->frame.data = held->bytes;
	STAILQ_INSERT_TAIL(&hold->held, held, link);
	hold->count++;
	hold->size += frame->size;
	return true;
}

bool app_hold_message(struct app_client *client, json_t *message, unsigned depth)
{
	struct app_held *held = malloc(sizeof *held);
	if (!held)
		return false;
	*held = (struct app_held){ .message = json_incref(message), .depth = depth };
	STAILQ_INSERT_TAIL(&client->hold->held, held, link);
	return true;
}

static void free_held(struct app_hold *hold, struct app_held *held)
{
	if (!held->message) {
		hold->count--;
		hold->size -= held->frame.size;
	}
	json_decref(held->message);
	free(held);
}

void app_hold_release(struct app_client *client,
                      void (*frame)(struct app_client *client, const struct rc_message *frame),
                      void (*message)(struct app_client *client, const json_t *message, unsigned depth))
{
	struct app_hold *hold = client->hold;
	struct app_held_list rest = STAILQ_HEAD_INITIALIZER(rest);
	STAILQ_CONCAT(&rest, &hold->held);
	while (!STAILQ_EMPTY(&rest) && !app_hold_waits(client) && !client->closing) {
		struct app_held *held = STAILQ_FIRST(&rest);
		STAILQ_REMOVE_HEAD(&rest, link);
		if (held->message)
			message(client, held->message, held->depth);
		else
			frame(client, &held->frame);
		free_held(hold, held);
	}
	/* What is left of a batch stands there already, and comes before. */
	STAILQ_CONCAT(&hold->held, &rest);
}

void app_hold_free(struct app_client *client)
{
	struct app_hold *hold = client->hold;
	if (!hold)
		return;
	while (!STAILQ_EMPTY(&hold->held)) {
		struct app_held *held = STAILQ_FIRST(&hold->held);
		STAILQ_REMOVE_HEAD(&hold->held, link);
		free_held(hold, held);
	}
	json_decref(hold->message);
	free(hold);
	client->hold = NULL;
}
