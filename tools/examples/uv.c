/* SPDX-License-Identifier: MIT
 *
 * uv.c - the server inside a program that has an event loop already: libuv's, with its timers and signals.
 *
 * The one worker gets no thread. Its descriptor is readable whenever there is something to do, and then the loop steps
 * it. So handlers, timers and whatever else the program does run on one thread: the counter below needs no lock.
 */
#include <ringcast.h>
#include <ringcast_latency.h>

#include <stdio.h>
#include <string.h>
#include <uv.h>

static rc_server *server;
static unsigned client_count;

static int on_request(void *context, rc_request *request)
{
	struct rc_start start = { .last = true };
	(void)context;
	return rc_subscribe(server, rc_request_conn(request), "clock", 5, &start) < 0 ? 503 : 0;
}

static void on_open(void *context, rc_conn conn, void *user)
{
	(void)context, (void)conn, (void)user;
	client_count++;
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	(void)context, (void)user;
	rc_send(server, conn, message->opcode, message->data, message->size);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	(void)context, (void)conn, (void)user, (void)closing;
	client_count--;
}

/* One tick of the worker, which never blocks. It returns 0 once all connections have ended after rc_server_stop(). */
static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events;
	if (rc_worker_step(server, 0) <= 0)
		uv_stop(poll->loop);
}

static void on_timer(uv_timer_t *timer)
{
	char text[64];
	int size = snprintf(text, sizeof text, "{\"ms\":%llu,\"clients\":%u}", (unsigned long long)uv_now(timer->loop),
	                    client_count);
	rc_publish(server, "clock", 5, text, (size_t)size, 0);
}

static void on_signal(uv_signal_t *signal, int number)
{
	(void)signal, (void)number;
	rc_server_stop(server, 1000);
}

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	uv_poll_t poll;
	uv_timer_t timer;
	uv_signal_t interrupted, terminated;
	struct rc_config config;
	struct rc_error error;

	rc_config_init(&config);
	config.worker_count = 1;
	config.handlers =
	    (struct rc_handlers){ .request = on_request, .open = on_open, .message = on_message, .close = on_close };
	server = rc_server_new(&config, &error);
	int port = server ? rc_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:8080", &error) : -1;
	if (port < 0)
		return fprintf(stderr, "uv: %s\n", error.text), 1;
	int fd = rc_server_fd(server, 0);
	if (fd < 0)
		return fprintf(stderr, "uv: no worker: %s\n", rc_strerror(fd)), 1;
	printf("listening on ws://127.0.0.1:%d\n", port);
	fflush(stdout);

	uv_poll_init(loop, &poll, fd);
	uv_poll_start(&poll, UV_READABLE, on_readable);
	uv_timer_init(loop, &timer);
	uv_timer_start(&timer, on_timer, 0, 100);
	uv_signal_init(loop, &interrupted);
	uv_signal_start(&interrupted, on_signal, SIGINT);
	uv_signal_init(loop, &terminated);
	uv_signal_start(&terminated, on_signal, SIGTERM);
	uv_run(loop, UV_RUN_DEFAULT);
	rc_server_free(server);
	return 0;
}
