/* SPDX-License-Identifier: MIT
 *
 * dial.c - the client role's beginning: from a URL to a connection that has sent its request. Connects wait in a list
 * while a bounded number is on its way.
 */
#include "worker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct dial {
	struct rc_url url;
	char *protocols;
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
	if (dial)
		free(dial->protocols);
	free(dial);
}

static void free_command(struct command *command)
{
	free(command->protocols);
	free(command->source);
	free(command);
}

static void begin(struct worker *worker, struct command *command)
{
	struct sockaddr_storage to, source;
	socklen_t to_size, source_size = 0;
	struct dial *dial = calloc(1, sizeof *dial);
	int result = dial ? 0 : -ENOMEM;
	if (result == 0 && rc_url_parse(&dial->url, (const char *)command->bytes) < 0)
		result = -EINVAL;
	if (result == 0)
		result = resolve(dial->url.host, dial->url.port, dial->url.is_unix, &to, &to_size);
	if (result == 0 && command->source)
		result = resolve(command->source, 0, false, &source, &source_size);
	if (result == 0 && worker->used_count >= worker->slot_count)
		result = -EMFILE;
	if (result < 0) {
		tell_failed(worker, command->argument, result);
		free_dial(dial);
	} else {
		dial->user = command->argument;
		dial->deflate = command->deflate;
		dial->protocols = command->protocols;
		command->protocols = NULL;
		unsigned number = worker->dial_free[--worker->dial_free_count];
		worker->dials[number] = dial;
		rc_ring_connect(worker->ring, &to, to_size, command->source ? &source : NULL, source_size,
		                (uint64_t)TAG_DIALLED << 56 | number);
	}
	free_command(command);
}

void rc_dial_run(struct worker *worker, struct command *command)
{
	command->next = NULL;
	*worker->dials_waiting_end = command;
	worker->dials_waiting_end = &command->next;
}

void rc_dial_more(struct worker *worker)
{
	while (worker->dials_waiting && worker->dial_free_count && rc_ring_can_connect(worker->ring)) {
		struct command *command = worker->dials_waiting;
		worker->dials_waiting = command->next;
		if (!worker->dials_waiting)
			worker->dials_waiting_end = &worker->dials_waiting;
		begin(worker, command);
	}
}

void rc_dial_done(struct worker *worker, unsigned number, int result)
{
	struct dial *dial = worker->dials[number];
	worker->dials[number] = NULL;
	worker->dial_free[worker->dial_free_count++] = number;
	size_t capacity;
	struct handshake *handshake = result < 0 ? NULL : rc_pool_take(&worker->pool, sizeof *handshake, &capacity);
	if (!handshake) {
		if (result >= 0)
			rc_connection_refuse_slot(worker, (uint32_t)result);
		tell_failed(worker, dial->user, result < 0 ? result : -ENOMEM);
	} else {
		memset(handshake, 0, sizeof *handshake);
		rc_ring_random(worker->ring, handshake->nonce, sizeof handshake->nonce);
		handshake->protocols = dial->protocols;
		handshake->offers_deflate = dial->deflate;
		dial->protocols = NULL;
		rc_connection_dialled(worker, (uint32_t)result, handshake, &dial->url, dial->user);
	}
	free_dial(dial);
}

void rc_dial_close(struct worker *worker)
{
	while (worker->dials_waiting) {
		struct command *command = worker->dials_waiting;
		worker->dials_waiting = command->next;
		tell_failed(worker, command->argument, -ECANCELED);
		free_command(command);
	}
	for (unsigned i = 0; i < DIALS_MAX; i++) {
		if (worker->dials[i])
			tell_failed(worker, worker->dials[i]->user, -ECANCELED);
		free_dial(worker->dials[i]);
		worker->dials[i] = NULL;
	}
}
