/* SPDX-License-Identifier: MIT
 *
 * settings.c - see settings.h.
 */
#include "settings.h"

#include <stdio.h>
#include <string.h>

#include "book/publisher.h"
#include "lib/units.h"

#define LISTEN_DEFAULT "127.0.0.1:8080"
#define DRAIN_DEFAULT_MS 5000
#define BODY_SIZE_MAX ((size_t)16 << 20) /* that the library takes */
#define HEARTBEAT_MS_MAX 3600000
#define EXPECTED_PATTERN "expected a topic or a prefix and *, at most %d in all"

static void add_listeners(struct option_table *table, struct serve *serve)
{
	struct rc_config *config = &serve->config;
	const struct option_entry options[] = {
		{ "listen", OPTION_LIST, &serve->listen, "ADDR:PORT",
		  "where to listen (127.0.0.1:8080; repeatable): also :8080 for all\n"
		  "addresses, [::1]:8080, localhost:8080, unix:/PATH, fd:3,\n"
		  "wss://ADDR:PORT; port 0 is any free one; proxy+ADDR:PORT\n"
		  "expects the PROXY protocol" },
		ADMIN_OPTIONS(&serve->admin_settings),
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
		BACKPLANE_OPTIONS(&serve->backplane),
		BACKPLANE_LOCAL_OPTION(&serve->backplane),
		{ "trust-proxy", OPTION_LIST, &serve->trust_proxy, "ADDR[/BITS]",
		  "proxies whose X-Forwarded-For or PROXY header is\nbelieved (none; repeatable)" },
		{ "operator-key-file", OPTION_TEXT, &serve->routes.operator_key_file, "FILE",
		  "keys, one a line, of at least 16 bytes: who shows one as\n"
		  "`Authorization: Bearer KEY` may read /stats, /metrics and\n"
		  "/profile (without: this machine alone); SIGHUP reads it again" },
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
		  "a connection that is silent for so long, even to a Ping, is\nclosed (2m)" },
		{ "ping-interval", OPTION_MS, &config->ping_interval_ms, "TIME",
		  "how long a connection may be silent until it gets a Ping, at\nmost half of --idle-timeout; half or "
		  "a "
		  "third of it where the\nway is slow (45s)" },
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
		{ "drain-delay", OPTION_MS, &serve->drain_delay_ms, "TIME",
		  "before that, serve on for so long while /readyz says 503\n(0)" },
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
		LOG_OPTIONS(&serve->log),
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
static struct serve_rule *find_rule(struct serve_rule *rules, unsigned *count, const char *pattern, size_t size,
                                    int policy)
{
	if (!size || size >= sizeof rules->pattern)
		return NULL;
	for (unsigned index = 0; index < *count; index++) {
		if (strlen(rules[index].pattern) == size && !memcmp(rules[index].pattern, pattern, size))
			return &rules[index];
	}
	if (*count == SERVE_RULES_MAX)
		return NULL;
	struct serve_rule *rule = &rules[(*count)++];
	*rule = (struct serve_rule){ .options.policy = (enum rc_policy)policy };
	memcpy(rule->pattern, pattern, size);
	return rule;
}

/* --policy-for and the others that name topics to rules. Returns -1, or the exit status of a usage error. */
static int make_rules(const struct subcommand *command, const struct serve *serve, struct serve_rule *rules,
                      unsigned *count)
{
	for (unsigned index = 0; index < serve->policy_for.count; index++) {
		const char *word = serve->policy_for.items[index], *equals = strrchr(word, '=');
		int policy = equals ? option_choice(OPTION_POLICIES, equals + 1) : -1;
		struct serve_rule *rule = policy < 0 ? NULL
		                                     : find_rule(rules, count, word, (size_t)(equals - word), policy);
		if (!rule)
			return options_wrong(command, "--policy-for '%s': expected PATTERN=%s, at most %d in all", word,
			                     OPTION_POLICIES, SERVE_RULES_MAX);
		rule->options.policy = (enum rc_policy)policy;
	}
	for (unsigned index = 0; index < serve->keep_last.count; index++) {
		const char *word = serve->keep_last.items[index];
		struct serve_rule *rule = find_rule(rules, count, word, strlen(word), serve->policy);
		if (!rule)
			return options_wrong(command, "--keep-last '%s': " EXPECTED_PATTERN, word, SERVE_RULES_MAX);
		rule->options.keep_last = true;
	}
	for (unsigned index = 0; index < serve->heartbeat.count; index++) {
		const char *word = serve->heartbeat.items[index], *equals = strrchr(word, '=');
		uint64_t time_ns = 0;
		bool timed = equals && !units_parse_time(equals + 1, &time_ns) &&
		             time_ns / NS_PER_MS <= HEARTBEAT_MS_MAX;
		struct serve_rule *rule = timed && time_ns >= NS_PER_MS
		                              ? find_rule(rules, count, word, (size_t)(equals - word), serve->policy)
		                              : NULL;
		if (!rule)
			return options_wrong(command,
			                     "--heartbeat '%s': expected PATTERN=TIME, 1ms to 1h, at most %d in all",
			                     word, SERVE_RULES_MAX);
		rule->options.heartbeat_ms = (unsigned)(time_ns / NS_PER_MS);
	}
	for (unsigned index = 0; index < serve->backplane.local.count; index++) {
		const char *word = serve->backplane.local.items[index];
		struct serve_rule *rule = find_rule(rules, count, word, strlen(word), serve->policy);
		if (!rule)
			return options_wrong(command, "--backplane-local '%s': " EXPECTED_PATTERN, word,
			                     SERVE_RULES_MAX);
		rule->options.numbered_here = true;
	}
	for (unsigned index = 0; index < serve->cohort.count; index++) {
		const char *word = serve->cohort.items[index];
		struct serve_rule *rule = find_rule(rules, count, word, strlen(word), serve->policy);
		if (!rule)
			return options_wrong(command, "--cohort '%s': " EXPECTED_PATTERN, word, SERVE_RULES_MAX);
		rule->options.cohort = true;
	}
	/* The page asks for last values, so that it is full at once. A rule for everything is the user's to change. */
	struct serve_rule *all = serve->routes.demo ? find_rule(rules, count, "*", 1, serve->policy) : NULL;
	if (serve->routes.demo && !all)
		return options_wrong(command, "--demo needs a pattern itself, and %d are named", SERVE_RULES_MAX);
	if (all)
		all->options.keep_last = true;
	/* The order book's readers that are too slow go on from its state. */
	struct serve_rule *book = all ? find_rule(rules, count, BOOK_TOPIC "*", sizeof BOOK_TOPIC, serve->policy)
	                              : NULL;
	if (all && !book)
		return options_wrong(command, "--demo needs a pattern itself, and %d are named", SERVE_RULES_MAX);
	if (book) {
		book->options.policy = RC_POLICY_RESYNC;
		book->options.heartbeat_ms = 1000;
	}
	return -1;
}

/* Who is believed, and who may what. Returns -1, or the exit status of what is wrong. */
static int parse_trust(const struct subcommand *command, struct serve *serve)
{
	const char *wrong = serve_routes_publish_from(&serve->routes, &serve->publish_from);
	if (wrong)
		return options_wrong(command, "--publish-from '%s': expected an address, local, certified, any or none",
		                     wrong);
	for (unsigned index = 0; index < serve->trust_proxy.count; index++)
		if (!networks_add(&serve->routes.proxies, serve->trust_proxy.items[index]))
			return options_wrong(command, "--trust-proxy '%s': expected an address, or one with /BITS",
			                     serve->trust_proxy.items[index]);
	bool read;
	serve_routes_read_keys(&serve->routes, &read);
	if (!read)
		return EXIT_FAILED;
	int open = admin_too_open(&serve->admin_settings, serve->routes.operator_key_file != NULL);
	if (open >= 0)
		return options_wrong(command, "--admin-listen '%s' " ADMIN_OPEN_WORDS,
		                     serve->admin_settings.listen.items[open]);
	serve->routes.admin_open = serve->admin_settings.open;
	return -1;
}

int serve_settings_parse(const struct subcommand *command, struct serve *serve, int argc, char **argv)
{
	int operand;
	rc_config_init(&serve->config);
	latency_defaults(&serve->latency);
	serve->policy = serve->config.policy;
	serve->log = (struct log_settings)LOG_DEFAULTS;
	serve->drain_ms = DRAIN_DEFAULT_MS;
	serve->backplane = (struct backplane_settings)BACKPLANE_DEFAULTS;
	serve->backplane.topics_only = true;
	serve->feeder.speed = 1;
	serve->feeder.seed = 1;
	int status = options_parse(command, make_options(serve), argc, argv, &operand);
	if (status >= 0)
		return status;
	if (operand < argc)
		return options_wrong(command, "serve takes no argument, but got '%s'", argv[operand]);
	const char *wrong = latency_parse(&serve->latency);
	if (wrong)
		return options_wrong(command, "--cpus '%s': %s", serve->latency.cpus_text, wrong);
	latency_apply(&serve->latency, &serve->config);
	if (serve->feeder.path && serve->routes.demo)
		return options_wrong(command, "--replay and --demo are two feeds; choose one");
	if (serve->routes.demo && !(serve->feeder.speed > 0))
		return options_wrong(command, "--demo needs a --speed above 0: it has no end");
	struct rc_error error;
	if (serve->backplane.url && backplane_check(&serve->backplane, &error))
		return options_wrong(command, "--backplane: %s", error.text);
	if ((status = parse_trust(command, serve)) >= 0)
		return status;
	if (serve->tls_cert.count != serve->tls_key.count)
		return options_wrong(command, "each --tls-cert needs its --tls-key, and the other way round");
	if (serve->tls.client_ca && !serve->tls_cert.count)
		return options_wrong(command, "--tls-client-ca needs --tls-cert and --tls-key");
	if (serve->routes.publish_certified && !serve->tls.client_ca)
		return options_wrong(command, "--publish-from certified needs --tls-client-ca");
	if (serve->tls.crl && !serve->tls.client_ca)
		return options_wrong(command, "--tls-crl needs --tls-client-ca");
	serve->config.body_size_max = serve->config.message_size_max < BODY_SIZE_MAX ? serve->config.message_size_max
	                                                                             : BODY_SIZE_MAX;
	if (!serve->listen.count)
		serve->listen.items[serve->listen.count++] = LISTEN_DEFAULT;
	serve->config.policy = (enum rc_policy)serve->policy;
	serve->config.handlers = serve_routes_handlers(&serve->routes);
	return make_rules(command, serve, serve->rules, &serve->rule_count);
}
