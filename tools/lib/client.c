/* SPDX-License-Identifier: MIT
 *
 * client.c - see client.h. The main thread never calls rc_send() itself: a send from another thread that later finds
 * the queue full could not report it. Instead a batch is posted as one function, and its sender waits for the answer.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CLIENT_LOG_SIZE ((size_t)64 << 10)         /* this role publishes nothing */
#define CLIENT_MESSAGE_SIZE_MAX ((size_t)64 << 20) /* the largest message that any server of ours may send */
#define RETRY_NS (1 * NS_PER_MS)
#define DRAIN_MS 1000

static void on_open(void *context, rc_conn handle, void *user)
{
	struct client *client = context;
	struct client_conn *conn = user;
	atomic_store(&conn->handle, handle);
	atomic_store(&conn->state, CLIENT_OPEN);
	wait_wake(&client->wait);
}

static void on_message(void *context, rc_conn handle, void *user, const struct rc_message *message)
{
	struct client *client = context;
	(void)handle;
	if (client->message)
		client->message(client->context, user, message);
}

static void on_close(void *context, rc_conn handle, void *user, const struct rc_closing *closing)
{
	struct client *client = context;
	struct client_conn *conn = user;
	(void)handle;
	if (closing->again_ms) {
		fprintf(stderr, "closed %u %.*s; again in %u ms\n", closing->code, (int)closing->reason_size,
		        closing->reason, closing->again_ms);
		atomic_store(&conn->state, CLIENT_CONNECTING);
		return;
	}
	conn->code = closing->code;
	conn->status = closing->status;
	snprintf(conn->reason, sizeof conn->reason, "%.*s", (int)closing->reason_size,
	         closing->reason ? closing->reason : "");
	atomic_store(&conn->state, CLIENT_CLOSED);
	atomic_fetch_sub(&client->open_count, 1);
	wait_wake(&client->wait);
}

static void on_report(void *context, const char *text)
{
	(void)context;
	command_failed("%s", text);
}

int client_tls(rc_server *server, const struct rc_tls_client_options *tls, struct rc_error *error)
{
	bool given = tls->ca || tls->insecure || tls->certificate || tls->key;
	return given ? rc_server_tls_client(server, tls, error) : 0;
}

int client_tls_useless(const struct subcommand *command, const struct rc_tls_client_options *tls, char *const *urls,
                       unsigned url_count)
{
	const char *given = tls->insecure ? "insecure" : tls->ca ? "ca" : tls->certificate ? "cert" : NULL;
	for (unsigned index = 0; index < url_count; index++)
		if (!strncmp(urls[index], "wss://", 6) || !strncmp(urls[index], "https://", 8))
			return -1;
	return given ? options_wrong(command,
	                             "--%s has no effect without TLS: write wss:// in place of ws://, or leave "
	                             "--%s out",
	                             given, given)
	             : -1;
}

int client_start(struct client *client)
{
	struct rc_error error = { 0 };
	struct rc_config config;
	int code = wait_open(&client->wait);
	if (code) {
		command_failed("signals: %s", rc_strerror(code));
		return -1;
	}
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = CLIENT_LOG_SIZE;
	config.message_size_max = CLIENT_MESSAGE_SIZE_MAX;
	config.send_size_max = 2 * CLIENT_MESSAGE_SIZE_MAX;
	config.handlers = (struct rc_handlers){
		.context = client,
		.open = on_open,
		.message = on_message,
		.close = on_close,
		.report = on_report,
	};
	client->server = rc_server_new(&config, &error);
	if (client->server && !client_tls(client->server, &client->tls, &error) &&
	    !rc_server_start(client->server, &error))
		return 0;
	command_failed("%s", error.text);
	rc_server_free(client->server);
	wait_close(&client->wait);
	client->server = NULL;
	return -1;
}

/* Divides "NAME: VALUE" lines. The names lie in `names`. Returns 0, or -1 after printing why. */
static int divide_headers(const struct option_list *lines, struct rc_connect_header *headers, char *names, size_t size)
{
	for (unsigned index = 0; index < lines->count; index++) {
		const char *line = lines->items[index], *colon = strchr(line, ':');
		if (!colon || (size_t)(colon - line) >= size) {
			command_failed("--header '%s': 'NAME: VALUE' is expected", line);
			return -1;
		}
		memcpy(names, line, (size_t)(colon - line));
		names[colon - line] = 0;
		headers[index] = (struct rc_connect_header){ names, colon + 1 + strspn(colon + 1, " ") };
		size -= (size_t)(colon - line) + 1;
		names += colon - line + 1;
	}
	return 0;
}

int client_token_header(struct rc_connect_header *header, char text[CLIENT_TOKEN_HEADER_SIZE])
{
	const char *token;
	if (!environment_token(&token))
		return -1;
	if (!token)
		return 0;
	snprintf(text, CLIENT_TOKEN_HEADER_SIZE, "Bearer %s", token);
	*header = (struct rc_connect_header){ "Authorization", text };
	return 1;
}

/* The headers of the request. One that was written goes before the token of the environment. Returns how many, or -1
 * after printing why. */
static int make_headers(const struct client *client, struct rc_connect_header headers[OPTION_LIST_MAX + 1], char *names,
                        size_t size, char token[CLIENT_TOKEN_HEADER_SIZE])
{
	unsigned count = client->headers.count;
	if (divide_headers(&client->headers, headers, names, size))
		return -1;
	for (unsigned index = 0; index < count; index++)
		if (!strcasecmp(headers[index].name, "Authorization"))
			return (int)count;
	int shown = client_token_header(&headers[count], token);
	return shown < 0 ? -1 : (int)count + shown;
}

int client_connect(struct client *client, struct client_conn *conn, const char *url)
{
	struct rc_connect_header headers[OPTION_LIST_MAX + 1];
	char names[RC_CONNECT_HEADERS_SIZE_MAX], token[CLIENT_TOKEN_HEADER_SIZE];
	rc_conn handle;
	int header_count = make_headers(client, headers, names, sizeof names, token);
	if (header_count < 0)
		return -1;
	const struct rc_connect_options options = { .user = conn,
		                                    .deflate = client->deflate,
		                                    .headers = headers,
		                                    .header_count = (unsigned)header_count,
		                                    .timeout_ms = client->timeout_ms,
		                                    .again_ms = client->again_ms,
		                                    .conn = &handle };
	*conn = (struct client_conn){ .client = client, .url = url };
	atomic_fetch_add(&client->open_count, 1);
	for (;;) {
		int code = rc_connect(client->server, 0, url, &options);
		if (!code) {
			atomic_store(&conn->handle, handle);
			return 0;
		}
		if (code == -EAGAIN && wait_until(&client->wait, clock_now() + RETRY_NS) != WAIT_SIGNAL)
			continue;
		atomic_fetch_sub(&client->open_count, 1);
		atomic_store(&conn->state, CLIENT_CLOSED);
		conn->status = code;
		if (code == -EINVAL || code == -ENOSPC)
			snprintf(conn->reason, sizeof conn->reason,
			         "the URL is not one of ws://, wss:// or ws+unix:, or a --header is too long, "
			         "or of those that the handshake has itself");
		client_verdict(conn);
		return -1;
	}
}

int client_await_open(struct client *client, struct client_conn *conn)
{
	for (;;) {
		int state = atomic_load(&conn->state);
		if (state != CLIENT_CONNECTING)
			return state == CLIENT_OPEN ? 0 : -1;
		if (wait_until(&client->wait, UINT64_MAX) == WAIT_SIGNAL) {
			client->interrupted = true;
			return -1;
		}
	}
}

struct batch {
	struct client *client;
	const struct client_send *sends;
	size_t count;
	size_t done;
	bool failed;
	_Atomic bool answered;
};

static void send_batch(void *argument)
{
	struct batch *batch = argument;
	struct client *client = batch->client;
	while (batch->done < batch->count) {
		const struct client_send *send = &batch->sends[batch->done];
		int code = rc_send(client->server, send->conn->handle, send->opcode, send->data, send->size);
		batch->failed = code && code != -ENOBUFS && code != -EAGAIN;
		if (code)
			break;
		batch->done++;
	}
	/* From this store on the batch is the waiting thread's again, and may be gone. The client outlives it, and is
	 * what is woken. */
	atomic_store(&batch->answered, true);
	wait_wake(&client->wait);
}

int client_send(struct client *client, const struct client_send *sends, size_t count)
{
	struct batch batch = { .client = client, .sends = sends, .count = count };
	while (batch.done < count && !batch.failed && !client->interrupted) {
		atomic_store(&batch.answered, false);
		int code = rc_post(client->server, 0, send_batch, &batch);
		while (!code && !atomic_load(&batch.answered)) {
			if (wait_until(&client->wait, UINT64_MAX) == WAIT_SIGNAL)
				client->interrupted = true;
		}
		if (batch.done < count && !batch.failed && !client->interrupted &&
		    wait_until(&client->wait, clock_now() + RETRY_NS) == WAIT_SIGNAL)
			client->interrupted = true;
	}
	return batch.done == count ? 0 : -1;
}

int client_await_input(struct client *client, int descriptor)
{
	for (;;) {
		switch (wait_readable(&client->wait, descriptor)) {
		case WAIT_READABLE:
			return 0;
		case WAIT_SIGNAL:
			client->interrupted = true;
			return -1;
		default:
			if (!atomic_load(&client->open_count))
				return -1;
		}
	}
}

int client_await_closed(struct client *client)
{
	while (atomic_load(&client->open_count)) {
		if (wait_until(&client->wait, UINT64_MAX) == WAIT_SIGNAL) {
			client->interrupted = true;
			return -1;
		}
	}
	return 0;
}

void client_end(struct client *client)
{
	wait_release(&client->wait);
	rc_server_stop(client->server, DRAIN_MS);
	rc_server_join(client->server);
	rc_server_free(client->server);
	wait_close(&client->wait);
	client->server = NULL;
}

int client_verdict(const struct client_conn *conn)
{
	if (conn->status > 0)
		return command_failed("%s: refused with HTTP status %d", conn->url, conn->status);
	if (conn->status < 0)
		return command_failed("%s: %s", conn->url, *conn->reason ? conn->reason : rc_strerror(conn->status));
	fprintf(stderr, "closed %u%s%s\n", conn->code, *conn->reason ? " " : "", conn->reason);
	return conn->code == RC_CLOSE_NORMAL || conn->code == RC_CLOSE_GOING_AWAY ? EXIT_OK : EXIT_FAILED;
}
