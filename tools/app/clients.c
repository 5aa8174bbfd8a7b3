/* SPDX-License-Identifier: MIT
 *
 * clients.c - a client from its request to its end, and what is sent to it. It knows no message of the dialect but
 * `welcome`.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "app.h"
#include "lib/wait.h"

/* ---- a worker's clients ---- */

struct app_client *app_clients_find(struct app_crew *crew, rc_conn conn)
{
	struct app_node *node = app_table_find(&crew->clients, (const char *)&conn, sizeof conn);
	return (struct app_client *)node;
}

static void free_client(struct app_client *client)
{
	for (unsigned i = 0; i < client->pattern_count; i++)
		free(client->patterns[i]);
	while (client->pending) {
		struct app_pending *next = client->pending->next;
		free(client->pending);
		client->pending = next;
	}
	free(client->claims.rooms);
	free(client->claimed);
	app_plain_free(client->plain);
	app_out_free(&client->batch);
	free(client);
}

void app_crew_enter(struct app_crew *crew)
{
	crew->inside++;
}

void app_crew_leave(struct app_crew *crew)
{
	if (--crew->inside)
		return;
	while (crew->dead) {
		struct app_client *client = crew->dead;
		crew->dead = client->next_dead;
		free_client(client);
	}
}

/* ---- the request ---- */

static struct app_client *new_client(struct app *app, rc_conn conn)
{
	struct app_client *client = calloc(1, sizeof *client);
	uint64_t random;
	if (!client || getrandom(&random, sizeof random, 0) != sizeof random) {
		free(client);
		return NULL;
	}
	static const char digits[] = "0123456789abcdef";
	for (unsigned i = 0; i < APP_CLIENT_ID_SIZE; i++)
		client->id[i] = digits[random >> i * 4 & 15];
	client->app = app;
	client->conn = conn;
	client->crew = &app->crews[rc_conn_worker(conn)];
	client->node.name = (const char *)&client->conn;
	client->node.name_size = sizeof client->conn;
	client->auth_ns = client->expiry_ns = client->resend_ns = APP_NEVER;
	client->batch_ns = client->wait_ns = client->deadline_ns = APP_NEVER;
	return client;
}

static bool is_on(const char *value)
{
	return value && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

static int refuse(rc_request *request, int status, const char *words)
{
	return rc_request_respond(request, status, "text/plain; charset=utf-8", words, strlen(words)) ? 503 : 0;
}

static int judge(struct app *app, rc_request *request, struct app_client *client)
{
	if (!client->address)
		return refuse(request, 429, "too many connections from this address\n");
	if (!client->plain)
		return app_access_judge(app, request, client);
	int status = app_access_judge_plain(app, request, client);
	return status || !client->opened ? status : app_plain_begin(client, request);
}

int app_clients_open(struct app *app, rc_request *request, struct app_plain *plain)
{
	const struct app_settings *settings = app_settings_now(app);
	char scratch[INET6_ADDRSTRLEN + 4];
	struct app_client *client = app_access_origin(settings, request) ? new_client(app, rc_request_conn(request))
	                                                                 : NULL;
	if (!client) {
		app_plain_free(plain);
		return app_access_origin(settings, request) ? 503
		                                            : refuse(request, 403, "this origin is not allowed\n");
	}
	client->plain = plain;
	const char *address = app_access_address(settings, request, scratch, sizeof scratch);
	client->address = app_address_enter(app, address, settings->connections_per_address);
	int status = judge(app, request, client);
	if (status || !client->opened) {
		/* It was refused, with words or without; or a poll that has its answer. */
		bool answered = !status && client->plain && client->plain->polls && client->permissions & APP_MAY_READ;
		if (client->user)
			app_people_leave(client);
		app_address_leave(app, client->address);
		free_client(client);
		if (!answered)
			APP_COUNT(app, rejected);
		return status;
	}
	client->opened = false;
	client->reliable = is_on(rc_request_query(request, "reliable"));
	client->by_letter = client->reliable;
	client->bucket = app_bucket_full(settings->burst, clock_now());
	client->strikes = app_bucket_full(settings->flood, clock_now());
	rc_request_set_user(request, client);
	return 0;
}

static int on_request(void *context, rc_request *request)
{
	struct app *app = context;
	const char *path = rc_request_path(request);
	if (!rc_request_is_websocket(request)) {
		int status = rc_request_listener(request) < app->api_listener_first ? app_plain_answer(app, request)
		                                                                    : -1;
		return status >= 0 ? status : app_api_answer(app, request);
	}
	if (rc_request_listener(request) >= app->api_listener_first ||
	    (strcmp(path, "/ws") != 0 && strncmp(path, "/ws/", 4) != 0))
		return 404;
	if (atomic_load(&app->draining))
		return refuse(request, 503, "going away\n");
	return app_clients_open(app, request, NULL);
}

/* ---- its life ---- */

static void welcome(struct app_client *client)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_type(out, "welcome", NULL);
	app_out_format(out, ",\"clientId\":\"%s\",\"serverTime\":", client->id);
	app_out_time_iso(out);
	if (client->user) {
		app_out_text(out, ",\"userId\":");
		app_out_string(out, client->user->name, client->user->node.name_size);
	}
	app_out_text(out, "}");
	app_send(client, out);
}

static void on_open(void *context, rc_conn conn, void *user)
{
	struct app *app = context;
	struct app_client *client = user;
	struct app_crew *crew = client->crew;
	(void)conn;
	app_crew_enter(crew);
	client->opened = true;
	APP_COUNT(app, open);
	app_table_add(&crew->clients, &client->node);
	if (client->plain)
		app_plain_open(client);
	else
		welcome(client);
	app_log_say(APP_LOG_DEBUG, "open", client->id, "user %s", client->user ? client->user->name : "not yet known");
	if (client->user)
		app_people_arrive(client);
	app_clock_set(client);
	if (atomic_load(&app->draining))
		app_close(client, RC_CLOSE_GOING_AWAY, "going away");
	app_crew_leave(crew);
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct app *app = context;
	struct app_client *client = user;
	struct app_crew *crew = client->crew;
	uint64_t begin_ns = clock_now();
	(void)conn;
	if (client->closing)
		return;
	app_crew_enter(crew);
	app_dialect_receive(client, message);
	app_crew_leave(crew);
	uint64_t took_ns = clock_now() - begin_ns;
	app_figures_latency(app->counters.latency, took_ns / 1000);
	atomic_fetch_add_explicit(&app->counters.latency_ns, took_ns, memory_order_relaxed);
	APP_COUNT(app, latency_count);
}

static void on_ready(void *context, rc_conn conn, void *user)
{
	struct app_client *client = user;
	struct app_crew *crew = client->crew;
	(void)context;
	(void)conn;
	app_crew_enter(crew);
	app_plain_ready(client);
	app_crew_leave(crew);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct app *app = context;
	struct app_client *client = user;
	struct app_crew *crew = client->crew;
	(void)conn;
	app_crew_enter(crew);
	client->closing = true;
	if (client->opened) {
		app_log_say(APP_LOG_DEBUG, "close", client->id, "%u %.*s", closing->code, (int)closing->reason_size,
		            closing->reason);
		atomic_fetch_sub(&app->counters.open, 1);
		app_clock_remove(client);
		app_rooms_leave_all(client);
		app_feeds_leave_all(client);
		app_table_remove(&crew->clients, &client->node);
	}
	if (client->user)
		app_people_leave(client);
	app_address_leave(app, client->address);
	client->next_dead = crew->dead;
	crew->dead = client;
	app_crew_leave(crew);
}

static void on_report(void *context, const char *text)
{
	(void)context;
	app_log_say(APP_LOG_WARNING, "server", NULL, "%s", text);
}

struct rc_handlers app_clients_handlers(struct app *app)
{
	return (struct rc_handlers){
		.context = app,
		.request = on_request,
		.open = on_open,
		.message = on_message,
		.ready = on_ready,
		.close = on_close,
		.report = on_report,
	};
}

/* ---- what is sent to it ---- */

void app_close(struct app_client *client, uint16_t code, const char *reason)
{
	if (client->closing)
		return;
	app_batch_flush(client);
	client->closing = true;
	app_clock_set(client);
	app_log_say(APP_LOG_INFO, "closing", client->id, "%u %s", code, reason);
	rc_close(client->app->server, client->conn, code, reason, strlen(reason));
}

void app_send(struct app_client *client, struct app_out *out)
{
	if (client->closing || (client->plain && client->plain->polls))
		return; /* a poll hears nothing but its answer */
	if (out->failed) {
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
		return;
	}
	if (client->batch_count) {
		app_batch_add(client, out->bytes, out->size);
		return;
	}
	int code = rc_send(client->app->server, client->conn, RC_TEXT, out->bytes, out->size);
	if (code == 0)
		APP_COUNT(client->app, sent);
	else if (code == -ENOBUFS)
		app_close(client, RC_CLOSE_POLICY, "reads too slowly");
}

void app_due(struct app_client *client, uint64_t now_ns)
{
	if (client->closing)
		return;
	if (client->auth_ns <= now_ns || client->expiry_ns <= now_ns)
		app_access_due(client, now_ns);
	if (client->resend_ns <= now_ns)
		app_reliable_due(client, now_ns);
	if (client->batch_ns <= now_ns)
		app_batch_due(client, now_ns);
	if (client->wait_ns <= now_ns)
		app_plain_due(client);
}
