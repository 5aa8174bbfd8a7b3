/* SPDX-License-Identifier: MIT
 *
 * visits.c - see visits.h.
 */
#include "visits.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "sessions.h"
#include "wire.h"
#include "wish.h"

struct visit {
	struct app *app;
	rc_conn session;
	char id[APP_SESSION_ID_SIZE + 1];
	struct app_caller caller;
};

static void free_visit(struct visit *visit)
{
	json_decref(visit->caller.rooms);
	app_claims_free(&visit->caller.claims);
	free(visit->caller.user);
	free(visit);
}

/* ---- at the session ---- */

static struct app_client *find(const struct visit *visit)
{
	const struct app_crew *crew = &visit->app->crews[rc_conn_worker(visit->session)];
	struct app_client *client = app_crew_find(crew, visit->session);
	return client && client->session && !client->closing && strcmp(app_session_id(client), visit->id) == 0 ? client
	                                                                                                       : NULL;
}

static void arrive(void *argument)
{
	struct visit *visit = argument;
	struct app_client *client = find(visit);
	if (client && app_session_is_of(client, &visit->caller))
		app_session_go_on(client, &visit->caller);
	else
		client = NULL;
	if (!client || client->closing)
		app_session_answer(visit->app, visit->caller.poll, 410, APP_SESSION_OVER, sizeof APP_SESSION_OVER - 1);
	free_visit(visit);
}

static void look(void *argument)
{
	struct visit *visit = argument;
	struct app_client *client = find(visit);
	if (client)
		app_session_look(client, visit->caller.poll);
	free_visit(visit);
}

static void forget(void *argument)
{
	struct visit *visit = argument;
	struct app_client *client = find(visit);
	if (client)
		app_session_forget(client, visit->caller.poll);
	free_visit(visit);
}

/* ---- at the poll ---- */

/* What the token says of rooms and topics goes with it: the poll itself follows nothing of its own. */
static struct visit *make_visit(struct app_client *poll)
{
	struct app_wish *wish = poll->wish;
	struct visit *visit = calloc(1, sizeof *visit);
	if (!visit)
		return NULL;
	visit->app = poll->app;
	visit->caller = (struct app_caller){ .poll = poll->conn,
		                             .number = wish->session_number,
		                             .wait_s = wish->wait_s,
		                             .rooms = wish->rooms,
		                             .has_token = poll->has_token,
		                             .by_hook = poll->by_hook,
		                             .guest = poll->guest,
		                             .permissions = poll->permissions,
		                             .claims = poll->claims };
	memcpy(visit->id, wish->session, sizeof visit->id);
	wish->rooms = NULL;
	poll->claims.rooms.text = poll->claims.topics.text = NULL;
	return visit;
}

/* The name that a poll of a session shows; false without memory. */
static bool take_name(struct visit *visit, const struct app_client *poll)
{
	const char *name = poll->has_token || poll->by_hook ? poll->claims.subject : poll->wish->user;
	visit->caller.user = name ? strdup(name) : NULL;
	return !name || visit->caller.user;
}

static void send_on(struct app_client *poll, struct visit *visit)
{
	struct app *app = poll->app;
	visit->session = app_session_place(app, visit->id);
	if (!visit->session)
		app_respond(poll, 410, APP_SESSION_OVER, sizeof APP_SESSION_OVER - 1);
	else if (!take_name(visit, poll) || rc_post(app->server, rc_conn_worker(visit->session), arrive, visit))
		app_respond_error(poll, 503, "the server is overloaded");
	else
		return;
	free_visit(visit);
}

void app_visits_poll(struct app_client *poll)
{
	struct app *app = poll->app;
	struct visit *visit;
	if (atomic_load(&app->draining)) {
		app_respond_error(poll, 503, "going away");
	} else if (!(visit = make_visit(poll))) {
		app_respond_error(poll, 503, "out of memory");
	} else if (*poll->wish->session) {
		send_on(poll, visit);
	} else {
		app_session_begin(poll, &visit->caller);
		free_visit(visit);
	}
}

static void tell(struct app_client *poll, void (*what)(void *argument))
{
	struct app *app = poll->app;
	struct visit *visit = calloc(1, sizeof *visit);
	if (!visit)
		return;
	visit->app = app;
	visit->caller.poll = poll->conn;
	memcpy(visit->id, poll->wish->session, sizeof visit->id);
	visit->session = app_session_place(app, visit->id);
	if (!visit->session || rc_post(app->server, rc_conn_worker(visit->session), what, visit))
		free_visit(visit);
}

void app_visits_look(struct app_client *poll)
{
	tell(poll, look);
}

void app_visits_gone(struct app_client *poll)
{
	tell(poll, forget);
}
