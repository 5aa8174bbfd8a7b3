/* SPDX-License-Identifier: MIT
 *
 * routes.c - see routes.h. Everything here runs on workers and must not block.
 *
 * A connection that only subscribes or echoes has no state of its own here: its `user` is a route that all of its kind
 * share. One that publishes has its topic's name, which lives until its close.
 */
#include "routes.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/web.h"
#include "book/publisher.h"
#include "demo.h"
#include "lib/http.h"
#include "lib/text.h"
#include "page.h"

#define TOPIC_NAME_MAX 255
#define BAD_NAME "a topic's name has 1 to 255 bytes, and is UTF-8 without control characters\n"

enum route_kind { ROUTE_TOPIC, ROUTE_ECHO, ROUTE_PUBLISH };

struct route {
	enum route_kind kind;
	size_t topic_size;
	char topic[];
};

static struct route topic_route = { .kind = ROUTE_TOPIC };
static struct route echo_route = { .kind = ROUTE_ECHO };

const char *serve_routes_publish_from(struct serve_routes *routes, const struct option_list *words)
{
	routes->publish_local = !words->count;
	for (unsigned index = 0; index < words->count; index++) {
		const char *word = words->items[index];
		if (!strcmp(word, "any"))
			routes->publish_any = true;
		else if (!strcmp(word, "local"))
			routes->publish_local = true;
		else if (!strcmp(word, "certified"))
			routes->publish_certified = true;
		else if (strcmp(word, "none") && !networks_add(&routes->publish_from, word))
			return word;
	}
	return NULL;
}

/* By its address. One that a proxy handed on, without saying for whom, has none that counts. */
static bool is_publisher(const struct serve_routes *routes, const rc_request *request)
{
	char scratch[ADDRESS_TEXT_SIZE];
	const char *client = local_client(&routes->proxies, request, scratch);
	if (local_is_forwarded(request) && !strcmp(client, local_neighbour(request)))
		return false;
	return networks_hold(&routes->publish_from, client);
}

static bool may_publish(const struct serve_routes *routes, rc_request *request)
{
	if (routes->publish_any)
		return true;
	if (local_is_from_other_site(request))
		return false;
	if (routes->publish_certified && rc_request_peer_subject(request))
		return true;
	if (routes->publish_local && local_is_trusted(&routes->listeners, request))
		return true;
	return is_publisher(routes, request);
}

static bool may_read_figures(const struct serve_routes *routes, rc_request *request)
{
	return routes->operators.count ? keys_open(&routes->operators, request)
	                               : local_is_trusted(&routes->listeners, request);
}

static int say(rc_request *request, int status, const char *words)
{
	return rc_request_respond(request, status, "text/plain", words, strlen(words)) ? 503 : 0;
}

/* Reads ?since=SEQ and ?last=1. Returns whether they are valid. */
static bool parse_start(rc_request *request, struct rc_start *start)
{
	const char *last = rc_request_query(request, "last");
	*start = (struct rc_start){ .last = last && !strcmp(last, "1") };
	if (last && strcmp(last, "0") && strcmp(last, "1"))
		return false;
	const char *since = rc_request_query(request, "since");
	if (!since)
		return true;
	char *end;
	errno = 0;
	start->since = strtoull(since, &end, 10);
	start->resume = true;
	return *since >= '0' && *since <= '9' && !*end && !errno;
}

static int subscribe_error(rc_request *request, int code)
{
	switch (code) {
	case -EINVAL:
		return say(request, 400, BAD_NAME);
	case -ENOSPC:
		return say(request, 503, "too many topics\n");
	default:
		return 503;
	}
}

/* /topic/NAME[,NAME...]: a name given twice is one subscription. */
static int subscribe_all(rc_request *request, const char *names)
{
	struct rc_start wanted;
	if (!parse_start(request, &wanted))
		return say(request, 400, "expected since=SEQUENCE and last=1\n");
	for (;;) {
		const char *end = strchrnul(names, ',');
		struct rc_start start = wanted;
		if (!text_is_name(names, (size_t)(end - names)))
			return say(request, 400, BAD_NAME);
		int code = rc_subscribe(rc_request_server(request), rc_request_conn(request), names,
		                        (size_t)(end - names), &start);
		if (code && code != -EEXIST)
			return subscribe_error(request, code);
		if (!*end)
			break;
		names = end + 1;
	}
	rc_request_set_user(request, &topic_route);
	return 0;
}

static int publish_to(rc_request *request, const char *topic, bool subscribed)
{
	size_t size = strlen(topic);
	if (size > TOPIC_NAME_MAX || !text_is_name(topic, size))
		return say(request, 400, BAD_NAME);
	if (subscribed) {
		int code = rc_subscribe(rc_request_server(request), rc_request_conn(request), topic, size, NULL);
		if (code)
			return subscribe_error(request, code);
	}
	struct route *route = malloc(sizeof *route + size);
	if (!route)
		return 503;
	*route = (struct route){ .kind = ROUTE_PUBLISH, .topic_size = size };
	memcpy(route->topic, topic, size);
	rc_request_set_user(request, route);
	return 0;
}

static int route_http(struct serve_routes *routes, rc_request *request)
{
	const char *path = rc_request_path(request);
	if ((!strcmp(path, "/stats") || !strcmp(path, "/metrics")) && !may_read_figures(routes, request)) {
		rc_request_add_header(request, "WWW-Authenticate", "Bearer");
		return say(request, 401,
		           routes->operators.count
		               ? "the operator's key is missing or wrong\n"
		               : "without --operator-key-file, this machine alone may read the figures\n");
	}
	int code = http_answer(request);
	if (code >= 0)
		return code;
	code = routes->demo ? app_web_answer_book(request, "/book", "[\"" BOOK_TOPIC SERVE_DEMO_BOOK "\"]") : -1;
	if (code >= 0)
		return code;
	if (routes->demo && !strcmp(path, "/"))
		return rc_request_respond(request, 200, "text/html; charset=utf-8", serve_page, serve_page_size) ? 503
		                                                                                                 : 0;
	if (!strcmp(path, "/"))
		return say(request, 200,
		           "ringcast: connect with a WebSocket to /topic/NAME; see also /stats, /metrics\n");
	bool websocket_only = !strncmp(path, "/topic/", 7) || !strncmp(path, "/publish/", 9) ||
	                      (routes->relay && !strncmp(path, "/relay/", 7)) ||
	                      (routes->echo && !strcmp(path, "/echo"));
	return websocket_only ? 0 : 404; /* 0: the library answers 426 */
}

static int on_request(void *context, rc_request *request)
{
	struct serve_routes *routes = context;
	const char *path = rc_request_path(request);
	if (!text_is_utf8(path, strlen(path)))
		return say(request, 400, "the path is not UTF-8\n");
	if (!rc_request_is_websocket(request))
		return route_http(routes, request);
	if (!strncmp(path, "/topic/", 7))
		return subscribe_all(request, path + 7);
	if (!strncmp(path, "/publish/", 9))
		return may_publish(routes, request) ? publish_to(request, path + 9, false)
		                                    : say(request, 403, "publishing is not allowed from here\n");
	if (routes->relay && !strncmp(path, "/relay/", 7))
		return publish_to(request, path + 7, true);
	if (routes->echo && !strcmp(path, "/echo")) {
		rc_request_set_user(request, &echo_route);
		return 0;
	}
	return 404;
}

/* A message that cannot be published is not lost in silence. Its sender is told, and knows where to begin again. */
static void publish(struct serve_routes *routes, rc_conn conn, const struct route *route,
                    const struct rc_message *message)
{
	unsigned flags = message->opcode == RC_BINARY ? RC_PUBLISH_BINARY : RC_PUBLISH_UNCHECKED; /* it was received */
	int64_t code = -EAGAIN;
	if (!serve_spill_is_used(&routes->spill))
		code = rc_publish(routes->server, route->topic, route->topic_size, message->data, message->size, flags);
	if (code == -EAGAIN)
		code = serve_spill_add(&routes->spill, route->topic, route->topic_size, message->data, message->size,
		                       flags);
	if (code >= 0)
		return;
	const char *reason = code == -EMSGSIZE  ? "larger than a quarter of the log"
	                     : code == -ENOBUFS ? "the log is full"
	                     : code == -ENOSPC  ? "too many topics"
	                                        : "not published";
	uint16_t close_code = code == -EMSGSIZE ? RC_CLOSE_TOO_BIG : RC_CLOSE_TRY_LATER;
	rc_close(routes->server, conn, close_code, reason, strlen(reason));
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	static const char slow[] = "reads its echo too slowly", full[] = "no memory for its echo";
	int code;
	struct serve_routes *routes = context;
	const struct route *route = user;
	rc_server *server = routes->server;
	switch (route->kind) {
	case ROUTE_TOPIC:
		break;
	case ROUTE_ECHO:
		code = rc_send_unchecked(server, conn, message->opcode, message->data, message->size);
		if (code == -ENOBUFS)
			rc_close(server, conn, RC_CLOSE_POLICY, slow, sizeof slow - 1);
		else if (code == -ENOMEM)
			rc_close(server, conn, RC_CLOSE_TRY_LATER, full, sizeof full - 1);
		break;
	case ROUTE_PUBLISH:
		publish(routes, conn, route, message);
		break;
	}
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct route *route = user;
	(void)context;
	(void)conn;
	(void)closing;
	if (route && route->kind == ROUTE_PUBLISH)
		free(route);
}

static void on_report(void *context, const char *text)
{
	(void)context;
	command_failed("%s", text);
}

/* The report said why. */
static void on_failed(void *context, const struct rc_error *error)
{
	(void)context, (void)error;
	_exit(EXIT_FAILED);
}

struct rc_handlers serve_routes_handlers(struct serve_routes *routes)
{
	return (struct rc_handlers){
		.context = routes,
		.request = on_request,
		.message = on_message,
		.close = on_close,
		.report = on_report,
		.failed = on_failed,
	};
}
