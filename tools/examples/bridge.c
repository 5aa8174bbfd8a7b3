/* SPDX-License-Identifier: MIT
 *
 * bridge.c - one connection to an upstream WebSocket, and as many readers of what it says as there are.
 *
 *      bridge wss://stream.example.org/ticks 0.0.0.0:8080 '{"op":"subscribe","args":["trades"]}'
 *
 * The upstream is a connection of the same server: its messages come to the same handler, which publishes them. When it
 * ends, the library opens it again, each time after a longer pause. Readers stay meanwhile, and the topic "status"
 * tells them. What the last argument says is sent to the upstream whenever it opens.
 */
#include <ringcast.h>
#include <ringcast_client.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static rc_server *server;
static const char *greeting;
static char upstream[] = "upstream"; /* the `user` of that connection; readers have none */

static void end(int signal_number)
{
	(void)signal_number, rc_server_stop(server, 1000); /* NOLINT(bugprone-signal-handler): safe, says ringcast.h */
}

static void tell(const char *text)
{
	rc_publish(server, "status", 6, text, strlen(text), 0);
}

static int on_request(void *context, rc_request *request)
{
	struct rc_start from_last = { .last = true };
	rc_conn conn = rc_request_conn(request);
	(void)context;
	if (!rc_request_is_websocket(request) || rc_subscribe(server, conn, "status", 6, &from_last) < 0 ||
	    rc_subscribe(server, conn, "feed", 4, NULL) < 0)
		return 400;
	return 0;
}

static void on_open(void *context, rc_conn conn, void *user)
{
	(void)context;
	if (user != upstream)
		return;
	tell("upstream: open");
	if (greeting)
		rc_send(server, conn, RC_TEXT, greeting, strlen(greeting));
}

/* Text was checked as it came in, so it is not checked again. What readers say goes nowhere. */
static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	(void)context, (void)conn;
	if (user == upstream)
		rc_publish(server, "feed", 4, message->data, message->size,
		           message->opcode == RC_BINARY ? RC_PUBLISH_BINARY : RC_PUBLISH_UNCHECKED);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	char text[256];
	(void)context, (void)conn;
	if (user != upstream)
		return;
	snprintf(text, sizeof text, "upstream: closed with %u: %.*s", closing->code, (int)closing->reason_size,
	         closing->reason);
	tell(text);
}

int main(int argc, char **argv)
{
	struct rc_config config;
	struct rc_error error;
	struct rc_topic_options kept = { .keep_last = true };
	struct rc_connect_header agent = { .name = "User-Agent", .value = "ringcast-bridge" };
	struct rc_connect_options options = {
		.user = upstream, .headers = &agent, .header_count = 1, .again_ms = 200, .again_max_ms = 10000
	};
	if (argc < 2)
		return fprintf(stderr, "bridge: say from where: bridge URL [ADDRESS [GREETING]]\n"), 1;
	greeting = argc > 3 ? argv[3] : NULL;
	rc_config_init(&config);
	config.handlers =
	    (struct rc_handlers){ .request = on_request, .open = on_open, .message = on_message, .close = on_close };
	server = rc_server_new(&config, &error);
	if (server)
		rc_server_topic_rule(server, "status", &kept); /* it fails for a wrong pattern, or after the start */
	int port = server ? rc_server_listen(server, argc > 2 ? argv[2] : "127.0.0.1:8080", &error) : -1;
	if (port < 0 || rc_server_start(server, &error) < 0)
		return fprintf(stderr, "bridge: %s\n", error.text), 1;
	signal(SIGINT, end);
	signal(SIGTERM, end);
	int wrong = rc_connect(server, 0, argv[1], &options);
	if (wrong < 0) {
		fprintf(stderr, "bridge: %s: %s\n", argv[1], rc_strerror(wrong));
		rc_server_stop(server, 0);
	} else {
		printf("listening on ws://127.0.0.1:%d\n", port);
		fflush(stdout);
	}
	rc_server_join(server);
	rc_server_free(server);
	return wrong < 0;
}
