/* SPDX-License-Identifier: MIT
 *
 * feeds_messages.c - see feeds_messages.h: from the words of a message to feeds, and back.
 */
#include "feeds_messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "directory.h"
#include "feeds.h"
#include "fields.h"
#include "lib/text.h"
#include "names.h"
#include "rate.h"
#include "rights.h"
#include "ringcast_replica.h"
#include "ringcast_stats.h"
#include "rooms.h"
#include "wire.h"
#include "wish.h"

#define HISTORY_SIZE_MAX (256u << 10) /* of a page; a larger message comes alone */
/* So many entries of a room are read for each message that is asked for: most may tell who joined and who left. */
#define EVENTS_PER_MESSAGE 8

/* What a subscribe asks for, and what comes of it. */
struct following {
	struct app_client *client;
	const json_t *since, *epoch; /* a number for all, or an object by topic; or null */
	struct rc_event_id after;    /* of server-sent events */
	struct rc_start start;       /* what holds for all of them */
	struct app_out *list, *gaps; /* topics and where they stand; what is missing, a line each */
};

static const json_t *by_topic(const json_t *value, const char *topic)
{
	return json_is_object(value) ? json_object_get(value, topic) : value;
}

static struct rc_start begin(const struct following *following, const char *topic)
{
	const json_t *since = by_topic(following->since, topic);
	struct rc_start start = following->start;
	start.resume = since;
	start.after = following->after;
	start.since = since ? (uint64_t)json_integer_value(since) : 0;
	return start;
}

static bool are_numbers(const json_t *value)
{
	const char *key;
	json_t *each;
	if (!value || (json_is_integer(value) && json_integer_value(value) >= 0))
		return true;
	if (!json_is_object(value))
		return false;
	json_object_foreach((json_t *)value, key,
	                    each) if (!json_is_integer(each) || json_integer_value(each) < 0) return false;
	return true;
}

static bool is_flag(const json_t *value)
{
	return !value || json_is_boolean(value);
}

/* The topics of a message: an array of names. Null after telling what is wrong. */
static const json_t *need_topics(struct app_client *client, const json_t *message, const json_t *id)
{
	const json_t *topics = json_object_get(message, "topics");
	size_t index, max = app_settings_now(client->app)->subscriptions_max;
	json_t *each;
	if (!json_is_array(topics) || !json_array_size(topics)) {
		app_send_error(client, id, topics ? "INVALID_FIELD" : "MISSING_FIELD",
		               topics ? "Wrong field: topics: expected an array of names" : "Missing field: topics");
		return NULL;
	}
	if (json_array_size(topics) > max) {
		app_send_error(client, id, "TOO_MANY_SUBSCRIPTIONS", "Too many topics");
		return NULL;
	}
	json_array_foreach(topics, index, each)
	{
		const char *name = json_string_value(each);
		size_t size = json_string_length(each);
		if (!name || !text_is_name(name, size)) {
			app_send_error(client, id, "INVALID_FIELD", "Wrong field: topics: expected an array of names");
			return NULL;
		}
		if (size > APP_FEED_NAME_MAX) {
			app_send_error(client, id, "TOO_LONG", "Too long: a topic has at most 200 bytes");
			return NULL;
		}
		const char *why = app_rights_topic(client, name, size);
		if (why) {
			app_send_error(client, id, "PERMISSION_DENIED", why);
			return NULL;
		}
	}
	return topics;
}

/* Adds a gap: what the log no longer has for the client. */
static void add_gap(const struct following *following, const char *name, size_t size, const struct rc_start *start,
                    uint64_t epoch, bool reset)
{
	if (!reset && !start->lost)
		return;
	app_out_gap(following->gaps, name, size, start->since + 1, start->lost, epoch, reset);
	app_out_text(following->gaps, "\n");
}

/* Whether the topic's numbers began again since the client saw them: all that is there now is new. */
static bool began_anew(const struct rc_start *start, const struct rc_topic_stats *stats, uint64_t since,
                       const json_t *epoch)
{
	return start->resume && since &&
	       ((since > stats->sequence && !stats->elsewhere) ||
	        (epoch && (uint64_t)json_integer_value(epoch) != stats->epoch));
}

static int follow(void *context, const char *name, size_t size)
{
	const struct following *following = context;
	struct app_client *client = following->client;
	struct rc_topic_stats stats = { 0 };
	struct rc_start start = begin(following, name);
	const json_t *epoch = by_topic(following->epoch, name);
	uint64_t since = start.since;
	int known = rc_topic_stats(client->app->server, name, size, &stats);
	bool reset = !known && began_anew(&start, &stats, since, epoch);
	if (reset) {
		start.since = 0;
		start.resume = !start.state && !start.snapshot;
	} else if (epoch) {
		start.epoch = (uint64_t)json_integer_value(epoch);
	}
	struct app_feed *feed = app_feeds_find(client, name, size);
	if (feed && feed->told == client->subscribe_count)
		return 0; /* it stands in this answer already */
	int code = feed ? 0 : app_feeds_follow(client, name, size, false, &start);
	if (code)
		return code;
	app_feeds_find(client, name, size)->told = client->subscribe_count;
	/* One that was not there is now: empty, and perhaps of a stream that this node has not read so far yet. */
	if (known) {
		rc_topic_stats(client->app->server, name, size, &stats);
		reset = began_anew(&start, &stats, since, epoch);
	}
	app_out_text(following->list, following->list->size ? ",{\"topic\":" : "{\"topic\":");
	app_out_string(following->list, name, size);
	bool state = !feed && app_feeds_begins_with_state(&start);
	app_out_format(following->list, ",\"seq\":%llu,\"epoch\":%llu%s}",
	               (unsigned long long)(state ? start.first - 1 : stats.sequence), (unsigned long long)stats.epoch,
	               state ? ",\"state\":true" : "");
	if (!feed && !state && !start.resumed && (start.resume || start.after.epoch))
		add_gap(following, name, size, &start, stats.epoch, start.resume ? reset : true);
	return 0;
}

static void send_lines(struct app_client *client, const struct app_out *lines)
{
	struct app_out *out = &client->crew->out;
	if (lines->failed)
		return; /* and so has the answer before them */
	for (size_t at = 0; at < lines->size && !client->closing;) {
		const char *end = memchr(lines->bytes + at, '\n', lines->size - at);
		size_t size = (size_t)(end - (lines->bytes + at));
		app_out_clear(out);
		app_out_bytes(out, lines->bytes + at, size);
		app_send(client, out);
		at += size + 1;
	}
}

static int subscribe_all(const json_t *topics, struct following *following)
{
	struct app_out *list = following->list;
	size_t index;
	json_t *each;
	json_array_foreach(topics, index, each)
	{
		const char *name = json_string_value(each);
		size_t size = json_string_length(each);
		int code;
		if (name[size - 1] == '*') {
			app_out_text(list, list->size ? ",{\"topic\":" : "{\"topic\":");
			app_out_string(list, name, size);
			app_out_text(list, "}");
			code = app_feeds_subscribe_pattern(following->client, name, size, &following->start, follow,
			                                   following);
		} else {
			code = follow(following, name, size);
		}
		if (code)
			return code;
		if (name[size - 1] != '*')
			app_feeds_find(following->client, name, size)->chosen = true;
	}
	return 0;
}

void app_feeds_subscribe(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_out *out = &client->crew->out, *list = &client->crew->head, *gaps = &client->crew->tail;
	const json_t *topics = need_topics(client, message, id), *last = json_object_get(message, "last");
	const json_t *conflate = json_object_get(message, "conflate"), *rate = json_object_get(message, "rate");
	const json_t *state = json_object_get(message, "state"), *snapshot = json_object_get(message, "snapshot");
	struct following following = {
		.client = client,
		.list = list,
		.gaps = gaps,
		.after = client->wish ? client->wish->after : (struct rc_event_id){ 0 },
		.since = json_object_get(message, "since"),
		.epoch = json_object_get(message, "epoch"),
		.start = { .last = json_is_true(last),
		           .conflate = json_is_true(conflate),
		           .state = json_is_true(state),
		           .snapshot = json_is_true(snapshot),
		           .rate = (unsigned)json_integer_value(rate) },
	};
	if (!topics)
		return;
	if (!are_numbers(following.since) || !are_numbers(following.epoch) || !is_flag(last) || !is_flag(conflate) ||
	    !is_flag(state) || !is_flag(snapshot)) {
		app_send_error(client, id, "INVALID_FIELD",
		               "Wrong field: since and epoch are whole numbers; last, conflate, state and snapshot "
		               "true or false");
		return;
	}
	if (rate &&
	    (!json_is_integer(rate) || json_integer_value(rate) < 1 || json_integer_value(rate) > RC_RATE_MAX)) {
		app_send_error(client, id, "INVALID_FIELD", "Wrong field: rate: expected a number from 1 to 1000");
		return;
	}
	app_out_clear(list);
	app_out_clear(gaps);
	client->subscribe_count++;
	int code = subscribe_all(topics, &following);
	app_out_clear(out);
	app_out_type(out, "subscribed", id);
	app_out_text(out, ",\"topics\":[");
	app_out_bytes(out, list->bytes, list->size);
	app_out_text(out, "]}");
	out->failed |= list->failed || gaps->failed;
	app_send(client, out);
	send_lines(client, gaps);
	if (code)
		app_send_error(client, id, "TOO_MANY_SUBSCRIPTIONS",
		               code == -ENOSPC ? "Too many subscriptions: the others were not made"
		                               : "Not subscribed to all");
}

void app_feeds_unsubscribe(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_out *out = &client->crew->out;
	const json_t *topics = need_topics(client, message, id);
	size_t index;
	json_t *each;
	if (!topics)
		return;
	app_out_clear(out);
	app_out_type(out, "unsubscribed", id);
	app_out_text(out, ",\"topics\":");
	app_out_value(out, topics);
	app_out_text(out, "}");
	json_array_foreach(topics, index, each)
	    app_feeds_drop(client, json_string_value(each), json_string_length(each));
	app_send(client, out);
}

/* One message names all that goes: the patterns and the names that the client asked for and may not have any more. */
void app_feeds_recheck(struct app_client *client)
{
	struct app_out *out = &client->crew->out;
	char name[APP_FEED_NAME_MAX + 1];
	unsigned count = 0;
	app_out_clear(out);
	app_out_type(out, "unsubscribed", NULL);
	app_out_text(out, ",\"code\":\"PERMISSION_DENIED\",\"topics\":[");
	while (app_feeds_drop_one(client, app_rights_topic, name)) {
		app_out_text(out, count++ ? "," : "");
		app_out_string(out, name, strlen(name));
	}
	app_out_text(out, "]}");
	if (count)
		app_send(client, out);
}

/* ---- history ---- */

/* Where a message stands, and how large it is. */
struct mark {
	uint64_t sequence;
	size_t size;
};

struct reading {
	struct app_out *lines;
	struct mark *marks; /* a ring of the last `max`, while what is newest is measured */
	size_t count, max;
	bool room, full;
	unsigned visits;
	uint64_t epoch, sequence;
};

static bool begins_with(const struct rc_past *past, const char *text)
{
	return past->size >= strlen(text) && memcmp(past->data, text, strlen(text)) == 0;
}

/* Of a room's topic, messages are history, each whole; who came and went is not. */
static bool is_history(struct reading *reading, const struct rc_past *past)
{
	static const char *const passed[] = { "{\"type\":\"user_joined\"", "{\"type\":\"user_left\"",
		                              "{\"type\":\"partial\",\"part\":\"begin\"",
		                              "{\"type\":\"partial\",\"part\":\"piece\"" };
	reading->epoch = past->epoch;
	reading->visits++;
	for (size_t i = 0; reading->room && i < sizeof passed / sizeof *passed; i++)
		if (begins_with(past, passed[i]))
			return false;
	return true;
}

/* Under the log's lock, as the next one: it copies nothing, because most of it may be too old for the page. */
static bool measure_past(void *context, const struct rc_past *past)
{
	struct reading *reading = context;
	if (is_history(reading, past))
		reading->marks[reading->count++ % reading->max] = (struct mark){ past->sequence, past->size };
	return true;
}

static bool take_past(void *context, const struct rc_past *past)
{
	struct reading *reading = context;
	if (is_history(reading, past)) {
		reading->full = reading->count == reading->max ||
		                (reading->count && reading->lines->size + past->size > HISTORY_SIZE_MAX);
		if (reading->full)
			return false;
		app_out_line(reading->lines, past->data, past->size);
		reading->count++;
	}
	reading->sequence = past->sequence;
	return true;
}

/* The number behind which the newest messages begin that fit into a page. *more: not all that were asked for do. */
static uint64_t find_newest(struct reading *reading, rc_server *server, const char *topic, size_t topic_size,
                            uint64_t from, unsigned visits_max, bool *more)
{
	size_t size = 0, taken = 0;
	app_out_clear(reading->lines);
	reading->marks = (struct mark *)app_out_room(reading->lines, reading->max * sizeof *reading->marks);
	if (!reading->max || !reading->marks)
		return from;
	rc_topic_read(server, topic, topic_size, from, visits_max, measure_past, reading);
	size_t count = reading->count < reading->max ? reading->count : reading->max;
	for (; taken < count; taken++) {
		const struct mark *mark = &reading->marks[(reading->count - 1 - taken) % reading->max];
		size += mark->size + 1;
		if (taken && size > HISTORY_SIZE_MAX)
			break;
		from = mark->sequence - 1;
	}
	*more = taken < count;
	reading->count = 0;
	reading->visits = 0;
	return from;
}

/* A number, or the id of a room's message: "EPOCH-SEQ". -1: neither. */
static int64_t parse_since(const json_t *value, uint64_t epoch)
{
	char *end;
	const char *text = json_string_value(value);
	if (!text)
		return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value) : -1;
	unsigned long long told = strtoull(text, &end, 16);
	if (*end != '-' || end[1] < '0' || end[1] > '9')
		return -1;
	unsigned long long sequence = strtoull(end + 1, &end, 10);
	if (*end || sequence > INT64_MAX)
		return -1;
	return told == epoch ? (int64_t)sequence : 0;
}

static void send_history(struct app_client *client, const json_t *id, const char *field, const char *name, size_t size,
                         const struct reading *reading, bool more)
{
	struct app_out *out = &client->crew->out;
	const struct app_out *lines = reading->lines;
	app_out_clear(out);
	app_out_type(out, "history", id);
	app_out_format(out, ",\"%s\":", field);
	app_out_string(out, name, size);
	app_out_format(out, ",\"seq\":%llu,\"epoch\":%llu%s,\"messages\":[", (unsigned long long)reading->sequence,
	               (unsigned long long)reading->epoch, more ? ",\"more\":true" : "");
	for (size_t at = 0; at < lines->size;) {
		const char *line = lines->bytes + at, *end = memchr(line, '\n', lines->size - at);
		app_out_text(out, at ? "," : "");
		app_out_bytes(out, line, (size_t)(end - line));
		at += (size_t)(end - line) + 1;
	}
	app_out_text(out, "]}");
	out->failed |= lines->failed;
	app_rate_drain(client, app_cost_of_answer(out->size));
	if (!app_send_if_room(client, out))
		app_send_error(client, id, "TRY_LATER", "Earlier answers have not been read yet");
}

void app_feeds_history(struct app_client *client, const json_t *message, const json_t *id)
{
	rc_server *server = client->app->server;
	bool room = json_object_get(message, "room");
	const json_t *since = json_object_get(message, "since");
	size_t size, history_max = app_settings_now(client->app)->history_max;
	const char *field = room ? "room" : "topic";
	const char *name = app_field_text(client, message, id, field, room ? APP_ROOM_NAME_MAX : APP_FEED_NAME_MAX,
	                                  &size);
	int64_t limit = name
	                    ? app_field_number(client, message, id, "limit", (int64_t)history_max, (int64_t)history_max)
	                    : -1;
	if (limit < 0)
		return;
	const struct app_member *member = room ? app_rooms_find(client, name, size) : NULL;
	if (room && !member) {
		app_send_error(client, id, "NOT_A_MEMBER", "Not a member of this room");
		return;
	}
	if (!room && app_name_reserved(name, size)) {
		app_send_error(client, id, "PERMISSION_DENIED", "Permission denied: this topic is the server's own");
		return;
	}
	const char *why = room ? NULL : app_rights_topic(client, name, size);
	if (why) {
		app_send_error(client, id, "PERMISSION_DENIED", why);
		return;
	}
	struct rc_topic_stats stats = { 0 };
	const char *topic = room ? member->room->topic : name;
	size_t topic_size = room ? member->room->topic_size : size;
	rc_topic_stats(server, topic, topic_size, &stats);
	int64_t from = since ? parse_since(since, stats.epoch) : 0;
	if (from < 0) {
		app_send_error(client, id, "INVALID_FIELD",
		               "Wrong field: since: expected a sequence number or a message id");
		return;
	}
	uint64_t begin = room ? app_rooms_begin(client->app, member->room, stats.epoch, stats.sequence) : 0;
	if (from < (int64_t)begin)
		from = (int64_t)begin;
	unsigned visits_max = (unsigned)(history_max * EVENTS_PER_MESSAGE);
	unsigned back = (unsigned)limit * (room ? EVENTS_PER_MESSAGE : 1);
	bool more = false;
	struct reading reading = {
		.lines = &client->crew->tail, .max = (size_t)limit, .room = room, .epoch = stats.epoch
	};
	if (!since) {
		uint64_t newest = rc_topic_since(server, topic, topic_size, back);
		from = (int64_t)find_newest(&reading, server, topic, topic_size, newest > begin ? newest : begin,
		                            visits_max, &more);
	}
	app_out_clear(reading.lines);
	reading.sequence = (uint64_t)from;
	rc_topic_read(server, topic, topic_size, (uint64_t)from, visits_max, take_past, &reading);
	if (!reading.full && reading.visits < visits_max && reading.sequence < stats.sequence)
		reading.sequence = stats.sequence; /* the log no longer has what is in between */
	if (since)
		more = reading.sequence < stats.sequence;
	send_history(client, id, field, name, size, &reading, more);
}
