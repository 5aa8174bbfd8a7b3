/* SPDX-License-Identifier: MIT
 *
 * span.c - see span.h.
 */
#include "span.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "backplane/backplane.h"
#include "client.h"
#include "date.h"
#include "directory.h"
#include "fields.h"
#include "letters.h"
#include "wire.h"

struct app_channel app_channel_of(const char *prefix, const char *name, size_t size)
{
	struct app_channel channel = { .size = strlen(prefix) };
	memcpy(channel.name, prefix, channel.size);
	size = size < APP_CHANNEL_SIZE_MAX - channel.size ? size : APP_CHANNEL_SIZE_MAX - channel.size;
	memcpy(channel.name + channel.size, name, size);
	channel.size += size;
	return channel;
}

struct app_device app_device_of(const struct app_client *client)
{
	return (struct app_device){ client->app->span.node, strtoull(client->id, NULL, 16) };
}

/* ---- writing ---- */

static int write_record(struct app *app, unsigned kind, const char *channel, size_t size,
                        const struct app_record *record, backplane_done *done, void *context)
{
	struct app_out out = { 0 };
	app_record_write(&out, record);
	const struct backplane_message message = {
		.kind = kind, .channel = channel, .channel_size = size, .data = out.bytes, .size = out.size
	};
	int code = out.failed ? -ENOMEM : backplane_publish(app->span.backplane, &message, 1, done, context);
	app_out_free(&out);
	return code;
}

/* ---- who is where ---- */

/* Without a place: it is part of the next repeat. */
static void is_unsure(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct app *app = context;
	(void)numbers, (void)count;
	if (code)
		atomic_store(&app->span.is_unsure, true);
}

/* A letter that is opened once a record has its place. */
struct telling {
	struct app *app;
	rc_conn conn;
	struct app_entry entry;
	char bytes[];
};

static struct telling *make_telling(struct app_client *client, const struct app_entry *entry)
{
	struct telling *telling = entry ? malloc(sizeof *telling + entry->letter.size) : NULL;
	if (telling) {
		*telling = (struct telling){ .app = client->app, .conn = client->conn, .entry = *entry };
		memcpy(telling->bytes, entry->letter.bytes, entry->letter.size);
		telling->entry.letter.bytes = telling->bytes;
	}
	return telling;
}

static void open_telling(struct app_client *client, const struct app_letter *letter)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_bytes(out, letter->bytes, letter->size);
	app_send(client, out);
}

static void tell(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct telling *telling = context;
	struct app_letter *letter = &telling->entry.letter;
	if (code)
		atomic_store(&telling->app->span.is_unsure, true);
	if (!code && count && numbers->sequence > 0) {
		letter->sender = numbers->epoch;
		letter->number = (uint64_t)numbers->sequence;
	}
	app_letter_post(telling->app, telling->conn, telling->entry.open, letter);
	free(telling);
}

/* What is not written now is part of the next repeat. */
static void write_presence(struct app_client *client, unsigned kind, const char *channel, size_t size,
                           struct app_moment begin, const struct app_entry *entry)
{
	struct app *app = client->app;
	struct telling *telling = make_telling(client, entry);
	const struct app_record record = { .client = app_device_of(client).client,
		                           .conn = client->conn,
		                           .repeat = atomic_load(&app->span.repeat),
		                           .begin_epoch = begin.epoch,
		                           .begin_sequence = begin.sequence,
		                           .user = client->user->name,
		                           .user_size = client->user->node.name_size };
	bool untold = entry && !telling;
	int code = write_record(app, kind, channel, size, &record, telling ? tell : is_unsure,
	                        telling ? (void *)telling : app);
	if (code) {
		atomic_store(&app->span.is_unsure, true);
		free(telling);
	}
	if (entry && (code || untold))
		entry->open(client, &entry->letter);
}

/* Other programs may look into the engine for who is there; no node does. */
static void write_down(const struct app_client *client, const char *room, size_t size, bool present)
{
	const size_t prefix = sizeof APP_ROOM_CHANNEL - 1;
	if (size > prefix && memcmp(room, APP_ROOM_CHANNEL, prefix) == 0) {
		room += prefix;
		size -= prefix;
	}
	const struct app_user *user = client->user;
	backplane_member(client->app->span.backplane, room, size, client->id, APP_CLIENT_ID_SIZE,
	                 present ? user->name : NULL, present ? user->node.name_size : 0);
}

void app_span_arrive(struct app_client *client)
{
	const struct app_channel channel = app_channel_of(APP_USER_CHANNEL, client->user->name,
	                                                  client->user->node.name_size);
	write_down(client, "users", 5, true);
	write_presence(client, APP_RECORD_ENTER, channel.name, channel.size, (struct app_moment){ 0 }, NULL);
}

void app_span_leave(struct app_client *client)
{
	const struct app_channel channel = app_channel_of(APP_USER_CHANNEL, client->user->name,
	                                                  client->user->node.name_size);
	write_down(client, "users", 5, false);
	write_presence(client, APP_RECORD_LEAVE, channel.name, channel.size, (struct app_moment){ 0 }, NULL);
}

void app_span_enter_room(struct app_client *client, const struct app_room *room, const struct app_entry *entry)
{
	struct app *app = client->app;
	pthread_mutex_lock(&app->directory.lock);
	const struct app_group *group = app_replica_group(&app->span.replica, room->topic, room->topic_size);
	struct app_moment begin = group ? group->begin : (struct app_moment){ 0 };
	pthread_mutex_unlock(&app->directory.lock);
	write_down(client, room->topic, room->topic_size, true);
	write_presence(client, APP_RECORD_ENTER, room->topic, room->topic_size, begin, entry);
}

void app_span_leave_room(struct app_client *client, const char *topic, size_t size, struct app_out *told)
{
	struct app_out copy = { 0 };
	if (told)
		app_out_bytes(&copy, told->bytes, told->size);
	const struct app_entry entry = { open_telling, { .bytes = copy.bytes, .size = copy.size } };
	write_down(client, topic, size, false);
	write_presence(client, APP_RECORD_LEAVE, topic, size, (struct app_moment){ 0 },
	               copy.size && !copy.failed && !told->failed ? &entry : NULL);
	app_out_free(&copy);
}

int app_span_had(struct app_client *client)
{
	const struct app_channel channel = app_channel_of(APP_USER_CHANNEL, client->user->name,
	                                                  client->user->node.name_size);
	const struct app_record record = { .client = app_device_of(client).client };
	return write_record(client->app, APP_RECORD_HAD, channel.name, channel.size, &record, NULL, NULL);
}

static const struct app_group *group_of(const struct app *app, const char *user, size_t size)
{
	const struct app_channel channel = app_channel_of(APP_USER_CHANNEL, user, size);
	return app_replica_group(&app->span.replica, channel.name, channel.size);
}

size_t app_span_devices(const struct app *app, const char *user, size_t size)
{
	const struct app_group *group = group_of(app, user, size);
	return group ? group->device_count : 0;
}

size_t app_span_elsewhere(const struct app *app, const char *user, size_t size)
{
	const struct app_group *group = group_of(app, user, size);
	return group ? group->device_count - group->own_count : 0;
}

/* ---- what becomes of what a client said ---- */

/* The engine's answer to everything that was written for one message of a client. */
struct app_answer {
	struct app *app;
	rc_conn conn;
	_Atomic unsigned waits; /* records, and one more while it is handled */
	_Atomic int failed;     /* why one was not taken, as a negative errno */
	bool numbered;          /* the message's number is told with it */
	struct app_out told;    /* what it is sent; empty: nothing */
	size_t id_size;
	char id[]; /* as JSON */
};

static struct app_answer *make_answer(const struct app_client *client, const json_t *id)
{
	struct app_out out = { 0 };
	app_out_value(&out, id);
	struct app_answer *answer = out.failed ? NULL : calloc(1, sizeof *answer + out.size + 1);
	if (answer) {
		answer->app = client->app;
		answer->conn = client->conn;
		atomic_init(&answer->waits, 1);
		answer->id_size = out.size;
		memcpy(answer->id, out.bytes, out.size);
	}
	app_out_free(&out);
	return answer;
}

static void free_answer(struct app_answer *answer)
{
	if (answer)
		app_out_free(&answer->told);
	free(answer);
}

static void open_refusal(struct app_client *client, const struct app_letter *letter)
{
	json_t *id = json_loadb(letter->bytes, letter->size, JSON_DECODE_ANY, NULL);
	bool large = letter->number == EMSGSIZE;
	app_send_error(client, json_is_null(id) ? NULL : id, large ? "TOO_LONG" : "TRY_LATER",
	               large ? "The message is larger than the nodes take"
	                     : "The nodes could not be reached; the message may not have been sent");
	json_decref(id);
}

static void settle_answer(struct app_answer *answer)
{
	if (atomic_fetch_sub(&answer->waits, 1) > 1)
		return;
	const struct app_out *told = &answer->told;
	const int failed = atomic_load(&answer->failed);
	const struct app_letter refusal = { .number = (uint64_t)-failed, .bytes = answer->id, .size = answer->id_size };
	const struct app_letter letter = { .bytes = told->bytes, .size = told->size };
	if (failed)
		app_letter_post(answer->app, answer->conn, open_refusal, &refusal);
	else if (told->size && !told->failed)
		app_letter_post(answer->app, answer->conn, open_telling, &letter);
	free_answer(answer);
}

static void is_done(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct app_answer *answer = context;
	if (code)
		atomic_store(&answer->failed, code);
	else if (answer->numbered && count)
		app_out_format(&answer->told, ",\"messageId\":\"%llx-%lld\"}", (unsigned long long)numbers->epoch,
		               (long long)numbers->sequence);
	else if (answer->numbered)
		app_out_text(&answer->told, "}");
	settle_answer(answer);
}

void app_in_hand_begin(struct app_client *client, const json_t *id, struct app_in_hand *in_hand)
{
	*in_hand = (struct app_in_hand){ .outer = client->crew->in_hand, .answer = make_answer(client, id), .id = id };
	client->crew->in_hand = in_hand;
}

void app_in_hand_end(struct app_client *client, struct app_in_hand *in_hand, const struct app_out *told)
{
	struct app_answer *answer = in_hand->answer;
	client->crew->in_hand = in_hand->outer;
	if (!in_hand->count) {
		free_answer(answer);
		return;
	}
	if (told)
		app_out_bytes(&answer->told, told->bytes, told->size);
	settle_answer(answer);
}

/* ---- what is said ---- */

/* The answer to one message that stands in no DATA. Its number is told if readers see it as the message's id. */
static struct app_answer *answer_alone(const struct app_said *said, bool numbered)
{
	struct app_answer *answer = make_answer(said->client, said->id);
	if (!answer || !said->id || !said->status)
		return answer;
	app_out_type(&answer->told, "status", said->id);
	app_status_write(&answer->told, said->status, said->count);
	answer->numbered = numbered;
	if (!numbered)
		app_out_text(&answer->told, "}");
	return answer;
}

/* The id that a record is known by when its message is sent again: of the DATA, and which record of it this is. */
static void write_id(struct app_out *out, const struct app_in_hand *in_hand)
{
	app_out_value(out, in_hand->id);
	app_out_format(out, "#%u", in_hand->count);
}

static int say_in_hand(const struct app_said *said, unsigned kind, const struct app_channel *channel,
                       struct app_record *record, struct app_in_hand *in_hand)
{
	struct app_answer *answer = in_hand->answer;
	struct app_out id = { 0 };
	if (!answer)
		return -ENOMEM;
	write_id(&id, in_hand);
	record->id = id.bytes;
	record->id_size = id.size;
	atomic_fetch_add(&answer->waits, 1);
	int code = id.failed ? -ENOMEM
	                     : write_record(said->app, kind, channel->name, channel->size, record, is_done, answer);
	if (code)
		atomic_fetch_sub(&answer->waits, 1);
	else
		in_hand->count++;
	app_out_free(&id);
	if (!code && said->status)
		said->client->outcome = (struct app_outcome){ said->status, said->count };
	return code;
}

int app_span_say(const struct app_said *said, unsigned kind, const char *name, size_t size, struct app_record *record)
{
	struct app_client *client = said->client;
	struct app_in_hand *in_hand = client ? client->crew->in_hand : NULL;
	const struct app_channel channel = app_channel_of("", name, size);
	if (client) {
		record->conn = client->conn;
		record->user = client->user->name;
		record->user_size = client->user->node.name_size;
	}
	if (in_hand)
		return say_in_hand(said, kind, &channel, record, in_hand);
	const bool numbered = kind == APP_RECORD_SAY && !(record->flags & APP_RECORD_WHOLE);
	struct app_answer *answer = client ? answer_alone(said, numbered) : NULL;
	if (client && !answer)
		return -ENOMEM;
	int code = write_record(said->app, kind, channel.name, channel.size, record, answer ? is_done : said->done,
	                        answer ? (void *)answer : said->context);
	if (code)
		free_answer(answer);
	return code;
}

int app_span_direct(const struct app_said *said, const struct app_directed *directed)
{
	struct app_record record = { .number = directed->number,
		                     .sender = directed->sender,
		                     .flags = directed->flags,
		                     .text = directed->bytes,
		                     .text_size = directed->size };
	const struct app_channel channel = app_channel_of(APP_USER_CHANNEL, directed->to, directed->to_size);
	return app_span_say(said, APP_RECORD_DIRECT, channel.name, channel.size, &record);
}

int app_span_hand_out(struct app_client *client, const char *bytes, size_t size)
{
	struct app_in_hand *in_hand = client->crew->in_hand;
	struct app_answer *answer = in_hand ? in_hand->answer : NULL;
	const char *id = in_hand ? json_string_value(in_hand->id) : NULL;
	char digits[24];
	if (!answer)
		return -ENOMEM;
	if (!id)
		snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(in_hand->id));
	const struct backplane_job job = { .user = client->user->name,
		                           .user_size = client->user->node.name_size,
		                           .id = id ? id : digits,
		                           .id_size = id ? json_string_length(in_hand->id) : strlen(digits),
		                           .time_ms = app_date_ms(),
		                           .data = bytes,
		                           .size = size };
	atomic_fetch_add(&answer->waits, 1);
	int code = backplane_hand_out(client->app->span.backplane, &job, is_done, answer);
	if (code)
		atomic_fetch_sub(&answer->waits, 1);
	else
		in_hand->count++;
	return code;
}

int app_span_close(const struct app_said *said, const char *user, size_t size, const char *client_id,
                   const char *reason)
{
	struct app *app = said->app;
	const struct app_channel channel = app_channel_of(APP_USER_CHANNEL, user, size);
	const struct app_device device = { .client = client_id ? strtoull(client_id, NULL, 16) : 0 };
	struct app_record record = { .client = device.client, .text = reason, .text_size = strlen(reason) };
	pthread_mutex_lock(&app->directory.lock);
	const struct app_group *group = group_of(app, user, size);
	size_t count = !group ? 0 : client_id ? app_replica_has_client(group, device.client) : group->device_count;
	pthread_mutex_unlock(&app->directory.lock);
	if (!count)
		return 0;
	int code = write_record(app, APP_RECORD_CLOSE, channel.name, channel.size, &record, said->done, said->context);
	return code ? code : (int)count;
}
