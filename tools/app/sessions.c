/* SPDX-License-Identifier: MIT
 *
 * sessions.c - see sessions.h. It must not know what a message says.
 *
 * While a poll waits, its own connection follows what the session does, from where that has read to; so the log wakes
 * it as it wakes any poll, and the session then reads. Whatever else comes makes the session due at once.
 */
#include "sessions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "app.h"
#include "batch.h"
#include "client.h"
#include "dialect.h"
#include "directory.h"
#include "feeds.h"
#include "feeds_messages.h"
#include "letters.h"
#include "lib/wait.h"
#include "login.h"
#include "names.h"
#include "people.h"
#include "rate.h"
#include "refusals.h"
#include "wire.h"
#include "wish.h"

#define PAGE_SIZE_MAX ((size_t)256 << 10) /* what an answer has grown to when nothing more is added */
#define PAGE_MESSAGES_MAX 1000            /* of a topic */

struct app_session {
	struct app_node node; /* in the table (lock) */
	rc_conn conn;         /* its client's */
	char id[APP_SESSION_ID_SIZE + 1];
	struct app_out heard; /* messages, divided by commas */
	struct app_out kept;  /* the last answer, until the next poll says that it came */
	uint64_t number;      /* of that answer */
	uint64_t until_ns;    /* when the poll that waits has waited for long enough, or else when this ends */
};

bool app_sessions_init(struct app_sessions *sessions, uint64_t seed)
{
	pthread_mutex_init(&sessions->lock, NULL);
	while (rc_conn_worker((rc_conn)1 << sessions->worker_bit) != 1)
		sessions->worker_bit++;
	return app_table_init(&sessions->table, seed);
}

void app_sessions_destroy(struct app_sessions *sessions)
{
	app_table_destroy(&sessions->table);
	pthread_mutex_destroy(&sessions->lock);
}

size_t app_sessions_count(struct app *app)
{
	pthread_mutex_lock(&app->sessions.lock);
	size_t count = app->sessions.table.count;
	pthread_mutex_unlock(&app->sessions.lock);
	return count;
}

/* ---- answering ---- */

/* On the worker of the poll. */
static void open_answer(struct app_client *poll, const struct app_letter *letter)
{
	app_address_drain(poll->app, poll->address, app_cost_of_answer(letter->size));
	app_respond(poll, (int)letter->number, letter->bytes, letter->size);
}

void app_session_answer(struct app *app, rc_conn poll, int status, const char *bytes, size_t size)
{
	const struct app_letter letter = { .number = (uint64_t)status, .bytes = bytes, .size = size };
	app_letter_post(app, poll, open_answer, &letter);
}

/* The poll that waits gets this, and from here on none does. */
static void answer_waiting(struct app_client *client, int status, const char *bytes, size_t size)
{
	app_session_answer(client->app, client->polled, status, bytes, size);
	client->polled = 0;
	client->session->until_ns = clock_now() + app_settings_now(client->app)->poll_ms * NS_PER_MS;
	client->times.wait_ns = client->session->until_ns;
	app_clock_set(client);
}

/* Adds what waits for it elsewhere to what it has heard. */
static void gather(struct app_client *client)
{
	const struct app_out *heard = &client->session->heard;
	struct app_out *out = &client->crew->out;
	struct app_stored *stored;
	while (heard->size < PAGE_SIZE_MAX && !client->closing &&
	       (stored = app_directory_next(client->app, &client->waiting))) {
		app_out_clear(out);
		app_out_bytes(out, stored->bytes, stored->size);
		free(stored);
		app_send(client, out);
	}
	if (heard->size < PAGE_SIZE_MAX)
		app_batch_pull(client, PAGE_SIZE_MAX);
}

/* Makes an answer of what there is, and keeps it. */
static void answer_heard(struct app_client *client)
{
	struct app_session *session = client->session;
	struct app_out *kept = &session->kept;
	app_out_clear(kept);
	app_out_text(kept, "{\"messages\":[");
	app_out_bytes(kept, session->heard.bytes, session->heard.size);
	app_out_format(kept, "],\"session\":\"%s.%llu\"}\n", session->id, (unsigned long long)++session->number);
	app_out_free(&session->heard);
	if (kept->failed)
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
	else
		answer_waiting(client, 200, kept->bytes, kept->size);
}

/* The poll that waits is answered if there is anything; else what it waits for goes on to wake it. */
static bool answer_if_any(struct app_client *client)
{
	if (client->closing)
		return true; /* its end answers */
	gather(client);
	if (client->closing || !client->session->heard.size)
		return client->closing;
	answer_heard(client);
	return true;
}

void app_sessions_due(struct app_client *client, uint64_t now_ns)
{
	const struct app_session *session = client->session;
	client->times.wait_ns = session->until_ns;
	if (client->polled && answer_if_any(client))
		return;
	client->times.wait_ns = session->until_ns; /* what was added has been seen to */
	if (session->until_ns > now_ns)
		return;
	if (client->polled)
		answer_waiting(client, 204, NULL, 0);
	else
		app_close(client, RC_CLOSE_NORMAL, "no poll came");
}

/* ---- who it is, and where ---- */

const char *app_sessions_name(const struct app_client *client)
{
	if (client->has_token || client->by_hook)
		return client->claims.subject;
	bool free_name = app_settings_now(client->app)->auth == APP_AUTH_OFF;
	return free_name && client->wish->user ? client->wish->user : client->id;
}

static void say(struct app_client *client, const char *type, const char *room, size_t size)
{
	json_t *message = json_object();
	json_object_set_new(message, "type", json_string(type));
	json_object_set_new(message, "room", json_stringn(room, size));
	if (message)
		app_dialect_say(client, message);
	json_decref(message);
}

static bool names(const json_t *rooms, const struct app_room *room)
{
	size_t index;
	json_t *each;
	json_array_foreach((json_t *)rooms, index, each)
	{
		if (json_string_length(each) == room->node.name_size &&
		    memcmp(json_string_value(each), room->name, room->node.name_size) == 0)
			return true;
	}
	return false;
}

static void join(struct app_client *client, const json_t *rooms)
{
	size_t index;
	json_t *each;
	json_array_foreach((json_t *)rooms, index, each)
	{
		bool there = false;
		for (const struct app_member *member = client->members; member && !there; member = member->next_room)
			there = member->room->node.name_size == json_string_length(each) &&
			        memcmp(member->room->name, json_string_value(each), json_string_length(each)) == 0;
		if (!there && !client->closing)
			say(client, "join_room", json_string_value(each), json_string_length(each));
	}
}

static void leave_others(struct app_client *client, const json_t *rooms)
{
	for (struct app_member *member = client->members, *next; member && !client->closing; member = next) {
		char name[APP_ROOM_NAME_MAX];
		size_t size = member->room->node.name_size;
		next = member->next_room;
		if (names(rooms, member->room))
			continue;
		memcpy(name, member->room->name, size);
		say(client, "leave_room", name, size);
	}
}

bool app_sessions_enter(struct app_client *client, const char *user, const json_t *rooms)
{
	if (!app_people_reserve(client->app, client, user))
		return false;
	app_people_arrive(client);
	join(client, rooms);
	return true;
}

/* ---- beginning ---- */

static bool make_id(struct app_session *session)
{
	uint8_t random[APP_SESSION_ID_SIZE / 2];
	if (getrandom(random, sizeof random, 0) != sizeof random)
		return false;
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(session->id + 2 * i, 3, "%02x", random[i]);
	session->node.name = session->id;
	session->node.name_size = APP_SESSION_ID_SIZE;
	return true;
}

static bool add(struct app_sessions *sessions, struct app_session *session)
{
	pthread_mutex_lock(&sessions->lock);
	bool room = sessions->table.count < APP_SESSIONS_MAX;
	if (room)
		app_table_add(&sessions->table, &session->node);
	pthread_mutex_unlock(&sessions->lock);
	return room;
}

/* A handle of this worker that no connection has: the library gives none the generation 0. */
static rc_conn make_handle(struct app *app, const struct app_crew *crew)
{
	const unsigned bit = app->sessions.worker_bit;
	const uint32_t mask = (UINT32_C(1) << (bit - 32)) - 1;
	rc_conn worker = (rc_conn)(crew - app->crews) << bit, conn;
	do {
		uint32_t number = atomic_fetch_add(&app->sessions.numbers, 1) & mask;
		conn = worker | (rc_conn)number << 32;
	} while (!(conn & (rc_conn)mask << 32) || app_crew_find(crew, conn));
	return conn;
}

static struct app_client *make(struct app_client *poll)
{
	struct app *app = poll->app;
	struct app_session *session = calloc(1, sizeof *session);
	if (!session || !make_id(session)) {
		free(session);
		return NULL;
	}
	struct app_client *client = app_client_new(app, make_handle(app, poll->crew), NULL);
	if (!client || !add(&app->sessions, session)) {
		if (client)
			app_client_free(client);
		free(session);
		return NULL;
	}
	client->session = session;
	session->conn = client->conn;
	client->answers = &session->heard;
	client->batch_count = PAGE_MESSAGES_MAX;
	client->reliable = client->by_letter = true;
	client->info = poll->info;
	poll->info = NULL;
	return client;
}

/* The poll's token is the session's from here on: the next one may have another. */
static void take_over(struct app_client *client, struct app_caller *caller)
{
	client->by_hook = caller->by_hook;
	client->guest = caller->guest;
	if (caller->has_token)
		app_login_take(client, &caller->claims);
	caller->claims = (struct app_claims){ 0 };
	client->has_token = caller->has_token;
	client->permissions = caller->permissions;
}

void app_session_begin(struct app_client *poll, struct app_caller *caller)
{
	struct app *app = poll->app;
	const struct app_wish *wish = poll->wish;
	const char *name = app_sessions_name(poll);
	unsigned max = app_settings_now(app)->connections_per_address;
	struct app_address *address = app_address_enter(app, poll->address->name, max);
	struct app_client *client = address ? make(poll) : NULL;
	if (!client) {
		app_address_leave(app, address);
		app_refusals_note(app, poll->address->name, address ? 503 : 429, "too many sessions of polls");
		app_respond_error(poll, address ? 503 : 429, "too many sessions: end others, or come later");
		return;
	}
	client->address = address;
	client->opened = true;
	client->polled = poll->conn;
	app_table_add(&client->crew->clients, &client->node);
	APP_COUNT(app, open);
	client->session->until_ns = clock_now() + wish->wait_s * NS_PER_SECOND;
	take_over(client, caller);
	app_rate_begin(client);
	if (json_array_size(json_object_get(wish->message, "topics")))
		app_feeds_subscribe(client, wish->message, NULL);
	if (!app_sessions_enter(client, name, caller->rooms)) {
		app_refusals_note(app, poll->address->name, 429, "this user has too many connections");
		app_respond_error(poll, 429, "this user has too many connections");
		client->polled = 0;
		app_close(client, RC_CLOSE_POLICY, "too many connections");
		return;
	}
	if (client->closing)
		return;
	gather(client);
	if (!client->closing)
		answer_heard(client); /* also with nothing: who asks learns which session it is */
}

/* ---- going on ---- */

bool app_session_is_of(const struct app_client *client, const struct app_caller *caller)
{
	/* One that began with a token, or with the backend's word, is that user's alone. */
	if (!client->user || (client->has_token && !client->guest && !caller->has_token))
		return false;
	uint64_t number = client->session->number;
	return (!caller->user || strcmp(caller->user, client->user->name) == 0) &&
	       (caller->number == number || (caller->number + 1 == number && client->session->kept.size));
}

void app_session_go_on(struct app_client *client, struct app_caller *caller)
{
	struct app_session *session = client->session;
	if (client->polled)
		answer_waiting(client, 204, NULL, 0); /* of two polls the newer counts */
	take_over(client, caller);
	app_login_recheck(client);
	if (client->closing)
		return;
	client->polled = caller->poll;
	if (caller->number != session->number) {
		answer_waiting(client, 200, session->kept.bytes, session->kept.size);
		return;
	}
	app_out_free(&session->kept);
	session->until_ns = clock_now() + caller->wait_s * NS_PER_SECOND;
	if (caller->rooms) {
		leave_others(client, caller->rooms);
		join(client, caller->rooms);
	}
	if (answer_if_any(client))
		return;
	if (!caller->wait_s) {
		answer_waiting(client, 204, NULL, 0);
		return;
	}
	app_feeds_await(client);
	client->times.wait_ns = session->until_ns;
	app_clock_set(client);
}

const char *app_session_id(const struct app_client *client)
{
	return client->session->id;
}

void app_session_look(struct app_client *client, rc_conn poll)
{
	if (client->polled == poll)
		answer_if_any(client);
}

void app_session_forget(struct app_client *client, rc_conn poll)
{
	if (client->polled == poll)
		answer_waiting(client, 204, NULL, 0); /* to nobody */
}

rc_conn app_session_place(struct app *app, const char *id)
{
	pthread_mutex_lock(&app->sessions.lock);
	const struct app_node *node = app_table_find(&app->sessions.table, id, APP_SESSION_ID_SIZE);
	rc_conn conn = node ? ((const struct app_session *)node)->conn : 0;
	pthread_mutex_unlock(&app->sessions.lock);
	return conn;
}

/* ---- the end ---- */

void app_sessions_end(struct app_client *client)
{
	struct app_sessions *sessions = &client->app->sessions;
	if (client->polled)
		app_session_answer(client->app, client->polled, 410, APP_SESSION_OVER, sizeof APP_SESSION_OVER - 1);
	pthread_mutex_lock(&sessions->lock);
	app_table_remove(&sessions->table, &client->session->node);
	pthread_mutex_unlock(&sessions->lock);
}

void app_sessions_free(struct app_client *client)
{
	struct app_session *session = client->session;
	if (!session)
		return;
	app_out_free(&session->heard);
	app_out_free(&session->kept);
	free(session);
}
