/* SPDX-License-Identifier: MIT
 *
 * clients.c - a client from its request to its end. It knows no message of the dialect but `welcome`.
 */
#include "clients.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "access.h"
#include "api.h"
#include "app.h"
#include "bare.h"
#include "batch.h"
#include "client.h"
#include "dialect.h"
#include "entry.h"
#include "heartbeat.h"
#include "hold.h"
#include "info.h"
#include "lib/answer.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/wait.h"
#include "login.h"
#include "partials.h"
#include "passing.h"
#include "paths.h"
#include "people.h"
#include "plain.h"
#include "rate.h"
#include "refusals.h"
#include "reliable.h"
#include "rooms.h"
#include "sessions.h"
#include "speech.h"
#include "visits.h"
#include "wire.h"
#include "wish.h"

/* Where too many connections come at once, some cannot be asked for their address. All of these together count as this
 * many addresses. */
#define UNKNOWN_ADDRESSES 16

/* ---- the request ---- */

static bool is_on(const char *value)
{
	return value && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

/* The operator may not know that all clients have one address here. */
static void warn_of_proxy(const struct app *app, const rc_request *request)
{
	if (local_is_forwarded(request) && !networks_hold(&app_settings_now(app)->proxies, local_neighbour(request)))
		log_say(LEVEL_WARNING, "crowded", NULL,
		        "all clients of the proxy %s count as one address: trust-proxy does not name it",
		        local_neighbour(request));
}

static int refuse_rate(struct app *app, rc_request *request)
{
	rc_request_add_header(request, "Retry-After", "1");
	return app_refuse(app, request, 429, "too many requests");
}

static int judge(struct app *app, rc_request *request, struct app_client *client)
{
	if (!client->address) {
		warn_of_proxy(app, request);
		return app_refuse(app, request, 429, "too many connections from this address");
	}
	app_login_ask *ask = app_hooks_has(app, APP_HOOK_CONNECT) ? app_entry_ask : NULL;
	enum app_place place = client->wish ? APP_PLACE_NONE : app_paths_place(app_settings_now(app), request);
	if (place == APP_PLACE_ECHO || place == APP_PLACE_CHAT)
		return app_bare_judge(app, request, client, place == APP_PLACE_ECHO ? APP_BARE_ECHO : APP_BARE_CHAT);
	if (!client->wish)
		return app_login_judge(app, request, client, ask);
	uint32_t cost = 1 + app_cost_of_subscribe(client->wish->message);
	if (!app_address_take(app, client->address, cost))
		return refuse_rate(app, request);
	int status = app_login_judge_plain(app, request, client, ask);
	if (status || !client->opened)
		return status;
	if (client->has_token && !app_address_take_as(app, client->claims.subject, cost)) {
		client->opened = false;
		return refuse_rate(app, request);
	}
	if (!app_hold_waits(client) && app_hooks_has(app, APP_HOOK_SUBSCRIBE)) {
		status = app_entry_ask_topics(client, request);
		if (status || !client->opened)
			return status;
	}
	return app_plain_begin(client, request);
}

static void free_client(struct app_client *client)
{
	app_hold_free(client);
	app_sessions_free(client);
	app_speech_free(client);
	app_info_free(client);
	app_client_free(client);
}

/* What a client wishes of its connection, in its URL. */
static void take_wishes(struct app_client *client, rc_request *request)
{
	const char *heartbeat = rc_request_query(request, "heartbeat"), *before = rc_request_query(request, "client");
	unsigned interval_ms;
	client->reliable = !client->wish && is_on(rc_request_query(request, "reliable"));
	client->by_letter = client->reliable;
	if (before &&
	    app_returns_came(&client->app->returns, APP_RETURNING_CLIENT, before, strlen(before), clock_now()))
		client->returned = true;
	if (heartbeat && app_heartbeat_of_text(heartbeat, &interval_ms) && !(client->wish && client->wish->polls))
		app_heartbeat_set(client, interval_ms);
}

/* Lets a client in, or refuses it. `wish` becomes the client's. */
static int open_client(struct app *app, rc_request *request, struct app_wish *wish)
{
	const struct app_settings *settings = app_settings_now(app);
	char scratch[ADDRESS_TEXT_SIZE];
	if (!app_access_host(app, request)) {
		app_wish_free(wish);
		return app_refuse(app, request, 403, "this name is not known to be ours: see --host");
	}
	if (!app_access_origin(settings, request)) {
		app_wish_free(wish);
		return app_refuse(app, request, 403, "this origin is not allowed");
	}
	const char *address = app_access_address(settings, request, scratch, sizeof scratch);
	/* A poll that begins a session opens something, as a handshake does. */
	bool opens = !wish || !wish->polls || (wish->is_device && !*wish->session);
	if (opens && !app_gate_pass(&app->gate, address, settings->handshakes_per_second, clock_now())) {
		app_wish_free(wish);
		APP_COUNT(app, rejected);
		warn_of_proxy(app, request);
		return app_refuse(app, request, 429, "too many handshakes from this address");
	}
	struct app_client *client = app_client_new(app, rc_request_conn(request), wish);
	if (!client)
		return 503;
	client->address = app_address_enter(app, address, settings->connections_per_address);
	int status = judge(app, request, client);
	if (status || !client->opened) {
		/* It was refused, or it is a poll that has its answer. */
		bool answered = !status && wish && wish->polls && client->permissions & APP_MAY_READ;
		if (client->user)
			app_people_leave(client);
		app_address_leave(app, client->address);
		free_client(client);
		if (!answered)
			APP_COUNT(app, rejected);
		return status;
	}
	client->opened = false;
	take_wishes(client, request);
	app_info_take(client, request);
	app_rate_begin(client);
	rc_request_set_user(request, client);
	return 0;
}

/* How many connections a peer may have that are not open. A proxy has no limit (0): its connections are those of many
 * clients, and each counts once the proxy has said whose it is. */
static unsigned unopened_max(void *context, const struct sockaddr *peer)
{
	const struct app_settings *settings = app_settings_now(context);
	unsigned max = settings->connections_per_address;
	if (!peer)
		return max < UINT32_MAX / UNKNOWN_ADDRESSES ? max * UNKNOWN_ADDRESSES : max;
	return networks_hold_peer(&settings->proxies, peer) ? 0 : max;
}

/* One line in the log of accesses. */
static int note(struct app *app, rc_request *request, int status)
{
	char scratch[ADDRESS_TEXT_SIZE];
	if (!atomic_load_explicit(&app->access.on, memory_order_relaxed))
		return status;
	return access_log_request(&app->access, request,
	                          local_client(&app_settings_now(app)->proxies, request, scratch), status);
}

/* Whatever refuses with a status alone is answered like the rest. */
static int in_words(struct app *app, rc_request *request, int status)
{
	return status >= 400 ? app_refuse(app, request, status, answer_words(status)) : status;
}

static int on_head(void *context, rc_request *request)
{
	struct app *app = context;
	int status = in_words(app, request, app_api_head(app, request));
	return status || rc_request_status(request) ? note(app, request, status) : 0;
}

static int judge_request(struct app *app, rc_request *request)
{
	const char *path = rc_request_path(request);
	if (!text_is_utf8(path, strlen(path)))
		return app_refuse(app, request, 400, "the path is not UTF-8");
	if (!rc_request_is_websocket(request)) {
		struct app_wish *wish = NULL;
		const char *methods = app_api_methods(app, request);
		if (methods && !answer_takes(request, methods))
			return answer_method(request, methods);
		int status = admin_is_here(&app->admin, request) ? -1 : app_wish_read(app, request, &wish);
		if (wish)
			return open_client(app, request, wish);
		return status >= 0 ? status : app_api_answer(app, request);
	}
	if (admin_is_here(&app->admin, request) || app_paths_place(app_settings_now(app), request) == APP_PLACE_NONE)
		return 404;
	if (atomic_load(&app->draining))
		return app_refuse(app, request, 503, "going away");
	return open_client(app, request, NULL);
}

static int on_request(void *context, rc_request *request)
{
	return note(context, request, in_words(context, request, judge_request(context, request)));
}

/* ---- its life ---- */

static void on_open(void *context, rc_conn conn, void *user)
{
	struct app *app = context;
	struct app_client *client = user;
	(void)conn;
	if (!client) /* a call to /api that waits for its answer */
		return;
	client->opened = true;
	APP_COUNT(app, open);
	if (client->returned)
		APP_COUNT(app, reconnections);
	app_table_add(&client->crew->clients, &client->node);
	if (client->bare)
		app_bare_open(client);
	else if (client->wish)
		app_plain_open(client);
	else if (!app_hold_waits(client) && client->speech)
		app_speech_begin(client);
	else if (!app_hold_waits(client))
		app_entry_begin(client);
	app_clock_set(client);
	if (atomic_load(&app->draining))
		app_close(client, RC_CLOSE_GOING_AWAY, "going away");
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct app *app = context;
	struct app_client *client = user;
	uint64_t begin_ns = clock_now();
	(void)conn;
	if (client->closing)
		return;
	if (client->bare)
		app_bare_receive(client, message);
	else
		app_dialect_receive(client, message);
	app_latency_add(&app->counters.handling, clock_now() - begin_ns);
}

static void on_ready(void *context, rc_conn conn, void *user)
{
	struct app_client *client = user;
	(void)context;
	(void)conn;
	app_plain_ready(client);
}

/* It was overrun in a topic, and goes on from the state there. */
static void on_resync(void *context, rc_conn conn, void *user, const char *topic, uint64_t epoch, uint64_t sequence)
{
	struct app_client *client = user;
	struct app_out *out = &client->crew->out;
	(void)context, (void)conn;
	if (app_passing_is_topic(topic)) {
		app_passing_resume(client, topic, sequence); /* it has no state */
		return;
	}
	/* A room has no state either. On several nodes its members hear that what was said may be lost. */
	size_t size = strlen(topic), prefix = app_spans(client->app) ? app_room_prefix(topic, size) : 0;
	if (!prefix && strncmp(topic, "room/", 5) == 0)
		return;
	app_out_clear(out);
	app_out_resync(out, prefix ? "room" : "topic", topic + prefix, size - prefix, epoch, sequence);
	app_send(client, out);
	app_batch_flush(client); /* before the state */
}

/* The reader of a stream is sent no Close that would say it. */
static void note_slow(const struct app_client *client, const struct rc_closing *closing)
{
	if (!client->wish || client->wish->polls || client->closing || closing->code != RC_CLOSE_POLICY)
		return;
	APP_COUNT(client->app, slow_streams);
	log_say(LEVEL_WARNING, "slow", client->id, "the stream to %s ended: it was read too slowly",
	        client->address->name);
}

void app_clients_end(struct app_client *client)
{
	struct app *app = client->app;
	client->closing = true;
	if (client->session)
		app_sessions_end(client);
	if (client->opened) {
		atomic_fetch_sub(&app->counters.open, 1);
		app_returns_left(&app->returns, APP_RETURNING_CLIENT, client->id, strlen(client->id), clock_now());
		app_clock_remove(client);
		app_rooms_leave_all(client);
		app_feeds_leave_all(client);
		app_table_remove(&client->crew->clients, &client->node);
	}
	if (client->user)
		app_people_leave(client);
	app_rate_end(client);
	app_address_leave(app, client->address);
	free_client(client);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct app *app = context;
	struct app_client *client = user;
	access_log_end(&app->access, conn, closing);
	if (!client)
		return;
	note_slow(client, closing);
	if (client->wish && client->wish->polls && client->wish->is_device && client->opened)
		app_visits_gone(client);
	if (client->opened)
		log_say(LEVEL_DEBUG, "close", client->id, "%u %.*s", closing->code, (int)closing->reason_size,
		        closing->reason);
	app_clients_end(client);
}

/* The library refused it before anybody here saw it. */
static void on_refused(void *context, const char *peer, int status, const char *words)
{
	app_refusals_note(context, peer, status, words ? words : "the request makes no sense, or took too long");
}

static void on_report(void *context, const char *text)
{
	(void)context;
	log_say(LEVEL_WARNING, "server", NULL, "%s", text);
}

/* The report said why. */
static void on_failed(void *context, const struct rc_error *error)
{
	(void)context, (void)error;
	_exit(EXIT_FAILED);
}

/* What a client said while its backend was asked goes on. */
static void resume(struct app_client *client)
{
	app_dialect_resume(client);
	if (client->speech)
		app_speech_go_on(client);
}

struct rc_handlers app_clients_handlers(struct app *app)
{
	app->resume = resume;
	return (struct rc_handlers){
		.context = app,
		.unopened_max = unopened_max,
		.head = on_head,
		.request = on_request,
		.open = on_open,
		.message = on_message,
		.ready = on_ready,
		.resync = on_resync,
		.close = on_close,
		.report = on_report,
		.failed = on_failed,
		.refused = on_refused,
	};
}

struct grave {
	struct app *app;
	rc_conn conn;
};

static void bury(void *argument)
{
	struct grave *grave = argument;
	struct app_client *client = app_crew_find(&grave->app->crews[rc_conn_worker(grave->conn)], grave->conn);
	if (client && client->session && client->closing)
		app_clients_end(client);
	free(grave);
}

/* One without a connection is ended when nobody stands on it. If that cannot be posted, it is due again. */
static void end_later(struct app_client *client)
{
	struct grave *grave = malloc(sizeof *grave);
	if (!grave)
		return;
	*grave = (struct grave){ .app = client->app, .conn = client->conn };
	if (rc_post(client->app->server, rc_conn_worker(client->conn), bury, grave))
		free(grave);
}

void app_clients_due(struct app_client *client, uint64_t now_ns)
{
	if (client->closing) {
		if (client->session)
			end_later(client);
		return;
	}
	if (client->times.auth_ns <= now_ns || client->times.expiry_ns <= now_ns)
		app_login_due(client, now_ns);
	if (client->times.resend_ns <= now_ns)
		app_reliable_due(client, now_ns);
	if (client->times.batch_ns <= now_ns)
		app_batch_due(client, now_ns);
	if (client->times.partial_ns <= now_ns)
		app_partials_due(client, now_ns);
	if (client->times.wait_ns <= now_ns && client->session)
		app_sessions_due(client, now_ns);
	else if (client->times.wait_ns <= now_ns)
		app_plain_due(client);
	if (client->times.ping_ns <= now_ns)
		app_heartbeat_due(client, now_ns);
	if (client->times.hook_ns <= now_ns && !client->closing)
		app_hold_due(client);
}
