/* SPDX-License-Identifier: MIT
 *
 * app.c - `ringcast app`: from its start (start.c) by signals and reloads (reload.c) to an end that is spread out. It
 * handles no message.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "app.h"
#include "client.h"
#include "clients.h"
#include "commands.h"
#include "lib/expiry.h"
#include "lib/log.h"
#include "lib/wait.h"
#include "nodes.h"
#include "reload.h"
#include "start.h"
#include "wire.h"

#define LOOK_MS 1000 /* between two sweeps of who has been away for too long */

static int run(int argc, char **argv);

const struct subcommand command_app = {
	.name = "app",
	.summary = "serve users, rooms and messages to applications",
	.usage = "[options]",
	.about =
	    "`ringcast serve` hands on bytes by topic. This server speaks JSON messages about users, rooms and\n"
	    "feeds (subprotocols ringcast.json, ringcast.msgpack and ringcast.zlib), with tokens, permissions and "
	    "limits. They are two commands\n"
	    "because they owe their clients different things: serve knows nobody and adds nothing to a message.\n"
	    "  /ws, /ws/USER      WebSocket; ?token=, ?reliable=1, ?refusals=1, ?heartbeat=\n"
	    "  /echo              WebSocket: what comes goes back\n"
	    "  /sse/TOPIC,...     feeds as server-sent events; Last-Event-ID, ?since=; /sse?me=1&rooms=\n"
	    "  /poll/TOPIC,...    feeds by long polling; ?since=, ?wait=\n"
	    "  /send, /send/USER  POST: a message of a user\n"
	    "  /api/...           POST publish, rooms/ROOM, broadcast, send, disconnect; GET stats, rooms, presence\n"
	    "  /stats, /metrics, /profile, /healthz, /readyz\n"
	    "  /, /ringcast.js    a dashboard; the client for browsers and Node\n"
	    "Settings come from a file. The environment overrides the file, and flags override both. SIGHUP reads\n"
	    "them again. SIGTERM tells clients when to come back, and ends the server.",
	.examples = "  ringcast app\n"
		    "  ringcast app --token-secret-file secret --listen 0.0.0.0:8080\n"
		    "  ringcast app --token-key public.pem --preset strict --origin https://example.org\n"
		    "  ringcast app --api-key-file keys --trust-proxy 10.0.0.0/8\n"
		    "  ringcast config check /etc/ringcast.conf",
	.run = run,
};

/* ---- the end ---- */

/* Each client is told to come back at another time, so that they do not all meet the next server at once. */
static void send_away(void *context, struct app_node *node)
{
	struct app_client *client = (struct app_client *)node;
	struct app_out *out = &client->crew->out;
	unsigned comeback_ms = app_settings_now(client->app)->comeback_ms, after_ms, random = 0;
	char reason[64];
	(void)context;
	if (client->session) {
		app_clients_end(client);
		return;
	}
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		random = (unsigned)clock_now();
	after_ms = comeback_ms / 10 + (unsigned)((uint64_t)random * (comeback_ms - comeback_ms / 10) >> 32);
	app_out_clear(out);
	app_out_format(out, "{\"type\":\"going_away\",\"reconnectAfter\":%u}", after_ms);
	if (!client->bare)
		app_send(client, out);
	snprintf(reason, sizeof reason, "come back in %u ms", after_ms);
	app_close(client, RC_CLOSE_GOING_AWAY, reason);
}

static void send_all_away(struct app_crew *crew)
{
	app_table_each(&crew->clients, send_away, NULL);
}

static rc_server *stopping; /* for the handler alone; set before it is installed */

static void stop_now(int signal_number)
{
	(void)signal_number;
	rc_server_stop(stopping, 0);
}

/* Whoever hands clients on hears that they should go elsewhere, while those who come all the same are served. A second
 * signal cuts that short. */
static void become_unready(struct app *app, const sigset_t *signals)
{
	uint64_t until_ns = clock_now() + app_settings_now(app)->drain_delay_ms * NS_PER_MS, now_ns;
	health_drain(&app->health);
	if (app_settings_now(app)->drain_delay_ms) {
		service_ending("not ready any more, and still serving");
		log_say(LEVEL_INFO, "stop", NULL, "not ready any more: draining begins in %u ms",
		        app_settings_now(app)->drain_delay_ms);
	}
	while ((now_ns = clock_now()) < until_ns) {
		struct timespec rest = { .tv_sec = (time_t)((until_ns - now_ns) / NS_PER_SECOND),
			                 .tv_nsec = (long)((until_ns - now_ns) % NS_PER_SECOND) };
		int number = sigtimedwait(signals, NULL, &rest);
		if (number == SIGINT || number == SIGTERM)
			break;
	}
}

static void end(struct app *app, const sigset_t *signals)
{
	become_unready(app, signals);
	service_ending("draining");
	log_say(LEVEL_INFO, "stop", NULL, "draining");
	atomic_store(&app->draining, true);
	stopping = app->server;
	/* A second signal no longer waits for anybody: this one call is safe in a handler. */
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = stop_now }, NULL);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = stop_now }, NULL);
	/* Its members are gone with its lease: the other nodes say so. */
	backplane_stop(app->backplane);
	app_crews_visit(app, send_all_away);
	rc_server_stop(app->server, app_settings_now(app)->drain_ms);
	pthread_sigmask(SIG_UNBLOCK, signals, NULL);
	rc_server_join(app->server);
	app_hooks_stop(app);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	app_push_stop(app);
	app_clock_stop(app);
}

/* What the start had to say, line by line. */
static void print_words(char *words)
{
	char *rest = NULL;
	for (char *line = strtok_r(words, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		log_print("listen", "%s", line);
}

static void serve(struct app *app, const sigset_t *signals, int argc, char **argv)
{
	uint64_t warned_ns = 0;
	unsigned count = app->listeners.count;
	service_started("serving on %u listeners", count);
	for (int number;;) {
		number = sigtimedwait(signals, NULL, &(struct timespec){ .tv_nsec = LOOK_MS * 1000000 - 1 });
		if (number == SIGINT || number == SIGTERM)
			break;
		if (number == SIGHUP)
			app_reload(app, &command_app, argc, argv);
		expiry_warn_daily(app->server, &warned_ns);
		app_directory_sweep(app);
		app_nodes_look(app);
		app_refusals_tell(app);
		app_push_look(app);
	}
	end(app, signals);
}

static int run(int argc, char **argv)
{
	static struct app app;
	struct app_settings *settings;
	sigset_t signals;
	int status = app_settings_read(&command_app, argc, argv, &settings);
	if (status >= 0)
		return status;
	/* Blocked before the first thread starts, and read as data. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	atomic_init(&app.settings, settings);
	app.started = settings;
	log_setup(&settings->log);
	char *words = NULL;
	size_t words_size = 0;
	FILE *said = open_memstream(&words, &words_size);
	bool started = said ? app_start(&app, settings, said) : (command_failed("no memory"), false);
	if (said)
		fclose(said);
	if (started) {
		print_words(words);
		serve(&app, &signals, argc, argv);
	}
	free(words);
	backplane_stop(app.backplane);
	rc_server_free(app.server);
	app_free(&app);
	return started ? EXIT_OK : EXIT_FAILED;
}
