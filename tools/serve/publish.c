/* SPDX-License-Identifier: MIT
 *
 * publish.c - see publish.h. A message that cannot be published is not lost in silence: its sender is told, and knows
 * where to begin again. It runs on workers and must not wait for the log.
 */
#include "publish.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "batch.h"
#include "forward.h"
#include "lib/answer.h"

static const char *words_of(int64_t code)
{
	return code == -EMSGSIZE  ? "larger than a quarter of the log"
	       : code == -ENOBUFS ? "the log is full"
	       : code == -ENOSPC  ? "too many topics or keys"
	       : code == -EILSEQ  ? "the text is not UTF-8"
	                          : "not published";
}

/* ---- a connection ---- */

static void end(const struct serve_publisher *publisher, rc_conn conn, uint16_t code, const char *words)
{
	rc_close(publisher->spill->server, conn, code, words, strlen(words));
}

/* Who stands in line is not overtaken. */
static int64_t publish_in_turn(const struct serve_publisher *publisher, rc_conn conn, struct rc_batch_message *messages,
                               size_t count)
{
	struct serve_spill *spill = publisher->spill;
	int64_t code = -EAGAIN;
	if (publisher->backplane)
		return serve_forward_message(publisher->backplane, spill->server, conn, messages, count);
	if (!serve_spill_is_used(spill))
		code = rc_publish_many(spill->server, messages, count, 0);
	return code == -EAGAIN ? serve_spill_add(spill, messages, count) : code;
}

static void publish_json(const struct serve_publisher *publisher, rc_conn conn, const struct rc_message *message)
{
	struct serve_batch batch = { 0 };
	int64_t code = 0;
	if (message->opcode != RC_TEXT)
		end(publisher, conn, RC_CLOSE_UNSUPPORTED, "with form=json, messages are text");
	else if (!serve_batch_read(&batch, publisher->topic, publisher->topic_size, (const char *)message->data,
	                           message->size))
		end(publisher, conn, RC_CLOSE_POLICY, batch.wrong);
	else
		code = publish_in_turn(publisher, conn, batch.messages, batch.count);
	serve_batch_free(&batch);
	if (code < 0)
		end(publisher, conn, code == -EMSGSIZE ? RC_CLOSE_TOO_BIG : RC_CLOSE_TRY_LATER,
		    publisher->backplane ? serve_forward_words((int)code) : words_of(code));
}

void serve_publish_message(const struct serve_publisher *publisher, rc_conn conn, const struct rc_message *message)
{
	if (publisher->json) {
		publish_json(publisher, conn, message);
		return;
	}
	/* Text was checked when it was received. */
	struct rc_batch_message one = {
		.name = publisher->topic,
		.name_size = publisher->topic_size,
		.data = message->data,
		.size = message->size,
		.flags = message->opcode == RC_BINARY ? RC_PUBLISH_BINARY : RC_PUBLISH_UNCHECKED,
	};
	int64_t code = publish_in_turn(publisher, conn, &one, 1);
	if (code < 0)
		end(publisher, conn, code == -EMSGSIZE ? RC_CLOSE_TOO_BIG : RC_CLOSE_TRY_LATER,
		    publisher->backplane ? serve_forward_words((int)code) : words_of(code));
}

/* ---- a POST ---- */

static bool is_type(rc_request *request, const char *type)
{
	const char *given = rc_request_header(request, "Content-Type");
	size_t size = strlen(type);
	return given && !strncasecmp(given, type, size) && (!given[size] || strchr("; \t", given[size]));
}

static bool is_on(rc_request *request, const char *name)
{
	const char *value = rc_request_query(request, name);
	return value && !strcmp(value, "1");
}

/* The body as one message, with what the query says of it. */
static bool read_plain(struct serve_batch *batch, const struct serve_publisher *publisher, rc_request *request,
                       const char *body, size_t size)
{
	const char *key = rc_request_query(request, "key");
	struct rc_batch_message message = {
		.name = publisher->topic,
		.name_size = publisher->topic_size,
		.data = body,
		.size = size,
		.flags = is_type(request, "application/octet-stream") ? RC_PUBLISH_BINARY : 0,
		.key = key,
		.key_size = key ? strlen(key) : 0,
	};
	message.flags |= (is_on(request, "remove") ? RC_PUBLISH_REMOVE : 0) |
	                 (is_on(request, "snapshot") ? RC_PUBLISH_SNAPSHOT : 0);
	const char *wrong = key && (!*key || message.key_size > RC_KEY_MAX) ? "a key has 1 to 64 bytes"
	                    : message.flags & RC_PUBLISH_REMOVE && !key     ? "remove=1 needs key="
	                    : message.flags & RC_PUBLISH_SNAPSHOT && key    ? "snapshot=1 has no key="
	                                                                    : NULL;
	if (wrong)
		snprintf(batch->wrong, sizeof batch->wrong, "%s", wrong);
	batch->single = true;
	return !wrong && serve_batch_add(batch, &message);
}

static bool read_body(struct serve_batch *batch, const struct serve_publisher *publisher, rc_request *request)
{
	size_t size;
	const char *body = rc_request_body(request, &size);
	bool lines = is_on(request, "lines") || is_type(request, "application/x-ndjson");
	body = size ? body : "";
	if (lines)
		return serve_batch_read_lines(batch, publisher->topic, publisher->topic_size, body, size,
		                              publisher->json);
	if (publisher->json)
		return serve_batch_read(batch, publisher->topic, publisher->topic_size, body, size);
	return read_plain(batch, publisher, request, body, size);
}

/* {"seq":7}, or of many {"seqs":[7,8]}. */
static int answer_numbers(rc_request *request, const struct serve_batch *batch)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	if (!to)
		return 503;
	fputs(batch->single ? "{\"seq\":" : "{\"seqs\":[", to);
	for (size_t i = 0; i < batch->count; i++)
		fprintf(to, "%s%" PRId64, i ? "," : "", batch->messages[i].result);
	fputs(batch->single ? "}\n" : "]}\n", to);
	int code = fclose(to);
	if (!code)
		code = rc_request_respond(request, 200, "application/json", text, size);
	free(text);
	return code ? 503 : 0;
}

int serve_publish_request(const struct serve_publisher *publisher, rc_request *request)
{
	struct serve_batch batch = { 0 };
	int status;
	if (!read_body(&batch, publisher, request)) {
		status = answer_error(request, 400, batch.wrong);
		serve_batch_free(&batch);
		return status;
	}
	if (publisher->backplane) {
		int forwarded = serve_forward_request(publisher->backplane, request, &batch);
		if (forwarded == -EAGAIN)
			rc_request_add_header(request, "Retry-After", "1");
		serve_batch_free(&batch);
		return forwarded
		           ? answer_error(request, serve_forward_status(forwarded), serve_forward_words(forwarded))
		           : 0;
	}
	int64_t code = serve_spill_is_used(publisher->spill)
	                   ? -EAGAIN
	                   : rc_publish_many(publisher->spill->server, batch.messages, batch.count, 0);
	if (code >= 0) {
		status = answer_numbers(request, &batch);
	} else {
		if (code == -EAGAIN)
			rc_request_add_header(request, "Retry-After", "1");
		status = code == -EAGAIN
		             ? answer_error(request, 503, "the log is full: nothing was published, try again")
		             : answer_error(request,
		                            code == -EMSGSIZE ? 413
		                            : code == -EILSEQ ? 400
		                                              : 503,
		                            words_of(code));
	}
	serve_batch_free(&batch);
	return status;
}
