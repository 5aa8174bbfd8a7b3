/* SPDX-License-Identifier: MIT
 *
 * app.c - `ringcast app`: settings to a running server, reloads, and an end that is spread out. It handles no message.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "app.h"
#include "client.h"
#include "clients.h"
#include "commands.h"
#include "date.h"
#include "exposure.h"
#include "lib/memory.h"
#include "lib/wait.h"
#include "log.h"
#include "login.h"
#include "producers.h"
#include "wire.h"

#define BUDGET_LEAST ((size_t)16 << 20)
#define LOOK_MS 1000 /* between two sweeps of who has been away for too long */

static int run(int argc, char **argv);

const struct subcommand command_app = {
	.name = "app",
	.summary = "serve users, rooms and messages to applications",
	.usage = "[options]",
	.about =
	    "`ringcast serve` hands on bytes by topic. This server speaks JSON messages about users, rooms and\n"
	    "feeds (subprotocol ringcast.json), with tokens, permissions and limits. They are two commands\n"
	    "because they owe their clients different things: serve knows nobody and adds nothing to a message.\n"
	    "  /ws, /ws/USER      WebSocket; ?token=, ?reliable=1\n"
	    "  /sse/TOPIC,...     feeds as server-sent events; Last-Event-ID, ?since=\n"
	    "  /poll/TOPIC,...    feeds by long polling; ?since=, ?wait=\n"
	    "  /api/...           POST publish, broadcast, send, disconnect; GET stats, rooms, presence\n"
	    "  /stats, /metrics, /healthz\n"
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

/* ---- beginning ---- */

static void free_app(struct app *app)
{
	app_crews_free(app);
	app_directory_destroy(&app->directory);
	app_gate_destroy(&app->gate);
	pthread_mutex_destroy(&app->watches.lock);
	app_settings_free(atomic_load(&app->settings));
}

static void print_listener(FILE *to, const char *address, int port, const char *what)
{
	if (!strncmp(address, "proxy+", 6))
		address += 6;
	bool secure = !strncmp(address, "wss://", 6);
	if (secure || !strncmp(address, "ws://", 5))
		address += secure ? 6 : 5;
	const char *colon = strrchr(address, ':');
	if (!strncmp(address, "unix:", 5))
		fprintf(to, "listening on ws+unix:%s:%s\n", address + 5, what);
	else if (!strncmp(address, "fd:", 3))
		fprintf(to, "listening on descriptor %s%s\n", address + 3, what);
	else if (*address == ':' || *address == '*')
		fprintf(to, "listening on ws%s://0.0.0.0:%d%s\n", secure ? "s" : "", port, what);
	else
		fprintf(to, "listening on ws%s://%.*s:%d%s\n", secure ? "s" : "", (int)(colon ? colon - address : 0),
		        address, port, what);
}

static bool listen_at(struct app *app, const struct option_list *list, const char *what, FILE *said)
{
	struct rc_error error;
	for (unsigned i = 0; i < list->count; i++) {
		int port = rc_server_listen(app->server, list->items[i], &error);
		if (port < 0)
			return command_failed("%s", error.text), false;
		print_listener(said, list->items[i], port, what);
	}
	return true;
}

/* Sockets that the service manager made before it started us: one that it names `api` serves the API, and one that it
 * names `proxy` takes the PROXY protocol. */
static void take_inherited(struct option_list *listen, struct option_list *api)
{
	static char addresses[OPTION_LIST_MAX][32];
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);
	for (int i = 0; i < count && i < OPTION_LIST_MAX; i++) {
		bool is_api = strcmp(names[i], "api") == 0, proxied = strcmp(names[i], "proxy") == 0;
		struct option_list *list = is_api ? api : listen;
		snprintf(addresses[i], sizeof addresses[i], "%sfd:%d", proxied ? "proxy+" : "",
		         SD_LISTEN_FDS_START + i);
		if (list->count < OPTION_LIST_MAX)
			list->items[list->count++] = addresses[i];
	}
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static bool listen_producers(struct app *app, const struct app_settings *settings, FILE *said)
{
	struct rc_error error;
	if (app_producers_listen(app, settings, &error) < 0)
		return command_failed("%s", error.text), false;
	if (settings->producers.address)
		fprintf(said, "producers at %s\n", settings->producers.address);
	return true;
}

static bool listen_everywhere(struct app *app, const struct app_settings *settings, FILE *said)
{
	struct option_list listen = settings->listen, api = settings->api_listen;
	if (!listen.count)
		take_inherited(&listen, &api);
	if (!listen.count)
		listen.items[listen.count++] = APP_LISTEN_DEFAULT;
	app->api_listener_first = api.count ? listen.count : UINT32_MAX;
	for (unsigned i = 0; i < listen.count; i++)
		local_listeners_add(&app->listeners, listen.items[i]);
	for (unsigned i = 0; i < api.count; i++)
		local_listeners_add(&app->listeners, api.items[i]);
	int open = app_exposure_too_open(settings, &app->listeners, app->api_listener_first);
	if (open >= 0)
		return command_failed("%s " APP_EXPOSURE_WORDS, listen.items[open]), false;
	return listen_at(app, &listen, "", said) && listen_at(app, &api, " (api)", said) &&
	       listen_producers(app, settings, said);
}

static bool become(const char *name)
{
	if (!name)
		return true;
	const struct passwd *user = getpwnam(name);
	if (!user)
		return command_failed("there is no user '%s'", name), false;
	if (getuid() == user->pw_uid)
		return true;
	if (initgroups(name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid))
		return command_failed("user '%s': %s", name, strerror(errno)), false;
	return true;
}

static bool make_rules(struct app *app, const struct app_settings *settings)
{
	const struct rc_topic_options rooms = { .policy = RC_POLICY_CLOSE };
	const struct rc_topic_options kept = { .policy = (enum rc_policy)settings->policy, .keep_last = true };
	/* A member that missed a message would not know. It is closed instead, and connects again. */
	int code = rc_server_topic_rule(app->server, "room/*", &rooms);
	for (unsigned i = 0; i < settings->keep_last.count && !code; i++)
		code = rc_server_topic_rule(app->server, settings->keep_last.items[i], &kept);
	if (code)
		command_failed("keep-last: %s", rc_strerror(code));
	return !code;
}

/* Half of what there is beside the log: the rest is for tables, TLS and what waits for users. */
static size_t budget_of(const struct app_settings *settings)
{
	size_t allowed = memory_allowed(""), rest = allowed > settings->log_size ? allowed - settings->log_size : 0;
	return allowed == SIZE_MAX ? 0 : rest / 2 > BUDGET_LEAST ? rest / 2 : BUDGET_LEAST;
}

static bool make_server(struct app *app, const struct app_settings *settings)
{
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = settings->workers;
	config.connections_max = settings->connections_max;
	config.subscriptions_max = settings->subscriptions_max + 1; /* and one for what goes to everyone */
	config.message_size_max = settings->message_max;
	config.body_size_max = settings->body_max;
	config.log_size = settings->log_size;
	config.state_max = settings->state_max;
	config.policy = (enum rc_policy)settings->policy;
	config.kernel_tls = settings->kernel_tls;
	config.memory_max = settings->memory_max ? settings->memory_max : budget_of(settings);
	latency_apply(&settings->latency, &config);
	config.idle_timeout_ms = settings->idle_timeout_ms;
	config.handshake_timeout_ms = settings->handshake_timeout_ms;
	config.handlers = app_clients_handlers(app);
	app->server = rc_server_new(&config, &error);
	static struct rc_tls_pair pairs[OPTION_LIST_MAX];
	const struct rc_tls_options tls = { .pairs = pairs,
		                            .pair_count = settings->tls_cert.count,
		                            .client_ca = settings->tls_client_ca,
		                            .crl = settings->tls_crl };
	for (unsigned i = 0; i < settings->tls_cert.count; i++)
		pairs[i] = (struct rc_tls_pair){ settings->tls_cert.items[i], settings->tls_key.items[i] };
	if (app->server && (!tls.pair_count || !rc_server_tls(app->server, &tls, &error)))
		return true;
	return command_failed("%s", error.text), false;
}

/* What there is to say of the listeners goes to `said`: it is true only once all workers have their rings. */
static bool start(struct app *app, const struct app_settings *settings, FILE *said)
{
	struct rc_error error;
	uint64_t seed;
	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		return command_failed("no random numbers: %s", strerror(errno)), false;
	json_object_seed((size_t)seed | 1);
	pthread_mutex_init(&app->watches.lock, NULL);
	app->started_ns = clock_now();
	app->epoch = app_date_ms();
	atomic_init(&app->numbers, 1);
	if (!app_directory_init(&app->directory, seed) || !app_gate_init(&app->gate, seed))
		return command_failed("no memory"), false;
	if (!make_server(app, settings) || !make_rules(app, settings) || !listen_everywhere(app, settings, said) ||
	    !become(settings->user))
		return false;
	if (!app_crews_init(app, rc_server_worker_count(app->server), seed) || app_clock_start(app, app_clients_due))
		return command_failed("no memory, or no thread"), false;
	if (rc_server_start(app->server, &error)) {
		app_clock_stop(app);
		return command_failed("%s", error.text), false;
	}
	return true;
}

/* ---- every worker ---- */

struct visit {
	struct app_crew *crew;
	void (*fn)(struct app_crew *crew);
	_Atomic bool done;
};

static void visit_crew(void *argument)
{
	struct visit *visit = argument;
	if (visit->fn)
		visit->fn(visit->crew);
	atomic_store(&visit->done, true);
}

/* Runs `fn` on every worker, one after the other: afterwards no callback is running that began before. */
static void visit_all(struct app *app, void (*fn)(struct app_crew *crew))
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	for (unsigned i = 0; i < app->crew_count; i++) {
		struct visit visit = { .crew = &app->crews[i], .fn = fn };
		while (rc_post(app->server, i, visit_crew, &visit))
			nanosleep(&nap, NULL);
		while (!atomic_load(&visit.done))
			nanosleep(&nap, NULL);
	}
}

/* ---- reloading ---- */

static bool same_text(const char *one, const char *other)
{
	return one == other || (one && other && strcmp(one, other) == 0);
}

static bool same_list(const struct option_list *one, const struct option_list *other)
{
	for (unsigned i = 0; i < one->count && i < other->count; i++)
		if (strcmp(one->items[i], other->items[i]) != 0)
			return false;
	return one->count == other->count;
}

static bool same_producers(const struct producers *one, const struct producers *other)
{
	return same_text(one->address, other->address) && same_list(&one->topics, &other->topics) &&
	       same_list(&one->uids, &other->uids) && one->count_max == other->count_max &&
	       one->topics_max == other->topics_max && one->ring_size == other->ring_size;
}

static bool same_places(const struct app_settings *one, const struct app_settings *other)
{
	return same_list(&one->listen, &other->listen) && same_list(&one->api_listen, &other->api_listen) &&
	       same_producers(&one->producers, &other->producers) && same_list(&one->tls_cert, &other->tls_cert) &&
	       same_list(&one->tls_key, &other->tls_key) && same_text(one->tls_client_ca, other->tls_client_ca) &&
	       same_text(one->tls_crl, other->tls_crl) && same_text(one->user, other->user) &&
	       latency_equal(&one->latency, &other->latency);
}

static bool same_bounds(const struct app_settings *one, const struct app_settings *other)
{
	return one->workers == other->workers && one->connections_max == other->connections_max &&
	       one->log_size == other->log_size && one->state_max == other->state_max &&
	       one->memory_max == other->memory_max && one->message_max == other->message_max &&
	       one->body_max == other->body_max && one->subscriptions_max == other->subscriptions_max &&
	       one->idle_timeout_ms == other->idle_timeout_ms &&
	       one->handshake_timeout_ms == other->handshake_timeout_ms && one->kernel_tls == other->kernel_tls &&
	       one->policy == other->policy && same_list(&one->keep_last, &other->keep_last);
}

static void warn_fixed(const struct app_settings *old, const struct app_settings *new)
{
	if (!same_places(old, new) || !same_bounds(old, new))
		app_log_say(APP_LOG_WARNING, "reload", NULL,
		            "these change only with a restart: addresses, producers, names of certificates, the user, "
		            "workers and their places, sizes, time-outs of connections, policy and keep-last");
}

static void recheck(void *context, struct app_node *node)
{
	(void)context;
	app_login_recheck((struct app_client *)node);
}

static void recheck_all(struct app_crew *crew)
{
	app_table_each(&crew->clients, recheck, NULL);
}

static void reload(struct app *app, int argc, char **argv)
{
	struct app_settings *new, *old = atomic_load(&app->settings);
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
	           (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
	if (app_settings_read(&command_app, argc, argv, &new) >= 0) {
		app_log_say(APP_LOG_ERROR, "reload", NULL, "the settings are wrong; the old ones stay");
	} else if (app_exposure_too_open(new, &app->listeners, app->api_listener_first) >= 0) {
		app_log_say(APP_LOG_ERROR, "reload", NULL, "the old ones stay; the new ones " APP_EXPOSURE_WORDS);
		app_settings_free(new);
	} else {
		warn_fixed(old, new);
		app_log_setup(new);
		atomic_store(&app->settings, new);
		visit_all(app, recheck_all);
		app_settings_free(old);
		struct rc_error error;
		if (new->tls_cert.count && rc_server_tls_reload(app->server, &error))
			app_log_say(APP_LOG_ERROR, "reload", NULL, "the old certificates stay: %s", error.text);
		app_log_say(APP_LOG_INFO, "reload", NULL, "done");
	}
	sd_notify(0, "READY=1");
}

/* ---- the end ---- */

/* Each client is told to come back at another time, so that they do not all meet the next server at once. */
static void send_away(void *context, struct app_node *node)
{
	struct app_client *client = (struct app_client *)node;
	struct app_out *out = &client->crew->out;
	unsigned comeback_ms = app_settings_now(client->app)->comeback_ms, after_ms, random = 0;
	char reason[64];
	(void)context;
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		random = (unsigned)clock_now();
	after_ms = comeback_ms / 10 + (unsigned)((uint64_t)random * (comeback_ms - comeback_ms / 10) >> 32);
	app_out_clear(out);
	app_out_format(out, "{\"type\":\"going_away\",\"reconnectAfter\":%u}", after_ms);
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

static void end(struct app *app, const sigset_t *signals)
{
	sd_notify(0, "STOPPING=1");
	app_log_say(APP_LOG_INFO, "stop", NULL, "draining");
	atomic_store(&app->draining, true);
	stopping = app->server;
	/* A second signal no longer waits for anybody: this one call is safe in a handler. */
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = stop_now }, NULL);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = stop_now }, NULL);
	visit_all(app, send_all_away);
	rc_server_stop(app->server, app_settings_now(app)->drain_ms);
	pthread_sigmask(SIG_UNBLOCK, signals, NULL);
	rc_server_join(app->server);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	app_clock_stop(app);
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
	app_log_setup(settings);
	char *words = NULL;
	size_t words_size = 0;
	FILE *said = open_memstream(&words, &words_size);
	bool started = said ? start(&app, settings, said) : (command_failed("no memory"), false);
	if (said)
		fclose(said);
	if (started) {
		fputs(words ? words : "", stdout);
		fflush(stdout);
		sd_notify(0, "READY=1");
		for (int number;
		     (number = sigtimedwait(&signals, NULL, &(struct timespec){ .tv_nsec = LOOK_MS * 1000000 - 1 }));) {
			if (number == SIGINT || number == SIGTERM)
				break;
			if (number == SIGHUP)
				reload(&app, argc, argv);
			app_directory_sweep(&app);
		}
		end(&app, &signals);
	}
	free(words);
	rc_server_free(app.server);
	free_app(&app);
	return started ? EXIT_OK : EXIT_FAILED;
}
