/* SPDX-License-Identifier: MIT
 *
 * handshake.c - requests: the verdict must be the same in whatever pieces the bytes came and whatever follows them, and
 * an opening handshake must be taken exactly when a second reader, written from the RFCs with its own hands and no eye
 * on speed, takes it too. What is answered to it, our own client must take.
 */
#include "extension.h"

#include "fuzz.h"

#include <strings.h>

#define LINES_MAX 80

/* ---- the second reader ---- */

struct line {
	char *name, *value;
};

struct reading {
	char *method, *target, *version;
	struct line lines[LINES_MAX];
	unsigned count;
};

static bool all_of(const char *text, const char *allowed)
{
	return *text && text[strspn(text, allowed)] == 0;
}

#define ALPHANUMERIC "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define TOKEN ALPHANUMERIC "!#$%&'*+-.^_`|~"
#define AUTHORITY ALPHANUMERIC "-._~!$&'()*+,;=%:[]"

/* Cuts a head, as text with a zero at its end, into lines; false where it is no HTTP/1 message at all. */
static bool cut(struct reading *reading, char *head)
{
	char *end = strstr(head, "\r\n");
	reading->count = 0;
	*end = 0;
	char *first = strchr(head, ' '), *second = first ? strchr(first + 1, ' ') : NULL;
	if (!second)
		return false;
	*first = *second = 0;
	*reading = (struct reading){ .method = head, .target = first + 1, .version = second + 1 };
	for (char *line = end + 2; *line != '\r'; line = end + 2) {
		end = strstr(line, "\r\n");
		*end = 0;
		char *colon = strchr(line, ':');
		if (!colon || reading->count == LINES_MAX)
			return false;
		*colon = 0;
		if (!all_of(line, TOKEN))
			return false;
		reading->lines[reading->count++] = (struct line){ line, trim(colon + 1) };
	}
	return true;
}

static unsigned count_of(const struct reading *reading, const char *name, const char **value)
{
	unsigned count = 0;
	*value = NULL;
	for (unsigned i = 0; i < reading->count; i++) {
		if (strcasecmp(reading->lines[i].name, name) == 0 && ++count)
			*value = reading->lines[i].value;
	}
	return count;
}

static bool lists(const struct reading *reading, const char *name, const char *item)
{
	for (unsigned i = 0; i < reading->count; i++)
		if (!strcasecmp(reading->lines[i].name, name) && list_holds(reading->lines[i].value, item, strcasecmp))
			return true;
	return false;
}

/* Origin form, or absolute form of a scheme that may stand here; escapes in the path whole and never of a zero. */
static bool is_target(const char *target)
{
	for (const char *c = target; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '#')
			return false;
	const char *path = target, *after = strstr(target, "://");
	if (*target != '/') {
		static const char *const schemes[] = { "http", "https", "ws", "wss" };
		bool known = false;
		char authority[RC_REQUEST_SIZE_MAX];
		for (unsigned i = 0; after && i < 4; i++)
			known |= strlen(schemes[i]) == (size_t)(after - target) &&
			         !strncasecmp(target, schemes[i], (size_t)(after - target));
		if (!known)
			return false;
		path = after + 3 + strcspn(after + 3, "/?");
		snprintf(authority, sizeof authority, "%.*s", (int)(path - after - 3), after + 3);
		if (!all_of(authority, AUTHORITY))
			return false;
	}
	for (; *path && *path != '?'; path++) {
		unsigned value = 0;
		int taken = 0;
		if (*path == '%' && (!all_of((char[]){ path[1] ? path[1] : '!', 0 }, "0123456789abcdefABCDEF") ||
		                     sscanf(path + 1, "%2x%n", &value, &taken) != 1 || taken != 2 || value == 0))
			return false;
	}
	return true;
}

/* RFC 9112, RFC 9110 section 7.2, RFC 6455 section 4.2.1. Returns 1 for a handshake, 2 for plain HTTP, 0 for neither.
 */
static int judge(const struct reading *reading)
{
	static const char *const methods = " GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH ";
	const char *host, *length, *coding, *version, *key;
	bool is_old = strcmp(reading->version, "HTTP/1.0") == 0;
	char padded[32];
	unsigned hosts = count_of(reading, "Host", &host), lengths = count_of(reading, "Content-Length", &length);
	snprintf(padded, sizeof padded, " %.20s ", reading->method);
	if (!all_of(reading->method, TOKEN) || !strstr(methods, padded) ||
	    (!is_old && strcmp(reading->version, "HTTP/1.1") != 0))
		return 0;
	if (!is_target(reading->target) || hosts > 1 || hosts + is_old < 1 || (hosts && !all_of(host, AUTHORITY)) ||
	    lengths > 1)
		return 0;
	if (lengths && !all_of(length, "0123456789"))
		return 0;
	if ((lengths && !all_of(length, "0")) || count_of(reading, "Transfer-Encoding", &coding))
		return 0;
	if (!lists(reading, "Upgrade", "websocket"))
		return 2;
	unsigned versions = count_of(reading, "Sec-WebSocket-Version", &version);
	unsigned keys = count_of(reading, "Sec-WebSocket-Key", &key);
	bool good_key = keys == 1 && strlen(key) == 24 && key[22] == '=' && key[23] == '=' &&
	                strspn(key, ALPHANUMERIC "+/") == 22;
	return !is_old && strcmp(reading->method, "GET") == 0 && lists(reading, "Connection", "upgrade") &&
	       versions == 1 && strcmp(version, "13") == 0 && good_key;
}

/* ---- what must hold ---- */

/* Of a long input not every prefix: the first, those around the limits, and every 61st. */
static bool is_tried(size_t known, size_t size)
{
	return size < 700 || known < 100 || known % 61 == 0 || known + 3 > size ||
	       (known + 3 > RC_REQUEST_LINE_MAX && known < RC_REQUEST_LINE_MAX + 16) ||
	       (known + 3 > RC_REQUEST_SIZE_MAX && known < RC_REQUEST_SIZE_MAX + 3);
}

/* Each prefix: nothing decided yet, or what the whole is. Bytes change only with a verdict on a complete head. */
static int verdict_of_all_prefixes(const uint8_t *data, size_t size)
{
	struct rc_http_request request;
	int verdict = 0;
	for (size_t known = 0; known <= size; known++) {
		if (!is_tried(known, size))
			continue;
		char *bytes = exact_copy(data, known);
		int here = rc_handshake_parse(&request, bytes, known);
		HOLDS(!verdict || here == verdict, "%d, and %d after %zu bytes", verdict, here, known);
		HOLDS(here || memcmp(bytes, data, known) == 0, "changed while incomplete at %zu", known);
		HOLDS(here <= (int)known && (here >= 0 || here <= -400), "%d", here);
		verdict = here;
		free(bytes);
	}
	HOLDS(verdict || size < RC_REQUEST_SIZE_MAX, "undecided beyond the limit");
	return verdict;
}

static void check_status(int status, const struct reading *reading)
{
	const char *version;
	bool upgrade = lists(reading, "Upgrade", "websocket");
	switch (status) {
	case 405:
		HOLDS(upgrade && strcmp(reading->method, "GET") != 0, "405 for %s", reading->method);
		break;
	case 413:
		HOLDS(!upgrade, "413 for a handshake");
		break;
	case 426:
		HOLDS(upgrade && count_of(reading, "Sec-WebSocket-Version", &version) && strcmp(version, "13") != 0,
		      "426");
		break;
	case 501:
		HOLDS(strcmp(reading->version, "HTTP/1.1") == 0 || strcmp(reading->version, "HTTP/1.0") == 0,
		      "501 for %s", reading->version);
		break;
	case 505:
		HOLDS(strncmp(reading->version, "HTTP/", 5) == 0 && strcmp(reading->version, "HTTP/1.1") != 0 &&
		          (upgrade || strcmp(reading->version, "HTTP/1.0") != 0),
		      "505 for %s", reading->version);
		break;
	default:
		HOLDS(status == 400, "%d for a head within all limits", status);
	}
}

/* Answers to what was taken: they fit or they are none, and our own client takes the one to a proper key. */
static void check_answer(const struct rc_http_request *request, uint64_t chances)
{
	char to[512], protocol[RC_PROTOCOL_NAME_MAX], key[25];
	const char *chosen = rc_handshake_offers(request, "chat") ? "chat" : NULL;
	size_t size = rc_handshake_response(to, sizeof to, request->key, chosen, NULL);
	HOLDS(size && memcmp(to + size - 4, "\r\n\r\n", 4) == 0, "no response");
	char *small = malloc(size);
	HOLDS(rc_handshake_response(small, draw(&chances) % size, request->key, chosen, NULL) == 0,
	      "does not fit and is there");
	free(small);
	/* Of the key's last two digits only the upper bits count; the nonce that it came from gives them as zero. */
	uint8_t nonce[18] = { 0 };
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (unsigned i = 0; i < 22; i++)
		for (unsigned bit = 0; bit < 6; bit++)
			if ((strchr(digits, request->key[i]) - digits) >> (5 - bit) & 1)
				nonce[(i * 6 + bit) / 8] |= (uint8_t)(0x80 >> (i * 6 + bit) % 8);
	snprintf(key, sizeof key, "%s", request->key);
	bool proper = nonce[16] == 0;
	struct rc_deflate agreed;
	const char *why;
	int taken = rc_handshake_response_parse(to, size, nonce, chosen, protocol, NULL, &agreed, &why);
	HOLDS(taken == (proper ? (int)size : -71), "our client says %d to %s", taken, key);
	HOLDS(!proper || strcmp(protocol, chosen ? chosen : "") == 0, "subprotocol %s", protocol);
}

static void check_queries(const char *query)
{
	static const char *const names[] = { "last", "since", "a", "" };
	for (unsigned i = 0; i < 4; i++) {
		char all[RC_REQUEST_SIZE_MAX];
		int size = rc_query_get(query, names[i], all, sizeof all);
		HOLDS(size >= -2 && size < (int)sizeof all, "%d", size);
		if (size < 0)
			continue;
		HOLDS(strlen(all) == (size_t)size, "a zero in a value");
		char *fits = malloc((size_t)size + 1);
		HOLDS(rc_query_get(query, names[i], fits, (size_t)size + 1) == size && !strcmp(fits, all),
		      "does not fit");
		HOLDS(rc_query_get(query, names[i], fits, (size_t)size) == -2, "fits without its zero");
		free(fits);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char head[RC_REQUEST_SIZE_MAX + 1];
	if (size > 2 * RC_REQUEST_SIZE_MAX)
		return 0;
	int verdict = verdict_of_all_prefixes(data, size);
	struct rc_http_request request;
	char *bytes = exact_copy(data, size);
	HOLDS(rc_handshake_parse(&request, bytes, size) == verdict, "another verdict the second time");
	const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
	size_t head_size = end ? (size_t)(end - data) + 4 : 0;
	bool is_text = head_size && head_size <= RC_REQUEST_SIZE_MAX && !memchr(data, 0, head_size);
	HOLDS(verdict <= 0 || (is_text && (size_t)verdict == head_size), "%d bytes of %zu", verdict, head_size);
	if (is_text && verdict != -414 && verdict != -431) {
		struct reading reading = { 0 };
		bool controls = false;
		for (size_t i = 0; i < head_size; i++)
			controls |= (data[i] < ' ' && !strchr("\t\r\n", data[i])) || data[i] == 0x7f ||
			            (data[i] == '\n') != (i && data[i - 1] == '\r');
		memcpy(head, data, head_size);
		head[head_size] = 0;
		bool is_message = !controls && cut(&reading, head);
		int judged = is_message ? judge(&reading) : 0;
		HOLDS((verdict > 0) == (judged > 0), "%d here, %d there", verdict, judged);
		HOLDS(verdict <= 0 || request.websocket == (judged == 1), "handshake or not");
		if (is_message && verdict < -400)
			check_status(-verdict, &reading);
	}
	if (verdict > 0) {
		HOLDS(request.path[0] == '/', "path %s", request.path);
		check_queries(request.query);
		if (request.websocket)
			check_answer(&request, hash_of(data, size));
	}
	free(bytes);
	return 0;
}
