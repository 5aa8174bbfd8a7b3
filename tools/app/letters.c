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
	struct rc_app *app;
	rc_conn conn;
	enum rc_letter_kind kind;
	uint64_t number;
	size_t size;
	char bytes[];
};

/* A topic that one of the client's patterns was waiting for has begun. */
static void begin_topic(struct rc_app_client *client, const char *name, size_t size, bool conflate)
{
	struct rc_start start = { .resume = true, .conflate = conflate };
	rc_feeds_follow(client, name, size, false, &start);
}

static void open_letter(void *argument)
{
	struct letter *letter = argument;
	struct rc_crew *crew = &letter->app->crews[rc_conn_worker(letter->conn)];
	struct rc_app_client *client = rc_clients_find(crew, letter->conn);
	rc_crew_enter(crew);
	if (client && client->opened && !client->closing) {
		struct rc_out *out = &crew->out;
		switch (letter->kind) {
		case RC_LETTER_TEXT:
			rc_out_clear(out);
			rc_out_bytes(out, letter->bytes, letter->size);
			rc_app_send(client, out);
			break;
		case RC_LETTER_DATA:
			rc_reliable_send(client, letter->number, letter->bytes, letter->size, true);
			break;
		case RC_LETTER_TOPIC:
			begin_topic(client, letter->bytes, letter->size, letter->number);
			break;
		case RC_LETTER_CLOSE:
			letter->bytes[letter->size] = 0;
			rc_app_close(client, (uint16_t)letter->number, letter->bytes);
			break;
		}
	}
	rc_crew_leave(crew);
	free(letter);
}

int rc_letter_post(struct rc_app *app, rc_conn conn, enum rc_letter_kind kind, uint64_t number, const void *bytes,
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
