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
                    void (*open)(struct app_client *client, const struct app_letter *letter),
                    const struct app_letter *letter)
{
	struct envelope *envelope = malloc(sizeof *envelope + letter->size + 1);
	if (!envelope)
		return -ENOMEM;
	*envelope = (struct envelope){ .app = app, .conn = conn, .open = open, .letter = *letter };
	envelope->letter.bytes = envelope->bytes;
	if (letter->size)
		memcpy(envelope->bytes, letter->bytes, letter->size);
	envelope->bytes[letter->size] = 0;
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
	const struct app_letter letter = { .number = code, .bytes = reason, .size = size };
	return app_letter_post(app, conn, open_close, &letter);
}
