/* SPDX-License-Identifier: MIT
 *
 * client.c - see client.h: how clients are made, found and freed. It sends nothing, and asks for nothing.
 */
#include "client.h"

#include <stdlib.h>
#include <sys/random.h>

#include "app.h"
#include "lib/visit.h"
#include "reliable.h"
#include "wish.h"

/* ---- a worker's clients ---- */

bool app_crews_init(struct app *app, unsigned count, uint64_t seed)
{
	app->crews = calloc(count, sizeof *app->crews);
	if (!app->crews)
		return false;
	app->crew_count = count;
	for (unsigned i = 0; i < count; i++) {
		struct app_crew *crew = &app->crews[i];
		crew->app = app;
		atomic_init(&crew->deadlines.next_ns, APP_NEVER);
		if (!app_table_init(&crew->clients, seed))
			return false;
	}
	return true;
}

void app_crews_free(struct app *app)
{
	for (unsigned i = 0; app->crews && i < app->crew_count; i++) {
		struct app_crew *crew = &app->crews[i];
		app_table_destroy(&crew->clients);
		app_out_free(&crew->out);
		app_out_free(&crew->head);
		app_out_free(&crew->tail);
		app_out_free(&crew->coded);
		free(crew->deadlines.heap);
	}
	free(app->crews);
}

struct crew_visit {
	struct app *app;
	void (*fn)(struct app_crew *crew);
};

static void visit_crew(void *context, unsigned worker)
{
	const struct crew_visit *visit = context;
	visit->fn(&visit->app->crews[worker]);
}

void app_crews_visit(struct app *app, void (*fn)(struct app_crew *crew))
{
	struct crew_visit visit = { .app = app, .fn = fn };
	visit_workers(app->server, visit_crew, &visit);
}

struct app_client *app_crew_find(const struct app_crew *crew, rc_conn conn)
{
	struct app_node *node = app_table_find(&crew->clients, (const char *)&conn, sizeof conn);
	return (struct app_client *)node;
}

/* ---- a client ---- */

struct app_client *app_client_new(struct app *app, rc_conn conn, struct app_wish *wish)
{
	struct app_client *client = calloc(1, sizeof *client);
	uint64_t random;
	if (!client || getrandom(&random, sizeof random, 0) != sizeof random) {
		free(client);
		app_wish_free(wish);
		return NULL;
	}
	static const char digits[] = "0123456789abcdef";
	for (unsigned i = 0; i < APP_CLIENT_ID_SIZE; i++)
		client->id[i] = digits[random >> i * 4 & 15];
	client->app = app;
	client->conn = conn;
	client->wish = wish;
	client->crew = &app->crews[rc_conn_worker(conn)];
	client->node.name = (const char *)&client->conn;
	client->node.name_size = sizeof client->conn;
	client->times = APP_TIMES_NONE;
	return client;
}

void app_client_free(struct app_client *client)
{
	for (unsigned i = 0; i < client->pattern_count; i++)
		free(client->patterns[i]);
	while (client->pending) {
		struct app_pending *next = client->pending->next;
		free(client->pending);
		client->pending = next;
	}
	app_claims_free(&client->claims);
	free(client->claimed);
	app_wish_free(client->wish);
	app_out_free(&client->batch);
	free(client->passing_types);
	free(client->shown);
	free(client);
}
