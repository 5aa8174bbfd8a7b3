/* SPDX-License-Identifier: MIT
 *
 * pub.c - `ringcast pub`: sends arguments, lines or all of standard input as messages, loses none, and closes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "lib/client.h"

#define MESSAGE_SIZE_MAX ((size_t)64 << 20)
#define READ_SIZE ((size_t)64 << 10)
#define BATCH_MAX 1024

static int run(int argc, char **argv);

static const struct option_need needs[] = { CLIENT_TLS_NEEDS, { 0 } };

const struct subcommand command_pub = {
	.name = "pub",
	.summary = "send messages to a server",
	.usage = "[options] [URL [MESSAGE...]]",
	.about =
	    "Connects to URL and sends each MESSAGE, or each line of standard input if there is none. Then it closes\n"
	    "with 1000 and waits for the server's Close. When the server is slow it waits; nothing is lost. The\n"
	    "exit status is 0 when the server closed with 1000 or 1001, and 1 otherwise.\n" ENVIRONMENT_ABOUT,
	.examples = "  ringcast pub ws://127.0.0.1:8080/publish/orders '{\"id\":1}' '{\"id\":2}'\n"
		    "  tail -f orders.log | ringcast pub ws://127.0.0.1:8080/publish/orders\n"
		    "  ringcast pub --raw --binary ws://127.0.0.1:8080/publish/picture < picture.png",
	.needs = needs,
	.run = run,
};

struct sender {
	struct client client;
	struct client_conn conn;
	enum rc_opcode opcode;
	/* Bytes read from standard input and not yet sent. */
	char *buffer;
	size_t size, capacity;
};

static int send_arguments(struct sender *sender, int count, char **words)
{
	for (int index = 0; index < count; index++) {
		struct client_send send = { &sender->conn, sender->opcode, words[index], strlen(words[index]) };
		if (client_send(&sender->client, &send, 1))
			return -1;
	}
	return 0;
}

/* Reads some more. Returns 1, 0 at the end, or -1 when that failed or there is nobody to send to. */
static int read_more(struct sender *sender)
{
	if (sender->capacity - sender->size < READ_SIZE) {
		size_t capacity = sender->capacity * 2 + READ_SIZE;
		char *larger = sender->size > MESSAGE_SIZE_MAX ? NULL : realloc(sender->buffer, capacity);
		if (!larger) {
			command_failed("standard input: a message of more than %zu bytes", sender->size);
			return -1;
		}
		sender->buffer = larger;
		sender->capacity = capacity;
	}
	if (client_await_input(&sender->client, STDIN_FILENO))
		return -1;
	ssize_t size;
	do
		size = read(STDIN_FILENO, sender->buffer + sender->size, sender->capacity - sender->size);
	while (size < 0 && errno == EINTR);
	if (size < 0) {
		command_failed("standard input: %s", strerror(errno));
		return -1;
	}
	sender->size += (size_t)size;
	return size > 0;
}

/* Sends all complete lines, and with `all` what follows the last of them. Returns 0 or -1. */
static int send_lines(struct sender *sender, bool all)
{
	struct client_send batch[BATCH_MAX];
	char *begin = sender->buffer, *end = sender->buffer + sender->size;
	while (begin < end) {
		size_t count = 0;
		while (begin < end && count < BATCH_MAX) {
			char *line_end = memchr(begin, '\n', (size_t)(end - begin));
			if (!line_end && !all)
				break;
			size_t size = (size_t)((line_end ? line_end : end) - begin);
			batch[count++] = (struct client_send){ &sender->conn, sender->opcode, begin, size };
			begin = line_end ? line_end + 1 : end;
		}
		if (!count)
			break;
		if (client_send(&sender->client, batch, count))
			return -1;
	}
	sender->size = (size_t)(end - begin);
	if (sender->size)
		memmove(sender->buffer, begin, sender->size);
	return 0;
}

static int send_input(struct sender *sender, bool raw)
{
	int more;
	while ((more = read_more(sender)) > 0) {
		if (!raw && send_lines(sender, false))
			return -1;
	}
	if (more < 0)
		return -1;
	if (!raw)
		return send_lines(sender, true);
	struct client_send send = { &sender->conn, sender->opcode, sender->buffer, sender->size };
	return client_send(&sender->client, &send, 1);
}

static int send_all(struct sender *sender, const char *url, int count, char **words, bool raw)
{
	int sent = -1;
	if (client_start(&sender->client))
		return EXIT_FAILED;
	if (client_connect(&sender->client, &sender->conn, url)) {
		client_end(&sender->client);
		return EXIT_FAILED;
	}
	if (!client_await_open(&sender->client, &sender->conn)) {
		sent = count ? send_arguments(sender, count, words) : send_input(sender, raw);
		rc_close(sender->client.server, sender->conn.handle, RC_CLOSE_NORMAL, NULL, 0);
	}
	bool closed = !sender->client.interrupted && !client_await_closed(&sender->client);
	client_end(&sender->client);
	free(sender->buffer);
	int status = closed ? client_verdict(&sender->conn) : EXIT_FAILED;
	return sent ? EXIT_FAILED : status;
}

static int run(int argc, char **argv)
{
	static struct sender sender;
	bool binary = false, raw = false;
	const struct option_entry options[] = {
		{ "binary", OPTION_FLAG, &binary, NULL, "send binary messages (text messages must be UTF-8)" },
		{ "raw", OPTION_FLAG, &raw, NULL, "send all of standard input as one message" },
		{ "deflate", OPTION_FLAG, &sender.client.deflate, NULL, "offer compression (permessage-deflate)" },
		CLIENT_CONNECT_OPTIONS(&sender.client),
		CLIENT_TLS_OPTIONS(&sender.client.tls),
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_pub, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (raw && operand + 1 < argc)
		return options_wrong(&command_pub, "--raw reads standard input and takes no MESSAGE");
	sender.opcode = binary ? RC_BINARY : RC_TEXT;
	char *url = NULL;
	int words = operand < argc ? operand + 1 : argc;
	if ((status = environment_url(&command_pub, operand < argc ? argv[operand] : NULL, &url)) < 0 &&
	    (status = client_tls_useless(&command_pub, &sender.client.tls, &url, 1)) < 0)
		status = send_all(&sender, url, argc - words, argv + words, raw);
	free(url);
	return status;
}
