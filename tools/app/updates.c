/* SPDX-License-Identifier: MIT
 *
 * updates.c - see updates.h. A message's number is known when it has its turn in the log. So its text is made before,
 * but for the number, which is written in between then: head NUMBER tail.
 */
#include "updates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app.h"
#include "backplane/backplane.h"
#include "feeds.h"
#include "lib/text.h"
#include "names.h"
#include "ringcast_publish.h"
#include "ringcast_replica.h"
#include "ringcast_stats.h"

#define FULL_REST_NS 1000000 /* before the log is asked again whether it has room */
#define NUMBERS_SIZE 96      /* three numbers and what stands between them */

/* ---- numbers ---- */

struct numbered {
	const char *head;
	size_t head_size, tail_size;
	char *bytes; /* room for head, numbers and tail, with the tail in its place */
	bool room;
	bool first; /* out: the topic had none before */
};

static size_t room_of(const struct numbered *numbered)
{
	return numbered->head_size + NUMBERS_SIZE + numbered->tail_size;
}

static char *write_before(char *end, const char *text)
{
	size_t size = strlen(text);
	return memcpy(end - size, text, size);
}

/* Of a message in a room: it ends there. */
static char *write_number(char *end, uint64_t epoch, uint64_t sequence)
{
	char *at = app_digits(end, sequence);
	*--at = '-';
	return app_digits_hex(at, epoch);
}

/* Under the log's lock: the numbers go right before the tail, the head right before them. */
static size_t make(void *context, const struct rc_numbers *numbers, const void **data)
{
	struct numbered *numbered = context;
	char *end = numbered->bytes + numbered->head_size + NUMBERS_SIZE, *at;
	numbered->first = numbers->first;
	if (numbered->room) {
		at = write_number(end, numbers->epoch, numbers->sequence);
	} else {
		at = app_digits(end, numbers->previous);
		at = write_before(at, ",\"prev\":");
		at = app_digits(at, numbers->epoch);
		at = write_before(at, ",\"epoch\":");
		at = app_digits(at, numbers->sequence);
	}
	at -= numbered->head_size;
	memcpy(at, numbered->head, numbered->head_size);
	*data = at;
	return (size_t)(end - at) + numbered->tail_size;
}

/* ---- rooms ---- */

static int64_t publish_room(struct app *app, const char *topic, size_t topic_size, struct rc_publication *message,
                            char *number)
{
	int64_t sequence = rc_publish_with(app->server, topic, topic_size, message);
	if (sequence >= 0 && number) {
		char text[APP_NUMBER_SIZE], *end = text + sizeof text;
		*--end = 0;
		char *at = write_number(end, message->epoch, (uint64_t)sequence);
		memcpy(number, at, (size_t)(text + sizeof text - at));
	}
	return sequence;
}

int64_t app_updates_publish_room(struct app *app, const char *topic, size_t topic_size, const struct app_out *head,
                                 const struct app_out *tail, rc_conn except, char *number)
{
	char small[4096], *bytes = small;
	struct rc_publication message = { .flags = RC_PUBLISH_UNCHECKED, .except = except };
	if (head->failed || (tail && tail->failed))
		return -ENOMEM;
	if (!rc_text_valid(head->bytes, head->size) || (tail && !rc_text_valid(tail->bytes, tail->size)))
		return -EILSEQ;
	if (!tail) {
		message.data = head->bytes;
		message.size = head->size;
		return publish_room(app, topic, topic_size, &message, number);
	}
	struct numbered numbered = {
		.head = head->bytes, .head_size = head->size, .tail_size = tail->size, .room = true
	};
	size_t size = room_of(&numbered);
	if (size > sizeof small && !(bytes = malloc(size)))
		return -ENOMEM;
	memcpy(bytes + head->size + NUMBERS_SIZE, tail->bytes, tail->size);
	numbered.bytes = bytes;
	message.make_of = make;
	message.context = &numbered;
	int64_t sequence = publish_room(app, topic, topic_size, &message, number);
	if (bytes != small)
		free(bytes);
	return sequence;
}

/* ---- feeds ---- */

static void write_head(struct app_out *out, const struct app_update *update)
{
	app_out_text(out, "{\"type\":\"update\",\"topic\":");
	app_out_string(out, update->topic, update->topic_size);
	if (update->key) {
		app_out_text(out, ",\"key\":");
		app_out_string(out, update->key, update->key_size);
	}
	app_out_text(out, update->removed ? ",\"removed\":true" : "");
	app_out_text(out, update->snapshot ? ",\"snapshot\":true" : "");
	app_out_text(out, ",\"seq\":");
}

/* Writes the parts of an update behind each other: the head, room for all of it, and the tail at the end of that room.
 * The bytes may still move, so pointers are set later. */
static void write_update(struct app_out *out, const struct app_update *update, struct numbered *numbered)
{
	size_t begin = out->size;
	write_head(out, update);
	numbered->head_size = out->size - begin;
	size_t gap = numbered->head_size + NUMBERS_SIZE;
	if (!app_out_room(out, gap))
		return;
	out->size += gap;
	begin = out->size;
	app_out_text(out, ",\"data\":");
	app_out_value(out, update->data);
	app_out_text(out, "}");
	numbered->tail_size = out->size - begin;
}

static int publish(struct app *app, struct app_update *updates, struct numbered *numbered,
                   struct rc_batch_message *messages, size_t count, struct app_out *out)
{
	for (size_t i = 0; i < count; i++)
		write_update(out, &updates[i], &numbered[i]);
	if (out->failed)
		return -ENOMEM;
	char *at = out->bytes;
	for (size_t i = 0; i < count; i++) {
		const struct app_update *update = &updates[i];
		numbered[i].head = at;
		numbered[i].bytes = at + numbered[i].head_size;
		at = numbered[i].bytes + room_of(&numbered[i]);
		if (!rc_text_valid(numbered[i].head, numbered[i].head_size))
			return -EILSEQ;
		messages[i] = (struct rc_batch_message){
			.name = update->topic,
			.name_size = update->topic_size,
			.size = room_of(&numbered[i]),
			.flags = RC_PUBLISH_UNCHECKED | (update->removed ? RC_PUBLISH_REMOVE : 0) |
			         (update->snapshot ? RC_PUBLISH_SNAPSHOT : 0),
			.key = update->key,
			.key_size = update->key_size,
			.make_of = make,
			.context = &numbered[i],
		};
	}
	return (int)rc_publish_many(app->server, messages, count, 0);
}

int app_updates_publish(struct app *app, struct app_update *updates, size_t count)
{
	struct numbered one_numbered, *numbered = &one_numbered;
	struct rc_batch_message one_message, *messages = &one_message;
	struct app_out out = { 0 };
	int code = -ENOMEM;
	if (count > 1) {
		numbered = calloc(count, sizeof *numbered);
		messages = calloc(count, sizeof *messages);
	}
	if (numbered && messages) {
		memset(numbered, 0, count * sizeof *numbered);
		code = publish(app, updates, numbered, messages, count, &out);
	}
	for (size_t i = 0; code > 0 && i < count; i++) {
		updates[i].sequence = messages[i].result;
		updates[i].epoch = messages[i].epoch;
		if (numbered[i].first)
			app_feeds_begun(app, updates[i].topic, updates[i].topic_size);
	}
	app_out_free(&out);
	if (count > 1) {
		free(numbered);
		free(messages);
	}
	return code < 0 ? code : 0;
}

int64_t app_updates_publish_data(struct app *app, const char *topic, size_t size, const json_t *data)
{
	struct app_update update = { .topic = topic, .topic_size = size, .data = data };
	int code = app_updates_publish(app, &update, 1);
	return code < 0 ? code : update.sequence;
}

/* ---- from other nodes ---- */

uint64_t app_updates_previous(struct app *app, const struct backplane_message *message, bool *begins)
{
	struct rc_topic_stats stats = { 0 };
	rc_topic made = 0;
	int code = rc_topic_stats(app->server, message->channel, message->channel_size, &stats);
	if (code && !rc_topic_open(app->server, message->channel, message->channel_size, &made)) {
		code = rc_topic_stats(app->server, message->channel, message->channel_size, &stats);
		rc_topic_close(app->server, made);
	}
	bool known = !code && stats.epoch == message->epoch && stats.sequence < message->sequence;
	*begins = !known || !stats.oldest;
	return known ? stats.sequence : message->sequence - 1;
}

static void write_came(struct app_out *out, const struct backplane_message *message, uint64_t previous)
{
	const struct app_update update = { .topic = message->channel,
		                           .topic_size = message->channel_size,
		                           .key = message->key_size ? message->key : NULL,
		                           .key_size = message->key_size,
		                           .removed = message->flags & RC_PUBLISH_REMOVE,
		                           .snapshot = message->flags & RC_PUBLISH_SNAPSHOT };
	json_t *value = NULL;
	write_head(out, &update);
	app_out_format(out, "%llu,\"epoch\":%llu,\"prev\":%llu,\"data\":", (unsigned long long)message->sequence,
	               (unsigned long long)message->epoch, (unsigned long long)previous);
	bool is_json = message->tag == APP_UPDATE_TAG ||
	               (value = json_loadb(message->data, message->size, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL));
	if (is_json)
		app_out_bytes(out, message->data, message->size);
	else
		app_out_string(out, message->data, message->size);
	app_out_text(out, "}");
	json_decref(value);
}

static bool is_update(const struct backplane_message *message)
{
	return !(message->flags & RC_PUBLISH_BINARY) && rc_text_valid(message->data, message->size) &&
	       text_is_name(message->channel, message->channel_size) && message->channel_size <= APP_FEED_NAME_MAX &&
	       !app_name_reserved(message->channel, message->channel_size) &&
	       (!message->key_size || rc_text_valid(message->key, message->key_size));
}

/* What is to come here, though the log is full just now. */
static void rest(struct app *app)
{
	rc_flush(app->server);
	nanosleep(&(struct timespec){ .tv_nsec = FULL_REST_NS }, NULL);
}

/* Of a topic that each node numbers for itself. */
static int64_t take_at_once(struct app *app, const struct backplane_message *message)
{
	json_t *value = json_loadb(message->data, message->size, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	if (!value)
		value = json_stringn(message->data, message->size);
	struct app_update update = { .topic = message->channel,
		                     .topic_size = message->channel_size,
		                     .key = message->key_size ? message->key : NULL,
		                     .key_size = message->key_size,
		                     .removed = message->flags & RC_PUBLISH_REMOVE,
		                     .snapshot = message->flags & RC_PUBLISH_SNAPSHOT,
		                     .data = value };
	int code;
	while ((code = app_updates_publish(app, &update, 1)) == -EAGAIN)
		rest(app);
	json_decref(value);
	return code < 0 ? code : update.sequence;
}

static int64_t take(struct app *app, const struct backplane_message *message, struct app_out *out)
{
	bool begins;
	if (!is_update(message))
		return -EILSEQ;
	if (!message->sequence)
		return take_at_once(app, message);
	app_out_clear(out);
	write_came(out, message, app_updates_previous(app, message, &begins));
	if (out->failed)
		return -ENOMEM;
	struct rc_publication publication = { .data = out->bytes,
		                              .size = out->size,
		                              .flags = RC_PUBLISH_UNCHECKED | RC_PUBLISH_QUIET |
		                                       (message->flags & (RC_PUBLISH_REMOVE | RC_PUBLISH_SNAPSHOT)),
		                              .key = message->key,
		                              .key_size = message->key_size,
		                              .time_ns = message->time_ns,
		                              .at_epoch = message->epoch,
		                              .at_sequence = message->sequence };
	int64_t result;
	while ((result = rc_publish_with(app->server, message->channel, message->channel_size, &publication)) ==
	       -EAGAIN)
		rest(app);
	if (result > 0 && begins)
		app_feeds_begun(app, message->channel, message->channel_size);
	return result;
}

void app_updates_came(void *context, struct backplane_message *messages, size_t count)
{
	struct app *app = context;
	struct app_out out = { 0 };
	for (size_t i = 0; i < count; i++)
		messages[i].result = take(app, &messages[i], &out);
	rc_flush(app->server);
	app_out_free(&out);
}
