/* SPDX-License-Identifier: MIT
 *
 * server.c - see server.h.
 */
#include "server.h"

#include <stddef.h>
#include <stdio.h>

#include "app/web.h"
#include "lib/options.h"

#define LAG_SHARE 8 /* a reader that is behind by this share of the log is overrun */
#define HEARTBEAT_MS 250
#define CONFLATING_MAX 30 /* a rule each */
#define DRAIN_MS 500

static int on_request(void *context, rc_request *request)
{
	/* The routes' other handlers get the routes alone. */
	struct book_server *server = (struct book_server *)((char *)context - offsetof(struct book_server, routes));
	int code = rc_request_is_websocket(request) ? -1 : app_web_answer_book(request, "/", server->publisher.names);
	return code >= 0 ? code : server->answer(context, request);
}

static int set_rules(struct book_server *server)
{
	struct rc_topic_options options = { .policy = RC_POLICY_RESYNC,
		                            .lag_size_max = server->log_size / LAG_SHARE,
		                            .heartbeat_ms = HEARTBEAT_MS };
	int code = rc_server_topic_rule(server->server, BOOK_TOPIC "*", &options);
	options.policy = RC_POLICY_CONFLATE;
	for (unsigned book = 1; server->conflating && !code; book += 2) {
		char topic[BOOK_TOPIC_MAX];
		if (book >= server->market->book_count || book / 2 >= CONFLATING_MAX)
			break;
		book_topic(server->market, book, topic);
		code = rc_server_topic_rule(server->server, topic, &options);
	}
	return code;
}

int book_server_start(struct book_server *server, const char *address)
{
	struct rc_error error = { 0 };
	struct rc_config config;
	rc_config_init(&config);
	config.log_size = server->log_size;
	config.handlers = serve_routes_handlers(&server->routes);
	server->answer = config.handlers.request;
	config.handlers.request = on_request;
	server->server = rc_server_new(&config, &error);
	if (!server->server)
		goto failed;
	server->routes.server = server->server;
	server->routes.admin = &server->admin;
	server->admin = (struct admin){
		.first = UINT32_MAX,
		.metrics = { .server = server->server, .health = &server->health, .service = &server->service },
	};
	if (!health_open(&server->health, server->server)) {
		snprintf(error.text, sizeof error.text, "out of memory");
		goto failed;
	}
	int code = set_rules(server);
	if (!code)
		code = book_publisher_open(&server->publisher, server->server, server->market);
	if (code) {
		snprintf(error.text, sizeof error.text, "the topics: %.100s", rc_strerror(code));
		goto failed;
	}
	int port = rc_server_listen(server->server, address, &error);
	local_listeners_add(&server->routes.listeners, address);
	if (port < 0)
		goto failed;
	code = serve_polls_start(&server->routes.polls, server->server);
	if (code) {
		snprintf(error.text, sizeof error.text, "a thread: %.100s", rc_strerror(code));
		goto failed;
	}
	if (!rc_server_start(server->server, &error))
		return port;
	serve_polls_end(&server->routes.polls);
failed:
	command_failed("%s", error.text);
	health_close(&server->health);
	rc_server_free(server->server);
	book_publisher_close(&server->publisher);
	return -1;
}

void book_server_end(struct book_server *server)
{
	rc_server_stop(server->server, DRAIN_MS);
	rc_server_join(server->server);
	health_close(&server->health);
	serve_polls_end(&server->routes.polls);
	rc_server_free(server->server);
	book_publisher_close(&server->publisher);
}
