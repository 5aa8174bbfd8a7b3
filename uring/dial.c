/* SPDX-License-Identifier: MIT
 *
 * dial.c - see dial.h. Connects wait in a list while a bounded number is on its way. It must not know what is received.
 *
 * Invariant: an index is free, or it has the dial of a connect that is on its way.
 */
#include "worker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct dial {
	struct command command;
	struct rc_url url;
	char *protocols, *source; /* or null */
	void *user;
	bool deflate;
};

static int resolve(const char *host, uint16_t port, bool is_unix, struct sockaddr_storage *to, socklen_t *size)
{
	memset(to, 0, sizeof *to);
	struct sockaddr_in *four = (struct sockaddr_in *)to;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)to;
	struct sockaddr_un *path = (struct sockaddr_un *)to;
	if (is_unix) {
		if (strlen(host) >= sizeof path->sun_path)
			return -EINVAL;
		path->sun_family = AF_UNIX;
		strcpy(path->sun_path, host);
		*size = sizeof *path;
		return 0;
	}
	if (inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		*size = sizeof *four;
		return 0;
	}
	if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1)
		return -EINVAL;
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	*size = sizeof *six;
	return 0;
}

static void tell_failed(struct worker *worker, void *user, int status)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	const struct rc_closing closing = { .code = RC_CLOSE_ABNORMAL, .reason = "", .status = status };
	if (handlers->close)
		handlers->close(handlers->context, 0, user, &closing);
}

static void free_dial(struct dial *dial)
{
	if (!dial)
		return;
	free(dial->protocols);
	free(dial->source);
	free(dial);
}

static void begin(struct worker *worker, struct dial *dial)
{
	struct dialler *dialler = &worker->dialler;
	struct sockaddr_storage to, source;
	socklen_t to_size, source_size = 0;
	int result = resolve(dial->url.host, dial->url.port, dial->url.is_unix, &to, &to_size);
	if (result == 0 && dial->source)
		result = resolve(dial->source, 0, false, &source, &source_size);
	if (result == 0 && worker->used_count >= worker->slot_count)
		result = -EMFILE;
	if (result < 0) {
		tell_failed(worker, dial->user, result);
		free_dial(dial);
		return;
	}
	unsigned index = dialler->free[--dialler->free_count];
	dialler->dials[index] = dial;
	rc_ring_connect(worker->ring, &to, to_size, dial->source ? &source : NULL, source_size,
	                rc_tag_make(TAG_DIALLED, 0, 0, index));
}

void rc_dialler_open(struct dialler *dialler)
{
	dialler->waiting_end = &dialler->waiting;
	for (unsigned i = 0; i < RC_DIALS_MAX; i++)
		dialler->free[dialler->free_count++] = RC_DIALS_MAX - 1 - i;
}

static void run(struct worker *worker, struct command *command)
{
	command->next = NULL;
	*worker->dialler.waiting_end = command;
	worker->dialler.waiting_end = &command->next;
}

static struct dial *take_waiting(struct dialler *dialler)
{
	struct command *command = dialler->waiting;
	if (!command)
		return NULL;
	dialler->waiting = command->next;
	if (!dialler->waiting)
		dialler->waiting_end = &dialler->waiting;
	return (struct dial *)command;
}

void rc_dial_more(struct worker *worker)
{
	struct dialler *dialler = &worker->dialler;
	while (dialler->waiting && dialler->free_count && rc_ring_can_connect(worker->ring))
		begin(worker, take_waiting(dialler));
}

static bool copy_text(char **to, const char *text)
{
	*to = text ? strdup(text) : NULL;
	return *to || !text;
}

int rc_connect(rc_server *server, unsigned worker, const char *url, const struct rc_connect_options *options)
{
	static const struct rc_connect_options none;
	struct rc_url parsed;
	if (worker >= server->worker_count || rc_url_parse(&parsed, url) < 0)
		return -EINVAL;
	int result = parsed.tls ? rc_certificates_need_client(server) : 0;
	if (result < 0)
		return result;
	options = options ? options : &none;
	struct dial *dial = calloc(1, sizeof *dial);
	if (!dial)
		return -ENOMEM;
	dial->command.run = run;
	dial->url = parsed;
	dial->user = options->user;
	dial->deflate = options->deflate;
	result = copy_text(&dial->protocols, options->protocols) && copy_text(&dial->source, options->source)
	             ? rc_mailbox_post(&server->workers[worker].mailbox, &dial->command)
	             : -ENOMEM;
	if (result < 0)
		free_dial(dial);
	return result;
}

/* ---- a connect has completed ---- */

/* What our client role offers: the server may keep its compressor, ours begins anew with each message. */
const struct rc_deflate_wish rc_dial_wish = { .server_takeover = true, .bits = 15 };

static struct handshake *make_handshake(struct worker *worker, struct dial *dial)
{
	struct handshake *handshake = rc_handshake_new(worker);
	if (!handshake)
		return NULL;
	rc_ring_random(worker->ring, handshake->nonce, sizeof handshake->nonce);
	handshake->protocols = dial->protocols;
	handshake->offers_deflate = dial->deflate;
	dial->protocols = NULL;
	return handshake;
}

static bool put_request(struct worker *worker, uint32_t slot, const struct rc_url *url)
{
	char request[4096];
	const struct handshake *handshake = worker->connections[slot].handshake;
	size_t size = rc_handshake_request(request, sizeof request, url, handshake->nonce, handshake->protocols,
	                                   handshake->offers_deflate ? &rc_dial_wish : NULL);
	return size && rc_connection_put(worker, slot, request, size);
}

static void begin_connection(struct worker *worker, uint32_t slot, struct dial *dial)
{
	struct connection *conn = rc_connection_begin(worker, slot);
	struct handshake *handshake = make_handshake(worker, dial);
	atomic_fetch_add_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
	if (!handshake) {
		rc_connection_close_slot(worker, slot);
		tell_failed(worker, dial->user, -ENOMEM);
		return;
	}
	rc_count(&worker->stats.connected, 1);
	conn->client = conn->opened = true;
	conn->secure = dial->url.tls;
	conn->handshake = handshake;
	conn->user = dial->user;
	rc_connection_set_state(worker, slot, CONNECTION_HANDSHAKE, worker->server->config.handshake_timeout_ms);
	if (put_request(worker, slot, &dial->url) && (!conn->secure || rc_secure_dial(worker, slot, dial->url.host)))
		rc_connection_receive(worker, slot, RECEPTION_STREAM);
	else
		rc_ending_cut(worker, slot, RC_CLOSE_ABNORMAL);
}

void rc_dial_done(struct worker *worker, unsigned index, int result)
{
	struct dialler *dialler = &worker->dialler;
	struct dial *dial = dialler->dials[index];
	dialler->dials[index] = NULL;
	dialler->free[dialler->free_count++] = index;
	if (result < 0)
		tell_failed(worker, dial->user, result);
	else
		begin_connection(worker, (uint32_t)result, dial);
	free_dial(dial);
}

void rc_dial_close(struct worker *worker)
{
	struct dialler *dialler = &worker->dialler;
	struct dial *dial;
	while ((dial = take_waiting(dialler))) {
		tell_failed(worker, dial->user, -ECANCELED);
		free_dial(dial);
	}
	for (unsigned i = 0; i < RC_DIALS_MAX; i++) {
		if (dialler->dials[i])
			tell_failed(worker, dialler->dials[i]->user, -ECANCELED);
		free_dial(dialler->dials[i]);
		dialler->dials[i] = NULL;
	}
}
