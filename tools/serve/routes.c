/* SPDX-License-Identifier: MIT
 *
 * routes.c - see routes.h. Everything here runs on workers and must not block.
 *
 * A connection that only subscribes or echoes has no state of its own here: its `user` is a route that all of its kind
 * share. One that publishes has its topic's name, and a poll what it waits for; both live until its close.
 */
#include "routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/web.h"
#include "ask.h"
#include "book/publisher.h"
#include "demo.h"
#include "lib/answer.h"
#include "lib/log.h"
#include "lib/text.h"
#include "page.h"
#include "publish.h"

enum route_kind { ROUTE_TOPIC, ROUTE_ECHO, ROUTE_PUBLISH, ROUTE_POLL };

struct route {
	enum route_kind kind;
	struct serve_poll *poll;
	struct serve_publisher publisher;
	char topic[];
};

static struct route topic_route = { .kind = ROUTE_TOPIC };
static struct route events_route = { .kind = ROUTE_TOPIC };
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

struct keys *serve_routes_read_keys(struct serve_routes *routes, bool *read)
{
	struct keys *keys = routes->operator_key_file ? calloc(1, sizeof *keys) : NULL;
	*read = !routes->operator_key_file || (keys && keys_read(keys, routes->operator_key_file));
	if (*read)
		return atomic_exchange(&routes->operators, keys);
	serve_routes_free_keys(keys);
	return NULL;
}

void serve_routes_free_keys(struct keys *keys)
{
	if (keys)
		keys_free(keys);
	free(keys);
}

/* Returns null for who may read the figures, or what to tell him. */
static const char *why_no_figures(const struct serve_routes *routes, rc_request *request)
{
	const struct keys *operators = atomic_load_explicit(&routes->operators, memory_order_acquire);
	if (routes->admin_open && admin_is_here(routes->admin, request))
		return NULL;
	if (operators)
		return keys_open(operators, request) ? NULL : "the operator's key is missing or wrong";
	return local_is_trusted(&routes->listeners, request)
	           ? NULL
	           : "without --operator-key-file, this machine alone may read the figures";
}

static int say(rc_request *request, int status, const char *words)
{
	return rc_request_respond(request, status, "text/plain", words, strlen(words)) ? 503 : 0;
}

static int subscribe_error(rc_request *request, int code)
{
	switch (code) {
	case -EINVAL:
		return say(request, 400, SERVE_BAD_NAME);
	case -ENOSPC:
		return say(request, 503, "too many topics\n");
	default:
		return 503;
	}
}

/* NAME[,NAME...]: a name given twice is one subscription. */
static int subscribe_all(rc_request *request, const char *names, const struct serve_ask *ask)
{
	struct rc_event_id after = rc_event_id(rc_request_header(request, "Last-Event-ID"));
	for (unsigned index = 0;; index++) {
		int size = serve_ask_name(names);
		struct rc_start start = serve_ask_start(ask, index);
		if (size < 0)
			return say(request, 400, SERVE_BAD_NAME);
		if (!rc_request_is_websocket(request))
			start.after = after;
		int code = rc_subscribe(rc_request_server(request), rc_request_conn(request), names, (size_t)size,
		                        &start);
		if (code && code != -EEXIST)
			return subscribe_error(request, code);
		names += size;
		if (!*names++)
			break;
	}
	rc_request_set_user(request, rc_request_is_websocket(request) ? &topic_route : &events_route);
	return 0;
}

/* /topic/NAME, or as events /sse/NAME. */
static int follow(rc_request *request, const char *names)
{
	struct serve_ask ask;
	const char *wrong = serve_ask_read(&ask, request);
	if (wrong)
		return say(request, 400, wrong);
	if (!rc_request_is_websocket(request)) {
		rc_request_add_header(request, "Access-Control-Allow-Origin", "*");
		if (rc_request_events(request))
			return 503;
	}
	if (rc_request_form(request, ask.form))
		return say(request, 400, "events have no binary form: form is raw or json\n");
	return subscribe_all(request, names, &ask);
}

/* Reads NAME and ?form= of a publisher. Returns null, or what is wrong. */
static const char *read_publisher(struct serve_routes *routes, rc_request *request, const char *topic,
                                  struct serve_publisher *publisher)
{
	const char *form = rc_request_query(request, "form");
	*publisher = (struct serve_publisher){ .spill = &routes->spill,
		                               .backplane = routes->backplane,
		                               .topic = topic,
		                               .topic_size = strlen(topic),
		                               .json = form && !strcmp(form, "json") };
	if (form && !publisher->json && strcmp(form, "raw") != 0)
		return "form is raw or json\n";
	if (!publisher->topic_size && !publisher->json)
		return "expected /publish/NAME, or /publish?form=json where each message names its topic\n";
	if (publisher->topic_size &&
	    (publisher->topic_size > RC_TOPIC_NAME_MAX || !text_is_name(topic, publisher->topic_size)))
		return SERVE_BAD_NAME;
	return NULL;
}

static int publish_to(struct serve_routes *routes, rc_request *request, const char *topic, bool subscribed)
{
	struct serve_publisher publisher;
	const char *wrong = read_publisher(routes, request, topic, &publisher);
	if (wrong)
		return say(request, 400, wrong);
	if (subscribed) {
		int code = rc_subscribe(rc_request_server(request), rc_request_conn(request), topic,
		                        publisher.topic_size, NULL);
		if (code)
			return subscribe_error(request, code);
	}
	struct route *route = malloc(sizeof *route + publisher.topic_size);
	if (!route)
		return 503;
	*route = (struct route){ .kind = ROUTE_PUBLISH, .publisher = publisher };
	memcpy(route->topic, topic, publisher.topic_size);
	route->publisher.topic = route->topic;
	rc_request_set_user(request, route);
	return 0;
}

/* The NAME of /publish/NAME, empty for /publish; null for another path. */
static const char *published_topic(const char *path)
{
	if (strncmp(path, "/publish", 8) != 0 || (path[8] && path[8] != '/'))
		return NULL;
	return path[8] ? path + 9 : path + 8;
}

/* A program reads what it is told of a POST; a WebSocket's handshake is read by a person. */
static int refuse_publisher(rc_request *request, int status, const char *words)
{
	char line[256];
	if (rc_request_is_websocket(request))
		return say(request, status, words);
	snprintf(line, sizeof line, "%.*s", (int)strcspn(words, "\n"), words);
	return answer_error(request, status, line);
}

static int refuse_stranger(rc_request *request)
{
	return refuse_publisher(request, 403, "publishing is not allowed from here\n");
}

static int post(struct serve_routes *routes, rc_request *request, const char *topic)
{
	struct serve_publisher publisher;
	if (!may_publish(routes, request))
		return refuse_stranger(request);
	const char *wrong = read_publisher(routes, request, topic, &publisher);
	return wrong ? refuse_publisher(request, 400, wrong) : serve_publish_request(&publisher, request);
}

static int poll(struct serve_routes *routes, rc_request *request, const char *names)
{
	struct serve_poll *found;
	struct route *route = malloc(sizeof *route);
	int status = route ? serve_poll_begin(&routes->polls, request, names, &found) : 503;
	if (!route || !found) {
		free(route);
		return status;
	}
	*route = (struct route){ .kind = ROUTE_POLL, .poll = found };
	rc_request_set_user(request, route);
	return 0;
}

/* What a path takes, as `Allow` names it; a GET of some opens a WebSocket. Null: it is not known here. */
static const char *methods_of(const struct serve_routes *routes, const char *path)
{
	if (published_topic(path))
		return "GET, POST";
	if (!strcmp(path, "/") || admin_has(path))
		return "GET, HEAD";
	bool gets = !strncmp(path, "/sse/", 5) || !strncmp(path, "/poll/", 6) || !strncmp(path, "/topic/", 7) ||
	            (routes->relay && !strncmp(path, "/relay/", 7)) || (routes->echo && !strcmp(path, "/echo"));
	return gets ? "GET" : NULL;
}

static int route_http(struct serve_routes *routes, rc_request *request)
{
	const char *path = rc_request_path(request);
	int code = admin_answer(routes->admin, request, why_no_figures(routes, request));
	if (code >= 0)
		return code;
	if (admin_is_here(routes->admin, request))
		return 404;
	const char *methods = methods_of(routes, path);
	if (methods && !answer_takes(request, methods))
		return answer_method(request, methods);
	if (!strncmp(path, "/sse/", 5))
		return follow(request, path + 5);
	if (!strncmp(path, "/poll/", 6))
		return poll(routes, request, path + 6);
	if (!strcmp(rc_request_method(request), "POST") && published_topic(path))
		return post(routes, request, published_topic(path));
	code = routes->demo ? app_web_answer_book(request, "/book", "[\"" BOOK_TOPIC SERVE_DEMO_BOOK "\"]") : -1;
	if (code >= 0)
		return code;
	if (routes->demo && !strcmp(path, "/"))
		return rc_request_respond(request, 200, "text/html; charset=utf-8", serve_page, serve_page_size) ? 503
		                                                                                                 : 0;
	if (!strcmp(path, "/"))
		return say(request, 200,
		           "ringcast: connect with a WebSocket to /topic/NAME; see also /sse/NAME, /poll/NAME, /stats, "
		           "/metrics, /healthz, /readyz\n");
	return methods ? 0 : 404; /* 0: it is for WebSockets alone, and the library answers 426 */
}

static int route_request(struct serve_routes *routes, rc_request *request)
{
	const char *path = rc_request_path(request);
	if (!text_is_utf8(path, strlen(path)))
		return say(request, 400, "the path is not UTF-8\n");
	if (!rc_request_is_websocket(request))
		return route_http(routes, request);
	if (admin_is_here(routes->admin, request))
		return 404;
	if (!strncmp(path, "/topic/", 7))
		return follow(request, path + 7);
	if (published_topic(path))
		return may_publish(routes, request) ? publish_to(routes, request, published_topic(path), false)
		                                    : refuse_stranger(request);
	if (routes->relay && !strncmp(path, "/relay/", 7))
		return publish_to(routes, request, path + 7, true);
	if (routes->echo && !strcmp(path, "/echo")) {
		rc_request_set_user(request, &echo_route);
		return 0;
	}
	return 404;
}

/* One line in the log of accesses. */
static int note(struct serve_routes *routes, rc_request *request, int status)
{
	char scratch[ADDRESS_TEXT_SIZE];
	if (!atomic_load_explicit(&routes->access.on, memory_order_relaxed))
		return status;
	return access_log_request(&routes->access, request, local_client(&routes->proxies, request, scratch), status);
}

static int on_request(void *context, rc_request *request)
{
	return note(context, request, route_request(context, request));
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
		serve_publish_message(&route->publisher, conn, message);
		break;
	case ROUTE_POLL:
		break;
	}
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct route *route = user;
	struct serve_routes *routes = context;
	access_log_end(&routes->access, conn, closing);
	if (route == &events_route && closing->code == RC_CLOSE_POLICY) /* no Close tells it to the reader */
		log_say(LEVEL_WARNING, "slow", NULL, "a stream of events ended: it was read too slowly");
	if (route && route->kind == ROUTE_POLL)
		serve_poll_free(route->poll);
	if (route && (route->kind == ROUTE_PUBLISH || route->kind == ROUTE_POLL))
		free(route);
}

static void on_ready(void *context, rc_conn conn, void *user)
{
	const struct route *route = user;
	(void)context;
	(void)conn;
	if (route && route->kind == ROUTE_POLL)
		serve_poll_ready(route->poll);
}

/* Before memory is spent on what a stranger wants to publish. */
static int judge_head(struct serve_routes *routes, rc_request *request)
{
	const char *path = rc_request_path(request);
	bool here = !admin_is_here(routes->admin, request);
	const char *methods = here ? methods_of(routes, path) : NULL;
	if (methods && !answer_takes(request, methods))
		return answer_method(request, methods);
	if (strcmp(rc_request_method(request), "POST") != 0 || !published_topic(path))
		return 413; /* nothing else takes a body */
	if (!here)
		return 404;
	return may_publish(routes, request) ? 0 : refuse_stranger(request);
}

static int on_head(void *context, rc_request *request)
{
	int status = judge_head(context, request);
	return status || rc_request_status(request) ? note(context, request, status) : 0;
}

static void on_report(void *context, const char *text)
{
	(void)context;
	log_say(LEVEL_WARNING, "server", NULL, "%s", text);
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
		.head = on_head,
		.message = on_message,
		.ready = on_ready,
		.close = on_close,
		.report = on_report,
		.failed = on_failed,
	};
}
