/* SPDX-License-Identifier: MIT
 *
 * speech.c - see speech.h. It knows of messages that an error is one.
 */
#include "speech.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "dialect.h"
#include "hold.h"
#include "rate.h"
#include "wire.h"

#define RETRY "Retry-After: 1\r\n"

bool app_speech_make(struct app_client *client, json_t *body, size_t size, const char *headers)
{
	struct app_speech *speech = calloc(1, sizeof *speech);
	if (!speech)
		return false;
	speech->body = json_incref(body);
	speech->size = size;
	memcpy(speech->headers, headers, strnlen(headers, sizeof speech->headers - sizeof RETRY));
	client->speech = speech;
	client->answers = &speech->heard;
	return true;
}

void app_speech_free(struct app_client *client)
{
	struct app_speech *speech = client->speech;
	if (!speech)
		return;
	json_decref(speech->body);
	app_out_free(&speech->heard);
	free(speech);
}

/* ---- saying ---- */

void app_speech_say(struct app_client *client)
{
	const json_t *body = client->speech->body;
	size_t index;
	json_t *each;
	if (!app_rate_take(client, NULL, app_cost_of_size(client->speech->size)))
		return;
	if (!json_is_array(body)) {
		app_dialect_say_alone(client, body);
		return;
	}
	json_array_foreach((json_t *)body, index, each)
	{
		if (client->closing)
			break;
		app_dialect_say_alone(client, each);
	}
}

/* ---- answering ---- */

static int status_of(const char *code)
{
	static const struct {
		const char *code;
		int status;
	} statuses[] = {
		{ "PERMISSION_DENIED", 403 }, { "NOT_A_MEMBER", 404 }, { "RATE_LIMIT_EXCEEDED", 429 },
		{ "AUTH_REQUIRED", 401 },     { "TRY_LATER", 503 },    { "NOT_DELIVERED", 503 },
	};
	for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
		if (strcmp(code, statuses[i].code) == 0)
			return statuses[i].status;
	return 400;
}

/* {"messages":[...]}, and of the first error the words and the code. Sets the status; null without memory. */
static json_t *make_answer(const struct app_out *heard, int *status)
{
	struct app_out list = { 0 };
	size_t index;
	json_t *each;
	app_out_text(&list, "[");
	app_out_bytes(&list, heard->bytes, heard->size);
	app_out_text(&list, "]");
	json_t *messages = list.failed || heard->failed ? NULL
	                                                : json_loadb(list.bytes, list.size, JSON_ALLOW_NUL, NULL);
	json_t *answer = json_object();
	app_out_free(&list);
	*status = 200;
	json_array_foreach(messages, index, each)
	{
		const char *type = json_string_value(json_object_get(each, "type"));
		if (*status != 200 || !type || strcmp(type, "error") != 0)
			continue;
		*status = status_of(json_string_value(json_object_get(each, "code")));
		json_object_set(answer, "error", json_object_get(each, "message"));
		json_object_set(answer, "code", json_object_get(each, "code"));
	}
	if (messages && json_object_set_new(answer, "messages", messages) == 0)
		return answer;
	json_decref(answer);
	return NULL;
}

/* Returns the status; out->failed without memory. */
static int write_answer(const struct app_client *client, struct app_out *out)
{
	int status;
	json_t *answer = make_answer(&client->speech->heard, &status);
	app_out_clear(out);
	app_out_value(out, answer);
	out->failed |= !answer;
	json_decref(answer);
	return status;
}

int app_speech_answer(struct app_client *client, rc_request *request)
{
	struct app_out *out = &client->crew->out;
	int status = write_answer(client, out);
	if (status == 429)
		rc_request_add_header(request, "Retry-After", "1");
	return out->failed || rc_request_respond(request, status, "application/json", out->bytes, out->size) ? 503 : 0;
}

static void respond(struct app_client *client, int status, const struct app_out *out)
{
	char *headers = client->speech->headers;
	if (status == 429)
		memcpy(headers + strlen(headers), RETRY, sizeof RETRY);
	if (out->failed ||
	    rc_respond(client->app->server, client->conn, status, "application/json", headers, out->bytes, out->size)) {
		app_close(client, RC_CLOSE_INTERNAL, "out of memory"); /* which answers 503 */
		return;
	}
	client->closing = true;
	app_clock_set(client);
}

void app_speech_go_on(struct app_client *client)
{
	struct app_out *out = &client->crew->out;
	if (client->closing || app_hold_waits(client))
		return;
	int status = write_answer(client, out);
	respond(client, status, out);
}

void app_speech_begin(struct app_client *client)
{
	app_speech_say(client);
	app_speech_go_on(client);
}

void app_speech_refuse(struct app_client *client, int status, const char *words)
{
	struct app_out *out = &client->crew->out;
	app_out_clear(out);
	app_out_text(out, "{\"error\":");
	app_out_string(out, words, strlen(words));
	app_out_text(out, "}");
	respond(client, status, out);
}
