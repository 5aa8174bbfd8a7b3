/* SPDX-License-Identifier: MIT
 *
 * access.c - see access.h.
 */
#include "access.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ADDRESS_NAME_SIZE (INET6_ADDRSTRLEN + 4)

int app_access_refuse(rc_request *request, int status, const char *words)
{
	return rc_request_respond(request, status, "text/plain; charset=utf-8", words, strlen(words)) ? 503 : 0;
}

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
bool app_access_origin(const struct app_settings *settings, const rc_request *request)
{
	const char *origin = rc_request_header(request, "Origin");
	/* Only browsers send an Origin, and only they hold somebody's cookies. */
	if (!settings->origins.count || !origin)
		return true;
	for (unsigned i = 0; i < settings->origins.count; i++)
		if (origin_matches(settings->origins.items[i], origin))
			return true;
	return false;
}

/* The address as it is counted. An IPv6 host is given a /64 and may use any address in it, so the /64 counts as one. */
static const char *name_address(const char *text, char *scratch, size_t size)
{
	struct in6_addr address;
	if (!app_address_parse(text, &address) || size < ADDRESS_NAME_SIZE) {
		snprintf(scratch, size, "%s", text); /* a Unix socket has none */
		return scratch;
	}
	if (IN6_IS_ADDR_V4MAPPED(&address))
		return inet_ntop(AF_INET, &address.s6_addr[12], scratch, (socklen_t)size);
	memset(&address.s6_addr[8], 0, 8);
	inet_ntop(AF_INET6, &address, scratch, (socklen_t)size);
	return strcat(scratch, "/64");
}

/* Cuts the last item off a list, and trims it. */
static void last_item(const char *list, const char **end, char *to, size_t room)
{
	const char *begin = *end, *last = *end;
	while (begin > list && begin[-1] != ',')
		begin--;
	*end = begin > list ? begin - 1 : list;
	while (begin < last && (*begin == ' ' || *begin == '\t'))
		begin++;
	while (last > begin && (last[-1] == ' ' || last[-1] == '\t'))
		last--;
	size_t size = (size_t)(last - begin);
	if (size >= room)
		size = 0;
	memcpy(to, begin, size);
	to[size] = 0;
}

/* X-Forwarded-For is a chain to which each proxy adds at the right. The last address that is not a trusted proxy's is
 * the client's. */
const char *app_access_address(const struct app_settings *settings, const rc_request *request, char *scratch,
                               size_t size)
{
	const char *peer = rc_request_peer(request), *chain = rc_request_header(request, "X-Forwarded-For");
	if (!chain || !app_settings_trusts(settings, peer))
		return name_address(peer, scratch, size);
	char found[INET6_ADDRSTRLEN] = "", item[INET6_ADDRSTRLEN];
	for (const char *end = chain + strlen(chain); end > chain;) {
		struct in6_addr address;
		last_item(chain, &end, item, sizeof item);
		if (!app_address_parse(item, &address))
			break; /* not written by a trusted proxy */
		strcpy(found, item);
		if (!app_settings_trusts(settings, found))
			break;
	}
	return name_address(*found ? found : peer, scratch, size);
}

/* ---- the API's key ---- */

static bool is_same(const char *one, const char *other)
{
	size_t size = strlen(one);
	return size == strlen(other) && CRYPTO_memcmp(one, other, size) == 0;
}

/* A page of another site that is open in a browser on this machine asks from loopback, too. Its Origin says where it is
 * from. */
static bool is_from_other_site(const rc_request *request)
{
	const char *origin = rc_request_header(request, "Origin"), *host = rc_request_header(request, "Host");
	const char *authority = origin ? strstr(origin, "://") : NULL;
	return origin && (!authority || !host || strcasecmp(authority + 3, host) != 0);
}

bool app_access_api(const struct app_settings *settings, rc_request *request, const char **why)
{
	const char *header = rc_request_header(request, "Authorization");
	const char *key = rc_request_header(request, "X-API-Key");
	if (!settings->api_keys.count) {
		*why = "without an api-key, /api answers to loopback only\n";
		return rc_request_peer_is_local(request) && !rc_request_header(request, "X-Forwarded-For") &&
		       !rc_request_header(request, "Forwarded") && !is_from_other_site(request);
	}
	if (!key && header && strncasecmp(header, "Bearer ", 7) == 0)
		key = header + 7 + strspn(header + 7, " ");
	*why = "the API key is missing or wrong\n";
	bool found = false;
	for (unsigned i = 0; key && i < settings->api_keys.count; i++)
		found |= is_same(settings->api_keys.items[i], key);
	return found;
}
