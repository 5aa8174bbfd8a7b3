/* SPDX-License-Identifier: MIT
 *
 * plain.c - see plain.h.
 */
#include "plain.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "feeds_messages.h"
#include "hold.h"
#include "lib/wait.h"
#include "names.h"
#include "rate.h"
#include "refusals.h"
#include "ringcast_feed.h"
#include "ringcast_stats.h"
#include "sessions.h"
#include "visits.h"
#include "wire.h"
#include "wish.h"

#define PAGE_MESSAGES_MAX 1000
#define PAGE_SIZE_MAX (1u << 20)     /* of its messages; a larger one comes alone */
#define GRACE_NS (5 * NS_PER_SECOND) /* in which a session says that a poll has waited long enough */
#define STATE_SIZE_MAX (4u << 20)    /* of a topic's state, which comes whole or not at all */

/* ---- a page: the answer to a poll ---- */

struct page {
	struct app_client *client;
	struct app_out *messages, *topics;
	size_t count, topic_count;
	bool more;         /* there are messages, or topics, for which there was no room */
	uint64_t sequence; /* the number that the page reaches in the topic that is being read */
};

static void add_message(struct page *page, const char *bytes, size_t size)
{
	app_out_text(page->messages, page->count++ ? "," : "");
	app_out_bytes(page->messages, bytes, size);
}

/* Under the log's lock. */
static bool take(void *context, const struct rc_past *past)
{
	struct page *page = context;
	if (past->opcode == RC_TEXT) {
		if (page->count >= PAGE_MESSAGES_MAX ||
		    (page->count && page->messages->size + past->size > PAGE_SIZE_MAX)) {
			page->more = true;
			return false;
		}
		add_message(page, past->data, past->size);
	}
	page->sequence = past->sequence;
	return true;
}

static void add_gap(struct page *page, const char *name, uint64_t from, uint64_t to, uint64_t epoch, bool reset)
{
	struct app_out *out = &page->client->crew->out;
	app_out_clear(out);
	app_out_gap(out, name, strlen(name), from, to, epoch, reset);
	add_message(page, out->bytes, out->size);
}

/* Where a topic is read from. If the client named a number, from there. If a pattern found the topic since the last
 * poll, from its beginning. Else from now on. */
static uint64_t since_of(const struct page *page, const struct rc_topic_stats *stats, bool by_pattern)
{
	const json_t *message = page->client->wish->message, *all = json_object_get(message, "since");
	const json_t *since = json_object_get(all, stats->name);
	if (since)
		return (uint64_t)json_integer_value(since);
	if (all && by_pattern)
		return 0;
	return stats->sequence - (stats->sequence && json_is_true(json_object_get(message, "last")));
}

/* Under the log's lock. */
static bool take_line(void *context, const struct rc_past *past)
{
	struct app_out *lines = context;
	lines->failed |= lines->size + past->size > STATE_SIZE_MAX;
	if (past->opcode == RC_TEXT && !lines->failed)
		app_out_line(lines, past->data, past->size);
	return !lines->failed;
}

/* The state comes whole, since half of one would be none; one that is too large is answered with 503. To a client that
 * knew the topic it is said that this is void. */
static void read_state(struct page *page, struct rc_topic_stats *stats, bool known)
{
	struct app_out lines = { 0 }, *out = &page->client->crew->out;
	size_t size = strlen(stats->name);
	rc_topic_state(page->client->app->server, stats->name, size, &stats->epoch, &stats->sequence, NULL, take_line,
	               &lines);
	if (known) {
		app_out_clear(out);
		app_out_resync(out, "topic", stats->name, size, stats->epoch, stats->sequence);
		add_message(page, out->bytes, out->size);
	}
	for (size_t at = 0; at < lines.size;) {
		size_t line_size = (size_t)((char *)memchr(lines.bytes + at, '\n', lines.size - at) -
		                            (lines.bytes + at));
		add_message(page, lines.bytes + at, line_size);
		at += line_size + 1;
	}
	page->messages->failed |= lines.failed;
	page->sequence = stats->sequence;
	app_out_free(&lines);
}

static bool asks_for_state(const json_t *message)
{
	return json_is_true(json_object_get(message, "state")) || json_is_true(json_object_get(message, "snapshot"));
}

static void add_topic(struct page *page, const struct rc_topic_stats *stats)
{
	page->topic_count++;
	app_out_text(page->topics, page->topics->size ? ",{\"topic\":" : "{\"topic\":");
	app_out_string(page->topics, stats->name, strlen(stats->name));
	app_out_format(page->topics, ",\"seq\":%llu,\"epoch\":%llu}", (unsigned long long)page->sequence,
	               (unsigned long long)stats->epoch);
}

static void read_topic(struct page *page, struct rc_topic_stats *stats, bool by_pattern)
{
	const json_t *message = page->client->wish->message;
	const json_t *told = json_object_get(json_object_get(message, "epoch"), stats->name);
	bool named = json_object_get(json_object_get(message, "since"), stats->name);
	uint64_t since = since_of(page, stats, by_pattern);
	/* The topic's numbers began again since the client saw them. */
	bool reset = since && ((since > stats->sequence && !stats->elsewhere) ||
	                       (told && (uint64_t)json_integer_value(told) != stats->epoch));
	since = reset ? 0 : since;
	bool gap = reset || (stats->lost > since && (since || !by_pattern));
	page->sequence = since;
	if (asks_for_state(message) && (!named || gap)) {
		read_state(page, stats, named);
		add_topic(page, stats);
		return;
	}
	if (gap) {
		add_gap(page, stats->name, since + 1, stats->lost, stats->epoch, reset);
		page->sequence = stats->lost;
	}
	rc_topic_read(page->client->app->server, stats->name, strlen(stats->name), since, PAGE_MESSAGES_MAX, take,
	              page);
	add_topic(page, stats);
}

/* Whether a topic stands in the page already: it was named, or an earlier pattern found it. */
static bool is_there(const json_t *topics, size_t before, const char *name)
{
	size_t index, size = strlen(name);
	json_t *each;
	json_array_foreach((json_t *)topics, index, each)
	{
		if (strcmp(json_string_value(each), name) == 0 ||
		    (index < before && app_name_matches(json_string_value(each), json_string_length(each), name, size)))
			return true;
	}
	return false;
}

static void read_pattern(struct page *page, size_t index)
{
	const json_t *topics = json_object_get(page->client->wish->message, "topics");
	const json_t *pattern = json_array_get(topics, index);
	const char *text = json_string_value(pattern);
	size_t size = json_string_length(pattern), topics_max = app_settings_now(page->client->app)->subscriptions_max;
	struct rc_topic_stats *found = calloc(RC_TOPICS_LISTED_MAX, sizeof *found);
	size_t count = found ? rc_topics_match(page->client->app->server, text, size, found, RC_TOPICS_LISTED_MAX) : 0;
	for (size_t i = 0; i < count && i < RC_TOPICS_LISTED_MAX; i++) {
		if (app_name_reserved(found[i].name, strlen(found[i].name)) || is_there(topics, index, found[i].name))
			continue;
		if (page->topic_count == topics_max) {
			page->more = true;
			break;
		}
		read_topic(page, &found[i], true);
	}
	page->messages->failed |= !found;
	free(found);
}

static void write_page(struct app_client *client, bool more)
{
	struct app_crew *crew = client->crew;
	struct app_out *out = &crew->out;
	app_out_clear(out);
	app_out_text(out, "{\"messages\":[");
	app_out_bytes(out, crew->tail.bytes, crew->tail.size);
	app_out_text(out, "],\"topics\":[");
	app_out_bytes(out, crew->head.bytes, crew->head.size);
	app_out_text(out, more ? "],\"more\":true}\n" : "]}\n");
	out->failed |= crew->tail.failed || crew->head.failed;
}

/* Reads what is new into crew->tail (messages) and crew->head (topics), and writes the answer into crew->out. Returns
 * how many messages. */
size_t app_plain_page(struct app_client *client)
{
	struct app_crew *crew = client->crew;
	struct page page = { .client = client, .messages = &crew->tail, .topics = &crew->head };
	size_t index;
	json_t *each;
	app_out_clear(page.messages);
	app_out_clear(page.topics);
	const json_t *topics = json_object_get(client->wish->message, "topics");
	json_array_foreach((json_t *)topics, index, each)
	{
		const char *name = json_string_value(each);
		size_t size = json_string_length(each);
		struct rc_topic_stats stats = { 0 };
		if (name[size - 1] == '*')
			continue;
		if (rc_topic_stats(client->app->server, name, size, &stats))
			memcpy(stats.name, name, size + 1); /* nothing has been published there */
		read_topic(&page, &stats, false);
	}
	/* Patterns get what names leave of the room. */
	json_array_foreach((json_t *)topics, index, each)
	{
		if (json_string_value(each)[json_string_length(each) - 1] == '*')
			read_pattern(&page, index);
	}
	write_page(client, page.more);
	return page.count;
}

/* The waiting begins where the page ends in each topic, so that nothing is missed in between. */
static bool remember_page(struct app_client *client)
{
	struct app_out *out = &client->crew->out;
	json_t *message = client->wish->message, *each, *since, *epoch;
	size_t index;
	if (out->failed || json_object_set_new(message, "since", since = json_object()) ||
	    json_object_set_new(message, "epoch", epoch = json_object()))
		return false;
	json_t *page = json_loadb(out->bytes, out->size, 0, NULL);
	json_array_foreach(json_object_get(page, "topics"), index, each)
	{
		const char *name = json_string_value(json_object_get(each, "topic"));
		json_object_set(since, name, json_object_get(each, "seq"));
		json_object_set(epoch, name, json_object_get(each, "epoch"));
	}
	json_decref(page);
	return page;
}

/* ---- a client ---- */

int app_plain_begin(struct app_client *client, rc_request *request)
{
	struct app_wish *wish = client->wish;
	if (!wish->polls)
		return rc_request_events(request) ? 503 : 0;
	if (app_hold_waits(client) || wish->is_device)
		return rc_request_wait(request) ? 503 : 0;
	wish->fresh = !json_object_get(wish->message, "since");
	size_t count = app_plain_page(client);
	const struct app_out *out = &client->crew->out;
	app_address_drain(client->app, client->address, app_cost_of_answer(out->size));
	if (count || (wish->fresh && (!wish->wait_s || asks_for_state(wish->message)))) {
		client->opened = false;
		return out->failed || rc_request_respond(request, 200, "application/json", out->bytes, out->size) ? 503
		                                                                                                  : 0;
	}
	if (!wish->wait_s) {
		client->opened = false;
		return rc_request_respond(request, 204, NULL, NULL, 0) ? 503 : 0;
	}
	return !remember_page(client) || rc_request_wait(request) ? 503 : 0;
}

/* From here on it hears what a WebSocket of its user would. */
static void begin_device(struct app_client *client)
{
	if (app_sessions_enter(client, app_sessions_name(client), client->wish->rooms))
		return;
	app_refusals_note(client->app, client->address->name, 429, "this user has too many connections");
	app_close(client, RC_CLOSE_POLICY, "too many connections");
}

static void begin(struct app_client *client)
{
	if (client->wish->polls)
		client->times.wait_ns = clock_now() + client->wish->wait_s * NS_PER_SECOND;
	if (client->wish->polls && client->wish->is_device) {
		client->times.wait_ns += GRACE_NS;
		app_visits_poll(client);
		return;
	}
	if (json_array_size(json_object_get(client->wish->message, "topics")))
		app_feeds_subscribe(client, client->wish->message, NULL);
	if (client->wish->is_device)
		begin_device(client);
}

void app_plain_open(struct app_client *client)
{
	if (!app_hold_waits(client))
		begin(client);
}

void app_plain_go(struct app_client *client)
{
	const struct app_wish *wish = client->wish;
	const struct app_out *out = &client->crew->out;
	if (!wish->polls || wish->is_device) {
		begin(client);
		return;
	}
	client->wish->fresh = !json_object_get(wish->message, "since");
	size_t count = app_plain_page(client);
	app_address_drain(client->app, client->address, app_cost_of_answer(out->size));
	if (!out->failed && (count || (wish->fresh && (!wish->wait_s || asks_for_state(wish->message)))))
		app_respond(client, 200, out->bytes, out->size);
	else if (!out->failed && !wish->wait_s)
		app_respond(client, 204, NULL, 0);
	else if (remember_page(client))
		begin(client);
	else
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
}

void app_plain_refuse(struct app_client *client, int status, const char *words)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	if (client->wish->polls) {
		app_respond_error(client, status, words);
		return;
	}
	app_out_format(out, "{\"type\":\"error\",\"code\":\"%s\",\"message\":",
	               status == 401   ? "AUTH_FAILED"
	               : status == 403 ? "PERMISSION_DENIED"
	               : status == 429 ? "RATE_LIMIT_EXCEEDED"
	                               : "TRY_LATER");
	app_out_string(out, words, strlen(words));
	app_out_text(out, "}");
	app_send(client, out);
	app_close(client, RC_CLOSE_POLICY, "refused");
}

void app_plain_ready(struct app_client *client)
{
	if (!client->closing && client->wish->is_device) {
		app_visits_look(client);
		return;
	}
	if (client->closing || !app_plain_page(client))
		return;
	const struct app_out *out = &client->crew->out;
	app_address_drain(client->app, client->address, app_cost_of_answer(out->size));
	if (out->failed)
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
	else
		app_respond(client, 200, out->bytes, out->size);
}

/* Who did not know where the topics stand does now, and misses nothing until it asks again. */
void app_plain_due(struct app_client *client)
{
	const struct app_out *out = &client->crew->out;
	if (client->wish->is_device) {
		app_respond_error(client, 503,
		                  "the server is overloaded"); /* its session did not say that time is over */
	} else if (client->wish->fresh) {
		app_plain_page(client);
		app_respond(client, 200, out->bytes, out->size);
	} else {
		app_respond(client, 204, NULL, 0);
	}
}
