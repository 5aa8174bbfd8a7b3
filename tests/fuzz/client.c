/* SPDX-License-Identifier: MIT
 *
 * client.c - the client's side: a URL in the first line, subprotocols in the second, and what a server answered in the
 * rest. A URL that is taken must come back whole from the request made of it, which our server must take; a response is
 * taken exactly when it shows all that RFC 6455, section 4.1, wants, in whatever pieces it came.
 */
#include "extension.h"

#include "fuzz.h"

#include <errno.h>
#include <strings.h>

static const uint8_t nonce[16] = "the sample nonce"; /* its key is the one of the specification */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void check_url(const char *text, const char *protocols)
{
	struct rc_url url, again;
	char written[4096], request[8192];
	if (rc_url_parse(&url, text) != 0)
		return;
	HOLDS(url.target[0] == '/' && url.host[0] && !strchr(url.target, '#'), "%s%s", url.host, url.target);
	HOLDS(url.is_unix || url.port, "port 0");
	bool brackets = strchr(url.host, ':');
	if (url.is_unix)
		snprintf(written, sizeof written, "ws+unix:%s:%s", url.host, url.target);
	else
		snprintf(written, sizeof written, "%s://%s%s%s:%u%s", url.tls ? "wss" : "ws", brackets ? "[" : "",
		         url.host, brackets ? "]" : "", url.port, url.target);
	HOLDS(rc_url_parse(&again, written) == 0, "%s was %s", text, written);
	HOLDS(!strcmp(again.host, url.host) && !strcmp(again.target, url.target) && again.port == url.port &&
	          again.tls == url.tls && again.is_unix == url.is_unix,
	      "%s is not %s", text, written);

	size_t size = rc_handshake_request(request, sizeof request, &url, nonce, protocols, NULL, NULL);
	if (!size)
		return;
	struct rc_http_request parsed;
	char *query = strchr(url.target, '?');
	int verdict = rc_handshake_parse(&parsed, request, size);
	HOLDS(verdict == (int)size || verdict == -400, "%d for %s", verdict,
	      text); /* a wrong escape is the server's to see */
	if (verdict < 0)
		HOLDS(strchr(url.target, '%'), "our server refuses our client: %s", text);
	else
		HOLDS(parsed.websocket && !strcmp(parsed.query, query ? query + 1 : ""), "query %s", parsed.query);
}

/* ---- responses ---- */

/* What a response that was taken must show, found by another way than the parser's. */
static void check_taken(const uint8_t *data, size_t size, const char *protocols, const char *protocol)
{
	char *head = malloc(size + 1), *rest = head;
	unsigned accepts = 0, upgrades = 0, connections = 0, chosen = 0;
	memcpy(head, data, size);
	head[size] = 0;
	HOLDS(strlen(head) == size && !strncmp(head, "HTTP/1.1 101", 12), "%.20s", head);
	strsep(&rest, "\n");
	for (char *line; (line = strsep(&rest, "\n")) && *line != '\r';) {
		char *colon = strchr(line, ':'), *value = trim(colon + 1);
		*colon = 0;
		accepts += !strcasecmp(line, "Sec-WebSocket-Accept") && !strcmp(value, ACCEPT);
		HOLDS(strcasecmp(line, "Sec-WebSocket-Accept") || !strcmp(value, ACCEPT), "accept %s", value);
		HOLDS(strcasecmp(line, "Sec-WebSocket-Extensions"), "an extension that was not asked for");
		upgrades += !strcasecmp(line, "Upgrade") && !strcasecmp(value, "websocket");
		connections += !strcasecmp(line, "Connection") && strcasestr(value, "upgrade");
		if (!strcasecmp(line, "Sec-WebSocket-Protocol")) {
			chosen++;
			HOLDS(protocols && list_holds(protocols, value, strcmp) && !strcmp(protocol, value),
			      "%s was not asked for", value);
		}
	}
	HOLDS(accepts == 1 && upgrades && connections && chosen <= 1, "%u, %u, %u, %u", accepts, upgrades, connections,
	      chosen);
	HOLDS(chosen || !protocol[0], "%s out of nothing", protocol);
	free(head);
}

static void check_response(const uint8_t *data, size_t size, const char *protocols)
{
	char protocol[RC_PROTOCOL_NAME_MAX];
	struct rc_deflate agreed;
	const char *why;
	int verdict = 0;
	for (size_t known = 0; known <= size; known += size < 1000 ? 1 : size - known < 61 ? 1 : 61) {
		char *bytes = exact_copy(data, known);
		int here = rc_handshake_response_parse(bytes, known, nonce, protocols, protocol, NULL, &agreed, &why);
		HOLDS(!verdict || here == verdict, "%d, and %d after %zu bytes", verdict, here, known);
		HOLDS((here == -EPROTO) == (why != NULL), "%d without a reason", here);
		HOLDS(here <= (int)known && (here >= 0 || here == -EPROTO || (here <= -200 && here > -600)), "%d",
		      here);
		verdict = here;
		free(bytes);
	}
	if (verdict > 0)
		check_taken(data, (size_t)verdict, protocols, protocol);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *first = memchr(data, '\n', size);
	const uint8_t *second = first ? memchr(first + 1, '\n', size - (size_t)(first + 1 - data)) : NULL;
	if (!second || memchr(data, 0, (size_t)(second - data)) || second - data > 4000)
		return 0;
	char *url = strndup((const char *)data, (size_t)(first - data));
	char *protocols = strndup((const char *)first + 1, (size_t)(second - first - 1));
	check_url(url, *protocols ? protocols : NULL);
	check_response(second + 1, size - (size_t)(second + 1 - data), *protocols ? protocols : NULL);
	free(url);
	free(protocols);
	return 0;
}
