/* SPDX-License-Identifier: MIT
 *
 * partials.c - see partials.h.
 *
 * A piece is published and added under one lock, and under the same lock whoever joins begins to follow the room and
 * reads what there is. So each piece is either in what a member was told when it joined, or comes after that.
 */
#include "partials.h"

#include <stdlib.h>
#include <string.h>

#include "across.h"
#include "app.h"
#include "client.h"
#include "content.h"
#include "date.h"
#include "directory.h"
#include "feeds.h"
#include "fields.h"
#include "lib/wait.h"
#include "rate.h"
#include "status.h"
#include "updates.h"
#include "wire.h"

#define OVERHEAD 512 /* that one counts beside its text */

struct app_partial {
	struct app_partial *next, *next_own; /* in the room (lock); of the client */
	struct app_client *client;
	struct app_room *room;
	unsigned index;      /* pieces so far */
	size_t counted;      /* for the address */
	struct app_out text; /* (lock) */
	struct app_out id;   /* as JSON */
	uint64_t begun_ns, last_ns;
};

enum part { BEGIN, PIECE, END };
static const char *const parts[] = { "begin", "piece", "end" };

/* ---- what is kept ---- */

static struct app_partial *find(const struct app_client *client, const struct app_room *room, const struct app_out *id)
{
	for (struct app_partial *each = client->partials; each; each = each->next_own)
		if (each->room == room && each->id.size == id->size && memcmp(each->id.bytes, id->bytes, id->size) == 0)
			return each;
	return NULL;
}

/* Counts bytes that are about to be kept; false: there is no room for them. (lock) */
static bool charge(struct app_partial *partial, size_t size)
{
	struct app_partials *all = &partial->client->app->partials;
	struct app_address *address = partial->client->address;
	if (all->size + size > APP_PARTIALS_TOTAL || address->partial_size + size > APP_PARTIALS_SHARE)
		return false;
	all->size += size;
	address->partial_size += size;
	partial->counted += size;
	return true;
}

static void free_partial(struct app_partial *partial)
{
	app_out_free(&partial->text);
	app_out_free(&partial->id);
	free(partial);
}

/* Takes it out of both lists and off the accounts. (lock) */
static void unlink_partial(struct app_partial *partial)
{
	struct app_client *client = partial->client;
	struct app_partial **link = &partial->room->partials, **own = &client->partials;
	while (*link != partial)
		link = &(*link)->next;
	*link = partial->next;
	while (*own != partial)
		own = &(*own)->next_own;
	*own = partial->next_own;
	partial->room->partial_count--;
	client->partial_count--;
	client->app->partials.size -= partial->counted;
	client->address->partial_size -= partial->counted;
}

/* ---- what is said ---- */

static void write_part(struct app_out *out, const struct app_partial *partial, enum part part, const char *text,
                       size_t size, bool incomplete)
{
	const struct app_user *user = partial->client->user;
	app_out_format(out, "{\"type\":\"partial\",\"part\":\"%s\",\"id\":", parts[part]);
	app_out_bytes(out, partial->id.bytes, partial->id.size);
	app_out_text(out, ",\"from\":");
	app_out_string(out, user->name, user->node.name_size);
	app_out_text(out, ",\"room\":");
	app_out_string(out, partial->room->name, partial->room->node.name_size);
	app_out_format(out, ",\"index\":%u,\"content\":", partial->index);
	app_out_string(out, text, size);
	if (part != PIECE)
		app_out_format(out, ",\"timestamp\":%llu", (unsigned long long)app_date_ms());
	app_out_text(out, incomplete ? ",\"incomplete\":true}" : "}");
	out->failed |= partial->text.failed || partial->id.failed;
}

/* (lock) */
static int64_t publish(const struct app_partial *partial, enum part part, const char *text, size_t size,
                       bool incomplete)
{
	struct app_client *client = partial->client;
	struct app_out *out = &client->crew->head;
	app_out_clear(out);
	write_part(out, partial, part, text, size, incomplete);
	if (app_spans(client->app)) {
		struct app_across across = { .said = { .app = client->app, .client = client },
			                     .others = true,
			                     .head = out };
		return app_across_to_room(&across, partial->room->name, partial->room->node.name_size);
	}
	return app_updates_publish_room(client->app, partial->room->topic, partial->room->topic_size, out, NULL,
	                                client->conn, NULL);
}

/* Ends one, whole or as far as it came. Its text goes to all once more, and is paid for by its size. */
static int64_t end(struct app_partial *partial, bool incomplete)
{
	struct app_client *client = partial->client;
	size_t size = partial->text.size, others = partial->room->member_count - 1;
	int64_t code = 0;
	pthread_mutex_lock(&client->app->partials.lock);
	/* The last who is there has a history to read; who leaves has none. */
	if ((others || !incomplete) && !atomic_load(&client->app->draining))
		code = publish(partial, END, size ? partial->text.bytes : "", size, incomplete);
	unlink_partial(partial);
	pthread_mutex_unlock(&client->app->partials.lock);
	free_partial(partial);
	app_rate_drain(client, app_cost_of_size(size) + (incomplete ? app_cost_of_audience(others) : 0));
	return code;
}

static uint64_t silence_of(const struct app_client *client)
{
	return app_settings_now(client->app)->partial_ms * NS_PER_MS;
}

static void set_clock(struct app_client *client)
{
	client->times.partial_ns = APP_NEVER;
	for (const struct app_partial *each = client->partials; each; each = each->next_own) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): one that was freed has been taken out of the list */
		uint64_t silent_ns = each->last_ns + silence_of(client);
		uint64_t old_ns = each->begun_ns + APP_PARTIAL_AGE_S * NS_PER_SECOND;
		uint64_t due_ns = silent_ns < old_ns ? silent_ns : old_ns;
		if (due_ns < client->times.partial_ns)
			client->times.partial_ns = due_ns;
	}
	app_clock_set(client);
}

/* ---- a message ---- */

struct saying {
	struct app_client *client;
	struct app_room *room;
	const json_t *id;
	const char *text; /* as it goes on */
	size_t size;
};

static void refuse(const struct saying *saying, const char *code, const char *words)
{
	app_send_error(saying->client, saying->id, code, words);
}

/* Adds a piece, and publishes it if it is not the first. Returns false after telling why not: then it is over. */
static bool add(struct app_partial *partial, const struct saying *saying, enum part part)
{
	struct app_client *client = partial->client;
	size_t before = partial->text.size;
	bool fits = before + saying->size <= APP_PARTIAL_SIZE_MAX && partial->index < APP_PARTIAL_PIECES_MAX;
	int64_t code = -1;
	pthread_mutex_lock(&client->app->partials.lock);
	bool room = fits && charge(partial, saying->size);
	if (room) {
		partial->index += part == PIECE;
		app_out_bytes(&partial->text, saying->text, saying->size);
		code = part == END ? 0 : publish(partial, part, saying->text, saying->size, false);
	}
	pthread_mutex_unlock(&client->app->partials.lock);
	partial->last_ns = clock_now();
	if (code >= 0)
		return true;
	refuse(saying, fits ? "TRY_LATER" : "TOO_LONG",
	       fits ? "There is no room for more partial messages now: it has ended"
	            : "Too long: a partial message has at most 65536 bytes and 10000 pieces: it has ended");
	end(partial, true);
	return false;
}

/* Puts a new one into both lists, if there is room for it. Returns whether. */
static bool link_in(struct app_partial *partial)
{
	struct app_client *client = partial->client;
	struct app_room *room = partial->room;
	pthread_mutex_lock(&client->app->partials.lock);
	bool fits = client->partial_count < APP_PARTIALS_MAX && room->partial_count < APP_PARTIALS_ROOM_MAX &&
	            charge(partial, OVERHEAD);
	if (fits) {
		partial->next = room->partials;
		room->partials = partial;
		room->partial_count++;
		partial->next_own = client->partials;
		client->partials = partial;
		client->partial_count++;
	}
	pthread_mutex_unlock(&client->app->partials.lock);
	return fits;
}

static void begin(const struct saying *saying, const struct app_out *id)
{
	struct app_client *client = saying->client;
	struct app_partial *partial = calloc(1, sizeof *partial);
	if (!partial) {
		refuse(saying, "TRY_LATER", "out of memory");
		return;
	}
	*partial = (struct app_partial){
		.client = client, .room = saying->room, .begun_ns = clock_now(), .last_ns = clock_now()
	};
	app_out_bytes(&partial->id, id->bytes, id->size);
	if (!link_in(partial)) {
		free_partial(partial);
		refuse(saying, "TOO_MANY_PARTIALS",
		       "Too many partial messages at a time: 4 of a connection, 16 in a room, 1 MB of an address");
		return;
	}
	if (add(partial, saying, BEGIN))
		app_status_tell(client, saying->id, "accepted", saying->room->member_count - 1, "");
}

static void go_on(struct app_partial *partial, const struct saying *saying, enum part part)
{
	struct app_client *client = saying->client;
	size_t others = saying->room->member_count - 1;
	if (!partial) {
		refuse(saying, "INVALID_FIELD", "Wrong field: id: no partial message of this id has begun here");
		return;
	}
	if (!add(partial, saying, part) || part == PIECE)
		return;
	if (end(partial, false) < 0)
		refuse(saying, "TRY_LATER", "The server is overloaded; the end was not sent");
	else
		app_status_tell(client, saying->id, "accepted", others, "");
}

/* Which part it is; or -1 after telling what is wrong. */
static int read_part(struct app_client *client, const json_t *message, const json_t *id)
{
	const json_t *part = json_object_get(message, "part");
	for (int i = BEGIN; i <= END && json_is_string(part); i++)
		if (strcmp(json_string_value(part), parts[i]) == 0)
			return i;
	app_field_wrong(client, id, "part", part, "begin, piece or end");
	return -1;
}

void app_partials_message(struct app_client *client, struct app_room *room, const json_t *message, const json_t *id)
{
	int part = read_part(client, message, id);
	const char *field = app_field_of_content(message);
	const json_t *content = json_object_get(message, field);
	struct app_out *text = &client->crew->tail, written = { 0 };
	if (part < 0)
		return;
	if (!id || (!content && part == PIECE) || (content && !json_is_string(content))) {
		app_field_wrong(client, id, id ? field : "id", content, "a text");
		return;
	}
	if (content && !app_field_content(client, message, id))
		return;
	app_out_clear(text);
	if (content)
		app_content_text(text, json_string_value(content), json_string_length(content),
		                 app_settings_now(client->app)->sanitize);
	app_content_write(&written, id, app_settings_now(client->app)->sanitize);
	const struct saying saying = {
		.client = client, .room = room, .id = id, .text = text->bytes, .size = text->size
	};
	struct app_partial *partial = find(client, room, &written);
	if (text->failed || written.failed)
		refuse(&saying, "TRY_LATER", "out of memory");
	else if (part == BEGIN && partial)
		refuse(&saying, "INVALID_FIELD", "Wrong field: id: a partial message of this id has begun already");
	else if (part == BEGIN)
		begin(&saying, &written);
	else
		go_on(partial, &saying, (enum part)part);
	app_out_free(&written);
	set_clock(client);
}

/* ---- who comes and goes ---- */

int app_partials_follow(struct app_client *client, const struct app_room *room)
{
	struct app_partials *all = &client->app->partials;
	struct app_out *lines = &client->crew->tail;
	app_out_clear(lines);
	pthread_mutex_lock(&all->lock);
	int code = app_feeds_follow(client, room->topic, room->topic_size, true, NULL);
	/* On several nodes a piece comes back later than it was added here, and would come twice. */
	bool shown = !code && !app_spans(client->app);
	for (const struct app_partial *each = shown ? room->partials : NULL; each; each = each->next) {
		write_part(lines, each, BEGIN, each->text.size ? each->text.bytes : "", each->text.size, false);
		app_out_text(lines, "\n");
	}
	pthread_mutex_unlock(&all->lock);
	return code;
}

void app_partials_tell(struct app_client *client)
{
	const struct app_out *lines = &client->crew->tail;
	struct app_out *out = &client->crew->out;
	for (size_t at = 0; at < lines->size && !lines->failed && !client->closing;) {
		size_t size = (size_t)((char *)memchr(lines->bytes + at, '\n', lines->size - at) - (lines->bytes + at));
		app_out_clear(out);
		app_out_bytes(out, lines->bytes + at, size);
		app_send(client, out);
		at += size + 1;
	}
}

void app_partials_leave(struct app_client *client, struct app_room *room)
{
	for (struct app_partial *each = client->partials, *next; each; each = next) {
		next = each->next_own;
		if (each->room == room)
			end(each, true);
	}
}

void app_partials_due(struct app_client *client, uint64_t now_ns)
{
	for (struct app_partial *each = client->partials, *next; each; each = next) {
		next = each->next_own;
		if (now_ns >= each->last_ns + silence_of(client) ||
		    now_ns >= each->begun_ns + APP_PARTIAL_AGE_S * NS_PER_SECOND)
			end(each, true);
	}
	set_clock(client);
}
