/* SPDX-License-Identifier: MIT
 *
 * connect.c - rc_connect(): what the caller asks for, judged and copied, and handed to a worker. It must not know what
 * becomes of it.
 */
#include "dial.h"
#include "growing.h"
#include "reach.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static bool copy_text(char **to, const char *text)
{
	*to = text ? strdup(text) : NULL;
	return *to || !text;
}

static int copy_headers(struct dial *dial, const struct rc_connect_options *options)
{
	char lines[RC_CONNECT_HEADERS_SIZE_MAX + 1] = "";
	size_t used = 0;
	for (unsigned i = 0; i < options->header_count; i++) {
		const struct rc_connect_header *header = &options->headers[i];
		int size = rc_handshake_add_header(lines + used, sizeof lines - used, header->name, header->value);
		if (size < 0)
			return size;
		used += (size_t)size;
	}
	return !used || copy_text(&dial->headers, lines) ? 0 : -ENOMEM;
}

static int copy_times(struct dial *dial, const struct rc_connect_options *options, unsigned timeout_ms)
{
	dial->timeout_ms = options->timeout_ms ? options->timeout_ms : timeout_ms;
	dial->again_ms = options->again_ms;
	dial->again_max_ms = options->again_max_ms ? options->again_max_ms
	                                           : RC_MAX(RC_CONNECT_AGAIN_MAX_MS, options->again_ms);
	bool right = options->timeout_ms <= RC_CONNECT_TIMEOUT_MAX_MS &&
	             dial->again_max_ms <= RC_CONNECT_TIMEOUT_MAX_MS && dial->again_ms <= dial->again_max_ms;
	return right ? 0 : -EINVAL;
}

/* Whether the request can be made: neither the headers nor the protocols are looked at later. */
static int try_request(const struct dial *dial)
{
	static const uint8_t nonce[16];
	char request[RC_CONNECT_REQUEST_SIZE_MAX];
	const struct rc_deflate_wish *wish = dial->deflate ? &rc_dial_wish : NULL;
	if (!rc_handshake_request(request, sizeof request, &dial->url, nonce, dial->protocols, NULL, wish))
		return -EINVAL;
	return rc_handshake_request(request, sizeof request, &dial->url, nonce, dial->protocols, dial->headers, wish)
	           ? 0
	           : -ENOSPC;
}

static int fill(struct dial *dial, const char *url, const struct rc_connect_options *options, unsigned timeout_ms)
{
	if (rc_url_parse(&dial->url, url) < 0 ||
	    (dial->url.is_unix && strlen(dial->url.host) >= sizeof((struct sockaddr_un *)0)->sun_path) ||
	    (options->source && !rc_reach_parse(&dial->source, options->source, 0)))
		return -EINVAL;
	dial->command.run = rc_dial_begin;
	dial->user = options->user;
	dial->deflate = options->deflate;
	int result = copy_times(dial, options, timeout_ms);
	if (result == 0)
		result = copy_headers(dial, options);
	if (result == 0 && !copy_text(&dial->protocols, options->protocols))
		result = -ENOMEM;
	return result < 0 ? result : try_request(dial);
}

int(rc_connect)(rc_server *server, unsigned worker_index, const char *url, const struct rc_connect_options *given,
                size_t struct_size)
{
	struct rc_connect_options options = { 0 };
	int result = given ? rc_growing_take(&options, sizeof options, given, struct_size) : 0;
	if (result < 0 || worker_index >= server->worker_count)
		return result < 0 ? result : -EINVAL;
	struct worker *worker = &server->workers[worker_index];
	struct dial *dial = calloc(1, sizeof *dial);
	if (!dial)
		return -ENOMEM;
	result = fill(dial, url, &options, server->config.handshake_timeout_ms);
	if (result == 0 && dial->url.tls)
		result = rc_certificates_need_client(server);
	if (result == 0)
		result = rc_dialled_take(worker, &dial->index);
	if (result < 0) {
		rc_dial_free(dial);
		return result;
	}
	uint32_t index = dial->index;
	if (options.conn)
		*options.conn = rc_dialled_handle(worker, index);
	result = rc_mailbox_post(&worker->mailbox, &dial->command);
	if (result == 0)
		return 0;
	if (options.conn)
		*options.conn = 0;
	rc_dialled_give(worker, index);
	rc_dial_free(dial);
	return result;
}
