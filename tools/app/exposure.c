/* SPDX-License-Identifier: MIT
 *
 * exposure.c - see exposure.h.
 */
#include "exposure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ROW_MAX 400

int app_exposure_too_open(const struct app_settings *settings, const struct local_listeners *listeners,
                          unsigned api_first)
{
	if (settings->open || settings->auth != APP_AUTH_OFF)
		return -1;
	for (unsigned i = 0; i < listeners->count && i < api_first; i++)
		if (!listeners->loopback[i] && !(listeners->secure[i] && settings->tls_client_ca))
			return (int)i;
	return -1;
}

/* ---- the table ---- */

static void row(const char *what, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void row(const char *what, const char *format, ...)
{
	char words[ROW_MAX];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	printf("  %-27s %s\n", what, words);
}

/* The items of a list, or what stands for an empty one. */
static const char *list_of(const struct option_list *list, const char *empty, char to[static ROW_MAX])
{
	size_t used = 0;
	to[0] = 0;
	for (unsigned i = 0; i < list->count && used < ROW_MAX; i++)
		used += (size_t)snprintf(to + used, ROW_MAX - used, "%s%s", i ? ", " : "", list->items[i]);
	return list->count ? to : empty;
}

static const char *permissions_of(unsigned permissions, char to[static 64])
{
	static const char *const names[] = { "read", "write", "broadcast", "admin" };
	size_t used = 0;
	snprintf(to, 64, "nothing");
	for (unsigned i = 0; i < 4; i++)
		if (permissions & 1u << i)
			used += (size_t)snprintf(to + used, 64 - used, "%s%s", used ? ", " : "", names[i]);
	return to;
}

static void print_listener(const char *address, const char *what)
{
	bool local = local_address_is_loopback(address), proxied = strncmp(address, "proxy+", 6) == 0;
	if (strstr(address, "fd:"))
		row(address, "who reaches what is handed over: %s", what);
	else
		row(address, "%s: %s%s",
		    local ? "this machine, and whom a proxy on it hands on" : "everybody who reaches it", what,
		    proxied ? "; it wants a PROXY header" : "");
}

static void print_listeners(const struct app_settings *settings)
{
	bool apart = settings->admin.listen.count > 0;
	printf("\nWHO REACHES IT\n");
	for (unsigned i = 0; i < settings->listen.count; i++)
		print_listener(settings->listen.items[i], apart ? "clients" : "clients, /api, figures");
	if (!settings->listen.count)
		print_listener(APP_LISTEN_DEFAULT, apart ? "clients, unless systemd hands over another"
		                                         : "clients, /api, figures, unless systemd hands over another");
	for (unsigned i = 0; i < settings->admin.listen.count; i++)
		print_listener(settings->admin.listen.items[i], "/api, figures");
}

static void print_clients(const struct app_settings *settings)
{
	static const char *const hooks[APP_HOOK_COUNT] = { [APP_HOOK_JOIN] = "joining a room",
		                                           [APP_HOOK_SUBSCRIBE] = "following a feed",
		                                           [APP_HOOK_MESSAGE] = "messages to others" };
	char list[ROW_MAX], names[64];
	const char *may = permissions_of(settings->permissions, names);
	printf("\nWHO MAY CONNECT: /ws, /sse, /poll\n");
	const char *connect = settings->hooks.urls[APP_HOOK_CONNECT];
	if (settings->auth == APP_AUTH_OFF)
		row("without a token", "everybody, under any name; may %s", may);
	else if (settings->auth == APP_AUTH_OPTIONAL && !connect)
		row("without a token", "everybody, under no name; may %s", may);
	else
		row("without a token", "nobody%s", connect ? " whom the backend does not know" : "");
	if (connect)
		row("by hook-connect", "whom %s knows%s", connect,
		    settings->hooks.away == APP_HOOK_AWAY_ALLOW ? "; while it is away, everybody, under no name" : "");
	if (settings->keys.count) {
		const char *key = settings->keys.count == 1 ? "our key" : "one of our keys";
		bool endless = settings->token_expiry == APP_EXPIRY_OPTIONAL;
		row("with a token", "who shows one that %s signed%s", key,
		    endless ? ", also one without an end" : ", until its end");
		row("  made by (iss)", "%s", settings->token_issuer ? settings->token_issuer : "whoever has the key");
		row("  made for (aud)", "%s",
		    list_of(&settings->token_audiences, "us or nobody: one with aud is refused", list));
		row("  that names no permissions", "may %s",
		    settings->token_permissions == APP_CLAIMS_NEEDED ? "nothing" : may);
	}
	if (settings->tls_client_ca)
		row("by wss", "only who shows a certificate of %s%s", settings->tls_client_ca,
		    settings->tls_crl ? ", unless it was revoked" : "");
	row("topics", "%s; a token may name its own", list_of(&settings->topics, "all", list));
	row("rooms", "%s; a token may name its own", list_of(&settings->rooms, "all", list));
	for (unsigned i = APP_HOOK_JOIN; i < APP_HOOK_COUNT; i++)
		if (settings->hooks.urls[i])
			row(hooks[i], "what %s allows%s", settings->hooks.urls[i],
			    settings->hooks.away == APP_HOOK_AWAY_ALLOW ? "; while it is away, all" : "");
	row("pages of", "%s", list_of(&settings->origins, "the host that they ask", list));
	if (settings->auth != APP_AUTH_REQUIRED)
		row("  on loopback, asked as", "an address, localhost%s%s", settings->hosts.count ? ", " : "",
		    list_of(&settings->hosts, "", list));
	row("cookies as tokens", "from those pages%s", settings->origins.count ? ", but not from *" : "");
}

/* Whether there is a listener by which this machine may operate the server. */
static bool has_loopback(const struct app_settings *settings)
{
	const struct option_list *list = settings->admin.listen.count ? &settings->admin.listen : &settings->listen;
	for (unsigned i = 0; i < list->count; i++)
		if (local_address_is_loopback(list->items[i]) && strncmp(list->items[i], "proxy+", 6) != 0)
			return true;
	return !list->count;
}

/* Both the mode of the socket's file and the users that are named say who may. */
static void print_producers(const struct producers *producers)
{
	char list[ROW_MAX];
	const char *mode = producers->address ? strstr(producers->address, "?mode=") : NULL;
	if (!producers->address) {
		row("shared memory (producers)", "nobody: there is no place for them");
		return;
	}
	row("shared memory (producers)", "%s, by a socket of mode %s at %s",
	    list_of(&producers->uids, "every user of this machine whom it lets in", list), mode ? mode + 6 : "0600",
	    producers->address);
	row("  publish to", "%s", list_of(&producers->topics, "all topics", list));
}

static void print_operators(const struct app_settings *settings)
{
	char list[ROW_MAX];
	const char *local = has_loopback(settings) ? "this machine, by a listener of loopback and no proxy"
	                                           : "nobody: it has no key, and no listener is of loopback";
	printf("\nWHO OPERATES IT\n");
	if (settings->api.count)
		row("/api", "who shows one of %u keys", settings->api.count);
	else
		row("/api", "%s", local);
	if (settings->admin.open)
		row("/stats, /metrics, /profile", "everybody who reaches a listener for operators");
	else if (settings->api.count || settings->operators.count)
		row("/stats, /metrics, /profile", "who shows one of %u keys",
		    settings->api.count + settings->operators.count);
	else
		row("/stats, /metrics, /profile", "%s", local);
	row("/api/publish publishes to", "%s", list_of(&settings->publish_topics, "all topics", list));
	print_producers(&settings->producers);
	row("/, /ringcast.js, /ringcast.min.js", "everybody");
	row("/healthz, /readyz", "everybody");
}

static void print_limit(const char *what, unsigned count, const char *of)
{
	if (count)
		row(what, "%u %s", count, of);
	else
		row(what, "no limit: %s", of);
}

void app_exposure_print(const struct app_settings *settings)
{
	char list[ROW_MAX];
	print_listeners(settings);
	print_clients(settings);
	print_operators(settings);
	printf("\nWHO IS BELIEVED\n");
	row("X-Forwarded-For, PROXY", "%s", list_of(&settings->trusted, "nobody", list));
	printf("\nHOW MUCH\n");
	print_limit("an address", settings->connections_per_address, "connections");
	print_limit("", settings->handshakes_per_second, "handshakes a second");
	print_limit("a user", settings->connections_per_user, "connections");
	print_limit("a connection", settings->messages_per_second, "messages a second");
	row("a handshake", "%g s", settings->handshake_timeout_ms / 1000.0);
}
