/* SPDX-License-Identifier: MIT
 *
 * local.c - see local.h.
 */
#include "local.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

/* What proxies, load balancers and content networks add. A client may add one too, and only loses by it. */
static const char *const forwarding[] = {
	"Forwarded", /* RFC 7239 */
	"Via",       /* RFC 9110, section 7.6.3 */
	"X-Forwarded-For",
	"X-Forwarded-Host",
	"X-Forwarded-Proto",
	"X-Forwarded-Port",
	"X-Forwarded-Server",
	"X-Forwarded-By",
	"X-Forwarded",
	"Forwarded-For",
	"X-Original-Forwarded-For",
	"X-Original-Host",
	"X-Real-IP",
	"X-Client-IP",
	"X-Cluster-Client-IP",
	"X-ProxyUser-Ip",
	"X-Remote-Addr",
	"X-Remote-IP",
	"Client-IP",
	"True-Client-IP",
	"CF-Connecting-IP",
	"CF-Connecting-IPv6",
	"CF-Ray",
	"CDN-Loop", /* RFC 8586 */
	"Fastly-Client-IP",
	"Fly-Client-IP",
	"X-Azure-ClientIP",
	"X-Appengine-User-IP",
	"X-Envoy-External-Address",
	"X-Amzn-Trace-Id",
};

/* ---- listeners ---- */

static bool socket_is_loopback(int fd)
{
	struct sockaddr_storage bound = { 0 };
	socklen_t size = sizeof bound;
	if (getsockname(fd, (struct sockaddr *)&bound, &size))
		return false;
	if (bound.ss_family == AF_UNIX)
		return true;
	if (bound.ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)&bound)->sin_addr.s_addr) >> 24 == 127;
	return bound.ss_family == AF_INET6 && address_is_loopback(&((const struct sockaddr_in6 *)&bound)->sin6_addr);
}

/* "127.0.0.1:80", "[::1]", "localhost": as a listener or a Host names it. */
static bool authority_is_loopback(const char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN];
	struct in6_addr address;
	bool bracket = size && *text == '[';
	const char *end = bracket ? memchr(text, ']', size) : memchr(text, ':', size);
	const char *port = end ? end + bracket : text + size;
	if ((bracket && !end) ||
	    (port < text + size && (*port != ':' || strspn(port + 1, "0123456789") < (size_t)(text + size - port - 1))))
		return false;
	text += bracket;
	size = (size_t)((end ? end : port) - text);
	if (size >= sizeof host)
		return false;
	memcpy(host, text, size);
	host[size] = 0;
	if (!bracket && strcasecmp(host, "localhost") == 0)
		return true;
	return address_parse(host, &address) && bracket == (strchr(host, ':') != NULL) && address_is_loopback(&address);
}

bool local_address_is_loopback(const char *address)
{
	if (!strncmp(address, "proxy+", 6))
		address += 6;
	if (!strncmp(address, "wss://", 6))
		address += 6;
	else if (!strncmp(address, "ws://", 5))
		address += 5;
	if (!strncmp(address, "unix:", 5))
		return true;
	if (!strncmp(address, "fd:", 3))
		return socket_is_loopback(atoi(address + 3));
	return authority_is_loopback(address, strcspn(address, "?"));
}

bool local_address_is_absent(const char *address)
{
	const char *descriptor = strstr(address, "fd:");
	struct sockaddr_storage bound;
	socklen_t size = sizeof bound;
	return descriptor && getsockname(atoi(descriptor + 3), (struct sockaddr *)&bound, &size) < 0;
}

void local_listeners_add(struct local_listeners *listeners, const char *address)
{
	if (listeners->count == RC_LISTENERS_MAX)
		return;
	listeners->secure[listeners->count] = strncmp(address + (strncmp(address, "proxy+", 6) ? 0 : 6), "wss://", 6) ==
	                                      0;
	listeners->loopback[listeners->count++] = local_address_is_loopback(address);
}

/* ---- requests ---- */

bool local_is_forwarded(const rc_request *request)
{
	if (rc_request_proxy(request))
		return true;
	for (size_t i = 0; i < sizeof forwarding / sizeof *forwarding; i++)
		if (rc_request_header(request, forwarding[i]))
			return true;
	return false;
}

/* A page of another site that is open in a browser on this machine asks from loopback, too. */
bool local_is_from_other_site(const rc_request *request)
{
	const char *origin = rc_request_header(request, "Origin"), *host = rc_request_header(request, "Host");
	const char *authority = origin ? strstr(origin, "://") : NULL;
	return origin && (!authority || !host || strcasecmp(authority + 3, host) != 0);
}

bool local_host_is_loopback(const rc_request *request)
{
	const char *host = rc_request_header(request, "Host");
	return host && authority_is_loopback(host, strlen(host));
}

size_t local_host_size(const char *host)
{
	const char *end = *host == '[' ? strchr(host, ']') : strchrnul(host, ':');
	if (!end)
		return 0;
	end += *end == ']';
	return (*end == ':' ? strspn(end + 1, "0123456789") == strlen(end + 1) : !*end) ? (size_t)(end - host) : 0;
}

bool local_host_is_fixed(const rc_request *request)
{
	static const char below[] = ".localhost";
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	const char *host = rc_request_header(request, "Host");
	size_t size = host ? local_host_size(host) : 0, tail = sizeof below - 1;
	if ((size == tail - 1 && strncasecmp(host, below + 1, size) == 0) ||
	    (size > tail && strncasecmp(host + size - tail, below, tail) == 0))
		return true;
	bool bracket = size && *host == '[';
	host += bracket;
	size -= bracket ? 2 : 0;
	if (!size || size >= sizeof text)
		return false;
	memcpy(text, host, size);
	text[size] = 0;
	return address_parse(text, &address) && bracket == (strchr(text, ':') != NULL);
}

bool local_is_trusted(const struct local_listeners *listeners, const rc_request *request)
{
	unsigned listener = rc_request_listener(request);
	return listener < listeners->count && listeners->loopback[listener] && rc_request_peer_is_local(request) &&
	       local_host_is_loopback(request) && !local_is_forwarded(request) && !local_is_from_other_site(request);
}

/* ---- through proxies ---- */

const char *local_neighbour(const rc_request *request)
{
	const char *proxy = rc_request_proxy(request);
	return proxy ? proxy : rc_request_peer(request);
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

/* Each proxy adds at the end, on the last line or on one more. The last address that is not a named proxy's is the
 * client's; what stands before it the client may have written. Returns whether the chain goes on before this line. */
static bool walk_line(const struct networks *proxies, const char *line, char found[INET6_ADDRSTRLEN])
{
	char item[INET6_ADDRSTRLEN];
	for (const char *end = line + strlen(line); end > line;) {
		struct in6_addr address;
		last_item(line, &end, item, sizeof item);
		if (!address_parse(item, &address))
			return false; /* not written by a named proxy */
		strcpy(found, item);
		if (!networks_hold(proxies, found))
			return false;
	}
	return true;
}

const char *local_client(const struct networks *proxies, const rc_request *request, char scratch[ADDRESS_TEXT_SIZE])
{
	const char *neighbour = local_neighbour(request), *line;
	if (!networks_hold(proxies, neighbour))
		return neighbour;
	const char *peer = rc_request_peer(request);
	if (!networks_hold(proxies, peer))
		return peer; /* a PROXY header named it, and who came through no other proxy */
	unsigned count = 0;
	char found[INET6_ADDRSTRLEN] = "";
	while (rc_request_header_at(request, "X-Forwarded-For", count))
		count++;
	while (count && (line = rc_request_header_at(request, "X-Forwarded-For", --count)))
		if (!walk_line(proxies, line, found))
			break;
	return *found ? strcpy(scratch, found) : peer;
}
