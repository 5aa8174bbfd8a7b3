/* SPDX-License-Identifier: MIT
 *
 * server.c - see server.h.
 */
#include "server.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/web.h"
#include "lib/options.h"
#include "payload.h"
#include "ringcast_publish.h"

#define LAG_MS_MAX 250 /* a reader that is further behind is overrun */
#define HEARTBEAT_MS 250
#define CONFLATING_MAX 30 /* a rule each */
#define DRAIN_MS 500

size_t book_server_topic(const struct market *market, unsigned book, char topic[SERVER_TOPIC_MAX])
{
	return (size_t)snprintf(topic, SERVER_TOPIC_MAX, SERVER_TOPIC "%s", market->symbols[book]);
}

static int on_request(void *context, rc_request *request)
{
	struct book_server *server = context;
	int code = rc_request_is_websocket(request) ? -1 : app_web_answer_book(request, "/", server->names);
	return code >= 0 ? code : server->answers.request(&server->routes, request);
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	/* Whatever a reader says, nobody listens. */
	(void)context, (void)conn, (void)user, (void)message;
}

static void on_report(void *context, const char *text)
{
	(void)context;
	command_failed("%s", text);
}

static int set_rules(struct book_server *server)
{
	struct rc_topic_options options = { .policy = RC_POLICY_RESYNC,
		                            .lag_ms_max = LAG_MS_MAX,
		                            .heartbeat_ms = HEARTBEAT_MS };
	int code = rc_server_topic_rule(server->server, SERVER_TOPIC "*", &options);
	options.policy = RC_POLICY_CONFLATE;
	for (unsigned book = 1; server->conflating && !code; book += 2) {
		char topic[SERVER_TOPIC_MAX];
		if (book >= server->market->book_count || book / 2 >= CONFLATING_MAX)
			break;
		book_server_topic(server->market, book, topic);
		code = rc_server_topic_rule(server->server, topic, &options);
	}
	return code;
}

static int open_topics(struct book_server *server)
{
	json_t *names = json_array();
	int code = 0;
	for (unsigned book = 0; book < server->market->book_count && !code; book++) {
		char topic[SERVER_TOPIC_MAX];
		size_t size = book_server_topic(server->market, book, topic);
		code = rc_topic_open(server->server, topic, size, &server->books[book].topic);
		json_array_append_new(names, json_string(topic));
	}
	server->names = json_dumps(names, JSON_COMPACT);
	json_decref(names);
	return code || server->names ? code : -ENOMEM;
}

int book_server_start(struct book_server *server, const char *address)
{
	struct rc_error error = { 0 };
	struct rc_config config;
	rc_config_init(&config);
	config.log_size = server->log_size;
	server->answers = serve_routes_handlers(&server->routes);
	config.handlers = (struct rc_handlers){
		.context = server, .request = on_request, .message = on_message, .report = on_report
	};
	server->server = rc_server_new(&config, &error);
	if (!server->server)
		goto failed;
	server->routes.server = server->server;
	int code = set_rules(server);
	if (!code)
		code = open_topics(server);
	if (code) {
		snprintf(error.text, sizeof error.text, "the topics: %.100s", rc_strerror(code));
		goto failed;
	}
	int port = rc_server_listen(server->server, address, &error);
	local_listeners_add(&server->routes.listeners, address);
	if (port >= 0 && !rc_server_start(server->server, &error))
		return port;
failed:
	command_failed("%s", error.text);
	rc_server_free(server->server);
	free(server->names);
	return -1;
}

static bool publish(struct book_server *server, unsigned index, const struct market_change *change)
{
	struct server_book *book = &server->books[index];
	bool remove = !change->quantity[strspn(change->quantity, "0.")];
	char text[PAYLOAD_MAX], key[BOOK_KEY_MAX + 1];
	struct payload payload = { .number = book->number + 1, .checksum = book->checksum };
	strcpy(payload.quantity, change->quantity);
	struct rc_publication message = {
		.data = text,
		.size = payload_write(&payload, text),
		.flags = RC_PUBLISH_WAIT | RC_PUBLISH_UNCHECKED | (remove ? RC_PUBLISH_REMOVE : 0),
		.topic = book->topic,
		.key = key,
		.key_size = book_key(change->side, change->price, key),
	};
	int64_t sequence = rc_publish_with(server->server, NULL, 0, &message);
	if (sequence < 0) {
		command_failed("a book's update: %s", rc_strerror((int)sequence));
		return false;
	}
	book->number++;
	book->epoch = message.epoch;
	book->sequence = (uint64_t)sequence;
	return true;
}

bool book_server_publish(struct book_server *server, const struct market_change *change)
{
	server->books[change->book].checksum = book_checksum(&server->market->books[change->book]);
	return publish(server, change->book, change);
}

/* Level by level, from an empty book, so that each update has the checksum of what a reader has behind it. */
static bool publish_book(struct book_server *server, unsigned index)
{
	struct book partial = { 0 };
	bool good = true;
	for (int side = 0; side < 2; side++) {
		const struct book_levels *levels = &server->market->books[index].sides[side];
		for (unsigned at = 0; at < levels->count && good; at++) {
			struct market_change change = { .book = index, .side = (enum book_side)side };
			strcpy(change.price, levels->items[at].price_text);
			strcpy(change.quantity, levels->items[at].quantity);
			book_set(&partial, change.side, change.price, change.quantity);
			server->books[index].checksum = book_checksum(&partial);
			good = publish(server, index, &change);
		}
	}
	book_free(&partial);
	return good;
}

bool book_server_publish_all(struct book_server *server)
{
	bool good = true;
	for (unsigned index = 0; index < server->market->book_count && good; index++)
		good = publish_book(server, index);
	return good;
}

void book_server_end(struct book_server *server)
{
	rc_server_stop(server->server, DRAIN_MS);
	rc_server_join(server->server);
	rc_server_free(server->server);
	free(server->names);
}
