/* SPDX-License-Identifier: MIT
 *
 * settings_options.c - the table of all settings: name, kind, place, and what --help says.
 */
#include "content.h"
#include "settings.h"

static void add_listeners(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "config", OPTION_TEXT, &s->file, "FILE",
		  "settings, one `name = value` a line, with the names of these flags. The\n"
		  "environment (RINGCAST_NAME) overrides the file, and flags override both" },
		{ "listen", OPTION_LIST, &s->listen, "ADDR:PORT",
		  "where to listen (what systemd hands over, or 127.0.0.1:8080; repeatable):\n"
		  "also :8080 for all addresses (needs a key for tokens, or --open), unix:/PATH\n"
		  "and fd:3; proxy+ADDR:PORT expects the PROXY protocol" },
		ADMIN_OPTIONS(&s->admin),
		{ "api-listen", OPTION_LIST, &s->admin.listen, "ADDR:PORT", "an older name of --admin-listen" },
		PRODUCERS_OPTIONS(&s->producers),
		{ "tls-cert", OPTION_LIST, &s->tls_cert, "FILE",
		  "certificate chain (PEM) for --listen wss://ADDR:PORT, with its --tls-key\n(repeatable)" },
		{ "tls-key", OPTION_LIST, &s->tls_key, "FILE", "the key of a --tls-cert" },
		{ "tls-client-ca", OPTION_TEXT, &s->tls_client_ca, "FILE",
		  "for wss: clients must show a certificate of this authority too" },
		{ "tls-crl", OPTION_TEXT, &s->tls_crl, "FILE",
		  "revocation lists (PEM) of the authorities of clients; SIGHUP reads them again" },
		{ "kernel-tls", OPTION_FLAG, &s->kernel_tls, NULL,
		  "let the kernel make the records of TLS 1.3 (needs its module tls;\nwithout it, nothing changes)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_capacity(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "workers", OPTION_COUNT, &s->workers, "N", "threads, each with a ring (one a processor)" },
		{ "connections-max", OPTION_COUNT, &s->connections_max, "N",
		  "connections at a time (what the descriptor limit allows)" },
		{ "log-size", OPTION_SIZE, &s->log_size, "SIZE", "how much of messages is kept, a power of two (64m)" },
		{ "policy", OPTION_CHOICE, &s->policy, OPTION_POLICIES,
		  "what happens to a client that reads too slowly (close)" },
		{ "keep-last", OPTION_LIST, &s->keep_last, "PATTERN",
		  "keep the newest message of these topics (repeatable)" },
		{ "state-max", OPTION_SIZE, &s->state_max, "SIZE",
		  "values of keys that are kept when the log lets go of them (as the log)" },
		{ "memory-max", OPTION_SIZE, &s->memory_max, "SIZE",
		  "what may be kept for all connections outside the log; when it is short,\nthose who take most are "
		  "closed (half of what the machine, or its control\ngroup, has beside the log)" },
		{ "idle-timeout", OPTION_MS, &s->idle_timeout_ms, "TIME",
		  "a connection that is silent for so long, even to a Ping, is closed (2m)" },
		{ "ping-interval", OPTION_MS, &s->ping_interval_ms, "TIME",
		  "how long a connection may be silent until it gets a Ping, at most half of\n"
		  "--idle-timeout; half or a third of it where the way is slow (45s)" },
		{ "handshake-timeout", OPTION_MS, &s->handshake_timeout_ms, "TIME",
		  "for a client to open its connection (10s)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_backplane(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		BACKPLANE_OPTIONS(&s->backplane),
		BACKPLANE_OUT_OPTION(&s->backplane),
		{ "backplane-out-only", OPTION_FLAG, &s->out_only, NULL, "and not to the feeds data/USER" },
		BACKPLANE_LOCAL_OPTION(&s->backplane),
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_latency(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "ring", OPTION_CHOICE, &s->latency.ring, LATENCY_RINGS,
		  "what the workers run on: uring is io_uring; auto takes epoll where that is\n"
		  "forbidden or too old (auto)" },
		{ "round-interval", OPTION_COUNT, &s->latency.round_interval_us, "MICROSECONDS",
		  "the longest pause between two rounds of sending; 0: none (2000)" },
		{ "busy-poll", OPTION_FLAG, &s->latency.busy_poll, NULL,
		  "spin instead of sleeping: each worker takes a processor" },
		{ "spin-us", OPTION_COUNT, &s->latency.spin_us, "MICROSECONDS",
		  "when nothing comes any more, spin so long before sleeping (0)" },
		{ "cpus", OPTION_TEXT, &s->latency.cpus_text, "LIST",
		  "the processors of the workers, one each, in turn: 2,3,6-8 (where the system\nputs them)" },
		{ "numa-node", OPTION_COUNT, &s->latency.numa_node, "N",
		  "the node where the log lies and the workers run (any)" },
		{ "priority", OPTION_COUNT, &s->latency.priority, "N",
		  "1 to 99: workers run as SCHED_FIFO (as other threads)" },
		{ "log-prefault", OPTION_FLAG, &s->latency.log_prefault, NULL,
		  "bring all of the log into memory at the start" },
		{ "log-lock", OPTION_FLAG, &s->latency.log_lock, NULL, "and keep it there" },
		{ "log-huge-pages", OPTION_CHOICE, &s->latency.log_huge_pages, LATENCY_HUGE_PAGES,
		  "in which pages the log lies (off); reserved: those of vm.nr_hugepages, or it\ndoes not start" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_access(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "preset", OPTION_CHOICE, &s->preset, "default|strict",
		  "what holds for limits that nobody set; strict: 10 connections an address,\n"
		  "5 handshakes a second, 10 units of messages a second" },
		{ "open", OPTION_FLAG, &s->open, NULL,
		  "let everybody in who reaches a listener that is not loopback; without this\n"
		  "and without a key for tokens, the server does not listen there" },
		{ "origin", OPTION_LIST, &s->origins, "ORIGIN",
		  "whose pages may connect: https://example.org, https://*.example.org, or *\n"
		  "for any (those of the host that is asked; repeatable); others get 403" },
		{ "host", OPTION_LIST, &s->hosts, "NAME",
		  "a name by which browsers may ask a listener on loopback where no token is\n"
		  "needed, as when a proxy hands them on: example.org, *.example.org (addresses,\n"
		  "localhost, and the names of --origin; repeatable); others get 403" },
		{ "trust-proxy", OPTION_LIST, &s->trusted, "ADDR[/BITS]",
		  "proxies whose X-Forwarded-For or PROXY header is believed (none;\nrepeatable)" },
		{ "auth", OPTION_CHOICE, &s->auth, "auto|off|optional|required",
		  "whether clients need a token; auto: when there is a key for tokens" },
		{ "token-secret-file", OPTION_TEXT, &s->token_secret_file, "FILE",
		  "the secret of HS256 tokens, at least 32 bytes" },
		{ "token-secret", OPTION_TEXT, &s->token_secret, "TEXT",
		  "the same; better in the environment than in a flag, which all can see" },
		{ "token-key", OPTION_LIST, &s->token_keys, "FILE",
		  "a public key in PEM: RSA (RS256), P-256 (ES256), Ed25519 (EdDSA)\n(repeatable)" },
		{ "token-audience", OPTION_LIST, &s->token_audiences, "TEXT",
		  "who we are: a token must name one of these as its aud (none: a token that\n"
		  "names any is somebody else's; repeatable)" },
		{ "token-issuer", OPTION_TEXT, &s->token_issuer, "TEXT", "the iss that a token must have (any)" },
		{ "token-expiry", OPTION_CHOICE, &s->token_expiry, "required|optional",
		  "whether a token must have an end, exp (required)" },
		{ "token-permissions", OPTION_CHOICE, &s->token_permissions, "default|claim",
		  "what a token without the claim gives: --permissions, or nothing (default)" },
		{ "refuse-open", OPTION_FLAG, &s->refuse_open, NULL,
		  "refuse WebSockets by opening them and closing them at once with 3401, 3403,\n"
		  "3429 or 1008 and the reason, which pages can read; without this only those\n"
		  "that ask for it with ?refusals=1, as ringcast.js does" },
		{ "auth-timeout", OPTION_MS, &s->auth_timeout_ms, "TIME",
		  "for a client to send a token; then it is closed with 1008 (10s)" },
		{ "refresh-time", OPTION_MS, &s->refresh_ms, "TIME",
		  "the same for another token, when the first has expired (10s)" },
		{ "permissions", OPTION_TEXT, &s->permissions_text, "LIST",
		  "for clients without a token, or whose token names none: none, read,\n"
		  "write, broadcast, admin (read,write)" },
		{ "topics", OPTION_LIST, &s->topics, "TOPIC",
		  "feeds that they may follow: names, or prefixes and * (all; repeatable)" },
		{ "rooms", OPTION_LIST, &s->rooms, "ROOM",
		  "rooms that they may join, written likewise (all; repeatable)" },
		{ "publish-topics", OPTION_LIST, &s->publish_topics, "TOPIC",
		  "feeds that /api/publish may publish to, written likewise (all; repeatable)" },
		{ "api-key", OPTION_LIST, &s->api_keys, "TEXT",
		  "opens /api, /stats and /metrics, as `Authorization: Bearer TEXT`, at least 16\n"
		  "bytes (repeatable); without any, they answer this machine only" },
		{ "api-key-file", OPTION_TEXT, &s->api_key_file, "FILE", "file of such keys, one a line" },
		{ "operator-key", OPTION_LIST, &s->operator_keys, "TEXT",
		  "opens /stats, /metrics and /api/stats, and nothing else (repeatable)" },
		{ "operator-key-file", OPTION_TEXT, &s->operator_key_file, "FILE", "file of such keys, one a line" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_hooks(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = { APP_HOOK_OPTIONS(&s->hooks) };
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_limits(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "connections-per-address", OPTION_COUNT, &s->connections_per_address, "N",
		  "open connections from one address, and as many that are not open yet (256;\n"
		  "strict: 10; 0: no limit)" },
		{ "handshakes-per-second", OPTION_COUNT, &s->handshakes_per_second, "N",
		  "of WebSockets and streams, from one address; five times as many at once\n"
		  "(50; strict: 5; 0: no limit)" },
		{ "login-failures", OPTION_COUNT, &s->login_failures, "N",
		  "tokens that one address may show in vain in a minute, time-outs included;\n"
		  "then it is refused with 429 (60; strict: 10; 0: no limit)" },
		{ "connections-per-user", OPTION_COUNT, &s->connections_per_user, "N",
		  "connections of one user (5; 0: no limit)" },
		{ "messages-per-second", OPTION_COUNT, &s->messages_per_second, "N",
		  "units from one connection: a message of up to 1 KB is one, a larger one more\n(see DIALECT.md) "
		  "(100; strict: 10; 0: no limit)" },
		{ "burst", OPTION_COUNT, &s->burst, "N",
		  "units that a connection may use at once (twice that rate; strict: that rate)" },
		{ "flood", OPTION_COUNT, &s->flood, "N",
		  "units over the limit that end a connection (ten times the burst)" },
		{ "requests-per-second", OPTION_COUNT, &s->requests_per_second, "N",
		  "polls and streams from one address, and by one user with a token (as\nmessages-per-second)" },
		{ "content-max", OPTION_COUNT, &s->content_max, "N",
		  "the longest content of a message, in characters (1000)" },
		{ "message-max", OPTION_SIZE, &s->message_max, "SIZE",
		  "the largest message received; a larger one is closed with 1009 (64k)" },
		{ "body-max", OPTION_SIZE, &s->body_max, "SIZE", "the largest POST to /api (256k)" },
		{ "rooms-per-connection", OPTION_COUNT, &s->rooms_max, "N",
		  "rooms that one connection may be in (50)" },
		{ "subscriptions-max", OPTION_COUNT, &s->subscriptions_max, "N",
		  "topics that one connection may follow, rooms included (256)" },
		{ "topics-per-address", OPTION_COUNT, &s->topics_per_address, "N",
		  "rooms, and topics without messages, that one address may make; with those of\n"
		  "others it may be in twice as many (10000; 0: no limit)" },
		{ "history-max", OPTION_COUNT, &s->history_max, "N",
		  "messages in one answer to `history`, at most 1000000 (100)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_delivery(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "store-count", OPTION_COUNT, &s->store_count, "N", "messages kept for a user who is away (100)" },
		{ "store-size", OPTION_SIZE, &s->store_size, "SIZE", "how much of such messages is kept (64k)" },
		{ "store-total", OPTION_SIZE, &s->store_total, "SIZE",
		  "how much is kept for all users together, 256 bytes a message included\n(64m; 0: no limit)" },
		{ "store-share", OPTION_SIZE, &s->store_share, "SIZE",
		  "how much of that one sender may have: a user with a token, or an address\n(4m; 0: no limit)" },
		{ "store-age", OPTION_MS, &s->store_age_ms, "TIME", "how long such a message is kept (24h)" },
		{ "users-kept", OPTION_COUNT, &s->users_kept_max, "N",
		  "users who are away and are remembered, and as many for whom something waits\n(100000)" },
		{ "resend-time", OPTION_MS, &s->resend_ms, "TIME",
		  "until a message without ACK is sent again; each time twice as long (5s)" },
		{ "resend-max", OPTION_COUNT, &s->resend_max, "N", "how often it is sent again (5)" },
		{ "unacknowledged-max", OPTION_COUNT, &s->unacknowledged_max, "N",
		  "messages that may wait for one connection's ACK; the next are sent when there\nis room (64)" },
		{ "dedupe-time", OPTION_MS, &s->dedupe_ms, "TIME",
		  "how long a message's id is remembered, among the last 256 of its user (5m)" },
		{ "batch-max", OPTION_COUNT, &s->batch_max, "N", "messages in a batch, either way (100)" },
		{ "batch-delay-max", OPTION_MS, &s->batch_delay_max_ms, "TIME",
		  "the longest delay that a client may ask for (5s)" },
		{ "drain-delay", OPTION_MS, &s->drain_delay_ms, "TIME",
		  "before that, serve on for so long while /readyz says 503 (0)" },
		{ "drain", OPTION_MS, &s->drain_ms, "TIME", "for connections to leave when the server ends (5s)" },
		{ "comeback", OPTION_MS, &s->comeback_ms, "TIME",
		  "clients are told to come back within this time, spread out (10s)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_messages(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "types", OPTION_TEXT, &s->types, "LIST",
		  "types of messages that are handed on as they are, with commas: chat,stock_*,\n"
		  "or * for any (none: an unknown type is refused)" },
		{ "ephemeral", OPTION_TEXT, &s->ephemeral, "LIST",
		  "types, written likewise, that are not kept, and of which a slow reader gets\n"
		  "the newest of each sender (those that say it themselves)" },
		{ "partial-timeout", OPTION_MS, &s->partial_ms, "TIME",
		  "until a message in pieces of which nothing more comes is ended (1m)" },
		{ "poll-timeout", OPTION_MS, &s->poll_ms, "TIME",
		  "until a user who polls for what is theirs, and does not come again, has left (30s)" },
		{ "path", OPTION_LIST, &s->paths, "PATH",
		  "where the dialect is spoken too, as at /ws: /chat, and then /chat/USER\n(repeatable)" },
		{ "protocols", OPTION_TEXT, &s->protocols_text, "LIST",
		  "subprotocols that are agreed to beside ringcast.json, with commas: of what a\n"
		  "client offers the first that is known (none)" },
		{ "plain-chat", OPTION_FLAG, &s->plain_chat, NULL,
		  "a chat of plain text for whoever offers no subprotocol of ours, at /, /ws and\n"
		  "--path: a line goes to all others as ADDRESS: TEXT; no account is needed" },
		{ "sanitize", OPTION_CHOICE, &s->sanitize, APP_SANITIZE,
		  "make the content that clients send each other harmless as HTML: escape < > &\n"
		  "and quotes, or strip tags too (off)" },
	};
	options_add(table, options, sizeof options / sizeof *options);
}

static void add_process(struct option_table *table, struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "push-url", OPTION_TEXT, &s->push_url, "URL",
		  "a monitor to which the figures of /api/stats are POSTed as JSON (none)" },
		{ "push-interval", OPTION_MS, &s->push_ms, "TIME", "how often, at least every second (1m)" },
		{ "push-key", OPTION_TEXT, &s->push_key, "TEXT",
		  "goes with them as `Authorization: Bearer TEXT`; better in the environment\nthan in a flag, which "
		  "all can "
		  "see" },
		{ "user", OPTION_TEXT, &s->user, "NAME", "become this user once the addresses are bound" },
		LOG_OPTIONS(&s->log),
	};
	options_add(table, options, sizeof options / sizeof *options);
}

const struct option_entry *app_settings_options(struct app_settings *settings)
{
	static struct option_table table;
	table = (struct option_table){ 0 };
	add_listeners(&table, settings);
	add_capacity(&table, settings);
	add_latency(&table, settings);
	add_backplane(&table, settings);
	add_access(&table, settings);
	add_hooks(&table, settings);
	add_limits(&table, settings);
	add_delivery(&table, settings);
	add_messages(&table, settings);
	add_process(&table, settings);
	return table.entries;
}
