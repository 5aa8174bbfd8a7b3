/* SPDX-License-Identifier: MIT
 *
 * access.c - see access.h.
 */
#include "access.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "app.h"
#include "lib/local.h"
#include "lib/text.h"

/* ---- where it comes from ---- */

/* An origin, or one whose host begins with "*.", for everything below it. */
static bool origin_matches(const char *pattern, const char *origin)
{
	const char *star = strstr(pattern, "://*.");
	if (!star)
		return strcasecmp(pattern, origin) == 0;
	size_t scheme_size = (size_t)(star - pattern) + 3, rest_size = strlen(star + 4), size = strlen(origin);
	return size > scheme_size + rest_size && strncasecmp(pattern, origin, scheme_size) == 0 &&
	       strcasecmp(origin + size - rest_size, star + 4) == 0;
}

/* Whether a page is of the host that the request is for. A port that the scheme implies may stand there or not. */
static bool is_same_host(const char *origin, const char *host)
{
	const char *authority = strstr(origin, "://"), *port = strncasecmp(origin, "https:", 6) == 0 ? ":443" : ":80";
	if (!authority || !host)
		return false;
	authority += 3;
	size_t size = strlen(authority), host_size = strlen(host), port_size = strlen(port);
	if (size > port_size && strcmp(authority + size - port_size, port) == 0)
		size -= port_size;
	if (host_size > port_size && strcmp(host + host_size - port_size, port) == 0)
		host_size -= port_size;
	return size && size == host_size && strncasecmp(authority, host, size) == 0;
}

/* By a name in the list, or with an empty list as a page of our own. */
static bool is_known_site(const struct app_settings *settings, const rc_request *request, const char *origin)
{
	if (!settings->origins.count)
		return is_same_host(origin, rc_request_header(request, "Host"));
	for (unsigned i = 0; i < settings->origins.count; i++)
		if (origin_matches(settings->origins.items[i], origin))
			return true;
	return false;
}

/* A name, or one that begins with "*.", for everything below it. */
static bool name_matches(const char *name, const char *host, size_t size)
{
	size_t name_size = local_host_size(name);
	if (*name != '*')
		return size == name_size && strncasecmp(host, name, size) == 0;
	return size >= name_size && strncasecmp(host + size - name_size + 1, name + 1, name_size - 1) == 0;
}

/* By a name in --host, or of an --origin. */
static bool is_own_name(const struct app_settings *settings, const char *host, size_t size)
{
	for (unsigned i = 0; i < settings->hosts.count; i++)
		if (name_matches(settings->hosts.items[i], host, size))
			return true;
	for (unsigned i = 0; i < settings->origins.count; i++) {
		const char *name = strstr(settings->origins.items[i], "://");
		if (name && name[3] && name_matches(name + 3, host, size))
			return true;
	}
	return false;
}

static bool lets_any_page_in(const struct app_settings *settings)
{
	for (unsigned i = 0; i < settings->origins.count; i++)
		if (strcmp(settings->origins.items[i], "*") == 0)
			return true;
	return false;
}

/* Whoever owns a name can point it at 127.0.0.1. His page is then of the very host that it asks: its GET has no Origin,
 * and it may read the answer. No browser uses a Unix socket, or writes a PROXY header. */
bool app_access_host(const struct app *app, const rc_request *request)
{
	const struct app_settings *settings = app_settings_now(app);
	const char *host = rc_request_header(request, "Host");
	unsigned listener = rc_request_listener(request);
	bool browser = rc_request_header(request, "Origin") || !rc_request_is_websocket(request);
	if (settings->auth == APP_AUTH_REQUIRED || !browser || lets_any_page_in(settings) ||
	    listener >= app->listeners.count || !app->listeners.loopback[listener] || rc_request_proxy(request) ||
	    strcmp(rc_request_peer(request), "unix") == 0)
		return true;
	return local_host_is_fixed(request) || (host && is_own_name(settings, host, local_host_size(host)));
}

bool app_access_origin(const struct app_settings *settings, const rc_request *request)
{
	const char *origin = rc_request_header(request, "Origin");
	/* Only browsers send an Origin, and only they hold somebody's cookies. */
	if (!origin)
		return true;
	if (!text_is_name(origin, strlen(origin)))
		return false;
	return lets_any_page_in(settings) || is_known_site(settings, request, origin);
}

/* A browser adds cookies to whatever any page asks for. So they say who the user is only where the page is known, and
 * `*` knows none. A plain GET to the page's own host has no Origin; there the browser says so in Sec-Fetch-Site. */
bool app_access_cookies(const struct app_settings *settings, const rc_request *request)
{
	const char *origin = rc_request_header(request, "Origin"), *site = rc_request_header(request, "Sec-Fetch-Site");
	if (origin)
		return is_known_site(settings, request, origin) ||
		       is_same_host(origin, rc_request_header(request, "Host"));
	return site && strcmp(site, "same-origin") == 0;
}

/* The address as it is counted. An IPv6 host is given a /64 and may use any address in it, so the /64 counts as one. */
static const char *name_address(const char *text, char *scratch, size_t size)
{
	struct in6_addr address;
	if (!address_parse(text, &address) || size < ADDRESS_TEXT_SIZE) {
		snprintf(scratch, size, "%s", text); /* a Unix socket has none */
		return scratch;
	}
	if (IN6_IS_ADDR_V4MAPPED(&address))
		return inet_ntop(AF_INET, &address.s6_addr[12], scratch, (socklen_t)size);
	memset(&address.s6_addr[8], 0, 8);
	inet_ntop(AF_INET6, &address, scratch, (socklen_t)size);
	return strcat(scratch, "/64");
}

const char *app_access_address(const struct app_settings *settings, const rc_request *request, char *scratch,
                               size_t size)
{
	char found[ADDRESS_TEXT_SIZE];
	return name_address(local_client(&settings->proxies, request, found), scratch, size);
}

/* ---- the API and the figures ---- */

bool app_access_api(const struct app *app, rc_request *request, const char **why)
{
	const struct app_settings *settings = app_settings_now(app);
	*why = "the API key is missing or wrong";
	if (settings->api.count)
		return keys_open(&settings->api, request);
	*why = "without an api-key, /api answers this machine only, and nobody whom a proxy hands on";
	return local_is_trusted(&app->listeners, request);
}

bool app_access_figures(const struct app *app, rc_request *request, const char **why)
{
	const struct app_settings *settings = app_settings_now(app);
	*why = "the key is missing or wrong";
	if (settings->admin.open && admin_is_here(&app->admin, request))
		return true;
	if (settings->operators.count || settings->api.count)
		return keys_open(&settings->operators, request) || keys_open(&settings->api, request);
	*why = "without an operator-key, this machine alone may read the figures, and nobody whom a proxy hands on";
	return local_is_trusted(&app->listeners, request);
}
