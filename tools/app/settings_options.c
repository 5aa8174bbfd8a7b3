/* SPDX-License-Identifier: MIT
 *
 * settings_options.c - the table of all settings: name, kind, place, and what --help says.
 */
#include <string.h>

#include "settings.h"

const struct option_entry *app_settings_options(struct app_settings *s)
{
	const struct option_entry options[] = {
		{ "config", OPTION_TEXT, &s->file, "FILE",
		  "settings, one `name = value` a line, by the names of these flags.\nThe environment (RINGCAST_NAME) "
		  "goes "
		  "over it, flags over both" },
		{ "listen", OPTION_LIST, &s->listen, "ADDR:PORT",
		  "where to listen (repeatable; 127.0.0.1:8080, or what systemd hands\nover); unix:/PATH, fd:3; "
		  "proxy+ADDR:PORT "
		  "wants the PROXY protocol" },
		{ "api-listen", OPTION_LIST, &s->api_listen, "ADDR:PORT",
		  "serve /api here and nowhere else (repeatable)" },
		{ "tls-cert", OPTION_LIST, &s->tls_cert, "FILE",
		  "certificate chain (PEM) for --listen wss://ADDR:PORT (repeatable)" },
		{ "tls-key", OPTION_LIST, &s->tls_key, "FILE", "and its key" },
		{ "kernel-tls", OPTION_FLAG, &s->kernel_tls, NULL,
		  "let the kernel make the records of TLS 1.3 (needs its module tls;\nwithout, nothing changes)" },
		{ "workers", OPTION_COUNT, &s->workers, "N", "threads, each with a ring (one a processor)" },
		{ "connections-max", OPTION_COUNT, &s->connections_max, "N", "(what the descriptor limit allows)" },
		{ "log-size", OPTION_SIZE, &s->log_size, "SIZE", "of messages kept, a power of two (64m)" },
		{ "policy", OPTION_CHOICE, &s->policy, APP_POLICIES, "for who reads too slowly (close)" },
		{ "keep-last", OPTION_LIST, &s->keep_last, "PATTERN",
		  "keep the newest message of these topics (repeatable)" },
		{ "idle-timeout", OPTION_MS, &s->idle_timeout_ms, "TIME", "nothing heard, not even a Pong (2m)" },
		{ "handshake-timeout", OPTION_MS, &s->handshake_timeout_ms, "TIME", "(10s)" },

		{ "preset", OPTION_CHOICE, &s->preset, "default|strict",
		  "limits that nobody set. strict: 10 connections an address,\n10 messages a second" },
		{ "origin", OPTION_LIST, &s->origins, "ORIGIN",
		  "pages that may connect, https://example.org, or https://*.example.org\n(repeatable; any); others "
		  "get 403" },
		{ "trust-proxy", OPTION_LIST, &s->trusted, "ADDR[/BITS]",
		  "proxies whose X-Forwarded-For is believed (repeatable; none)" },
		{ "auth", OPTION_CHOICE, &s->auth, "auto|off|optional|required",
		  "auto: required when there is a key for tokens" },
		{ "token-secret-file", OPTION_TEXT, &s->token_secret_file, "FILE",
		  "secret of HS256 tokens, at least 32 bytes" },
		{ "token-secret", OPTION_TEXT, &s->token_secret, "TEXT",
		  "the same; better in the environment than in a flag, which all can see" },
		{ "token-key", OPTION_LIST, &s->token_keys, "FILE",
		  "public key in PEM: RSA (RS256), P-256 (ES256), Ed25519 (EdDSA);\nrepeatable" },
		{ "auth-timeout", OPTION_MS, &s->auth_timeout_ms, "TIME", "to send a token, then 1008 (10s)" },
		{ "refresh-time", OPTION_MS, &s->refresh_ms, "TIME",
		  "to send another when it expired, then 1008 (10s)" },
		{ "permissions", OPTION_TEXT, &s->permissions_text, "LIST",
		  "of who has no token, or one without any: none, read, write,\nbroadcast, admin (read,write)" },
		{ "api-key", OPTION_LIST, &s->api_keys, "TEXT",
		  "for /api, as `Authorization: Bearer TEXT` (repeatable; none: /api answers\nloopback only)" },
		{ "api-key-file", OPTION_TEXT, &s->api_key_file, "FILE", "the same, one a line" },

		{ "connections-per-address", OPTION_COUNT, &s->connections_per_address, "N", "(no limit; strict: 10)" },
		{ "connections-per-user", OPTION_COUNT, &s->connections_per_user, "N", "(5; 0: no limit)" },
		{ "messages-per-second", OPTION_COUNT, &s->messages_per_second, "N",
		  "of a connection (100; strict: 10; 0: no limit)" },
		{ "burst", OPTION_COUNT, &s->burst, "N", "that it may send at once (twice that)" },
		{ "flood", OPTION_COUNT, &s->flood, "N",
		  "messages over the limit that end a connection (ten times the burst)" },
		{ "content-max", OPTION_COUNT, &s->content_max, "N", "characters of content (1000)" },
		{ "message-max", OPTION_SIZE, &s->message_max, "SIZE", "received; larger is closed with 1009 (64k)" },
		{ "body-max", OPTION_SIZE, &s->body_max, "SIZE", "of a POST to /api (256k)" },
		{ "rooms-per-connection", OPTION_COUNT, &s->rooms_max, "N", "(50)" },
		{ "subscriptions-max", OPTION_COUNT, &s->subscriptions_max, "N",
		  "of a connection, rooms included (256)" },
		{ "history-max", OPTION_COUNT, &s->history_max, "N", "messages of one answer (100)" },
		{ "store-count", OPTION_COUNT, &s->store_count, "N", "messages kept for a user who is away (100)" },
		{ "store-size", OPTION_SIZE, &s->store_size, "SIZE", "of them (64k)" },
		{ "store-age", OPTION_MS, &s->store_age_ms, "TIME", "of them (24h)" },
		{ "users-kept", OPTION_COUNT, &s->users_kept_max, "N", "who are away and remembered (100000)" },
		{ "resend-time", OPTION_MS, &s->resend_ms, "TIME",
		  "until a message without ACK is sent again; twice as long each time (5s)" },
		{ "resend-max", OPTION_COUNT, &s->resend_max, "N", "times (5)" },
		{ "unacknowledged-max", OPTION_COUNT, &s->unacknowledged_max, "N",
		  "messages waiting for one connection's ACK (64)" },
		{ "dedupe-time", OPTION_MS, &s->dedupe_ms, "TIME", "that a message id is remembered (5m)" },
		{ "batch-max", OPTION_COUNT, &s->batch_max, "N", "messages of a batch, either way (100)" },
		{ "batch-delay-max", OPTION_MS, &s->batch_delay_max_ms, "TIME", "that a client may ask for (5s)" },
		{ "drain", OPTION_MS, &s->drain_ms, "TIME", "for connections to leave at the end (5s)" },
		{ "comeback", OPTION_MS, &s->comeback_ms, "TIME",
		  "clients are told to come back within this time, spread out (10s)" },

		{ "user", OPTION_TEXT, &s->user, "NAME", "become this user once the addresses are bound" },
		{ "log-format", OPTION_CHOICE, &s->log_format, "text|json", "on stderr (text)" },
		{ "log-level", OPTION_CHOICE, &s->log_level, "debug|info|warning|error", "(info)" },
		{ "log-rate", OPTION_COUNT, &s->log_rate, "N", "lines a second; what is beyond is counted (100)" },
		{ 0 },
	};
	static struct option_entry table[sizeof options / sizeof *options];
	memcpy(table, options, sizeof options);
	return table;
}
