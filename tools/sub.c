/* SPDX-License-Identifier: MIT
 *
 * sub.c - `ringcast sub`: prints what servers send.
 *
 * Messages are printed on the worker that received them. A slow reader of standard output thereby stops the receiving,
 * and the server sees a slow subscriber: back-pressure reaches from the pipe to the log, and nothing is held here.
 */
#include <stdio.h>

#include "commands.h"
#include "lib/client.h"

#define OUTPUT_BUFFER_SIZE ((size_t)64 << 10)

static int run(int argc, char **argv);

static const struct option_need needs[] = { CLIENT_TLS_NEEDS, { 0 } };

const struct subcommand command_sub = {
	.name = "sub",
	.summary = "print the messages that a server sends",
	.usage = "[options] [URL...]",
	.about = "Connects to each URL (ws://HOST:PORT/PATH, wss://..., or ws+unix:/SOCKET:/PATH) and prints every\n"
		 "message as a line. It ends when all connections are closed, and says on stderr with which code.\n"
		 "The exit status is 0 for 1000 and 1001, and 1 otherwise.\n" ENVIRONMENT_ABOUT,
	.examples = "  ringcast sub ws://127.0.0.1:8080/topic/market\n"
		    "  ringcast sub --count 3 'ws://127.0.0.1:8080/topic/ACME.000,BOLT.001?last=1'\n"
		    "  ringcast sub 'ws://127.0.0.1:8080/topic/orders?since=1041'   continue after message 1041\n"
		    "  ringcast sub --again 500ms --header 'X-Api-Key: secret' wss://feed.example/ws",
	.needs = needs,
	.run = run,
};

struct printer {
	struct client client;
	struct environment_urls urls;
	struct client_conn conns[ENVIRONMENT_URLS_MAX];
	unsigned conn_count;
	uint64_t count_max; /* 0: no end */
	bool raw;
	/* The worker's own. */
	uint64_t count;
	bool finished;
	bool flush_posted;
};

static void finish(struct printer *printer)
{
	printer->finished = true;
	for (unsigned index = 0; index < printer->conn_count; index++) {
		struct client_conn *conn = &printer->conns[index];
		if (atomic_load(&conn->state) != CLIENT_CLOSED)
			rc_close(printer->client.server, conn->handle, RC_CLOSE_NORMAL, NULL, 0);
	}
}

/* A reader that went away ends the work: there is nobody to print for. */
static void flush(void *argument)
{
	struct printer *printer = argument;
	printer->flush_posted = false;
	if (fflush(stdout) && !printer->finished)
		finish(printer);
}

static void print(void *context, struct client_conn *conn, const struct rc_message *message)
{
	struct printer *printer = context;
	(void)conn;
	if (printer->finished)
		return;
	fwrite(message->data, 1, message->size, stdout);
	if (!printer->raw)
		fputc('\n', stdout);
	if (++printer->count == printer->count_max)
		finish(printer);
	/* Posted to this very worker, the flush comes after the batch of messages that is being received. */
	if (printer->flush_posted)
		return;
	printer->flush_posted = true;
	if (rc_post(printer->client.server, 0, flush, printer))
		flush(printer);
}

static int print_all(struct printer *printer)
{
	int status = EXIT_OK;
	if (!client_await_closed(&printer->client)) {
		for (unsigned index = 0; index < printer->conn_count; index++) {
			if (client_verdict(&printer->conns[index]))
				status = EXIT_FAILED;
		}
	}
	return status;
}

/* Follows all URLs until they end. */
static int follow(struct printer *printer)
{
	setvbuf(stdout, NULL, _IOFBF, OUTPUT_BUFFER_SIZE);
	printer->client.message = print;
	printer->client.context = printer;
	if (client_start(&printer->client))
		return EXIT_FAILED;
	int status = EXIT_OK;
	/* The count is set first: the worker looks at all connections when it finishes, perhaps before the last has
	 * begun. */
	printer->conn_count = printer->urls.count;
	for (unsigned index = 0; index < printer->conn_count && !status; index++) {
		if (client_connect(&printer->client, &printer->conns[index], printer->urls.items[index]))
			status = EXIT_FAILED;
	}
	if (!status)
		status = print_all(printer);
	client_end(&printer->client);
	if (fflush(stdout) || ferror(stdout))
		status = EXIT_FAILED;
	return status;
}

static int run(int argc, char **argv)
{
	static struct printer printer;
	const struct option_entry options[] = {
		{ "count", OPTION_COUNT64, &printer.count_max, "N", "close with 1000 after N messages" },
		{ "deflate", OPTION_FLAG, &printer.client.deflate, NULL, "offer compression (permessage-deflate)" },
		{ "raw", OPTION_FLAG, &printer.raw, NULL, "print payloads as they are, without a line end after each" },
		{ "again", OPTION_MS, &printer.client.again_ms, "TIME",
		  "open a connection that ends again, after TIME at first and up to 30s" },
		CLIENT_CONNECT_OPTIONS(&printer.client),
		CLIENT_TLS_OPTIONS(&printer.client.tls),
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_sub, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if ((status = environment_urls(&command_sub, argv + operand, argc - operand, &printer.urls)) < 0 &&
	    (status = client_tls_useless(&command_sub, &printer.client.tls, printer.urls.items, printer.urls.count)) <
	        0)
		status = follow(&printer);
	environment_urls_free(&printer.urls);
	return status;
}
