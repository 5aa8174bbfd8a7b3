/* SPDX-License-Identifier: MIT
 *
 * plain.c - feeds for clients without WebSocket: a stream of server-sent events, or one answer after another.
 *
 *      GET /sse/TOPIC[,TOPIC...]     what `subscribe` says, in an address; then all that follows, as events
 *      GET /poll/TOPIC[,TOPIC...]    what is new in them now, or else the first that is new within `wait` seconds
 *
 * Who asks is a client like any other, which cannot speak: it follows feeds through the same cursors. A poll is told by
 * its cursor that there is something, and then reads the log.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feeds.h"
#include "lib/wait.h"

#define WAIT_S 25
#define WAIT_S_MAX 60
#define PAGE_MESSAGES_MAX 1000
#define PAGE_SIZE_MAX (1u << 20) /* of its messages; one that is larger comes alone */
#define MATCHES_MAX 1000

/* ---- the address ---- */

static int say(rc_request *request, int status, const char *words)
{
	return rc_request_respond(request, status, "text/plain; charset=utf-8", words, strlen(words)) ? 503 : 0;
}

/* The topics in the path. Returns null, or what is wrong, with its status. */
static const char *take_topics(const char *list, size_t max, json_t *topics, int *status)
{
	*status = 400;
	for (;; list++) {
		size_t size = strcspn(list, ",");
		if (!size || size > APP_FEED_NAME_MAX)
			return "expected /TOPIC[,TOPIC...], each of 1 to 200 bytes\n";
		if (app_feed_name_reserved(list, size)) {
			*status = 403;
			return "topics that begin with room/ and data/ are the server's own\n";
		}
		if (json_array_size(topics) == max)
			return "too many topics\n";
		json_t *name = json_stringn(list, size);
		if (!name)
			return "a topic is UTF-8\n";
		json_array_append_new(topics, name);
		list += size;
		if (!*list)
			return NULL;
	}
}

/* "5,,7": a number for each topic, in their order, or nothing. False when it is wrong. */
static bool take_numbers(rc_request *request, const char *field, const json_t *topics, json_t *wish)
{
	const char *text = rc_request_query(request, field);
	if (!text)
		return true;
	json_t *numbers = json_object();
	json_object_set_new(wish, field, numbers);
	for (size_t i = 0;; i++) {
		char *end = (char *)text;
		unsigned long long number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
		if (number > INT64_MAX || (*end && *end != ',') || (end > text && i >= json_array_size(topics)))
			return false;
		if (end > text)
			json_object_set_new(numbers, json_string_value(json_array_get(topics, i)),
			                    json_integer((json_int_t)number));
		if (!*end)
			return true;
		text = end + 1;
	}
}

static bool is_on(const char *value)
{
	return value && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

static const char *take_wish(struct app_plain *plain, rc_request *request, const char *list, size_t topics_max,
                             int *status)
{
	json_t *topics = json_array();
	const char *wait = rc_request_query(request, "wait");
	char *end = NULL;
	unsigned long wait_s = wait && *wait >= '0' && *wait <= '9' ? strtoul(wait, &end, 10) : WAIT_S;
	*status = 400;
	if (!(plain->wish = json_object()) || json_object_set_new(plain->wish, "topics", topics))
		return "out of memory\n";
	const char *wrong = take_topics(list, topics_max, topics, status);
	if (wrong)
		return wrong;
	*status = 400;
	if (!take_numbers(request, "since", topics, plain->wish) ||
	    !take_numbers(request, "epoch", topics, plain->wish))
		return "since and epoch are whole numbers, one for each topic: ?since=5,,7\n";
	if (wait && (!end || *end))
		return "wait is a number of seconds, at most 60\n";
	plain->wait_s = wait_s < WAIT_S_MAX ? (unsigned)wait_s : WAIT_S_MAX;
	json_object_set_new(plain->wish, "last", json_boolean(is_on(rc_request_query(request, "last"))));
	json_object_set_new(plain->wish, "conflate", json_boolean(is_on(rc_request_query(request, "conflate"))));
	plain->after = rc_event_id(rc_request_header(request, "Last-Event-ID"));
	return NULL;
}

/* A header of the answer, now or, of a poll that waits, later. */
static void add_header(rc_request *request, struct app_plain *plain, const char *name, const char *value)
{
	rc_request_add_header(request, name, value);
	size_t used = plain ? strlen(plain->headers) : 0, room = plain ? sizeof plain->headers - used : 0;
	if (plain && (size_t)snprintf(plain->headers + used, room, "%s: %s\r\n", name, value) >= room)
		plain->headers[used] = 0;
}

/* Scripts of other sites may read the answer if their WebSocket would be let in; that is judged elsewhere. */
static void allow_origin(const struct app_settings *settings, rc_request *request, struct app_plain *plain)
{
	const char *origin = rc_request_header(request, "Origin");
	if (!origin)
		return;
	add_header(request, plain, "Access-Control-Allow-Origin", settings->origins.count ? origin : "*");
	add_header(request, plain, "Vary", "Origin");
}

static int answer_preflight(const struct app_settings *settings, rc_request *request)
{
	if (!app_access_origin(settings, request))
		return say(request, 403, "this origin is not allowed\n");
	allow_origin(settings, request, NULL);
	rc_request_add_header(request, "Access-Control-Allow-Methods", "GET");
	rc_request_add_header(request, "Access-Control-Allow-Headers", "Authorization, Last-Event-ID");
	rc_request_add_header(request, "Access-Control-Max-Age", "600");
	return rc_request_respond(request, 204, NULL, NULL, 0) ? 503 : 0;
}

int app_plain_answer(struct app *app, rc_request *request)
{
	const struct app_settings *settings = app_settings_now(app);
	const char *path = rc_request_path(request), *method = rc_request_method(request);
	bool polls = strncmp(path, "/poll/", 6) == 0;
	if (!polls && strncmp(path, "/sse/", 5) != 0)
		return -1;
	if (strcmp(method, "OPTIONS") == 0)
		return answer_preflight(settings, request);
	if (strcmp(method, "GET") != 0)
		return 405;
	if (atomic_load(&app->draining))
		return say(request, 503, "going away\n");
	struct app_plain *plain = calloc(1, sizeof *plain);
	if (!plain)
		return 503;
	int status;
	plain->polls = polls;
	const char *wrong = take_wish(plain, request, path + (polls ? 6 : 5), settings->subscriptions_max, &status);
	if (wrong) {
		app_plain_free(plain);
		return say(request, status, wrong);
	}
	allow_origin(settings, request, plain);
	if (polls)
		add_header(request, plain, "Cache-Control", "no-store");
	return app_clients_open(app, request, plain);
}

void app_plain_free(struct app_plain *plain)
{
	if (!plain)
		return;
	json_decref(plain->wish);
	free(plain);
}

/* ---- a page: the answer to a poll ---- */

struct page {
	struct app_client *client;
	struct app_out *messages, *topics;
	size_t count;
	uint64_t sequence; /* of the topic that is being read: as far as the page goes */
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
		    (page->count && page->messages->size + past->size > PAGE_SIZE_MAX))
			return false;
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

/* Where a topic is read from: as it was asked for; else a topic that began since the last poll from its beginning, and
 * one that nobody spoke of before from now on. */
static uint64_t since_of(const struct page *page, const struct rc_topic_stats *stats, bool by_pattern)
{
	const json_t *wish = page->client->plain->wish, *all = json_object_get(wish, "since");
	const json_t *since = json_object_get(all, stats->name);
	if (since)
		return (uint64_t)json_integer_value(since);
	if (all && by_pattern)
		return 0;
	return stats->sequence - (stats->sequence && json_is_true(json_object_get(wish, "last")));
}

static void read_topic(struct page *page, const struct rc_topic_stats *stats, bool by_pattern)
{
	json_t *wish = page->client->plain->wish;
	const json_t *told = json_object_get(json_object_get(wish, "epoch"), stats->name);
	uint64_t since = since_of(page, stats, by_pattern), first = stats->oldest ? stats->oldest : stats->sequence + 1;
	/* Its numbers began again since the client has seen it. */
	bool reset = since && (since > stats->sequence || (told && (uint64_t)json_integer_value(told) != stats->epoch));
	since = reset ? 0 : since;
	page->sequence = since;
	if (reset || (first > since + 1 && (since || !by_pattern))) {
		add_gap(page, stats->name, since + 1, first - 1, stats->epoch, reset);
		page->sequence = first - 1;
	}
	rc_topic_read(page->client->app->server, stats->name, strlen(stats->name), since, PAGE_MESSAGES_MAX, take,
	              page);
	app_out_text(page->topics, page->topics->size ? ",{\"topic\":" : "{\"topic\":");
	app_out_string(page->topics, stats->name, strlen(stats->name));
	app_out_format(page->topics, ",\"seq\":%llu,\"epoch\":%llu}", (unsigned long long)page->sequence,
	               (unsigned long long)stats->epoch);
}

static bool is_named(const json_t *topics, const char *name)
{
	size_t index;
	json_t *each;
	json_array_foreach((json_t *)topics, index, each) if (strcmp(json_string_value(each), name) == 0) return true;
	return false;
}

static void read_pattern(struct page *page, const char *pattern, size_t size)
{
	const json_t *topics = json_object_get(page->client->plain->wish, "topics");
	struct rc_topic_stats *found = calloc(MATCHES_MAX, sizeof *found);
	size_t count = found ? rc_topics_match(page->client->app->server, pattern, size, found, MATCHES_MAX) : 0;
	for (size_t i = 0; i < count && i < MATCHES_MAX; i++)
		if (!app_feed_name_reserved(found[i].name, strlen(found[i].name)) && !is_named(topics, found[i].name))
			read_topic(page, &found[i], true);
	page->messages->failed |= !found;
	free(found);
}

/* Reads what is new into crew->tail (messages) and crew->head (topics). Returns how many messages. */
static size_t read_page(struct app_client *client)
{
	struct app_crew *crew = client->crew;
	struct page page = { .client = client, .messages = &crew->tail, .topics = &crew->head };
	size_t index;
	json_t *each;
	app_out_clear(page.messages);
	app_out_clear(page.topics);
	json_array_foreach(json_object_get(client->plain->wish, "topics"), index, each)
	{
		const char *name = json_string_value(each);
		size_t size = json_string_length(each);
		struct rc_topic_stats stats = { 0 };
		if (name[size - 1] == '*') {
			read_pattern(&page, name, size);
			continue;
		}
		if (rc_topic_stats(client->app->server, name, size, &stats))
			memcpy(stats.name, name, size + 1); /* nothing has been said there */
		read_topic(&page, &stats, false);
	}
	return page.count;
}

static void write_page(struct app_client *client)
{
	struct app_crew *crew = client->crew;
	struct app_out *out = &crew->out;
	app_out_clear(out);
	app_out_text(out, "{\"messages\":[");
	app_out_bytes(out, crew->tail.bytes, crew->tail.size);
	app_out_text(out, "],\"topics\":[");
	app_out_bytes(out, crew->head.bytes, crew->head.size);
	app_out_text(out, "]}\n");
	out->failed |= crew->tail.failed || crew->head.failed;
}

/* What the page says of each topic is where the waiting begins, so that nothing falls in between. */
static bool remember_page(struct app_client *client)
{
	struct app_out *out = &client->crew->out;
	json_t *wish = client->plain->wish, *each, *since = json_object(), *epoch = json_object();
	size_t index;
	write_page(client);
	if (json_object_set_new(wish, "since", since) || json_object_set_new(wish, "epoch", epoch) || out->failed)
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
	const struct app_plain *plain = client->plain;
	if (!plain->polls)
		return rc_request_events(request) ? 503 : 0;
	bool knows = json_object_get(plain->wish, "since");
	size_t count = read_page(client);
	if (count || !knows) {
		const struct app_out *out = &client->crew->out;
		write_page(client);
		client->opened = false;
		return out->failed || rc_request_respond(request, 200, "application/json", out->bytes, out->size) ? 503
		                                                                                                  : 0;
	}
	if (!plain->wait_s) {
		client->opened = false;
		return rc_request_respond(request, 204, NULL, NULL, 0) ? 503 : 0;
	}
	return !remember_page(client) || rc_request_wait(request) ? 503 : 0;
}

void app_plain_open(struct app_client *client)
{
	if (client->plain->polls)
		client->wait_ns = clock_now() + client->plain->wait_s * NS_PER_SECOND;
	app_feeds_subscribe(client, client->plain->wish, NULL);
}

static void respond(struct app_client *client, int status, const char *body, size_t size)
{
	rc_respond(client->app->server, client->conn, status, "application/json", client->plain->headers, body, size);
	client->closing = true;
	app_clock_set(client);
}

void app_plain_ready(struct app_client *client)
{
	if (client->closing || !read_page(client))
		return;
	write_page(client);
	const struct app_out *out = &client->crew->out;
	if (out->failed)
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
	else
		respond(client, 200, out->bytes, out->size);
}

void app_plain_due(struct app_client *client)
{
	respond(client, 204, NULL, 0);
}
