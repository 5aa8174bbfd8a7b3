/* SPDX-License-Identifier: MIT
 *
 * sub.c - `ringcast sub`: prints what servers send.
 *
 * Messages are printed on the worker that received them. A slow reader of standard output thereby stops the receiving,
 * and the server sees a slow subscriber: back-pressure reaches from the pipe to the log, and nothing is held here.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "lib/client.h"
#include "lib/keep.h"
#include "lib/url.h"

#define OUTPUT_BUFFER_SIZE ((size_t)64 << 10)

static int run(int argc, char **argv);

static const struct option_need needs[] = { CLIENT_TLS_NEEDS, { "table", "state" }, { 0 } };

const struct subcommand command_sub = {
	.name = "sub",
	.summary = "print the messages that a server sends",
	.usage = "[options] [URL...]",
	.about =
	    "Connects to each URL (ws://HOST:PORT/PATH, wss://..., or ws+unix:/SOCKET:/PATH) and prints every\n"
	    "message as a line. It ends when all connections are closed, and says on stderr with which code.\n"
	    "The exit status is 0 for 1000 and 1001, and 1 otherwise.\n"
	    "--state and --verify ask for ?form=json and print that. They follow the numbers in it, and say on stderr\n"
	    "when a message is missing and what was known at the end; with --verify the exit status is then "
	    "1.\n" ENVIRONMENT_ABOUT,
	.examples = "  ringcast sub ws://127.0.0.1:8080/topic/market\n"
		    "  ringcast sub --count 3 'ws://127.0.0.1:8080/topic/ACME.000,BOLT.001?last=1'\n"
		    "  ringcast sub 'ws://127.0.0.1:8080/topic/orders?since=1041'   continue after message 1041\n"
		    "  ringcast sub --state --verify ws://127.0.0.1:8080/topic/book.0\n"
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
	bool state;  /* begins with the state, and keeps it */
	bool verify; /* a message that is missing is a failure */
	bool table;  /* prints the state at the end, and no messages */
	char *keyed_urls[ENVIRONMENT_URLS_MAX];
	/* The worker's own. */
	struct keep keeps[ENVIRONMENT_URLS_MAX];
	struct keyed_scratch scratch;
	bool failed;
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

static bool is_keyed(const struct printer *printer)
{
	return printer->state || printer->verify;
}

/* What the numbers of a message say that its reader has to know. Returns whether it is one to be counted. */
static bool check(struct printer *printer, struct client_conn *conn, const struct rc_message *message)
{
	struct keep *keep = &printer->keeps[conn - printer->conns];
	struct keyed_message keyed;
	if (!keyed_read_json(message->data, message->size, &keyed, &printer->scratch)) {
		command_failed("%s: a message that is not of the form json", conn->url);
		printer->failed = true;
		return true;
	}
	/* Without --state the numbers alone are wanted. */
	keyed.key_size = printer->state ? keyed.key_size : 0;
	bool begun = keep->topics != NULL;
	int verdict = keep_take(keep, &keyed);
	if (verdict < 0) {
		command_failed("no memory");
		printer->failed = true;
		return true;
	}
	const struct follow *numbers = &keep->topic->follow;
	if (verdict == FOLLOW_GAP) {
		command_failed("%s: %" PRIu64 " messages are missing so far, the latest before %" PRIu64
		               " of epoch %" PRIu64,
		               keyed.topic, numbers->missing, keyed.sequence, keyed.epoch);
		printer->failed |= printer->verify;
	} else if (keyed.kind == FOLLOW_RESYNC || (keyed.kind == FOLLOW_RESET && begun)) {
		fprintf(stderr, "%s: %s at %" PRIu64 " of epoch %" PRIu64 "\n", keyed.topic,
		        keyed.kind == FOLLOW_RESYNC ? "overrun; the state begins anew" : "what was before is over",
		        keyed.sequence, keyed.epoch);
	}
	return keyed.kind == FOLLOW_MESSAGE;
}

/* What is known of each topic at the end. */
static void conclude(struct printer *printer)
{
	for (unsigned index = 0; index < printer->conn_count; index++) {
		for (const struct keep_topic *topic = printer->keeps[index].topics; topic; topic = topic->next) {
			const struct follow *numbers = &topic->follow;
			if (printer->table)
				keep_write(topic, stdout);
			fprintf(stderr, "%s: ", topic->name);
			if (printer->state)
				fprintf(stderr, "%zu keys, %s, ", topic->key_count,
				        follow_is_whole(numbers) ? "whole" : "not known to be whole");
			fprintf(stderr, "at %" PRIu64 " of epoch %" PRIu64 ", %" PRIu64 " messages missing\n",
			        numbers->last > numbers->until ? numbers->last : numbers->until, numbers->epoch,
			        numbers->missing);
		}
		keep_free(&printer->keeps[index]);
	}
	free(printer->scratch.bytes);
}

/* The URL with what --state and --verify ask for. Returns null without memory. */
static char *make_url(const struct printer *printer, const char *url)
{
	char *form = url_with_query(url, "form", "json");
	char *whole = form && printer->state ? url_with_query(form, "state", "1") : NULL;
	if (!printer->state)
		return form;
	free(form);
	return whole;
}

static void print(void *context, struct client_conn *conn, const struct rc_message *message)
{
	struct printer *printer = context;
	if (printer->finished)
		return;
	bool counts = !is_keyed(printer) || check(printer, conn, message);
	if (!printer->table) {
		fwrite(message->data, 1, message->size, stdout);
		if (!printer->raw)
			fputc('\n', stdout);
	}
	if (counts && ++printer->count == printer->count_max)
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
		const char *url = printer->urls.items[index];
		if (is_keyed(printer))
			url = printer->keyed_urls[index] = make_url(printer, url);
		if (!url)
			status = command_failed("no memory");
		else if (client_connect(&printer->client, &printer->conns[index], url))
			status = EXIT_FAILED;
	}
	if (!status)
		status = print_all(printer);
	client_end(&printer->client);
	conclude(printer);
	if (fflush(stdout) || ferror(stdout) || printer->failed)
		status = EXIT_FAILED;
	for (unsigned index = 0; index < printer->conn_count; index++)
		free(printer->keyed_urls[index]);
	return status;
}

static int run(int argc, char **argv)
{
	static struct printer printer;
	const struct option_entry options[] = {
		{ "count", OPTION_COUNT64, &printer.count_max, "N", "close with 1000 after N messages" },
		{ "deflate", OPTION_FLAG, &printer.client.deflate, NULL, "offer compression (permessage-deflate)" },
		{ "raw", OPTION_FLAG, &printer.raw, NULL, "print payloads as they are, without a line end after each" },
		{ "state", OPTION_FLAG, &printer.state, NULL,
		  "first the newest message of each key, then every one (?state=1); keep them" },
		{ "verify", OPTION_FLAG, &printer.verify, NULL, "exit with 1 when a message was missing" },
		{ "table", OPTION_FLAG, &printer.table, NULL,
		  "with --state: print the state at the end, KEY<TAB>PAYLOAD, instead of messages" },
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
