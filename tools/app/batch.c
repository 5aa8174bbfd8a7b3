/* SPDX-License-Identifier: MIT
 *
 * batch.c - see batch.h. It knows no message but `batch` and `batching`.
 */
#include "batch.h"

#include <string.h>

#include "app.h"
#include "client.h"
#include "directory.h"
#include "feeds.h"
#include "fields.h"
#include "lib/wait.h"
#include "passing.h"
#include "rate.h"
#include "ringcast_feed.h"
#include "ringcast_stats.h"
#include "wire.h"

/* ---- theirs ---- */

void app_batch_receive(struct app_client *client, const json_t *message, const json_t *id,
                       void (*handle)(struct app_client *client, const json_t *message, unsigned depth))
{
	const json_t *messages = json_object_get(message, "messages");
	unsigned max = app_settings_now(client->app)->batch_max;
	size_t index;
	json_t *each;
	if (!json_is_array(messages)) {
		app_send_error(client, id, messages ? "INVALID_FIELD" : "MISSING_FIELD",
		               messages ? "Wrong field: messages: expected an array" : "Missing field: messages");
		return;
	}
	if (json_array_size(messages) > max) {
		app_send_error(client, id, "TOO_LONG", "Too long: too many messages in a batch");
		return;
	}
	json_array_foreach(messages, index, each)
	{
		if (client->closing)
			return;
		handle(client, each, 1);
	}
}

/* ---- ours ---- */

struct pull {
	struct app_client *client;
	struct app_feed *feed;
	struct app_out *lines;
};

/* Under the log's lock: copies, and leaves out what the client said itself. */
static bool take(void *context, const struct rc_past *past)
{
	struct pull *pull = context;
	pull->feed->since = past->sequence;
	if (past->except != pull->client->conn && past->opcode == RC_TEXT)
		app_out_line(pull->lines, past->data, past->size);
	return pull->lines->size < APP_BATCH_SIZE_MAX;
}

static void tell_gap(struct app_client *client, const struct app_feed *feed, uint64_t to)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_gap(out, feed->name, feed->size, feed->since + 1, to, feed->epoch, false);
	app_batch_add(client, out->bytes, out->size);
}

static void send_lines(struct app_client *client, const struct app_out *lines)
{
	if (lines->failed)
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
	for (size_t at = 0; at < lines->size && !client->closing;) {
		size_t size = (size_t)((char *)memchr(lines->bytes + at, '\n', lines->size - at) - (lines->bytes + at));
		if (lines->bytes[at]) /* see app_passing_read() */
			app_batch_add(client, lines->bytes + at, size);
		at += size + 1;
	}
}

/* Under the log's lock. */
static bool take_state(void *context, const struct rc_past *past)
{
	struct pull *pull = context;
	if (past->opcode == RC_TEXT)
		app_out_line(pull->lines, past->data, past->size);
	return true;
}

/* The state instead of what the log no longer has. */
static void pull_state(struct app_client *client, struct app_feed *feed, bool again)
{
	struct app_out *lines = &client->crew->tail, *out = &client->crew->out;
	struct pull pull = { .client = client, .feed = feed, .lines = lines };
	uint64_t epoch = 0, sequence = 0;
	app_out_clear(lines);
	rc_topic_state(client->app->server, feed->name, feed->size, &epoch, &sequence, NULL, take_state, &pull);
	feed->epoch = epoch;
	feed->since = sequence;
	feed->owes = false;
	if (again) {
		app_out_clear(out);
		app_out_resync(out, "topic", feed->name, feed->size, epoch, sequence);
		app_batch_add(client, out->bytes, out->size);
	}
	app_rate_drain(client, app_cost_of_answer(lines->size));
	send_lines(client, lines);
}

/* What the client knows of the topic is void. Of one that was only forgotten meanwhile that is nothing new. */
static void begin_anew(struct app_client *client, struct app_feed *feed, const struct rc_topic_stats *stats)
{
	struct app_out *out = &client->crew->out;
	feed->epoch = stats->epoch;
	feed->since = 0;
	if (!stats->elsewhere)
		return;
	feed->since = stats->lost;
	size_t prefix = app_spans(client->app) ? app_room_prefix(feed->name, feed->size) : 0;
	if (feed->room && !prefix)
		return;
	app_out_clear(out);
	app_out_resync(out, prefix ? "room" : "topic", feed->name + prefix, feed->size - prefix, stats->epoch,
	               stats->lost);
	app_batch_add(client, out->bytes, out->size);
}

static void pull_feed(struct app_client *client, struct app_feed *feed)
{
	struct app_out *lines = &client->crew->tail;
	struct pull pull = { .client = client, .feed = feed, .lines = lines };
	struct rc_topic_stats stats;
	if (rc_topic_stats(client->app->server, feed->name, feed->size, &stats))
		return; /* nothing has been published there */
	bool lost = stats.epoch != feed->epoch || stats.lost > feed->since;
	if (feed->owes || (feed->state && lost)) {
		pull_state(client, feed, !feed->owes);
		return;
	}
	if (stats.epoch != feed->epoch)
		begin_anew(client, feed, &stats);
	if (stats.sequence <= feed->since)
		return;
	if (!feed->room && stats.lost > feed->since)
		tell_gap(client, feed, stats.lost);
	app_out_clear(lines);
	if (app_passing_is_topic(feed->name))
		feed->since = app_passing_read(client, feed->name, feed->size, feed->since, stats.sequence, lines);
	else
		rc_topic_read(client->app->server, feed->name, feed->size, feed->since, client->batch_count, take,
		              &pull);
	send_lines(client, lines);
}

/* Puts a feed at the front, and those before it behind the last. */
static void turn_to(struct app_client *client, struct app_feed *front)
{
	struct app_feed **link = &client->feeds, *last = front;
	while (*link != front)
		link = &(*link)->next;
	if (link == &client->feeds)
		return;
	while (last->next)
		last = last->next;
	last->next = client->feeds;
	*link = NULL;
	client->feeds = front;
}

void app_batch_pull(struct app_client *client, size_t size_max)
{
	struct app_feed *feed = client->feeds;
	for (; feed && !client->closing && client->answers->size < size_max; feed = feed->next)
		if (feed->pulled)
			pull_feed(client, feed);
	if (feed)
		turn_to(client, feed);
}

void app_batch_due(struct app_client *client, uint64_t now_ns)
{
	if (!client->batch_count) {
		client->times.batch_ns = APP_NEVER;
		return;
	}
	for (struct app_feed *feed = client->feeds; feed && !client->closing; feed = feed->next)
		if (feed->pulled)
			pull_feed(client, feed);
	app_batch_flush(client);
	client->times.batch_ns = now_ns + client->batch_delay_ms * UINT64_C(1000000);
}

/* From now on a cursor follows what was read in batches, from the place that was reached. */
static void follow_all(struct app_client *client)
{
	for (struct app_feed *feed = client->feeds; feed; feed = feed->next) {
		struct rc_start start = { .resume = true, .since = feed->since, .epoch = feed->epoch };
		if (feed->pulled && !rc_subscribe(client->app->server, client->conn, feed->name, feed->size, &start))
			feed->pulled = false;
	}
}

void app_batch_set(struct app_client *client, const json_t *message, const json_t *id)
{
	const struct app_settings *settings = app_settings_now(client->app);
	struct app_out *out = &client->crew->out;
	int64_t count = app_field_number(client, message, id, "count", settings->batch_max, 0);
	int64_t delay = count < 0 ? -1
	                          : app_field_number(client, message, id, "delay", settings->batch_delay_max_ms, 0);
	if (delay < 0)
		return;
	bool on = count > 1 && delay > 0;
	if (!on && client->batch_count) {
		app_batch_due(client, clock_now());
		follow_all(client);
	}
	pthread_mutex_lock(&client->app->directory.lock);
	client->by_letter = on || client->reliable;
	pthread_mutex_unlock(&client->app->directory.lock);
	client->batch_count = 0; /* the answer is not part of a batch */
	app_out_clear(out);
	app_out_type(out, "batching", id);
	app_out_format(out, ",\"count\":%lld,\"delay\":%lld}", on ? (long long)count : 0, on ? (long long)delay : 0);
	app_send(client, out);
	client->batch_count = on ? (unsigned)count : 0;
	client->batch_delay_ms = on ? (unsigned)delay : 0;
	client->times.batch_ns = on ? clock_now() + (uint64_t)delay * 1000000 : APP_NEVER;
	app_clock_set(client);
}
