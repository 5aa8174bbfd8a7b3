/* SPDX-License-Identifier: MIT
 *
 * serve.c - `ringcast serve`: flags to a configuration, start, figures while it runs, and a drained end.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "feeder.h"
#include "lib/latency.h"
#include "lib/producers.h"
#include "lib/text.h"
#include "lib/units.h"
#include "lib/wait.h"
#include "live.h"
#include "ringcast.h"
#include "routes.h"

#define LISTEN_DEFAULT "127.0.0.1:8080"
#define DRAIN_DEFAULT_MS 5000
#define BODY_SIZE_MAX ((size_t)16 << 20) /* that the library takes */
#define NS_PER_MS UINT64_C(1000000)
#define HEARTBEAT_MS_MAX 3600000
#define RULES_MAX RC_TOPIC_RULES_MAX
#define EXPECTED_PATTERN "expected a topic or a prefix and *, at most %d in all"

static int run(int argc, char **argv);

static const struct option_need needs[] = {
	{ "tls-client-optional", "tls-client-ca" },
	{ "kernel-tls", "tls-cert" },
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
		 "POST /publish/NAME (?key=, ?lines=1, ?form=json), /healthz, /stats (JSON), /metrics (Prometheus).\n"
		 "Times are written 250ms, 25s, 2m; sizes 512, 64k, 1m, 1g. SIGTERM or SIGINT ends it: no new\n"
		 "connections, 1001 to all; a second signal cuts off what is left. With TLS, SIGHUP reads the\n"
		 "certificates again: connections stay, and a bad file changes nothing.",
	.examples = "  ringcast serve --demo\n"
		    "  ringcast serve --listen :8080 --listen unix:/run/ringcast.sock --publish-from 10.0.0.7\n"
		    "  ringcast serve --replay market.tsv --speed 20 --loop\n"
		    "  ringcast serve --listen wss://0.0.0.0:8443 --tls-cert fullchain.pem --tls-key privkey.pem\n"
		    "  ringcast serve --policy close --policy-for 'quote.*=conflate' --keep-last 'quote.*'",
	.needs = needs,
	.run = run,
};

struct serve {
	struct rc_config config;
	struct latency latency;
	struct serve_routes routes;
	struct serve_feeder feeder;
	struct wait wait;
	rc_server *server;
	struct option_list listen, publish_from, trust_proxy, policy_for, keep_last, heartbeat, cohort, tls_cert,
	    tls_key;
	const char *operator_key_file;
	struct producers producers;
	struct rc_tls_options tls;
	int policy;
	unsigned drain_ms;
	bool quiet;
};

struct rule {
	char pattern[256];
	struct rc_topic_options options;
};

static void add_listeners(struct option_table *table, struct serve *serve)
{
	struct rc_config *config = &serve->config;
	const struct option_entry options[] = {
		{ "listen", OPTION_LIST, &serve->listen, "ADDR:PORT",
		  "where to listen (127.0.0.1:8080; repeatable): also :8080 for all\n"
		  "addresses, [::1]:8080, localhost:8080, unix:/PATH, fd:3,\n"
		  "wss://ADDR:PORT; port 0 is any free one; proxy+ADDR:PORT\n"
		  "expects the PROXY protocol" },
		{ "tls-cert", OPTION_LIST, &serve->tls_cert, "FILE",
		  "for wss: a certificate and its chain (PEM), with its\n"
		  "--tls-key; repeatable: the name that a client asks for\n"
		  "chooses among them" },
		{ "tls-key", OPTION_LIST, &serve->tls_key, "FILE", "the key of a --tls-cert" },
		{ "tls-client-ca", OPTION_TEXT, &serve->tls.client_ca, "FILE",
		  "for wss: clients must show a certificate of this authority" },
		{ "tls-client-optional", OPTION_FLAG, &serve->tls.client_optional, NULL,
		  "let clients without a certificate in as well" },
		{ "tls-crl", OPTION_TEXT, &serve->tls.crl, "FILE",
		  "revocation lists (PEM) of the authorities of clients; SIGHUP\nreads them again" },
		{ "workers", OPTION_COUNT, &config->worker_count, "N", "threads, each with a ring (one a processor)" },
		{ "echo", OPTION_FLAG, &serve->routes.echo, NULL, "serve /echo" },
		{ "relay", OPTION_FLAG, &serve->routes.relay, NULL, "serve /relay/NAME to everybody" },
		{ "publish-from", OPTION_LIST, &serve->publish_from, "ADDR",
		  "who may publish instead of this machine (repeatable):\n"
		  "an address (with /BITS a block), local, certified (who\n"
		  "shows a certificate, see --tls-client-ca), any, or none" },
		PRODUCERS_OPTIONS(&serve->producers),
		{ "trust-proxy", OPTION_LIST, &serve->trust_proxy, "ADDR[/BITS]",
		  "proxies whose X-Forwarded-For or PROXY header is\nbelieved (none; repeatable)" },
		{ "operator-key-file", OPTION_TEXT, &serve->operator_key_file, "FILE",
		  "keys, one a line, of at least 16 bytes: who shows one as\n"
		  "`Authorization: Bearer KEY` may read /stats and /metrics\n"
		  "(without: this machine alone)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_feeds(struct option_table *table, struct serve *serve)
{
	const struct option_entry options[] = {
		{ "replay", OPTION_TEXT, &serve->feeder.path, "FILE",
		  "publish a recording: seconds<TAB>topic<TAB>payload a line" },
		{ "speed", OPTION_NUMBER, &serve->feeder.speed, "X",
		  "times its recorded pace (1); 0: as fast as possible" },
		{ "loop", OPTION_FLAG, &serve->feeder.loop, NULL, "begin the recording again at its end" },
		{ "demo", OPTION_FLAG, &serve->routes.demo, NULL, "publish a demonstration market, with a page at /" },
		{ "seed", OPTION_COUNT64, &serve->feeder.seed, "N", "which demonstration market (1)" },
		{ "policy", OPTION_CHOICE, &serve->policy, OPTION_POLICIES,
		  "what happens to a subscriber that is too slow (close)" },
		{ "policy-for", OPTION_LIST, &serve->policy_for, "PATTERN=POLICY",
		  "the policy of one topic, or of a prefix and * (repeatable)" },
		{ "keep-last", OPTION_LIST, &serve->keep_last, "PATTERN",
		  "keep the newest message of these topics for ?last=1\n(repeatable)" },
		{ "heartbeat", OPTION_LIST, &serve->heartbeat, "PATTERN=TIME",
		  "after so long a silence, tell these topics' readers in a\nform the newest number (repeatable)" },
		{ "state-max", OPTION_SIZE, &serve->config.state_max, "SIZE",
		  "values of keys that are kept when the log lets go of them\n(as the log)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_limits(struct option_table *table, struct serve *serve)
{
	struct rc_config *config = &serve->config;
	const struct option_entry options[] = {
		{ "lag-max", OPTION_SIZE, &config->lag_size_max, "SIZE",
		  "how far behind is too slow (three quarters of the log)" },
		{ "lag-age", OPTION_MS, &config->lag_ms_max, "TIME",
		  "how old a subscriber's oldest waiting message may be (any)" },
		{ "log-size", OPTION_SIZE, &config->log_size, "SIZE",
		  "how much of messages is kept, a power of two (64m)" },
		{ "connections-max", OPTION_COUNT, &config->connections_max, "N",
		  "connections at a time (what the descriptor limit allows)" },
		{ "connections-per-address", OPTION_COUNT, &config->connections_per_address, "N",
		  "of these, from one address (no limit)" },
		{ "handshake-timeout", OPTION_MS, &config->handshake_timeout_ms, "TIME",
		  "for a client to open its connection (10s)" },
		{ "idle-timeout", OPTION_MS, &config->idle_timeout_ms, "TIME",
		  "a connection that is silent for so long is closed; at half\nof that it is sent a Ping (2m)" },
		{ "close-timeout", OPTION_MS, &config->close_timeout_ms, "TIME",
		  "for a client to answer a Close (5s)" },
		{ "message-max", OPTION_SIZE, &config->message_size_max, "SIZE",
		  "the largest message received; a larger one is closed with\n1009 (1m)" },
		{ "fragments-max", OPTION_COUNT, &config->fragments_max, "N",
		  "fragments of one message received; more are closed with\n1009 (1024, or one for every 64 bytes of "
		  "--message-max)" },
		{ "subscriptions-max", OPTION_COUNT, &config->subscriptions_max, "N",
		  "topics that one connection may follow (256)" },
		{ "send-max", OPTION_SIZE, &config->send_size_max, "SIZE",
		  "what may wait for one connection outside the log (4m, or\ntwo of --message-max)" },
		{ "memory-max", OPTION_SIZE, &config->memory_max, "SIZE",
		  "what may be kept outside the log for all connections; when\nit is short, those who take most are "
		  "closed (2g a worker)" },
		{ "drain", OPTION_MS, &serve->drain_ms, "TIME", "for connections to leave when the server ends (5s)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_sending(struct option_table *table, struct serve *serve)
{
	struct rc_config *config = &serve->config;
	struct latency *latency = &serve->latency;
	const struct option_entry options[] = {
		{ "congestion", OPTION_TEXT, &config->congestion, "NAME", "TCP congestion control (the system's)" },
		{ "notsent-lowat", OPTION_SIZE32, &config->notsent_lowat_size, "SIZE",
		  "what the kernel may hold unsent for a connection (32k)" },
		{ "round-interval", OPTION_COUNT, &latency->round_interval_us, "MICROSECONDS",
		  "the longest pause between two rounds of sending; 0: none\n(2000)" },
		{ "zero-copy-min", OPTION_SIZE, &config->zero_copy_size_min, "SIZE",
		  "sends of at least this size are not copied; for network\ncards, from 16k (never)" },
		{ "kernel-tls", OPTION_FLAG, &config->kernel_tls, NULL,
		  "let the kernel make the records of TLS 1.3 (needs its\nmodule tls; without it, nothing changes)" },
		{ "deflate", OPTION_FLAG, &config->deflate.on, NULL,
		  "compress for clients that can (permessage-deflate)" },
		{ "deflate-min", OPTION_SIZE, &config->deflate.size_min, "SIZE",
		  "do not compress smaller messages (128)" },
		{ "deflate-bits", OPTION_COUNT, &config->deflate.bits, "N",
		  "bits of the largest window, 8 to 15 (15)" },
		{ "deflate-level", OPTION_COUNT, &config->deflate.level, "N",
		  "how hard to compress: 1 is fast, 9 is small (6)" },
		{ "deflate-takeover", OPTION_FLAG, &config->deflate.client_takeover, NULL,
		  "let clients compress with what they sent before:\n40 KB a connection that does" },
		{ "cohort", OPTION_LIST, &serve->cohort, "PATTERN",
		  "compress these topics as one stream for all who have\nonly that topic: a fraction of the bytes "
		  "(repeatable)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_running(struct option_table *table, struct serve *serve)
{
	struct latency *latency = &serve->latency;
	const struct option_entry options[] = {
		{ "ring", OPTION_CHOICE, &latency->ring, LATENCY_RINGS,
		  "what the workers run on: uring is io_uring; auto takes epoll\nwhere that is forbidden or too old "
		  "(auto)" },
		{ "busy-poll", OPTION_FLAG, &latency->busy_poll, NULL,
		  "spin instead of sleeping: each worker takes a processor" },
		{ "spin-us", OPTION_COUNT, &latency->spin_us, "MICROSECONDS",
		  "when nothing comes any more, spin so long before sleeping\n(0)" },
		{ "cpus", OPTION_TEXT, &latency->cpus_text, "LIST",
		  "the processors of the workers, one each, in turn: 2,3,6-8\n(where the system puts them)" },
		{ "numa-node", OPTION_COUNT, &latency->numa_node, "N",
		  "the node where the log lies and the workers run (any)" },
		{ "priority", OPTION_COUNT, &latency->priority, "N",
		  "1 to 99: workers run as SCHED_FIFO (as other threads)" },
		{ "log-prefault", OPTION_FLAG, &latency->log_prefault, NULL,
		  "bring all of the log into memory at the start" },
		{ "log-lock", OPTION_FLAG, &latency->log_lock, NULL, "and keep it there" },
		{ "log-huge-pages", OPTION_CHOICE, &latency->log_huge_pages, LATENCY_HUGE_PAGES,
		  "in which pages the log lies (off); reserved: those of\nvm.nr_hugepages, or it does not start" },
		{ "quiet", OPTION_FLAG, &serve->quiet, NULL, "print no figures while running" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static const struct option_entry *make_options(struct serve *serve)
{
	static struct option_table table;
	table = (struct option_table){ 0 };
	add_listeners(&table, serve);
	add_feeds(&table, serve);
	add_limits(&table, serve);
	add_sending(&table, serve);
	add_running(&table, serve);
	return table.entries;
}

/* The rule of a pattern, which is made if there is none. Null when there are too many or the pattern is no name. */
static struct rule *find_rule(struct rule *rules, unsigned *count, const char *pattern, size_t size, int policy)
{
	if (!size || size >= sizeof rules->pattern)
		return NULL;
	for (unsigned index = 0; index < *count; index++) {
		if (strlen(rules[index].pattern) == size && !memcmp(rules[index].pattern, pattern, size))
			return &rules[index];
	}
	if (*count == RULES_MAX)
		return NULL;
	struct rule *rule = &rules[(*count)++];
	*rule = (struct rule){ .options.policy = (enum rc_policy)policy };
	memcpy(rule->pattern, pattern, size);
	return rule;
}

/* --policy-for and the others that name topics to rules. Returns -1, or the exit status of a usage error. */
static int make_rules(const struct serve *serve, struct rule *rules, unsigned *count)
{
	for (unsigned index = 0; index < serve->policy_for.count; index++) {
		const char *word = serve->policy_for.items[index], *equals = strrchr(word, '=');
		int policy = equals ? option_choice(OPTION_POLICIES, equals + 1) : -1;
		struct rule *rule = policy < 0 ? NULL : find_rule(rules, count, word, (size_t)(equals - word), policy);
		if (!rule)
			return options_wrong(&command_serve,
			                     "--policy-for '%s': expected PATTERN=%s, at most %d in all", word,
			                     OPTION_POLICIES, RULES_MAX);
		rule->options.policy = (enum rc_policy)policy;
	}
	for (unsigned index = 0; index < serve->keep_last.count; index++) {
		const char *word = serve->keep_last.items[index];
		struct rule *rule = find_rule(rules, count, word, strlen(word), serve->policy);
		if (!rule)
			return options_wrong(&command_serve, "--keep-last '%s': " EXPECTED_PATTERN, word, RULES_MAX);
		rule->options.keep_last = true;
	}
	for (unsigned index = 0; index < serve->heartbeat.count; index++) {
		const char *word = serve->heartbeat.items[index], *equals = strrchr(word, '=');
		uint64_t time_ns = 0;
		bool timed = equals && !units_parse_time(equals + 1, &time_ns) &&
		             time_ns / NS_PER_MS <= HEARTBEAT_MS_MAX;
		struct rule *rule = timed && time_ns >= NS_PER_MS
		                        ? find_rule(rules, count, word, (size_t)(equals - word), serve->policy)
		                        : NULL;
		if (!rule)
			return options_wrong(&command_serve,
			                     "--heartbeat '%s': expected PATTERN=TIME, 1ms to 1h, at most %d in all",
			                     word, RULES_MAX);
		rule->options.heartbeat_ms = (unsigned)(time_ns / NS_PER_MS);
	}
	for (unsigned index = 0; index < serve->cohort.count; index++) {
		const char *word = serve->cohort.items[index];
		struct rule *rule = find_rule(rules, count, word, strlen(word), serve->policy);
		if (!rule)
			return options_wrong(&command_serve, "--cohort '%s': " EXPECTED_PATTERN, word, RULES_MAX);
		rule->options.cohort = true;
	}
	/* The page asks for last values, so that it is full at once. A rule for everything is the user's to change. */
	struct rule *all = serve->routes.demo ? find_rule(rules, count, "*", 1, serve->policy) : NULL;
	if (serve->routes.demo && !all)
		return options_wrong(&command_serve, "--demo needs a pattern itself, and %d are named", RULES_MAX);
	if (all)
		all->options.keep_last = true;
	return -1;
}

/* Who is believed, and who may what. Returns -1, or the exit status of what is wrong. */
static int parse_trust(struct serve *serve)
{
	const char *wrong = serve_routes_publish_from(&serve->routes, &serve->publish_from);
	if (wrong)
		return options_wrong(&command_serve,
		                     "--publish-from '%s': expected an address, local, certified, any or none", wrong);
	for (unsigned index = 0; index < serve->trust_proxy.count; index++)
		if (!networks_add(&serve->routes.proxies, serve->trust_proxy.items[index]))
			return options_wrong(&command_serve,
			                     "--trust-proxy '%s': expected an address, or one with /BITS",
			                     serve->trust_proxy.items[index]);
	if (serve->operator_key_file && !keys_read(&serve->routes.operators, serve->operator_key_file))
		return EXIT_FAILED;
	return -1;
}

static int parse(struct serve *serve, struct rule *rules, unsigned *rule_count, int argc, char **argv)
{
	int operand;
	rc_config_init(&serve->config);
	latency_defaults(&serve->latency);
	serve->policy = serve->config.policy;
	serve->drain_ms = DRAIN_DEFAULT_MS;
	serve->feeder.speed = 1;
	serve->feeder.seed = 1;
	int status = options_parse(&command_serve, make_options(serve), argc, argv, &operand);
	if (status >= 0)
		return status;
	if (operand < argc)
		return options_wrong(&command_serve, "serve takes no argument, but got '%s'", argv[operand]);
	const char *wrong = latency_parse(&serve->latency);
	if (wrong)
		return options_wrong(&command_serve, "--cpus '%s': %s", serve->latency.cpus_text, wrong);
	latency_apply(&serve->latency, &serve->config);
	if (serve->feeder.path && serve->routes.demo)
		return options_wrong(&command_serve, "--replay and --demo are two feeds; choose one");
	if (serve->routes.demo && !(serve->feeder.speed > 0))
		return options_wrong(&command_serve, "--demo needs a --speed above 0: it has no end");
	if ((status = parse_trust(serve)) >= 0)
		return status;
	if (serve->tls_cert.count != serve->tls_key.count)
		return options_wrong(&command_serve, "each --tls-cert needs its --tls-key, and the other way round");
	if (serve->tls.client_ca && !serve->tls_cert.count)
		return options_wrong(&command_serve, "--tls-client-ca needs --tls-cert and --tls-key");
	if (serve->routes.publish_certified && !serve->tls.client_ca)
		return options_wrong(&command_serve, "--publish-from certified needs --tls-client-ca");
	if (serve->tls.crl && !serve->tls.client_ca)
		return options_wrong(&command_serve, "--tls-crl needs --tls-client-ca");
	serve->config.body_size_max = serve->config.message_size_max < BODY_SIZE_MAX ? serve->config.message_size_max
	                                                                             : BODY_SIZE_MAX;
	if (!serve->listen.count)
		serve->listen.items[serve->listen.count++] = LISTEN_DEFAULT;
	serve->config.policy = (enum rc_policy)serve->policy;
	serve->config.handlers = serve_routes_handlers(&serve->routes);
	return make_rules(serve, rules, rule_count);
}

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

static void reload(struct serve *serve)
{
	struct rc_error error = { 0 };
	if (rc_server_tls_reload(serve->server, &error))
		command_failed("%s; the certificates in use stay", error.text);
	else
		fprintf(stderr, "ringcast: the certificates were read again\n");
}

/* The names that a producer may give a topic are those that /topic/NAME can ask for. */
static bool allow_topic(void *context, const char *topic, size_t size)
{
	(void)context;
	return text_is_name(topic, size);
}

/* Makes, binds and starts. Returns 0, or -1 after printing why. */
static int start(struct serve *serve, const struct rule *rules, unsigned rule_count)
{
	struct rc_error error = { 0 };
	static int ports[OPTION_LIST_MAX];
	serve->server = rc_server_new(&serve->config, &error);
	if (!serve->server)
		goto failed;
	serve->routes.server = serve->feeder.server = serve->server;
	for (unsigned index = 0; index < rule_count; index++) {
		int code = rc_server_topic_rule(serve->server, rules[index].pattern, &rules[index].options);
		if (code) {
			snprintf(error.text, sizeof error.text, "a rule for topics: %.100s", rc_strerror(code));
			goto failed;
		}
	}
	if (name_certificates(serve, &error))
		goto failed;
	for (unsigned index = 0; index < serve->listen.count; index++) {
		ports[index] = rc_server_listen(serve->server, serve->listen.items[index], &error);
		if (ports[index] < 0)
			goto failed;
		local_listeners_add(&serve->routes.listeners, serve->listen.items[index]);
	}
	const struct rc_producers_options asked = { .allow = allow_topic };
	if (producers_listen(serve->server, &serve->producers, &asked, &error))
		goto failed;
	int code = serve_spill_start(&serve->routes.spill, serve->server);
	if (!code && (code = serve_polls_start(&serve->routes.polls, serve->server)))
		serve_spill_end(&serve->routes.spill);
	if (code) {
		snprintf(error.text, sizeof error.text, "a thread: %.100s", rc_strerror(code));
		goto failed;
	}
	if (rc_server_start(serve->server, &error)) {
		serve_polls_end(&serve->routes.polls);
		serve_spill_end(&serve->routes.spill);
		goto failed;
	}
	for (unsigned index = 0; index < serve->listen.count; index++) {
		char url[512];
		make_url(url, serve->listen.items[index], ports[index]);
		printf("listening on %s\n", url);
		if (serve->routes.demo && !index && strstr(url, "://"))
			printf("the demonstration market:\n"
			       "  http%s/\n"
			       "  ringcast sub %s/topic/" SERVE_DEMO_TOPIC "\n"
			       "  ringcast sub '%s/topic/%s?last=1'\n",
			       url + 2, url, url, "ACME.000,BOLT.001,CRUX.002");
	}
	if (serve->producers.address)
		printf("producers at %s\n", serve->producers.address);
	fflush(stdout);
	return 0;
failed:
	command_failed("%s", error.text);
	rc_server_free(serve->server);
	return -1;
}

static rc_server *stopping; /* for the handler alone; set before it is installed */

static void stop_now(int signal_number)
{
	(void)signal_number;
	rc_server_stop(stopping, 0);
}

static void wait_for_end(struct serve *serve)
{
	struct serve_live live;
	serve_live_begin(&live, serve->server);
	uint64_t next = serve->quiet ? UINT64_MAX : clock_now() + live.period_ns;
	enum wait_event event;
	while ((event = wait_until(&serve->wait, next)) != WAIT_SIGNAL) {
		if (event == WAIT_HANGUP) {
			reload(serve);
			continue;
		}
		serve_live_show(&live);
		next += live.period_ns;
	}
	if (!serve->quiet)
		serve_live_end(&live);
}

static int run(int argc, char **argv)
{
	static struct serve serve;
	static struct rule rules[RULES_MAX];
	unsigned rule_count = 0;
	int status = parse(&serve, rules, &rule_count, argc, argv);
	if (status >= 0)
		return status;
	int code = wait_open(&serve.wait);
	if (!code && serve.tls_cert.count)
		code = wait_hangups(&serve.wait);
	if (code)
		return command_failed("signals: %s", rc_strerror(code));
	serve.feeder.quiet = serve.quiet;
	bool feeding = serve.feeder.path || serve.routes.demo;
	if (serve_feeder_open(&serve.feeder) || start(&serve, rules, rule_count))
		return EXIT_FAILED;
	if (feeding && serve_feeder_start(&serve.feeder))
		status = EXIT_FAILED;
	else
		wait_for_end(&serve);
	serve_feeder_close(&serve.feeder);
	stopping = serve.server;
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
	rc_server_free(serve.server);
	wait_close(&serve.wait);
	return status == EXIT_FAILED ? EXIT_FAILED : EXIT_OK;
}
