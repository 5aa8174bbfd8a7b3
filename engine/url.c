/* SPDX-License-Identifier: MIT
 *
 * url.c - WebSocket URIs (RFC 6455, section 3), percent-encoding (RFC 3986, section 2.1) and query parameters; see
 * handshake.h and http.h. It resolves no names. Invariant: no decoded text holds a zero byte, so all of it may be used
 * as C strings.
 */
#include "handshake.h"
#include "http.h"

#include <errno.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes the byte at *at, which moves past it. 0 when it is malformed, or an escaped zero. */
static char decode(const char **at)
{
	const char *text = *at;
	*at = text + 1;
	if (*text != '%')
		return *text;
	int high = hex_digit(text[1]), low = high < 0 ? -1 : hex_digit(text[2]);
	if (low < 0)
		return 0;
	*at = text + 3;
	return (char)(high << 4 | low);
}

bool rc_percent_decode(char *text)
{
	const char *from = text;
	while (*from) {
		char c = decode(&from);
		if (c == 0)
			return false;
		*text++ = c;
	}
	*text = 0;
	return true;
}

/* True when the parameter's name, up to '=' or its end, is `name`. */
static bool is_named(const char *parameter, const char *name)
{
	while (*parameter && *parameter != '&' && *parameter != '=') {
		bool space = *parameter == '+';
		char c = decode(&parameter);
		if (c == 0 || (space ? ' ' : c) != *name++)
			return false;
	}
	return *name == 0;
}

int rc_query_get(const char *query, const char *name, char *to, size_t size)
{
	while (!is_named(query, name)) {
		query = strchr(query, '&');
		if (!query)
			return -1;
		query++;
	}
	const char *from = query + strcspn(query, "=&");
	if (*from == '=')
		from++;
	size_t used = 0;
	while (*from && *from != '&') {
		bool space = *from == '+';
		char c = decode(&from);
		if (c == 0 || used >= size)
			return -2;
		to[used++] = space ? ' ' : c;
	}
	if (used >= size)
		return -2;
	to[used] = 0;
	return (int)used;
}

static bool copy(char *to, size_t size, const char *from, size_t from_size)
{
	if (from_size >= size)
		return false;
	memcpy(to, from, from_size);
	to[from_size] = 0;
	return true;
}

/* "/path", "?query" alone, or nothing. */
static bool take_target(struct rc_url *url, const char *text)
{
	size_t size = strlen(text), slash = *text != '/';
	if (size && !rc_span_is_target((struct rc_span){ text, size }))
		return false;
	url->target[0] = '/';
	return copy(url->target + slash, sizeof url->target - slash, text, size);
}

static bool take_port(struct rc_url *url, const char *text, const char *end)
{
	unsigned port = 0;
	for (; text < end; text++) {
		if (*text < '0' || *text > '9')
			return false;
		port = port * 10 + (unsigned)(*text - '0');
		if (port > UINT16_MAX)
			return false;
	}
	url->port = (uint16_t)port;
	return port > 0;
}

/* "name", "name:port", "[address]", "[address]:port"; an empty port is the default one (RFC 3986, section 3.2.3). */
static bool take_authority(struct rc_url *url, const char *text, const char *end)
{
	if (!rc_span_is_authority((struct rc_span){ text, (size_t)(end - text) }))
		return false;
	const char *host = text, *host_end;
	if (*text == '[') {
		host++;
		host_end = memchr(host, ']', (size_t)(end - host));
		if (!host_end)
			return false;
		text = host_end + 1;
	} else {
		host_end = memchr(text, ':', (size_t)(end - text));
		if (!host_end)
			host_end = end;
		text = host_end;
	}
	if (text < end && *text++ != ':')
		return false;
	if (host == host_end || memchr(host, '[', (size_t)(host_end - host)) ||
	    memchr(host, ']', (size_t)(host_end - host)))
		return false;
	if (text < end && !take_port(url, text, end))
		return false;
	return copy(url->host, sizeof url->host, host, (size_t)(host_end - host));
}

int rc_url_parse(struct rc_url *url, const char *text)
{
	const char *colon = strchr(text, ':');
	if (!colon)
		return -EINVAL;
	struct rc_span scheme = { text, (size_t)(colon - text) };
	text = colon + 1;
	memset(url, 0, sizeof *url);
	url->is_unix = rc_span_is(scheme, "ws+unix");
	url->tls = rc_span_is(scheme, "wss");
	if (url->is_unix) {
		size_t size = strcspn(text, ":");
		if (*text != '/' || !copy(url->host, sizeof url->host, text, size))
			return -EINVAL;
		text += size;
		if (*text == ':' && *++text != '/')
			return -EINVAL;
		return take_target(url, text) ? 0 : -EINVAL;
	}
	if ((!url->tls && !rc_span_is(scheme, "ws")) || strncmp(text, "//", 2) != 0)
		return -EINVAL;
	text += 2;
	url->port = url->tls ? 443 : 80;
	const char *end = text + strcspn(text, "/?#");
	return take_authority(url, text, end) && take_target(url, end) ? 0 : -EINVAL;
}
