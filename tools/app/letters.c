/* SPDX-License-Identifier: MIT
 *
 * letters.c - see letters.h.
 */
#include "letters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "wire.h"

struct envelope {
	struct app *app;
	rc_conn conn;
	void (*open)(struct app_client *client, const struct app_letter *letter);
	struct app_letter letter;
	char bytes[];
};

static void deliver(void *argument)
{
	struct envelope *envelope = argument;
	struct app_crew *crew = &envelope->app->crews[rc_conn_worker(envelope->conn)];
	struct app_client *client = app_crew_find(crew, envelope->conn);
	if (client && client->opened && !client->closing)
		envelope->open(client, &envelope->letter);
	free(envelope);
}

int app_letter_post(struct app *app, rc_conn conn,
                    void (*open)(struct app_client *client, const struct app_letter *letter), uint64_t number,
                    const void *bytes, size_t size)
{
	struct envelope *envelope = malloc(sizeof *envelope + size + 1);
	if (!envelope)
		return -ENOMEM;
	*envelope = (struct envelope){ .app = app,
		                       .conn = conn,
		                       .open = open,
		                       .letter = { .number = number, .size = size, .bytes = envelope->bytes } };
	if (size)
		memcpy(envelope->bytes, bytes, size);
	envelope->bytes[size] = 0;
	int code = rc_post(app->server, rc_conn_worker(conn), deliver, envelope);
	if (code)
		free(envelope);
	return code;
}

static void open_close(struct app_client *client, const struct app_letter *letter)
{
	app_close(client, (uint16_t)letter->number, letter->bytes);
}

int app_letter_close(struct app *app, rc_conn conn, uint16_t code, const char *reason, size_t size)
{
	return app_letter_post(app, conn, open_close, code, reason, size);
}
