/* SPDX-License-Identifier: MIT
 *
 * stalled.c - see stalled.h.
 */
#include "stalled.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/options.h"
#include "lib/url.h"
#include "load.h"

#define RECEIVE_BUFFER_SIZE 4096 /* so that the server notices after few bytes */
#define ANSWER_SECONDS 10

/* Reads to the end of the answer's head, and no byte more. Returns its status, or 0. */
static int read_answer(struct stream *stream)
{
	char head[2048];
	size_t size = 0;
	while (size < sizeof head - 1 && stream_read(stream, head + size, 1) == 1) {
		head[++size] = 0;
		if (size >= 4 && !memcmp(head + size - 4, "\r\n\r\n", 4))
			return atoi(size > 9 ? head + 9 : "0");
	}
	return 0;
}

static int open_one(const struct stream_place *place, SSL_CTX *tls, const char *request, struct stream *stream)
{
	const struct stream_limits limits = { .seconds = ANSWER_SECONDS, .receive_buffer_size = RECEIVE_BUFFER_SIZE };
	char words[STREAM_WORDS_SIZE];
	if (!stream_open(stream, place, tls, &limits, words)) {
		command_failed("a stalled subscriber: %s", words);
		return -1;
	}
	int status = stream_write(stream, request, strlen(request)) ? read_answer(stream) : 0;
	if (status == 101)
		return 0;
	if (status)
		command_failed("a stalled subscriber: HTTP status %d", status);
	else
		command_failed("a stalled subscriber: no answer in %d s", ANSWER_SECONDS);
	stream_close(stream);
	return -1;
}

int load_stall(const struct load_options *options, const char *url, struct stream *streams)
{
	struct stream_place place;
	char request[8192], words[STREAM_WORDS_SIZE];
	const char *token = options->token.value, *path = url + url_base_size(url);
	for (unsigned index = 0; index < options->stalled; index++)
		streams[index].fd = -1;
	if (!stream_find(&place, url, words)) {
		command_failed("--stalled, %s: %s", url, words);
		return -1;
	}
	int size = snprintf(request, sizeof request,
	                    "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                    "Sec-WebSocket-Key: c3RhbGxlZCBzdWJzY3JpYg==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
	                    path, place.address.ss_family == AF_UNIX ? "localhost" : place.name,
	                    token ? "Authorization: " : "", token ? token : "", token ? "\r\n" : "");
	SSL_CTX *tls = place.secure ? stream_tls(&options->tls, words) : NULL;
	bool ready = size < (int)sizeof request && (tls || !place.secure);
	if (!ready)
		command_failed("--stalled: %s", size < (int)sizeof request ? words : "the request is too long");
	unsigned opened = 0;
	while (ready && opened < options->stalled && !open_one(&place, tls, request, &streams[opened]))
		opened++;
	SSL_CTX_free(tls);
	return ready && opened == options->stalled ? 0 : -1;
}
