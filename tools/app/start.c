/* SPDX-License-Identifier: MIT
 *
 * start.c - see start.h. What can be found wrong before anybody connects is found here, by one code for a start and for
 * a check.
 */
#include "start.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "client.h"
#include "clients.h"
#include "date.h"
#include "exposure.h"
#include "figures.h"
#include "figures_nodes.h"
#include "lib/memory.h"
#include "lib/wait.h"
#include "names.h"
#include "nodes.h"
#include "producers.h"
#include "replicate.h"
#include "updates.h"

#define BUDGET_LEAST ((size_t)16 << 20)

void app_free(struct app *app)
{
	backplane_free(app->backplane);
	app_nodes_end(app);
	app_crews_free(app);
	app_hooks_stop(app);
	app_hooks_free(app);
	app_directory_destroy(&app->directory);
	app_gate_destroy(&app->gate);
	app_refusals_destroy(&app->refusals);
	app_returns_destroy(&app->returns);
	app_sessions_destroy(&app->sessions);
	app_reports_destroy(&app->reports);
	pthread_mutex_destroy(&app->watches.lock);
	pthread_mutex_destroy(&app->partials.lock);
	health_close(&app->health);
	access_log_close(&app->access);
	struct app_settings *now = atomic_load(&app->settings);
	if (now != app->started)
		app_settings_free(now);
	app_settings_free(app->started);
}

/* ---- the server ---- */

/* What the library finds wrong, by how its words begin: which setting that is. */
static int wrong_value(const struct app_settings *settings, const struct rc_error *error)
{
	static const char *const names[][2] = {
		{ "workers: at most", "workers" },
		{ "a log of ", "log-size" },
		{ "messages of ", "message-max" },
		{ "of memory for connections", "memory-max" },
		{ "subscriptions of a connection", "subscriptions-max" },
		{ "bodies of ", "body-max" },
		{ "NUMA node", "numa-node" },
		{ "processor", "cpus" },
		{ "thread priority", "priority" },
		{ "descriptor limit", "connections-max" },
		{ "huge pages", "log-huge-pages" },
		{ "of log cannot be locked", "log-lock" },
		{ "of log cannot be brought", "log-prefault" },
		{ "SCHED_FIFO", "priority" },
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strstr(error->text, names[i][0]))
			return app_wrong(settings, names[i][1], 0, "%s: %s", names[i][1], error->text);
	return command_failed("%s", error->text);
}

/* Likewise of files: which of them the words name. */
static int wrong_file(const struct app_settings *settings, const struct rc_error *error)
{
	for (unsigned i = 0; i < settings->tls_cert.count; i++) {
		if (strstr(error->text, settings->tls_key.items[i]) && strstr(error->text, "key '"))
			return app_wrong(settings, "tls-key", i, "%s", error->text);
		if (strstr(error->text, settings->tls_cert.items[i]))
			return app_wrong(settings, "tls-cert", i, "%s", error->text);
	}
	const char *name = settings->tls_crl && strstr(error->text, settings->tls_crl) ? "tls-crl" : "tls-client-ca";
	return app_wrong(settings, name, 0, "%s", error->text);
}

/* Half of what there is beside the log: the rest is for tables, TLS and what waits for users. */
static size_t budget_of(const struct app_settings *settings)
{
	size_t allowed = memory_allowed(""), rest = allowed > settings->log_size ? allowed - settings->log_size : 0;
	return allowed == SIZE_MAX ? 0 : rest / 2 > BUDGET_LEAST ? rest / 2 : BUDGET_LEAST;
}

void app_start_config(const struct app_settings *settings, struct rc_config *config)
{
	rc_config_init(config);
	config->worker_count = settings->workers;
	config->connections_max = settings->connections_max;
	config->subscriptions_max = settings->subscriptions_max + 1; /* and one for what goes to everyone */
	config->message_size_max = settings->message_max;
	config->body_size_max = settings->body_max;
	config->log_size = settings->log_size;
	config->state_max = settings->state_max;
	config->policy = (enum rc_policy)settings->policy;
	config->kernel_tls = settings->kernel_tls;
	config->memory_max = settings->memory_max ? settings->memory_max : budget_of(settings);
	latency_apply(&settings->latency, config);
	config->idle_timeout_ms = settings->idle_timeout_ms;
	config->ping_interval_ms = settings->ping_interval_ms;
	config->handshake_timeout_ms = settings->handshake_timeout_ms;
}

static bool make_server(struct app *app, const struct app_settings *settings)
{
	struct rc_config config;
	struct rc_error error;
	app_start_config(settings, &config);
	config.handlers = app_clients_handlers(app);
	app->server = app->admin.metrics.server = rc_server_new(&config, &error);
	if (!app->server)
		return wrong_value(settings, &error), false;
	if (app_form_register(app->server))
		return command_failed("the forms of messages: out of order"), false;
	app->admin.metrics.memory_max = config.memory_max;
	static struct rc_tls_pair pairs[OPTION_LIST_MAX];
	const struct rc_tls_options tls = { .pairs = pairs,
		                            .pair_count = settings->tls_cert.count,
		                            .client_ca = settings->tls_client_ca,
		                            .crl = settings->tls_crl };
	for (unsigned i = 0; i < settings->tls_cert.count; i++)
		pairs[i] = (struct rc_tls_pair){ settings->tls_cert.items[i], settings->tls_key.items[i] };
	if (tls.pair_count && rc_server_tls(app->server, &tls, &error))
		return wrong_file(settings, &error), false;
	return true;
}

/* Whether one of the patterns is for all that this one is for. */
static bool is_covered(const struct option_list *patterns, const char *pattern)
{
	for (unsigned i = 0; i < patterns->count; i++)
		if (strcmp(patterns->items[i], pattern) == 0 ||
		    app_name_matches(patterns->items[i], strlen(patterns->items[i]), pattern, strlen(pattern)))
			return true;
	return false;
}

/* A rule for each pattern of a list. The narrowest rule of a topic counts alone, so it says all. */
static bool add_rules(struct app *app, const struct app_settings *settings, const char *name,
                      const struct option_list *patterns)
{
	for (unsigned i = 0; i < patterns->count; i++) {
		const char *pattern = patterns->items[i];
		const struct rc_topic_options options = {
			.policy = (enum rc_policy)settings->policy,
			.keep_last = is_covered(&settings->keep_last, pattern),
			.numbered_here = is_covered(&settings->backplane.local, pattern),
		};
		int code = rc_server_topic_rule(app->server, pattern, &options);
		if (code)
			return app_wrong(settings, name, i, "%s '%s': %s", name, pattern,
			                 code == -EINVAL ? "expected a topic, or a prefix and *" : rc_strerror(code)),
			       false;
	}
	return true;
}

static bool make_rules(struct app *app, const struct app_settings *settings)
{
	const struct rc_topic_options rooms = { .policy = RC_POLICY_CLOSE }, passing = {
		.policy = RC_POLICY_CONFLATE,
		.numbered_here = true,
	};
	/* A member that missed a message would not know. It is closed instead, and connects again. */
	int code = rc_server_topic_rule(app->server, "room/*", &rooms);
	code = code ? code : rc_server_topic_rule(app->server, APP_PASSING "*", &passing);
	return !code && add_rules(app, settings, "keep-last", &settings->keep_last) &&
	       add_rules(app, settings, "backplane-local", &settings->backplane.local);
}

/* ---- listeners ---- */

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

/* In a check, a socket that somebody would hand over is not there to be looked at: the start will judge it. */
static bool is_absent(const char *address, const FILE *said)
{
	return !said && local_address_is_absent(address);
}

/* Whether somebody could listen there. In a check it may be the server whose settings these are who does. */
static bool look_at(struct app *app, const struct app_settings *settings, const char *name,
                    const struct option_list *list, const FILE *said)
{
	struct rc_error error;
	for (unsigned i = 0; i < list->count; i++) {
		int code = is_absent(list->items[i], said) ? 0 : rc_listen_check(app->server, list->items[i], &error);
		if (code == -EADDRINUSE && !said)
			fprintf(stderr, "ringcast: %s %s: something listens there now\n", name, list->items[i]);
		else if (code < 0)
			return app_wrong(settings, name, i, "%s: %s", name, error.text), false;
	}
	return true;
}

static bool listen_at(struct app *app, const struct app_settings *settings, const char *name,
                      const struct option_list *list, FILE *said)
{
	struct rc_error error;
	for (unsigned i = 0; i < list->count; i++) {
		int port = rc_server_listen(app->server, list->items[i], &error);
		if (port < 0)
			return app_wrong(settings, name, i, "%s: %s", name, error.text), false;
		if (!*app->span.name)
			app_figures_name(app, list->items[i], port);
		print_listener(said, list->items[i], port, strcmp(name, "listen") == 0 ? "" : " (admin)");
	}
	return true;
}

/* Sockets that the service manager made before it started us: one that it names `admin` or `api` is for operators, and
 * one that it names `proxy` takes the PROXY protocol. */
static void take_inherited(struct option_list *listen, struct option_list *api)
{
	static char addresses[OPTION_LIST_MAX][32];
	char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);
	for (int i = 0; i < count && i < OPTION_LIST_MAX; i++) {
		bool is_api = strcmp(names[i], "api") == 0 || strcmp(names[i], "admin") == 0;
		bool proxied = strcmp(names[i], "proxy") == 0;
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

/* Whether a file may be made there. What is there now may be a socket that nobody listens at any more. */
static bool look_at_producers(struct app *app, const struct app_settings *settings)
{
	const char *given = settings->producers.address;
	struct rc_error error;
	char address[512];
	if (!given || strncmp(given, "unix:", 5) != 0)
		return true;
	snprintf(address, sizeof address, "%.*s", (int)strcspn(given, "?"), given);
	int code = rc_listen_check(app->server, address, &error);
	if (code < 0 && code != -EADDRINUSE)
		return app_wrong(settings, "producers", 0, "producers: %s", error.text), false;
	return true;
}

/* `used` stands in the words for the address that was set. */
static void wrong_producers(const struct app_settings *settings, const struct rc_error *error, const char *used)
{
	const char *name = strstr(error->text, "producer-uids") ? "producer-uids" : "producers";
	const char *found = strstr(error->text, used);
	if (found)
		app_wrong(settings, name, 0, "producers: %.*s%s%s", (int)(found - error->text), error->text,
		          settings->producers.address, found + strlen(used));
	else
		app_wrong(settings, name, 0, "producers: %s", error->text);
}

static bool listen_producers(struct app *app, const struct app_settings *settings, FILE *said)
{
	struct rc_error error;
	if (settings->producers.address && app_producers_listen(app, settings, &error) < 0)
		return wrong_producers(settings, &error, settings->producers.address), false;
	if (settings->producers.address && said)
		fprintf(said, "producers at %s\n", settings->producers.address);
	return true;
}

static void add_listeners(struct app *app, const struct option_list *list, const FILE *said)
{
	for (unsigned i = 0; i < list->count; i++) {
		local_listeners_add(&app->listeners, list->items[i]);
		if (is_absent(list->items[i], said) && app->listeners.count)
			app->listeners.loopback[app->listeners.count - 1] = true;
	}
}

static bool listen_everywhere(struct app *app, const struct app_settings *settings, FILE *said)
{
	struct option_list listen = settings->listen, admin = settings->admin.listen;
	if (!listen.count && said)
		take_inherited(&listen, &admin);
	if (!listen.count)
		listen.items[listen.count++] = APP_LISTEN_DEFAULT;
	app->admin.first = admin.count ? listen.count : UINT32_MAX;
	/* A check does not look at the default: systemd may listen there for us. */
	if (((said || settings->listen.count) && !look_at(app, settings, "listen", &listen, said)) ||
	    !look_at(app, settings, "admin-listen", &admin, said))
		return false;
	add_listeners(app, &listen, said);
	add_listeners(app, &admin, said);
	const struct admin_settings handed = { .listen = admin, .open = settings->admin.open };
	int open = admin_too_open(&handed, settings->api.count + settings->operators.count);
	if (open >= 0)
		return app_wrong(settings, "admin-listen", (unsigned)open, "admin-listen '%s' " ADMIN_OPEN_WORDS,
		                 admin.items[open]),
		       false;
	open = app_exposure_too_open(settings, &app->listeners, app->admin.first);
	if (open >= 0)
		return app_wrong(settings, "listen", (unsigned)open, "%s " APP_EXPOSURE_WORDS, listen.items[open]),
		       false;
	return !said || (listen_at(app, settings, "listen", &listen, said) &&
	                 listen_at(app, settings, "admin-listen", &admin, said));
}

static bool find_user(const struct app_settings *settings)
{
	if (!settings->user || getpwnam(settings->user))
		return true;
	return app_wrong(settings, "user", 0, "there is no user '%s': `useradd --system %s` makes one", settings->user,
	                 settings->user),
	       false;
}

static bool become(const char *name)
{
	if (!name)
		return true;
	const struct passwd *user = getpwnam(name);
	if (!user)
		return false;
	if (getuid() == user->pw_uid)
		return true;
	if (initgroups(name, user->pw_gid) || setgid(user->pw_gid) || setuid(user->pw_uid))
		return command_failed("user '%s': %s", name, strerror(errno)), false;
	return true;
}

static bool open_access_log(struct app *app, const struct app_settings *settings, const FILE *said)
{
	const char *path = settings->log.access;
	int code = said ? access_log_open(&app->access, path) : access_log_check(path);
	if (code)
		app_wrong(settings, "access-log", 0, "access-log %s: %s", path, strerror(-code));
	return !code;
}

/* ---- other nodes ---- */

/* Before the workers run, so that the first client finds what was said. */
static bool start_backplane(struct app *app, const struct app_settings *settings, uint64_t seed)
{
	struct backplane_handlers handlers = { .deliver = app_updates_came, .control = app_replicate };
	struct backplane_settings asked = settings->backplane;
	struct rc_error error;
	if (!asked.url)
		return true;
	asked.message_max = settings->log_size / 4;
	app_nodes_handlers(app, &handlers);
	app->span.write_figures = app_figures_node;
	app->backplane = backplane_new(&asked, app->server, &handlers, &error);
	if (!app->backplane)
		return app_wrong(settings, "backplane", 0, "backplane: %s", error.text), false;
	health_add(&app->health, backplane_part(app->backplane));
	if (!app_nodes_begin(app, app->backplane, seed))
		return command_failed("no memory"), false;
	int code = backplane_start(app->backplane);
	if (code && code != -EAGAIN)
		return command_failed("a thread of the backplane: %s", rc_strerror(code)), false;
	return true;
}

/* ---- all of it ---- */

static bool prepare(struct app *app, const struct app_settings *settings, FILE *said)
{
	return find_user(settings) && make_server(app, settings) && make_rules(app, settings) &&
	       listen_everywhere(app, settings, said);
}

static void init(struct app *app)
{
	app->admin.first = UINT32_MAX;
	app->admin.metrics.health = &app->health;
	app->admin.metrics.service = &app->service;
	app->admin.metrics.more = app_figures_metrics;
	app->admin.metrics.more_stats = app_figures_members;
	app->admin.metrics.context = app;
	health_add(&app->health, app_hooks_part(app));
}

bool app_start(struct app *app, const struct app_settings *settings, FILE *said)
{
	struct rc_error error;
	uint64_t seed;
	init(app);
	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		return command_failed("no random numbers: %s", strerror(errno)), false;
	json_object_seed((size_t)seed | 1);
	pthread_mutex_init(&app->watches.lock, NULL);
	pthread_mutex_init(&app->partials.lock, NULL);
	app_reports_init(&app->reports);
	app->started_ns = clock_now();
	app->epoch = app_date_ms();
	atomic_init(&app->numbers, 1);
	if (!app_directory_init(&app->directory, seed) || !app_gate_init(&app->gate, seed) ||
	    !app_refusals_init(&app->refusals, seed) || !app_returns_init(&app->returns, seed) ||
	    !app_sessions_init(&app->sessions, seed))
		return command_failed("no memory"), false;
	/* The log of accesses comes last: a reload must be able to open it again. */
	if (!prepare(app, settings, said) || !look_at_producers(app, settings) ||
	    !listen_producers(app, settings, said) || !become(settings->user) || !open_access_log(app, settings, said))
		return false;
	if (!health_open(&app->health, app->server) ||
	    !app_crews_init(app, rc_server_worker_count(app->server), seed) || !app_hooks_start(app, seed) ||
	    app_clock_start(app, app_clients_due))
		return command_failed("no memory, or no thread"), false;
	if (!start_backplane(app, settings, seed)) {
		app_clock_stop(app);
		return false;
	}
	if (rc_server_start(app->server, &error)) {
		app_clock_stop(app);
		return wrong_value(settings, &error), false;
	}
	app_nodes_look(app);
	return true;
}

/* Producers have a socket of their own, which cannot be looked at without taking its place. So it is made in a folder
 * that nobody knows. */
static bool check_producers(struct app *app, const struct app_settings *settings)
{
	struct app_settings elsewhere = *settings;
	struct rc_error error;
	char folder[] = "/tmp/ringcast-check-XXXXXX", address[512];
	const char *mode = settings->producers.address ? strchr(settings->producers.address, '?') : NULL;
	if (!settings->producers.address)
		return true;
	if (!look_at_producers(app, settings))
		return false;
	if (strncmp(settings->producers.address, "unix:", 5) != 0 || !mkdtemp(folder))
		return listen_producers(app, settings, NULL);
	snprintf(address, sizeof address, "unix:%s/producers%s", folder, mode ? mode : "");
	elsewhere.producers.address = address;
	bool good = app_producers_listen(app, &elsewhere, &error) == 0;
	if (!good)
		wrong_producers(settings, &error, address);
	/* The server takes the file away with it. */
	rc_server_free(app->server);
	app->server = NULL;
	rmdir(folder);
	return good;
}

bool app_check(const struct app_settings *settings, void (*look)(rc_server *server))
{
	static struct app app;
	struct rc_error error;
	init(&app);
	bool good = prepare(&app, settings, NULL) && open_access_log(&app, settings, NULL);
	if (good && rc_server_start(app.server, &error)) {
		wrong_value(settings, &error);
		good = false;
	} else if (good) {
		look(app.server);
		rc_server_stop(app.server, 0);
		rc_server_join(app.server);
	}
	rc_server_free(app.server);
	app.server = NULL;
	if (good && settings->producers.address) {
		good = make_server(&app, settings) && check_producers(&app, settings);
		rc_server_free(app.server);
		app.server = NULL;
	}
	return good;
}
