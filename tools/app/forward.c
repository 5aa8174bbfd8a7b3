/* SPDX-License-Identifier: MIT
 *
 * forward.c - see forward.h.
 */
#include "forward.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "backplane/backplane.h"

struct sent {
	rc_server *server;
	rc_conn conn;
	struct app_out out; /* the names of the topics, one behind the other, until it is answered */
	bool single;
	int code;
	size_t count;
	struct {
		struct backplane_number number;
		size_t topic_size;
	} items[];
};

int app_forward_status(int code)
{
	return code == -EMSGSIZE ? 413 : code == -EILSEQ || code == -EINVAL ? 400 : code == -ETIMEDOUT ? 504 : 503;
}

const char *app_forward_words(int code)
{
	return code == -EAGAIN      ? "the backplane is away, or its queue is full: nothing was published, try again"
	       : code == -ETIMEDOUT ? "the backplane has not confirmed it: it may come, or not"
	       : code == -ECANCELED ? "the server ends before the backplane has confirmed it"
	       : code == -EMSGSIZE  ? "larger than the log or the backplane takes"
	                            : rc_strerror(code);
}

/* ---- the answer, on the worker of the connection ---- */

static void write_answer(struct app_out *out, const struct sent *sent)
{
	const char *topic = sent->out.bytes;
	app_out_text(out, sent->single ? "" : "{\"results\":[");
	for (size_t i = 0; i < sent->count; i++) {
		app_out_text(out, i ? ",{" : "{");
		if (!sent->single) {
			app_out_text(out, "\"topic\":");
			app_out_string(out, topic, sent->items[i].topic_size);
			app_out_text(out, ",");
		}
		topic += sent->items[i].topic_size;
		app_out_format(out, "\"seq\":%lld,\"epoch\":%llu}", (long long)sent->items[i].number.sequence,
		               (unsigned long long)sent->items[i].number.epoch);
	}
	app_out_text(out, sent->single ? "\n" : "]}\n");
}

static void sent_free(struct sent *sent)
{
	app_out_free(&sent->out);
	free(sent);
}

static void respond(rc_server *server, rc_conn conn, int code, const struct app_out *text)
{
	struct app_out refusal = { 0 };
	const struct app_out *out = code ? &refusal : text;
	int status = code ? app_forward_status(code) : 200;
	if (code) {
		const char *words = app_forward_words(code);
		app_out_text(&refusal, "{\"error\":");
		app_out_string(&refusal, words, strlen(words));
		app_out_text(&refusal, "}\n");
	}
	status = out->failed ? 503 : status;
	rc_respond(server, conn, status, "application/json", status == 503 ? "Retry-After: 1\r\n" : NULL,
	           out->failed ? NULL : out->bytes, out->failed ? 0 : out->size);
	app_out_free(&refusal);
}

static void answer(void *argument)
{
	struct sent *sent = argument;
	struct app_out out = { 0 };
	if (!sent->code)
		write_answer(&out, sent);
	respond(sent->server, sent->conn, sent->code, &out);
	app_out_free(&out);
	sent_free(sent);
}

/* On a thread of the backplane. */
static void is_done(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct sent *sent = context;
	sent->code = code;
	for (size_t i = 0; !code && i < count && i < sent->count; i++) {
		sent->items[i].number = numbers[i];
		if (numbers[i].sequence < 0)
			sent->code = (int)numbers[i].sequence;
	}
	if (rc_post(sent->server, rc_conn_worker(sent->conn), answer, sent))
		sent_free(sent);
}

/* ---- to the backplane ---- */

/* Their data is written to `data`. Returns false without memory. */
static bool write_messages(const struct app_update *updates, struct backplane_message *messages, size_t count,
                           struct app_out *data)
{
	for (size_t i = 0; i < count; i++) {
		size_t before = data->size;
		app_out_value(data, updates[i].data);
		messages[i].size = data->size - before;
	}
	const char *at = data->bytes;
	for (size_t i = 0; i < count && !data->failed; i++) {
		const struct app_update *update = &updates[i];
		messages[i].channel = update->topic;
		messages[i].channel_size = update->topic_size;
		messages[i].key = update->key;
		messages[i].key_size = update->key_size;
		messages[i].flags = (update->removed ? RC_PUBLISH_REMOVE : 0) |
		                    (update->snapshot ? RC_PUBLISH_SNAPSHOT : 0);
		messages[i].tag = APP_UPDATE_TAG;
		messages[i].data = at;
		at += messages[i].size;
	}
	return !data->failed;
}

void app_forward_local(struct app *app, const struct app_update *updates, size_t count)
{
	struct backplane_message *messages = calloc(count, sizeof *messages);
	struct app_out data = { 0 };
	if (messages && write_messages(updates, messages, count, &data))
		backplane_hand_over(app->backplane, messages, count);
	app_out_free(&data);
	free(messages);
}

int app_forward_updates(struct app *app, rc_conn conn, const struct app_update *updates, size_t count, bool single)
{
	struct backplane_message *messages = calloc(count, sizeof *messages);
	struct sent *sent = calloc(1, sizeof *sent + count * sizeof *sent->items);
	struct app_out data = { 0 };
	int code = -ENOMEM;
	if (messages && sent) {
		sent->server = app->server;
		sent->conn = conn;
		sent->single = single;
		sent->count = count;
		for (size_t i = 0; i < count; i++) {
			app_out_bytes(&sent->out, updates[i].topic, updates[i].topic_size);
			sent->items[i].topic_size = updates[i].topic_size;
		}
		if (write_messages(updates, messages, count, &data) && !sent->out.failed)
			code = backplane_publish(app->backplane, messages, count, is_done, sent);
	}
	if (code && sent)
		sent_free(sent);
	app_out_free(&data);
	free(messages);
	return code;
}

/* ---- records ---- */

struct app_forwarded {
	rc_server *server;
	rc_conn conn;
	_Atomic unsigned holders; /* who began, until it has said what is answered; and the backplane */
	struct app_out text;
	bool numbered;
	int code;
	struct backplane_number number;
};

static void release(struct app_forwarded *forwarded)
{
	if (atomic_fetch_sub(&forwarded->holders, 1) > 1)
		return;
	app_out_free(&forwarded->text);
	free(forwarded);
}

/* It is behind app_forward_answer(), which is called on the same worker. */
static void answer_record(void *argument)
{
	struct app_forwarded *forwarded = argument;
	struct app_out *text = &forwarded->text;
	if (forwarded->numbered && !text->failed) {
		text->size--;
		app_out_format(text, ",\"id\":\"%llx-%lld\"}", (unsigned long long)forwarded->number.epoch,
		               (long long)forwarded->number.sequence);
	}
	app_out_text(text, "\n");
	respond(forwarded->server, forwarded->conn, forwarded->code, text);
	release(forwarded);
}

struct app_forwarded *app_forward_begin(struct app *app, rc_conn conn)
{
	struct app_forwarded *forwarded = calloc(1, sizeof *forwarded);
	if (!forwarded)
		return NULL;
	forwarded->server = app->server;
	forwarded->conn = conn;
	atomic_init(&forwarded->holders, 2);
	return forwarded;
}

void app_forward_done(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct app_forwarded *forwarded = context;
	forwarded->code = code ? code : count && numbers->sequence < 0 ? (int)numbers->sequence : 0;
	if (!code && count)
		forwarded->number = *numbers;
	if (rc_post(forwarded->server, rc_conn_worker(forwarded->conn), answer_record, forwarded))
		release(forwarded);
}

void app_forward_answer(struct app_forwarded *forwarded, const struct app_out *text, bool numbered)
{
	app_out_bytes(&forwarded->text, text->bytes, text->size);
	forwarded->text.failed |= text->failed;
	forwarded->numbered = numbered;
	release(forwarded);
}

void app_forward_cancel(struct app_forwarded *forwarded)
{
	free(forwarded);
}
