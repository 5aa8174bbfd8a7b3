/* SPDX-License-Identifier: MIT
 *
 * serve.c - `ringcast serve`: its start, figures while it runs, reloads, and a drained end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "lib/expiry.h"
#include "lib/text.h"
#include "lib/visit.h"
#include "live.h"
#include "settings.h"

#define MEMORY_OF_A_WORKER (UINT64_C(2) << 30) /* without a limit the library has one of its own */

static int run(int argc, char **argv);

static const struct option_need needs[] = {
	{ "tls-client-optional", "tls-client-ca" },
	{ "kernel-tls", "tls-cert" },
	{ "producers", "!backplane" },
	{ "demo", "!backplane" },
	{ "replay", "!backplane" },
	{ "backplane-local", "backplane" },
	{ "backplane-map", "backplane" },
	{ "backplane-away", "backplane" },
	{ "backplane-queue", "backplane" },
	{ "backplane-confirm", "backplane" },
	{ "backplane-wait", "backplane" },
	{ "producer-uids", "producers" },
	{ "producer-topics", "producers" },
	{ "producers-max", "producers" },
	{ "producer-topics-max", "producers" },
	{ "producer-ring", "producers" },
	{ "speed", "replay|demo" },
	{ "loop", "replay" },
	{ "seed", "demo" },
	{ "deflate-min", "deflate" },
	{ "deflate-bits", "deflate" },
	{ "deflate-level", "deflate" },
	{ "deflate-takeover", "deflate" },
	{ "cohort", "deflate" },
	{ "spin-us", "!busy-poll" },
	{ 0 },
};

const struct subcommand command_serve = {
	.name = "serve",
	.summary = "serve topics to subscribers",
	.usage = "[options]",
	.about = "Serves over WebSocket (RFC 6455):\n"
		 "  /topic/NAME[,NAME...]  every message published to these topics; ?last=1 begins with the newest,\n"
		 "                         ?since=SEQUENCE (&epoch=EPOCH) with those after it that the log still has,\n"
		 "                         ?state=1 with the newest of each key, ?snapshot=1 with the newest base;\n"
		 "                         ?rate=N: at most N looks a second. ?form=json and ?form=binary tell topic,\n"
		 "                         numbers and key with each message\n"
		 "  /publish/NAME          every message sent is published to the topic\n"
		 "  /publish?form=json     each names its topic: "
		 "{\"t\":TOPIC,\"k\"?:KEY,\"d\":PAYLOAD,\"r\"?:true,\"b\"?:true};\n"
		 "                         an array of them is published as one\n"
		 "  /relay/NAME            both at once (with --relay), /echo echoes (with --echo)\n"
		 "and over HTTP: /sse/NAME[,NAME...] (events), /poll/NAME[,NAME...] (?since=, ?wait=SECONDS),\n"
		 "POST /publish/NAME (?key=, ?lines=1, ?form=json), /healthz, /readyz, /stats (JSON), /metrics\n"
		 "(Prometheus), /profile (pprof).\n"
		 "Times are written 250ms, 25s, 2m; sizes 512, 64k, 1m, 1g. SIGTERM or SIGINT ends it: no new\n"
		 "connections, 1001 to all; a second signal cuts off what is left. SIGHUP reads the\n"
		 "certificates and keys of operators again and opens the log of accesses anew: connections stay,\n"
		 "and a bad file changes nothing.",
	.examples = "  ringcast serve --demo\n"
		    "  ringcast serve --listen :8080 --listen unix:/run/ringcast.sock --publish-from 10.0.0.7\n"
		    "  ringcast serve --replay market.tsv --speed 20 --loop\n"
		    "  ringcast serve --listen wss://0.0.0.0:8443 --tls-cert fullchain.pem --tls-key privkey.pem\n"
		    "  ringcast serve --policy close --policy-for 'quote.*=conflate' --keep-last 'quote.*'",
	.needs = needs,
	.run = run,
};

/* The URL of a listener: its address as it was given, with the port that it got. One on all addresses is reached at
 * 0.0.0.0 in any case. Of a socket that was inherited only its number is known. */
static void make_url(char url[static 512], const char *address, int port)
{
	address += strncmp(address, "proxy+", 6) ? 0 : 6;
	const char *scheme = !strncmp(address, "wss://", 6) ? "wss" : "ws";
	if (!strncmp(address, "ws://", 5) || scheme[2])
		address = strchr(address, '/') + 2;
	const char *colon = strrchr(address, ':');
	if (!strncmp(address, "unix:", 5))
		snprintf(url, 512, "%s+unix:%s:", scheme, address + 5);
	else if (!strncmp(address, "fd:", 3))
		snprintf(url, 512, "descriptor %s", address + 3);
	else if (*address == ':' || *address == '*')
		snprintf(url, 512, "%s://0.0.0.0:%d", scheme, port);
	else
		snprintf(url, 512, "%s://%.*s:%d", scheme, (int)(colon ? colon - address : (int)strlen(address)),
		         address, port);
}

static int name_certificates(struct serve *serve, struct rc_error *error)
{
	static struct rc_tls_pair pairs[OPTION_LIST_MAX];
	for (unsigned index = 0; index < serve->tls_cert.count; index++)
		pairs[index] = (struct rc_tls_pair){ serve->tls_cert.items[index], serve->tls_key.items[index] };
	serve->tls.pairs = pairs;
	serve->tls.pair_count = serve->tls_cert.count;
	return serve->tls.pair_count ? rc_server_tls(serve->server, &serve->tls, error) : 0;
}

static void reload_certificates(struct serve *serve)
{
	struct rc_error error = { 0 };
	if (rc_server_tls_reload(serve->server, &error))
		service_reload_part(&serve->service, false, "certificates", "%s; the certificates in use stay",
		                    error.text);
	else
		service_reload_part(&serve->service, true, "certificates", "%u were read again", serve->tls_cert.count);
	expiry_warn(serve->server);
}

static void reload_keys(struct serve *serve)
{
	bool read;
	struct keys *old = serve_routes_read_keys(&serve->routes, &read);
	if (!read) {
		service_reload_part(&serve->service, false, "keys of operators", "the old ones stay");
		return;
	}
	visit_workers(serve->server, NULL, NULL);
	serve_routes_free_keys(old);
	service_reload_part(&serve->service, true, "keys of operators", "there are %u now",
	                    atomic_load(&serve->routes.operators)->count);
}

/* All that is read from files; flags stay as they are. */
static void reload(struct serve *serve)
{
	service_reload_begin(&serve->service);
	if (serve->tls_cert.count)
		reload_certificates(serve);
	if (serve->routes.operator_key_file)
		reload_keys(serve);
	int code = serve->log.access ? access_log_open(&serve->routes.access, serve->log.access) : 0;
	if (code < 0)
		service_reload_part(&serve->service, false, "access log", "%s: %s; the old one stays",
		                    serve->log.access, strerror(-code));
	else if (serve->log.access)
		service_reload_part(&serve->service, true, "access log", "%s", serve->log.access);
	if (!serve->service.parts_taken && !serve->service.parts_refused)
		service_reload_note(&serve->service,
		                    "nothing here is read from a file: flags change only with a restart");
	service_reload_end(&serve->service);
}

/* The names that a producer may give a topic are those that /topic/NAME can ask for. */
static bool allow_topic(void *context, const char *topic, size_t size)
{
	(void)context;
	return text_is_name(topic, size);
}

static int listen_at(struct serve *serve, const struct option_list *list, int *ports, struct rc_error *error)
{
	for (unsigned index = 0; index < list->count; index++) {
		ports[index] = rc_server_listen(serve->server, list->items[index], error);
		if (ports[index] < 0)
			return ports[index];
		local_listeners_add(&serve->routes.listeners, list->items[index]);
	}
	return 0;
}

static void print_listeners(const struct serve *serve, const int *ports)
{
	const struct option_list *listen = &serve->listen, *admin = &serve->admin_settings.listen;
	char url[512];
	for (unsigned index = 0; index < listen->count; index++) {
		make_url(url, listen->items[index], ports[index]);
		log_print("listen", "listening on %s", url);
		if (serve->routes.demo && !index && strstr(url, "://") && !log_is_json())
			printf("the demonstration market:\n"
			       "  http%s/\n"
			       "  http%s/book, an order book that proves itself\n"
			       "  ringcast sub %s/topic/" SERVE_DEMO_TOPIC "\n"
			       "  ringcast sub '%s/topic/%s?last=1'\n",
			       url + 2, url + 2, url, url, "ACME.000,BOLT.001,CRUX.002");
	}
	for (unsigned index = 0; index < admin->count; index++) {
		make_url(url, admin->items[index], ports[listen->count + index]);
		log_print("listen", "listening on %s (admin)", url);
	}
	if (serve->producers.address)
		log_print("listen", "producers at %s", serve->producers.address);
	fflush(stdout);
}

/* Before the workers run, so that the first client finds the history. */
static int start_backplane(struct serve *serve, struct rc_error *error)
{
	serve->backplane.message_max = serve->config.log_size / 4;
	if (!serve->backplane.url)
		return 0;
	serve->routes.backplane = backplane_new(&serve->backplane, serve->server, NULL, error);
	if (!serve->routes.backplane)
		return -1;
	health_add(&serve->health, backplane_part(serve->routes.backplane));
	int code = backplane_start(serve->routes.backplane);
	if (!code || code == -EAGAIN)
		return 0;
	snprintf(error->text, sizeof error->text, "a thread: %.100s", rc_strerror(code));
	return code;
}

/* Makes, binds and starts. Returns 0, or -1 after printing why. */
static int start(struct serve *serve)
{
	struct rc_error error = { 0 };
	static int ports[2 * OPTION_LIST_MAX];
	serve->server = rc_server_new(&serve->config, &error);
	if (!serve->server)
		goto failed;
	serve->routes.server = serve->feeder.server = serve->server;
	serve->admin.metrics.server = serve->server;
	if (!serve->config.memory_max)
		serve->admin.metrics.memory_max = MEMORY_OF_A_WORKER * rc_server_worker_count(serve->server);
	if (!health_open(&serve->health, serve->server)) {
		snprintf(error.text, sizeof error.text, "no memory");
		goto failed;
	}
	for (unsigned index = 0; index < serve->rule_count; index++) {
		int code = rc_server_topic_rule(serve->server, serve->rules[index].pattern,
		                                &serve->rules[index].options);
		if (code) {
			snprintf(error.text, sizeof error.text, "a rule for topics: %.100s", rc_strerror(code));
			goto failed;
		}
	}
	if (name_certificates(serve, &error))
		goto failed;
	if (listen_at(serve, &serve->listen, ports, &error) ||
	    listen_at(serve, &serve->admin_settings.listen, ports + serve->listen.count, &error))
		goto failed;
	const struct rc_producers_options asked = { .allow = allow_topic };
	if (producers_listen(serve->server, &serve->producers, &asked, &error))
		goto failed;
	if (start_backplane(serve, &error))
		goto failed;
	int code = serve_spill_start(&serve->routes.spill, serve->server);
	if (!code && (code = serve_polls_start(&serve->routes.polls, serve->server)))
		serve_spill_end(&serve->routes.spill);
	if (code) {
		snprintf(error.text, sizeof error.text, "a thread: %.100s", rc_strerror(code));
		goto failed;
	}
	if (rc_server_start(serve->server, &error)) {
		backplane_stop(serve->routes.backplane);
		serve_polls_end(&serve->routes.polls);
		serve_spill_end(&serve->routes.spill);
		goto failed;
	}
	print_listeners(serve, ports);
	return 0;
failed:
	command_failed("%s", error.text);
	backplane_stop(serve->routes.backplane);
	backplane_free(serve->routes.backplane);
	rc_server_free(serve->server);
	return -1;
}

static rc_server *stopping; /* for the handler alone; set before it is installed */

static void stop_now(int signal_number)
{
	(void)signal_number;
	rc_server_stop(stopping, 0);
}

/* Whoever hands clients on hears that they should go elsewhere, while those who come all the same are served. A second
 * signal cuts that short. */
static void become_unready(struct serve *serve)
{
	uint64_t until_ns = clock_now() + serve->drain_delay_ms * NS_PER_MS;
	health_drain(&serve->health);
	if (serve->drain_delay_ms) {
		service_ending("not ready any more, and still serving");
		log_say(LEVEL_INFO, "stop", NULL, "not ready any more: draining begins in %u ms",
		        serve->drain_delay_ms);
	}
	while (clock_now() < until_ns && wait_until(&serve->wait, until_ns) != WAIT_SIGNAL) {
	}
	service_ending("draining");
}

static void wait_for_end(struct serve *serve)
{
	struct serve_live live;
	uint64_t warned_ns = 0;
	serve_live_begin(&live, serve->server);
	uint64_t next = clock_now() + live.period_ns;
	enum wait_event event;
	expiry_warn_daily(serve->server, &warned_ns);
	service_started("serving on %u listeners", serve->routes.listeners.count);
	while ((event = wait_until(&serve->wait, next)) != WAIT_SIGNAL) {
		if (event == WAIT_HANGUP) {
			reload(serve);
			continue;
		}
		expiry_warn_daily(serve->server, &warned_ns);
		if (!serve->quiet)
			serve_live_show(&live);
		next += live.period_ns;
	}
	if (!serve->quiet)
		serve_live_end(&live);
	become_unready(serve);
}

static void connect_parts(struct serve *serve)
{
	serve->routes.admin = &serve->admin;
	serve->admin.first = serve->admin_settings.listen.count ? serve->listen.count : UINT32_MAX;
	serve->admin.metrics.health = &serve->health;
	serve->admin.metrics.service = &serve->service;
	serve->admin.metrics.memory_max = serve->config.memory_max;
}

static int run(int argc, char **argv)
{
	static struct serve serve;
	int status = serve_settings_parse(&command_serve, &serve, argc, argv);
	if (status >= 0)
		return status;
	log_setup(&serve.log);
	connect_parts(&serve);
	int code = wait_open(&serve.wait);
	if (!code)
		code = wait_hangups(&serve.wait);
	if (code)
		return command_failed("signals: %s", rc_strerror(code));
	code = access_log_open(&serve.routes.access, serve.log.access);
	if (code)
		return command_failed("--access-log %s: %s", serve.log.access, strerror(-code));
	serve.feeder.quiet = serve.quiet;
	bool feeding = serve.feeder.path || serve.routes.demo;
	if (serve_feeder_open(&serve.feeder) || start(&serve))
		return EXIT_FAILED;
	if (feeding && serve_feeder_start(&serve.feeder))
		status = EXIT_FAILED;
	else
		wait_for_end(&serve);
	serve_feeder_close(&serve.feeder);
	stopping = serve.server;
	backplane_stop(serve.routes.backplane);
	rc_server_stop(serve.server, serve.drain_ms);
	/* A second signal no longer waits for anybody: this one call is safe in a handler. */
	sigaction(SIGINT, &(struct sigaction){ .sa_handler = stop_now }, NULL);
	sigaction(SIGTERM, &(struct sigaction){ .sa_handler = stop_now }, NULL);
	wait_release(&serve.wait);
	rc_server_join(serve.server);
	serve_polls_end(&serve.routes.polls);
	serve_spill_end(&serve.routes.spill);
	/* Nothing is left to cut off, and soon the handler would find no server. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	backplane_free(serve.routes.backplane);
	rc_server_free(serve.server);
	health_close(&serve.health);
	access_log_close(&serve.routes.access);
	serve_routes_free_keys(atomic_load(&serve.routes.operators));
	wait_close(&serve.wait);
	return status == EXIT_FAILED ? EXIT_FAILED : EXIT_OK;
}
