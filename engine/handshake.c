/* SPDX-License-Identifier: MIT
 *
 * handshake.c - the server's side of the opening handshake; see handshake.h. It keeps no state between calls: a request
 * in pieces is looked at from its beginning, at most RC_REQUEST_SIZE_MAX bytes a time.
 *
 * Invariant: bytes are changed only after the whole head was walked and found complete.
 */
#include "handshake.h"

#include "check.h"
#include "http.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define KEY_SIZE 24 /* base64 of 16 bytes */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

static struct rc_span span_of(const char *text)
{
	return (struct rc_span){ text, strlen(text) };
}

/* Whether a list in any number of lines holds the item. */
static bool list_has(const struct rc_http_request *request, const char *name, const char *text,
                     bool (*is)(struct rc_span, const char *))
{
	for (unsigned i = 0; i < request->header_count; i++) {
		if (!rc_http_is_name(request->headers[i].name, name))
			continue;
		struct rc_span list = span_of(request->headers[i].value), item;
		while (rc_http_item(&list, &item))
			if (is(item, text))
				return true;
	}
	return false;
}

bool rc_http_list_has(const struct rc_http_request *request, const char *name, const char *token)
{
	return list_has(request, name, token, rc_span_is);
}

bool rc_handshake_offers(const struct rc_http_request *request, const char *protocol)
{
	return list_has(request, "Sec-WebSocket-Protocol", protocol, rc_span_is_exactly);
}

/* The value of a header that may come once, or null. *repeated is set when it comes more often. */
static const char *single_header(const struct rc_http_request *request, const char *name, bool *repeated)
{
	const char *value = NULL;
	for (unsigned i = 0; i < request->header_count; i++) {
		if (!rc_http_is_name(request->headers[i].name, name))
			continue;
		*repeated |= value != NULL;
		value = request->headers[i].value;
	}
	return value;
}

static bool is_version(struct rc_span span)
{
	const char *text = span.text;
	return span.size == 8 && memcmp(text, "HTTP/", 5) == 0 && text[5] >= '0' && text[5] <= '9' && text[6] == '.' &&
	       text[7] >= '0' && text[7] <= '9';
}

/* RFC 9112, section 3: method SP target SP version. Splits the line in place. */
static int parse_request_line(struct rc_http_request *request, struct rc_span line, char **target, bool *is_old)
{
	static const char *const methods[] = { "GET",     "HEAD",    "POST",  "PUT",  "DELETE",
		                               "CONNECT", "OPTIONS", "TRACE", "PATCH" };
	char *text = (char *)line.text, *end = text + line.size;
	char *first = memchr(text, ' ', line.size);
	char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
	if (!second)
		return -400;
	struct rc_span method = { text, (size_t)(first - text) };
	struct rc_span version = { second + 1, (size_t)(end - second - 1) };
	if (!rc_span_is_token(method) ||
	    !rc_span_is_target((struct rc_span){ first + 1, (size_t)(second - first - 1) }))
		return -400;
	if (!is_version(version))
		return -400;
	*is_old = rc_span_is_exactly(version, "HTTP/1.0");
	if (!*is_old && !rc_span_is_exactly(version, "HTTP/1.1"))
		return -505;
	*first = *second = 0;
	request->method = text;
	*target = first + 1;
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
		if (strcmp(methods[i], text) == 0)
			return 0;
	return -501;
}

/* RFC 9112, section 3.2: the origin form, or the absolute form, whose authority does not matter here. */
static int parse_target(struct rc_http_request *request, char *target)
{
	char *path = target;
	if (*path != '/') {
		char *authority = strstr(target, "://");
		if (!authority)
			return -400;
		struct rc_span scheme = { target, (size_t)(authority - target) };
		if (!rc_span_is(scheme, "http") && !rc_span_is(scheme, "https") && !rc_span_is(scheme, "ws") &&
		    !rc_span_is(scheme, "wss"))
			return -400;
		authority += 3;
		path = authority + strcspn(authority, "/?");
		if (!rc_span_is_authority((struct rc_span){ authority, (size_t)(path - authority) }))
			return -400;
	}
	char *query = path + strcspn(path, "?");
	request->query = query;
	if (*query) {
		*query = 0;
		request->query++;
	}
	if (*path == 0)
		*--path = '/'; /* over the end of the authority */
	request->path = path;
	return rc_percent_decode(path) ? 0 : -400;
}

static int parse_headers(struct rc_http_request *request, struct rc_span head)
{
	struct rc_span line, name, value;
	request->header_count = 0;
	while (rc_http_line(&head, &line)) {
		if (!rc_http_field(line, &name, &value))
			return -400;
		((char *)name.text)[name.size] = 0;
		((char *)value.text)[value.size] = 0;
		RC_ASSERT(request->header_count < RC_REQUEST_HEADERS_MAX);
		request->headers[request->header_count++] = (struct rc_header){ name.text, value.text };
	}
	return 0;
}

/* How long a body is, by the head of its request. */
struct announced {
	size_t size;    /* as Content-Length says it; 0 when it is above the bound */
	bool is_any;    /* there is one, in whatever way */
	bool in_chunks; /* and its length is told with it */
};

/* RFC 9110, section 7.2 for Host, which HTTP/1.0 did not know. RFC 9112, section 6.3 for the body: who tells its length
 * twice would have it read in two ways. */
static int judge_http(const struct rc_http_request *request, bool is_old, struct announced *body)
{
	bool repeated = false;
	const char *host = single_header(request, "Host", &repeated);
	const char *length = single_header(request, "Content-Length", &repeated);
	const char *coding = single_header(request, "Transfer-Encoding", &repeated);
	if (repeated || (!host && !is_old) || (host && !rc_span_is_authority(span_of(host))))
		return -400;
	if (length && (*length == 0 || length[strspn(length, "0123456789")] != 0))
		return -400;
	if (coding && (length || is_old))
		return -400;
	if (coding && !rc_span_is(span_of(coding), "chunked"))
		return -501;
	body->is_any = (length && length[strspn(length, "0")] != 0) || coding;
	return 0;
}

static bool is_key(const char *key)
{
	return strlen(key) == KEY_SIZE && strcmp(key + KEY_SIZE - 2, "==") == 0 &&
	       strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") == KEY_SIZE - 2;
}

/* RFC 6455, section 4.2.1. The version is judged before the key, because another version may have no key. */
static int judge_handshake(struct rc_http_request *request, bool is_old, bool has_body)
{
	bool repeated = false;
	if (is_old)
		return -505;
	if (strcmp(request->method, "GET") != 0)
		return -405;
	const char *version = single_header(request, "Sec-WebSocket-Version", &repeated);
	request->key = single_header(request, "Sec-WebSocket-Key", &repeated);
	if (repeated || !version || has_body || !rc_http_list_has(request, "Connection", "upgrade"))
		return -400;
	if (strcmp(version, "13") != 0)
		return -426;
	if (!request->key || !is_key(request->key))
		return -400;
	request->websocket = true;
	return 0;
}

/* 0 for what is no number, and above the bound: such a request is refused without waiting. */
static size_t read_length(struct rc_span value, size_t max)
{
	size_t size = 0;
	for (size_t i = 0; i < value.size && size <= max; i++) {
		if (value.text[i] < '0' || value.text[i] > '9')
			return 0;
		size = size * 10 + (size_t)(value.text[i] - '0');
	}
	return size <= max ? size : 0;
}

/* The body to wait for, as the first header says that tells of one. What else is wrong with the head is judged once the
 * body is here. */
static struct announced awaited_body(struct rc_span head, size_t max)
{
	struct rc_span line, name, value;
	bool more = max && rc_http_line(&head, &line);
	while (more && rc_http_line(&head, &line)) {
		if (!rc_http_field(line, &name, &value))
			continue;
		if (rc_span_is(name, "Content-Length"))
			return (struct announced){ .size = read_length(value, max) };
		if (rc_span_is(name, "Transfer-Encoding"))
			return (struct announced){ .in_chunks = rc_span_is(value, "chunked") };
	}
	return (struct announced){ 0 };
}

int rc_handshake_parse(struct rc_http_request *request, char *bytes, size_t size)
{
	struct rc_http_chunks none = { 0 };
	return rc_handshake_parse_body(request, bytes, size, 0, &none);
}

static int parse(struct rc_http_request *request, struct rc_span head, struct announced awaited)
{
	struct rc_span line;
	struct announced body = { 0 };
	request->body = head.text + head.size;
	request->body_size = awaited.size;
	request->websocket = request->keeps = request->continues = false;
	request->key = NULL;
	char *target = NULL;
	bool is_old = false;
	rc_http_line(&head, &line);
	int status = parse_request_line(request, line, &target, &is_old);
	if (!status)
		status = parse_target(request, target);
	if (!status)
		status = parse_headers(request, head);
	if (!status)
		status = judge_http(request, is_old, &body);
	if (status)
		return status;
	if (rc_http_list_has(request, "Upgrade", "websocket"))
		return judge_handshake(request, is_old, body.is_any);
	request->keeps = !is_old && !rc_http_list_has(request, "Connection", "close");
	request->continues = !is_old && body.is_any && rc_http_list_has(request, "Expect", "100-continue");
	return body.is_any && !awaited.size && !awaited.in_chunks ? -413 : 0;
}

int rc_handshake_parse_body(struct rc_http_request *request, char *bytes, size_t size, size_t body_size_max,
                            struct rc_http_chunks *chunks)
{
	request->head_size = 0;
	int head_size = rc_http_head_size(bytes, size);
	if (head_size <= 0)
		return head_size;
	struct rc_span head = { bytes, (size_t)head_size };
	struct announced body = awaited_body(head, body_size_max);
	char *from = bytes + head_size;
	size_t here = size - (size_t)head_size;
	request->head_size = head_size;
	int written = (int)body.size;
	if (body.in_chunks && (written = rc_chunks_walk(chunks, from, here, body_size_max)) < 0)
		return written;
	if (body.in_chunks ? !written : here < body.size)
		return 0;
	body.size = body.in_chunks ? chunks->body_size : body.size;
	int status = parse(request, head, body);
	if (!status && body.in_chunks)
		rc_chunks_join(from);
	return status ? status : head_size + written;
}

int rc_handshake_parse_head(struct rc_http_request *request, char *bytes, int size, size_t body_size_max)
{
	struct rc_span head = { bytes, (size_t)size };
	int status = parse(request, head, awaited_body(head, body_size_max));
	request->body_size = 0;
	return status ? status : size;
}

void rc_handshake_accept(char to[RC_ACCEPT_SIZE + 1], const char *key)
{
	unsigned char text[256], digest[EVP_MAX_MD_SIZE];
	size_t key_size = strlen(key);
	RC_ASSERT(key_size + sizeof GUID <= sizeof text);
	memcpy(text, key, key_size);
	memcpy(text + key_size, GUID, sizeof GUID - 1);
	unsigned digest_size = 0;
	int done = EVP_Digest(text, key_size + sizeof GUID - 1, digest, &digest_size, EVP_sha1(), NULL);
	RC_ASSERT(done == 1 && digest_size == 20);
	EVP_EncodeBlock((unsigned char *)to, digest, (int)digest_size);
}

size_t rc_handshake_response(char *to, size_t size, const char *key, const char *protocol, const char *extensions)
{
	char accept[RC_ACCEPT_SIZE + 1];
	rc_handshake_accept(accept, key);
	int used = snprintf(to, size,
	                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                    "Sec-WebSocket-Accept: %s\r\n%s%s%s%s%s%s\r\n",
	                    accept, protocol ? "Sec-WebSocket-Protocol: " : "", protocol ? protocol : "",
	                    protocol ? "\r\n" : "", extensions ? "Sec-WebSocket-Extensions: " : "",
	                    extensions ? extensions : "", extensions ? "\r\n" : "");
	return used > 0 && (size_t)used < size ? (size_t)used : 0;
}
