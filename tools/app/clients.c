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

struct rc_app_client *rc_clients_find(struct rc_crew *crew, rc_conn conn)
{
	struct rc_node *node = rc_table_find(&crew->clients, (const char *)&conn, sizeof conn);
	return (struct rc_app_client *)node;
}

static void free_client(struct rc_app_client *client)
{
	for (unsigned i = 0; i < client->pattern_count; i++)
		free(client->patterns[i]);
	while (client->pending) {
		struct rc_pending *next = client->pending->next;
		free(client->pending);
		client->pending = next;
	}
	free(client->claims.rooms);
	free(client->claimed);
	rc_plain_free(client->plain);
	rc_out_free(&client->batch);
	free(client);
}

void rc_crew_enter(struct rc_crew *crew)
{
	crew->inside++;
}

void rc_crew_leave(struct rc_crew *crew)
{
	if (--crew->inside)
		return;
	while (crew->dead) {
		struct rc_app_client *client = crew->dead;
		crew->dead = client->next_dead;
		free_client(client);
	}
}

/* ---- the request ---- */

static struct rc_app_client *new_client(struct rc_app *app, rc_conn conn)
{
	struct rc_app_client *client = calloc(1, sizeof *client);
	uint64_t random;
	if (!client || getrandom(&random, sizeof random, 0) != sizeof random) {
		free(client);
		return NULL;
	}
	static const char digits[] = "0123456789abcdef";
	for (unsigned i = 0; i < RC_CLIENT_ID_SIZE; i++)
		client->id[i] = digits[random >> i * 4 & 15];
	client->app = app;
	client->conn = conn;
	client->crew = &app->crews[rc_conn_worker(conn)];
	client->node.name = (const char *)&client->conn;
	client->node.name_size = sizeof client->conn;
	client->auth_ns = client->expiry_ns = client->resend_ns = RC_NEVER;
	client->batch_ns = client->wait_ns = client->deadline_ns = RC_NEVER;
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

static int judge(struct rc_app *app, rc_request *request, struct rc_app_client *client)
{
	if (!client->address)
		return refuse(request, 429, "too many connections from this address\n");
	if (!client->plain)
		return rc_access_judge(app, request, client);
	int status = rc_access_judge_plain(app, request, client);
	return status || !client->opened ? status : rc_plain_begin(client, request);
}

int rc_clients_open(struct rc_app *app, rc_request *request, struct rc_plain *plain)
{
	const struct rc_settings *settings = rc_app_settings(app);
	char scratch[INET6_ADDRSTRLEN + 4];
	struct rc_app_client *client = rc_access_origin(settings, request) ? new_client(app, rc_request_conn(request))
	                                                                   : NULL;
	if (!client) {
		rc_plain_free(plain);
		return rc_access_origin(settings, request) ? 503 : refuse(request, 403, "this origin is not allowed\n");
	}
	client->plain = plain;
	const char *address = rc_access_address(settings, request, scratch, sizeof scratch);
	client->address = rc_address_enter(app, address, settings->connections_per_address);
	int status = judge(app, request, client);
	if (status || !client->opened) {
		/* It was refused, with words or without; or a poll that has its answer. */
		bool answered = !status && client->plain && client->plain->polls && client->permissions & RC_MAY_READ;
		if (client->user)
			rc_people_leave(client);
		rc_address_leave(app, client->address);
		free_client(client);
		if (!answered)
			RC_COUNT(app, rejected);
		return status;
	}
	client->opened = false;
	client->reliable = is_on(rc_request_query(request, "reliable"));
	client->by_letter = client->reliable;
	client->bucket = rc_bucket_full(settings->burst, rc_clock_now());
	client->strikes = rc_bucket_full(settings->flood, rc_clock_now());
	rc_request_set_user(request, client);
	return 0;
}

static int on_request(void *context, rc_request *request)
{
	struct rc_app *app = context;
	const char *path = rc_request_path(request);
	if (!rc_request_is_websocket(request)) {
		int status = rc_request_listener(request) < app->api_listener_first ? rc_plain_answer(app, request)
		                                                                    : -1;
		return status >= 0 ? status : rc_api_answer(app, request);
	}
	if (rc_request_listener(request) >= app->api_listener_first ||
	    (strcmp(path, "/ws") != 0 && strncmp(path, "/ws/", 4) != 0))
		return 404;
	if (atomic_load(&app->draining))
		return refuse(request, 503, "going away\n");
	return rc_clients_open(app, request, NULL);
}

/* ---- its life ---- */

static void welcome(struct rc_app_client *client)
{
	struct rc_out *out = &client->crew->out;
	rc_out_clear(out);
	rc_out_type(out, "welcome", NULL);
	rc_out_format(out, ",\"clientId\":\"%s\",\"serverTime\":", client->id);
	rc_out_time_iso(out);
	if (client->user) {
		rc_out_text(out, ",\"userId\":");
		rc_out_string(out, client->user->name, client->user->node.name_size);
	}
	rc_out_text(out, "}");
	rc_app_send(client, out);
}

static void on_open(void *context, rc_conn conn, void *user)
{
	struct rc_app *app = context;
	struct rc_app_client *client = user;
	struct rc_crew *crew = client->crew;
	(void)conn;
	rc_crew_enter(crew);
	client->opened = true;
	RC_COUNT(app, open);
	rc_table_add(&crew->clients, &client->node);
	if (client->plain)
		rc_plain_open(client);
	else
		welcome(client);
	rc_log_say(RC_LOG_DEBUG, "open", client->id, "user %s", client->user ? client->user->name : "not yet known");
	if (client->user)
		rc_people_arrive(client);
	rc_clock_set(client);
	if (atomic_load(&app->draining))
		rc_app_close(client, RC_CLOSE_GOING_AWAY, "going away");
	rc_crew_leave(crew);
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct rc_app *app = context;
	struct rc_app_client *client = user;
	struct rc_crew *crew = client->crew;
	uint64_t begin_ns = rc_clock_now();
	(void)conn;
	if (client->closing)
		return;
	rc_crew_enter(crew);
	rc_dialect_receive(client, message);
	rc_crew_leave(crew);
	uint64_t took_ns = rc_clock_now() - begin_ns;
	rc_figures_latency(app->counters.latency, took_ns / 1000);
	atomic_fetch_add_explicit(&app->counters.latency_ns, took_ns, memory_order_relaxed);
	RC_COUNT(app, latency_count);
}

static void on_ready(void *context, rc_conn conn, void *user)
{
	struct rc_app_client *client = user;
	struct rc_crew *crew = client->crew;
	(void)context;
	(void)conn;
	rc_crew_enter(crew);
	rc_plain_ready(client);
	rc_crew_leave(crew);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct rc_app *app = context;
	struct rc_app_client *client = user;
	struct rc_crew *crew = client->crew;
	(void)conn;
	rc_crew_enter(crew);
	client->closing = true;
	if (client->opened) {
		rc_log_say(RC_LOG_DEBUG, "close", client->id, "%u %.*s", closing->code, (int)closing->reason_size,
		           closing->reason);
		atomic_fetch_sub(&app->counters.open, 1);
		rc_clock_remove(client);
		rc_rooms_leave_all(client);
		rc_feeds_leave_all(client);
		rc_table_remove(&crew->clients, &client->node);
	}
	if (client->user)
		rc_people_leave(client);
	rc_address_leave(app, client->address);
	client->next_dead = crew->dead;
	crew->dead = client;
	rc_crew_leave(crew);
}

static void on_report(void *context, const char *text)
{
	(void)context;
	rc_log_say(RC_LOG_WARNING, "server", NULL, "%s", text);
}

struct rc_handlers rc_clients_handlers(struct rc_app *app)
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

void rc_app_close(struct rc_app_client *client, uint16_t code, const char *reason)
{
	if (client->closing)
		return;
	rc_batch_flush(client);
	client->closing = true;
	rc_clock_set(client);
	rc_log_say(RC_LOG_INFO, "closing", client->id, "%u %s", code, reason);
	rc_close(client->app->server, client->conn, code, reason, strlen(reason));
}

void rc_app_send(struct rc_app_client *client, struct rc_out *out)
{
	if (client->closing || (client->plain && client->plain->polls))
		return; /* a poll hears nothing but its answer */
	if (out->failed) {
		rc_app_close(client, RC_CLOSE_INTERNAL, "out of memory");
		return;
	}
	if (client->batch_count) {
		rc_batch_add(client, out->bytes, out->size);
		return;
	}
	int code = rc_send(client->app->server, client->conn, RC_TEXT, out->bytes, out->size);
	if (code == 0)
		RC_COUNT(client->app, sent);
	else if (code == -ENOBUFS)
		rc_app_close(client, RC_CLOSE_POLICY, "reads too slowly");
}

void rc_app_due(struct rc_app_client *client, uint64_t now_ns)
{
	if (client->closing)
		return;
	if (client->auth_ns <= now_ns || client->expiry_ns <= now_ns)
		rc_access_due(client, now_ns);
	if (client->resend_ns <= now_ns)
		rc_reliable_due(client, now_ns);
	if (client->batch_ns <= now_ns)
		rc_batch_due(client, now_ns);
	if (client->wait_ns <= now_ns)
		rc_plain_due(client);
}
