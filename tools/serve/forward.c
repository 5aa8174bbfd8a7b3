/* SPDX-License-Identifier: MIT
 *
 * forward.c - see forward.h.
 */
#include "forward.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sent {
	rc_server *server;
	rc_conn conn;
	bool single;
	int code;
	size_t count;
	struct backplane_number numbers[];
};

const char *serve_forward_words(int code)
{
	return code == -EMSGSIZE    ? "larger than the log or the backplane takes"
	       : code == -ETIMEDOUT ? "the backplane has not confirmed it: it may come, or not"
	       : code == -ECANCELED ? "the server ends before the backplane has confirmed it"
	       : code == -EILSEQ    ? "the text is not UTF-8"
	       : code == -EINVAL    ? "not a message that can be published"
	       : code == -ENOMEM    ? "no memory"
	                            : "the backplane is away, or its queue is full: nothing was published, try again";
}

int serve_forward_status(int code)
{
	return code == -EMSGSIZE ? 413 : code == -EILSEQ || code == -EINVAL ? 400 : code == -ETIMEDOUT ? 504 : 503;
}

/* ---- a connection ---- */

/* On a thread of the backplane. */
static void message_done(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct sent *sent = context;
	for (size_t i = 0; !code && i < count; i++)
		code = numbers[i].sequence < 0 ? (int)numbers[i].sequence : 0;
	if (code) {
		const char *words = serve_forward_words(code);
		rc_close(sent->server, sent->conn, RC_CLOSE_TRY_LATER, words, strlen(words));
	}
	free(sent);
}

int serve_forward_message(struct backplane *backplane, rc_server *server, rc_conn conn,
                          const struct rc_batch_message *messages, size_t count)
{
	struct sent *sent = malloc(sizeof *sent);
	if (!sent)
		return -ENOMEM;
	*sent = (struct sent){ .server = server, .conn = conn };
	int code = backplane_publish_batch(backplane, messages, count, message_done, sent);
	if (code)
		free(sent);
	return code;
}

/* ---- a POST ---- */

static char *write_numbers(const struct sent *sent, size_t *size)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, size);
	if (!to)
		return NULL;
	fputs(sent->single ? "{\"seq\":" : "{\"seqs\":[", to);
	for (size_t i = 0; i < sent->count; i++)
		fprintf(to, "%s%" PRId64, i ? "," : "", sent->numbers[i].sequence);
	fputs(sent->single ? "}\n" : "]}\n", to);
	if (!fclose(to))
		return text;
	free(text);
	return NULL;
}

/* On the worker of the connection. */
static void answer(void *argument)
{
	struct sent *sent = argument;
	size_t size = 0;
	char *text = sent->code ? NULL : write_numbers(sent, &size), words[160];
	if (text) {
		rc_respond(sent->server, sent->conn, 200, "application/json", NULL, text, size);
	} else {
		int code = sent->code ? sent->code : -ENOMEM, status = serve_forward_status(code);
		int words_size = snprintf(words, sizeof words, "%s\n", serve_forward_words(code));
		rc_respond(sent->server, sent->conn, status, "text/plain; charset=utf-8",
		           status == 503 ? "Retry-After: 1\r\n" : NULL, words, (size_t)words_size);
	}
	free(text);
	free(sent);
}

/* On a thread of the backplane. A worker that takes no word has ended, or is as good as lost: its client sees that. */
static void request_done(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct sent *sent = context;
	sent->code = code;
	for (size_t i = 0; !code && i < count; i++) {
		sent->numbers[i] = numbers[i];
		if (numbers[i].sequence < 0)
			sent->code = (int)numbers[i].sequence;
	}
	if (rc_post(sent->server, rc_conn_worker(sent->conn), answer, sent))
		free(sent);
}

int serve_forward_request(struct backplane *backplane, rc_request *request, const struct serve_batch *batch)
{
	struct sent *sent = malloc(sizeof *sent + batch->count * sizeof *sent->numbers);
	if (!sent)
		return -ENOMEM;
	*sent = (struct sent){ .server = rc_request_server(request),
		               .conn = rc_request_conn(request),
		               .single = batch->single,
		               .count = batch->count };
	int code = backplane_publish_batch(backplane, batch->messages, batch->count, request_done, sent);
	if (code) {
		free(sent);
		return code;
	}
	/* It cannot be answered before this worker is back from the handler. */
	rc_request_wait(request);
	return 0;
}
