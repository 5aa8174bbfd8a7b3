/* SPDX-License-Identifier: MIT
 *
 * letters.c - how a thread reaches a client of another worker: a letter is posted, and opened on the client's own
 * worker, which looks whether the client is still there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"

struct letter {
	struct app *app;
	rc_conn conn;
	enum app_letter_kind kind;
	uint64_t number;
	size_t size;
	char bytes[];
};

/* A topic that one of the client's patterns was waiting for has begun. */
static void begin_topic(struct app_client *client, const char *name, size_t size, bool conflate)
{
	struct rc_start start = { .resume = true, .conflate = conflate };
	app_feeds_follow(client, name, size, false, &start);
}

static void open_letter(void *argument)
{
	struct letter *letter = argument;
	struct app_crew *crew = &letter->app->crews[rc_conn_worker(letter->conn)];
	struct app_client *client = app_clients_find(crew, letter->conn);
	app_crew_enter(crew);
	if (client && client->opened && !client->closing) {
		struct app_out *out = &crew->out;
		switch (letter->kind) {
		case APP_LETTER_TEXT:
			app_out_clear(out);
			app_out_bytes(out, letter->bytes, letter->size);
			app_send(client, out);
			break;
		case APP_LETTER_DATA:
			app_reliable_send(client, letter->number, letter->bytes, letter->size, true);
			break;
		case APP_LETTER_TOPIC:
			begin_topic(client, letter->bytes, letter->size, letter->number);
			break;
		case APP_LETTER_CLOSE:
			letter->bytes[letter->size] = 0;
			app_close(client, (uint16_t)letter->number, letter->bytes);
			break;
		}
	}
	app_crew_leave(crew);
	free(letter);
}

int app_letter_post(struct app *app, rc_conn conn, enum app_letter_kind kind, uint64_t number, const void *bytes,
                    size_t size)
{
	struct letter *letter = malloc(sizeof *letter + size + 1);
	if (!letter)
		return -ENOMEM;
	*letter = (struct letter){ .app = app, .conn = conn, .kind = kind, .number = number, .size = size };
	if (size)
		memcpy(letter->bytes, bytes, size);
	int code = rc_post(app->server, rc_conn_worker(conn), open_letter, letter);
	if (code)
		free(letter);
	return code;
}
