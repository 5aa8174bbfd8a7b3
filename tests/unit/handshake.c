/* SPDX-License-Identifier: MIT
 *
 * handshake.c - the server's side of the opening handshake: RFC 6455, section 4.2, and what of RFC 9112 stands around
 * it, as a table of requests and verdicts. Each is given whole, byte by byte, and at every cut: the verdict is the
 * same.
 */
#include "handshake.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST "Host: h\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define REST HOST UPGRADE KEY VERSION "\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define PLAIN 1     /* correct, and no WebSocket */
#define WEBSOCKET 2 /* a correct handshake */

static const struct {
	const char *rule, *bytes;
	int verdict; /* PLAIN, WEBSOCKET, 0 for incomplete, or the status to refuse with */
} cases[] = {
	/* section 4.2.1 */
	{ "the least handshake", GET REST, WEBSOCKET },
	{ "names and tokens without case",
	  GET "HOST: h\r\nuPGRADE: WebSocket\r\ncONNECTION: uPGRADE\r\nsec-websocket-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	      "SEC-WEBSOCKET-VERSION: 13\r\n\r\n",
	  WEBSOCKET },
	{ "Connection as a list",
	  GET HOST "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" KEY VERSION "\r\n", WEBSOCKET },
	{ "Connection in two lines",
	  GET HOST "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: ,upgrade ,\r\n" KEY VERSION "\r\n",
	  WEBSOCKET },
	{ "Upgrade as a list", GET HOST "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n",
	  WEBSOCKET },
	{ "blanks around values", GET "Host: \t h \t\r\n" UPGRADE KEY "Sec-WebSocket-Version:13\r\n\r\n", WEBSOCKET },
	{ "bytes above ASCII in a value", GET "X: \xc3\xa4\r\n" REST, WEBSOCKET },
	{ "a body of nothing", GET "Content-Length: 0\r\n" REST, WEBSOCKET },
	{ "no Connection", GET HOST "Upgrade: websocket\r\n" KEY VERSION "\r\n", 400 },
	{ "Connection without upgrade", GET HOST "Upgrade: websocket\r\nConnection: close\r\n" KEY VERSION "\r\n",
	  400 },
	{ "a token that holds upgrade", GET HOST "Upgrade: websocket\r\nConnection: upgraded\r\n" KEY VERSION "\r\n",
	  400 },
	{ "no key", GET HOST UPGRADE VERSION "\r\n", 400 },
	{ "two keys", GET HOST UPGRADE KEY KEY VERSION "\r\n", 400 },
	{ "a short key", GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n", 400 },
	{ "a key of 15 bytes", GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQA=\r\n\r\n", 400 },
	{ "a key of 17 bytes", GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n\r\n", 400 },
	{ "a key that is not base64", GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j-Q==\r\n\r\n",
	  400 },
	{ "a key with more behind it", GET HOST UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==A\r\n\r\n",
	  400 },
	{ "an empty key", GET HOST UPGRADE VERSION "Sec-WebSocket-Key:\r\n\r\n", 400 },
	{ "no version", GET HOST UPGRADE KEY "\r\n", 400 },
	{ "two versions", GET HOST UPGRADE KEY VERSION VERSION "\r\n", 400 },
	{ "version 8", GET HOST UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426 },
	{ "version 14", GET HOST UPGRADE KEY "Sec-WebSocket-Version: 14\r\n\r\n", 426 },
	{ "version 013", GET HOST UPGRADE KEY "Sec-WebSocket-Version: 013\r\n\r\n", 426 },
	{ "another version, without key", GET HOST UPGRADE "Sec-WebSocket-Version: 99\r\n\r\n", 426 },
	{ "POST", "POST / HTTP/1.1\r\n" REST, 405 },
	{ "HEAD", "HEAD / HTTP/1.1\r\n" REST, 405 },
	{ "a body", GET "Content-Length: 1\r\n" REST, 400 },
	{ "a body in chunks", GET "Transfer-Encoding: chunked\r\n" REST, 400 },

	/* plain HTTP */
	{ "GET", GET HOST "\r\n", PLAIN },
	{ "HEAD", "HEAD / HTTP/1.1\r\n" HOST "\r\n", PLAIN },
	{ "DELETE is for the application to judge", "DELETE / HTTP/1.1\r\n" HOST "\r\n", PLAIN },
	{ "another upgrade", GET HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", PLAIN },
	{ "Upgrade: websockets", GET HOST "Upgrade: websockets\r\nConnection: Upgrade\r\n\r\n", PLAIN },
	{ "POST without a body", "POST / HTTP/1.1\r\n" HOST "Content-Length: 00\r\n\r\n", PLAIN },
	{ "POST with one", "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n", 413 },
	{ "POST in chunks", "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 413 },
	{ "a length that is none", "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400 },
	{ "an empty length", "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400 },
	{ "two lengths", "POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400 },

	/* RFC 9112, section 3 */
	{ "absolute form", "GET http://example.com:80/chat?x=1 HTTP/1.1\r\n" REST, WEBSOCKET },
	{ "absolute form without path", "GET http://example.com HTTP/1.1\r\n" REST, WEBSOCKET },
	{ "absolute form, another scheme", "GET ftp://example.com/ HTTP/1.1\r\n" REST, 400 },
	{ "absolute form without authority", "GET http:/// HTTP/1.1\r\n" REST, 400 },
	{ "absolute form with a user", "GET http://me@example.com/ HTTP/1.1\r\n" REST, 400 },
	{ "authority form", "CONNECT example.com:80 HTTP/1.1\r\n" HOST "\r\n", 400 },
	{ "asterisk form", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 400 },
	{ "no slash", "GET chat HTTP/1.1\r\n" REST, 400 },
	{ "a fragment", "GET /#a HTTP/1.1\r\n" REST, 400 },
	{ "a byte above ASCII", "GET /\xc3\xa4 HTTP/1.1\r\n" REST, 400 },
	{ "no target", "GET HTTP/1.1\r\n" REST, 400 },
	{ "an empty target", "GET  HTTP/1.1\r\n" REST, 400 },
	{ "two spaces", "GET  / HTTP/1.1\r\n" REST, 400 },
	{ "a space behind", "GET / HTTP/1.1 \r\n" REST, 400 },
	{ "a tab between", "GET\t/\tHTTP/1.1\r\n" REST, 400 },
	{ "no version", "GET /\r\n" REST, 400 },
	{ "small letters", "GET / http/1.1\r\n" REST, 400 },
	{ "a handshake by HTTP/1.0", "GET / HTTP/1.0\r\n" REST, 505 },
	{ "HTTP/1.0", "GET / HTTP/1.0\r\nHost: example.com\r\n\r\n", PLAIN },
	{ "HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", PLAIN },
	{ "HTTP/1.0 with two Hosts", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
	{ "HTTP/1.2", "GET / HTTP/1.2\r\n" REST, 505 },
	{ "HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505 },
	{ "HTTP/11", "GET / HTTP/11\r\n" REST, 400 },
	{ "a method nobody knows", "FETCH / HTTP/1.1\r\n" REST, 501 },
	{ "a method in small letters", "get / HTTP/1.1\r\n" REST, 501 },
	{ "a method that is no token", "G(T / HTTP/1.1\r\n" REST, 400 },
	{ "an empty method", " / HTTP/1.1\r\n" REST, 400 },

	/* percent-encoding */
	{ "an escape", "GET /%41 HTTP/1.1\r\n" REST, WEBSOCKET },
	{ "a zero byte", "GET /a%00 HTTP/1.1\r\n" REST, 400 },
	{ "an escape cut short", "GET /%4 HTTP/1.1\r\n" REST, 400 },
	{ "an escape of nothing", "GET /% HTTP/1.1\r\n" REST, 400 },
	{ "an escape that is not hexadecimal", "GET /%4g HTTP/1.1\r\n" REST, 400 },
	{ "the query is not decoded here", "GET /?%4g HTTP/1.1\r\n" REST, WEBSOCKET },

	/* RFC 9112, sections 2.2, 3.2 and 5 */
	{ "no Host", GET UPGRADE KEY VERSION "\r\n", 400 },
	{ "two Hosts", GET HOST REST, 400 },
	{ "an empty Host", GET "Host:\r\n" UPGRADE KEY VERSION "\r\n", 400 },
	{ "a Host that is none", GET "Host: a/b\r\n" UPGRADE KEY VERSION "\r\n", 400 },
	{ "an address as Host", GET "Host: [::1]:8080\r\n" UPGRADE KEY VERSION "\r\n", WEBSOCKET },
	{ "no Host, plain", GET "\r\n", 400 },
	{ "a line without colon", GET "X\r\n" REST, 400 },
	{ "a line without name", GET ": x\r\n" REST, 400 },
	{ "a blank before the colon", GET "X : x\r\n" REST, 400 },
	{ "a name that is no token", GET "X(: x\r\n" REST, 400 },
	{ "a name above ASCII", GET "\xc3\xa4: x\r\n" REST, 400 },
	{ "a folded line", GET "X: a\r\n b\r\n" REST, 400 },
	{ "a line folded by a tab", GET "X: a\r\n\tb\r\n" REST, 400 },
	{ "bare LF", "GET / HTTP/1.1\n" REST, 400 },
	{ "bare LF between headers", GET "X: a\n" REST, 400 },
	{ "bare LF at the end", GET HOST "\n", 400 },
	{ "bare CR", GET "X: a\rb\r\n" REST, 400 },
	{ "two CR", GET "X: a\r\r\n" REST, 400 },
	{ "a control byte", GET "X: a\x01\r\n" REST, 400 },
	{ "a delete byte", GET "X: a\x7f\r\n" REST, 400 },
	{ "an empty line first", "\r\n" GET REST, 400 },
	{ "an empty value", GET "X:\r\n" REST, WEBSOCKET },
	{ "TLS on a plain port", "\x16\x03\x01", 400 },
	{ "incomplete", GET HOST, 0 },
	{ "nothing", "", 0 },
};

/* The verdict on the first `size` bytes, from a block of just that size. */
static int judge(struct rc_http_request *request, const char *bytes, size_t size, char **block)
{
	*block = malloc(size ? size : 1);
	memcpy(*block, bytes, size);
	int result = rc_handshake_parse(request, *block, size);
	if (result == 0)
		cr_expect_eq(memcmp(*block, bytes, size), 0, "changed before it was complete");
	return result;
}

/* The verdict of a receiver that is given `first` bytes, and then `step` more each time. */
static int verdict_by(const char *bytes, size_t size, size_t first, size_t step, size_t *length)
{
	struct rc_http_request request;
	for (size_t given = first;; given = given + step < size ? given + step : size) {
		char *block;
		int result = judge(&request, bytes, given, &block);
		free(block);
		if (result > 0)
			*length = (size_t)result;
		if (result || given == size)
			return result > 0 ? (request.websocket ? WEBSOCKET : PLAIN) : -result;
	}
}

Test(handshake, every_rule_at_every_cut)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *bytes = cases[i].bytes;
		size_t size = strlen(bytes), length = size;
		int verdict = verdict_by(bytes, size, 0, 1, &length);
		cr_expect_eq(verdict, cases[i].verdict, "%s: %d, byte by byte", cases[i].rule, verdict);
		for (size_t cut = 0; cut <= size; cut++) {
			verdict = verdict_by(bytes, size, cut, size, &length);
			cr_expect_eq(verdict, cases[i].verdict, "%s: %d, cut at %zu", cases[i].rule, verdict, cut);
		}
		cr_expect_eq(length, size, "%s: all of it is the head", cases[i].rule);
	}
}

Test(handshake, a_zero_byte_is_refused)
{
	char bytes[] = GET "X: a0b\r\n" REST;
	*strchr(bytes, '0') = 0;
	size_t length;
	cr_expect_eq(verdict_by(bytes, sizeof bytes - 1, 0, 1, &length), 400);
}

Test(handshake, what_follows_is_left)
{
	static const char bytes[] = GET REST "\x81\x80....";
	struct rc_http_request request;
	char *block;
	cr_expect_eq(judge(&request, bytes, sizeof bytes - 1, &block), (int)(sizeof bytes - 1 - 6));
	cr_expect_arr_eq(block + sizeof bytes - 1 - 6, "\x81\x80....", 6);
	free(block);
}

Test(handshake, targets)
{
	static const struct {
		const char *target, *path, *query;
	} targets[] = {
		{ "/", "/", "" },
		{ "/a/b?c=d&e", "/a/b", "c=d&e" },
		{ "/a?", "/a", "" },
		{ "/a?b?c", "/a", "b?c" },
		{ "/%41%2f%3F%c3%a4?%41", "/A/?\xc3\xa4", "%41" },
		{ "/a+b", "/a+b", "" },
		{ "http://h:1/x?y", "/x", "y" },
		{ "WS://[::1]", "/", "" },
		{ "https://h?y", "/", "y" },
		{ "//h/x", "//h/x", "" },
	};
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		char bytes[512], *block;
		int size = snprintf(bytes, sizeof bytes, "GET %s HTTP/1.1\r\n" REST, targets[i].target);
		struct rc_http_request request;
		cr_assert_eq(judge(&request, bytes, (size_t)size, &block), size, "%s", targets[i].target);
		cr_expect_str_eq(request.method, "GET");
		cr_expect_str_eq(request.path, targets[i].path);
		cr_expect_str_eq(request.query, targets[i].query);
		cr_expect_str_eq(request.key, "dGhlIHNhbXBsZSBub25jZQ==");
		free(block);
	}
}

Test(handshake, headers_and_lists)
{
	static const char bytes[] = GET
	    "X-One:  a b \r\nx-one: c\r\nY: a, \"b\" ,,c\r\nY:\r\nEmpty:\r\n"
	    "Sec-WebSocket-Protocol: chat, v2.example\r\nsec-websocket-protocol: Super\r\n" REST;
	struct rc_http_request request;
	char *block;
	cr_assert_gt(judge(&request, bytes, sizeof bytes - 1, &block), 0);
	cr_expect_str_eq(rc_http_header(&request, "x-ONE"), "a b");
	cr_expect_str_eq(rc_http_header(&request, "empty"), "");
	cr_expect_null(rc_http_header(&request, "x"));
	cr_expect_null(rc_http_header(&request, "x-one-two"));
	cr_expect_str_eq(rc_http_header_at(&request, "X-One", 0), "a b");
	cr_expect_str_eq(rc_http_header_at(&request, "X-One", 1), "c");
	cr_expect_null(rc_http_header_at(&request, "X-One", 2));
	cr_expect_str_eq(rc_http_header_at(&request, "y", 1), "");
	cr_expect(rc_http_list_has(&request, "y", "C"));
	cr_expect(rc_http_list_has(&request, "x-one", "c"), "in the second line");
	cr_expect_not(rc_http_list_has(&request, "y", "b"));
	cr_expect_not(rc_http_list_has(&request, "y", ""));
	cr_expect(rc_handshake_offers(&request, "chat"));
	cr_expect(rc_handshake_offers(&request, "v2.example"));
	cr_expect(rc_handshake_offers(&request, "Super"));
	cr_expect_not(rc_handshake_offers(&request, "super"), "with case");
	cr_expect_not(rc_handshake_offers(&request, "v2"));
	free(block);
}

/* A request with a target of `target_size` and `header_count` headers, filled up to `size` bytes; 0 for no filling. */
static char *make_request(size_t target_size, unsigned header_count, size_t size)
{
	char *bytes = malloc(64 * RC_KIB);
	cr_assert(bytes);
	size_t at = (size_t)sprintf(bytes, "GET /");
	memset(bytes + at, 'a', target_size - 1);
	at += target_size - 1;
	at += (size_t)sprintf(bytes + at, " HTTP/1.1\r\n" HOST);
	for (unsigned i = 1; i < header_count; i++)
		at += (size_t)sprintf(bytes + at, "N%u:\r\n", i);
	if (size > at) {
		memset(bytes + at - 2, 'b', size - at - 2);
		memcpy(bytes + size - 4, "\r\n\r\n", 5);
	} else {
		memcpy(bytes + at, "\r\n", 3);
	}
	return bytes;
}

Test(handshake, limits_at_their_bounds)
{
	const size_t around = strlen("GET  HTTP/1.1");
	const struct {
		size_t target_size;
		unsigned header_count;
		size_t size;
		int verdict;
		size_t judged_at; /* bytes after which a refusal is certain */
	} bounds[] = {
		{ RC_REQUEST_LINE_MAX - around, 1, 0, PLAIN, 0 },
		{ RC_REQUEST_LINE_MAX - around + 1, 1, 0, 414, RC_REQUEST_LINE_MAX + 1 },
		{ 60000, 1, 0, 414, RC_REQUEST_LINE_MAX + 1 },
		{ 1, RC_REQUEST_HEADERS_MAX, 0, PLAIN, 0 },
		{ 1, RC_REQUEST_HEADERS_MAX + 1, 0, 431, 0 },
		{ 1, RC_REQUEST_HEADERS_MAX, RC_REQUEST_SIZE_MAX, PLAIN, 0 },
		{ 1, 1, RC_REQUEST_SIZE_MAX, PLAIN, 0 },
		{ 1, 1, RC_REQUEST_SIZE_MAX + 1, 431, RC_REQUEST_SIZE_MAX },
		{ RC_REQUEST_LINE_MAX - around, 3, RC_REQUEST_SIZE_MAX, PLAIN, 0 },
	};
	for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
		char *bytes = make_request(bounds[i].target_size, bounds[i].header_count, bounds[i].size);
		size_t size = strlen(bytes), length, at = bounds[i].judged_at;
		cr_assert(!bounds[i].size || size == bounds[i].size);
		int whole = verdict_by(bytes, size, size, 1, &length), pieces = verdict_by(bytes, size, 0, 1, &length);
		cr_expect_eq(whole, bounds[i].verdict, "bound %zu: %d", i, whole);
		cr_expect_eq(pieces, bounds[i].verdict, "bound %zu: %d, byte by byte", i, pieces);
		if (at) {
			cr_expect_eq(verdict_by(bytes, at, at, 1, &length), bounds[i].verdict, "bound %zu, early", i);
			cr_expect_eq(verdict_by(bytes, at - 1, at - 1, 1, &length), 0, "bound %zu, too early", i);
		}
		free(bytes);
	}
}

Test(handshake, accept_values)
{
	char accept[RC_ACCEPT_SIZE + 1];
	rc_handshake_accept(accept, "dGhlIHNhbXBsZSBub25jZQ==");
	cr_expect_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	rc_handshake_accept(accept, "x3JJHMbDL1EzLkh9GBhXDw==");
	cr_expect_str_eq(accept, "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
}

/* Writes into blocks of every size: the response fits or there is none, and never a byte beyond. */
static void expect_response(const char *expected, size_t (*write)(char *to, size_t size))
{
	size_t needed = strlen(expected);
	for (size_t size = 0; size <= needed + 2; size++) {
		char *to = malloc(size ? size : 1);
		size_t written = write(to, size);
		if (size >= needed + 1) {
			cr_expect_eq(written, needed);
			cr_expect_arr_eq(to, expected, needed);
		} else if (size < needed) {
			cr_expect_eq(written, 0, "%zu of %zu bytes", size, needed);
		}
		free(to);
	}
}

static size_t write_101(char *to, size_t size)
{
	return rc_handshake_response(to, size, "dGhlIHNhbXBsZSBub25jZQ==", NULL, NULL);
}

static size_t write_101_protocol(char *to, size_t size)
{
	return rc_handshake_response(to, size, "dGhlIHNhbXBsZSBub25jZQ==", "chat", NULL);
}

static size_t write_400(char *to, size_t size)
{
	return rc_http_response(to, size, 400, NULL, NULL, 0, false, RC_HTTP_CLOSES);
}

static size_t write_405(char *to, size_t size)
{
	return rc_http_response(to, size, 405, NULL, NULL, 0, true, RC_HTTP_CLOSES);
}

static size_t write_426(char *to, size_t size)
{
	return rc_http_response(to, size, 426, NULL, NULL, 0, false, RC_HTTP_CLOSES);
}

static size_t write_503(char *to, size_t size)
{
	return rc_http_response(to, size, 503, NULL, "", 0, false, RC_HTTP_CLOSES);
}

static size_t write_200(char *to, size_t size)
{
	return rc_http_response(to, size, 200, "application/json", "{}", 2, false, RC_HTTP_CLOSES);
}

static size_t write_204(char *to, size_t size)
{
	return rc_http_response(to, size, 204, NULL, NULL, 0, false, RC_HTTP_CLOSES);
}

Test(handshake, responses)
{
#define TYPE "Content-Type: text/plain; charset=utf-8\r\n"
#define SWITCH                                                                                                         \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                            \
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	expect_response(SWITCH "\r\n", write_101);
	expect_response(SWITCH "Sec-WebSocket-Protocol: chat\r\n\r\n", write_101_protocol);
	expect_response("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n" TYPE
	                "Content-Length: 12\r\n\r\nBad Request\n",
	                write_400);
	expect_response("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\n" TYPE
	                "Content-Length: 19\r\n\r\n",
	                write_405);
	expect_response("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	                "Connection: close, Upgrade\r\n" TYPE "Content-Length: 17\r\n\r\nUpgrade Required\n",
	                write_426);
	expect_response("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n" TYPE
	                "Content-Length: 0\r\n\r\n",
	                write_503);
	expect_response(
	    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	    write_200);
	expect_response("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", write_204);
}
