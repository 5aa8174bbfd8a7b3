/* SPDX-License-Identifier: MIT
 *
 * wire.c - see wire.h. It knows no message but the batch around others.
 */
#include "wire.h"

#include <errno.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "lib/log.h"
#include "lib/wait.h"
#include "wish.h"

static int try_opcode(struct app_client *client, enum rc_opcode opcode, const void *bytes, size_t size)
{
	int code = rc_send(client->app->server, client->conn, opcode, bytes, size);
	if (code == 0)
		APP_COUNT(client->app, sent);
	return code;
}

static int try_bytes(struct app_client *client, const char *bytes, size_t size)
{
	struct app_out *coded = &client->crew->coded;
	if (client->form == APP_FORM_JSON)
		return try_opcode(client, RC_TEXT, bytes, size);
	app_form_write(client->form, bytes, size, coded);
	return coded->failed ? -ENOMEM : try_opcode(client, RC_BINARY, coded->bytes, coded->size);
}

void app_send_back(struct app_client *client, const struct rc_message *message)
{
	if (try_opcode(client, message->opcode, message->data, message->size) == -ENOBUFS)
		app_close(client, RC_CLOSE_POLICY, "reads too slowly");
}

static void send_bytes(struct app_client *client, const char *bytes, size_t size)
{
	if (try_bytes(client, bytes, size) == -ENOBUFS)
		app_close(client, RC_CLOSE_POLICY, "reads too slowly");
}

void app_batch_flush(struct app_client *client)
{
	if (!client->batched)
		return;
	client->batched = 0;
	app_out_text(&client->batch, "]}");
	if (client->batch.failed)
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
	else
		send_bytes(client, client->batch.bytes, client->batch.size);
	app_out_clear(&client->batch);
}

void app_wake(struct app_client *client)
{
	if (!client->polled)
		return;
	client->times.wait_ns = clock_now();
	app_clock_set(client);
}

/* What a client hears that has no connection. */
static void add_answer(struct app_client *client, const char *bytes, size_t size)
{
	struct app_out *answers = client->answers;
	if (client->session && answers->size + size > APP_HEARD_SIZE_MAX) {
		app_close(client, RC_CLOSE_POLICY, "polls too slowly");
		return;
	}
	app_out_text(answers, answers->size ? "," : "");
	app_out_bytes(answers, bytes, size);
	app_wake(client);
}

void app_batch_add(struct app_client *client, const char *bytes, size_t size)
{
	if (client->answers) {
		add_answer(client, bytes, size);
		return;
	}
	app_out_text(&client->batch, client->batched ? "," : "{\"type\":\"batch\",\"messages\":[");
	app_out_bytes(&client->batch, bytes, size);
	if (++client->batched >= client->batch_count || client->batch.size >= APP_BATCH_SIZE_MAX)
		app_batch_flush(client);
}

void app_send(struct app_client *client, struct app_out *out)
{
	if (client->closing || (client->wish && client->wish->polls))
		return; /* a poll hears nothing but its answer */
	if (client->answers) {
		add_answer(client, out->bytes, out->size);
		client->answers->failed |= out->failed;
		return;
	}
	if (out->failed)
		app_close(client, RC_CLOSE_INTERNAL, "out of memory");
	else if (client->batch_count)
		app_batch_add(client, out->bytes, out->size);
	else
		send_bytes(client, out->bytes, out->size);
}

bool app_send_if_room(struct app_client *client, struct app_out *out)
{
	if (!client->closing && !client->answers && !client->batch_count && !out->failed)
		return try_bytes(client, out->bytes, out->size) != -ENOBUFS;
	app_send(client, out);
	return true;
}

void app_close(struct app_client *client, uint16_t code, const char *reason)
{
	if (client->closing)
		return;
	app_batch_flush(client);
	if (client->closing)
		return; /* for what the flush found */
	client->closing = true;
	if (client->session)
		client->times.wait_ns = 0;
	app_clock_set(client);
	if (client->answers && !client->session && !client->opened)
		return; /* it is over with its message */
	log_say(LEVEL_INFO, "closing", client->id, "%u %s", code, reason);
	if (!client->session)
		rc_close(client->app->server, client->conn, code, reason, strlen(reason));
}

void app_respond(struct app_client *client, int status, const char *body, size_t size)
{
	if (rc_respond(client->app->server, client->conn, status, "application/json", client->wish->headers, body,
	               size)) {
		app_close(client, RC_CLOSE_INTERNAL, "out of memory"); /* which answers 503 */
		return;
	}
	client->closing = true;
	app_clock_set(client);
}

void app_respond_error(struct app_client *client, int status, const char *words)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_text(out, "{\"error\":");
	app_out_string(out, words, strlen(words));
	app_out_text(out, "}");
	app_respond(client, status, out->bytes, out->size);
}
