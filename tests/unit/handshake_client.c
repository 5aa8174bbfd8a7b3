/* SPDX-License-Identifier: MIT
 *
 * handshake_client.c - the client's side of the opening handshake: URIs (RFC 6455, section 3), the request and what the
 * response must hold (section 4.1), and query parameters.
 */
#include "extension.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t nonce[16] = "the sample nonce"; /* its key is the one of the specification */

Test(handshake_client, urls)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		bool is_unix, tls;
		const char *target;
	} good[] = {
		{ "ws://h", "h", 80, false, false, "/" },
		{ "WS://Example.com/", "Example.com", 80, false, false, "/" },
		{ "wss://h", "h", 443, false, true, "/" },
		{ "wss://h:8443/a/b?c=d", "h", 8443, false, true, "/a/b?c=d" },
		{ "ws://127.0.0.1:65535/%20", "127.0.0.1", 65535, false, false, "/%20" },
		{ "ws://h?c", "h", 80, false, false, "/?c" },
		{ "ws://h:?c", "h", 80, false, false, "/?c" },
		{ "ws://[::1]", "::1", 80, false, false, "/" },
		{ "ws://[2001:db8::1]:8080/x", "2001:db8::1", 8080, false, false, "/x" },
		{ "ws+unix:/run/x.sock", "/run/x.sock", 0, true, false, "/" },
		{ "ws+unix:/run/x.sock:/topic/a?last=1", "/run/x.sock", 0, true, false, "/topic/a?last=1" },
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct rc_url url;
		cr_assert_eq(rc_url_parse(&url, good[i].text), 0, "%s", good[i].text);
		cr_expect_str_eq(url.host, good[i].host);
		cr_expect_eq(url.port, good[i].port);
		cr_expect_eq(url.is_unix, good[i].is_unix);
		cr_expect_eq(url.tls, good[i].tls);
		cr_expect_str_eq(url.target, good[i].target);
	}
	static const char *const bad[] = {
		"",
		"h",
		"ws:",
		"ws:/h",
		"ws:h",
		"http://h",
		"ws://",
		"ws:///x",
		"ws://:80/",
		"ws://h#a",
		"ws://h/#",
		"ws://h/a b",
		"ws://h/\n",
		"ws://h:0",
		"ws://h:x",
		"ws://h:65536",
		"ws://h:80:80",
		"ws://me@h",
		"ws://::1",
		"ws://[::1",
		"ws://[]",
		"ws://[::1]8",
		"ws://a]b",
		"ws://a b",
		"ws://h/\xc3\xa4",
		"ws+unix:",
		"ws+unix:x",
		"ws+unix:/x:",
		"ws+unix:/x:y",
		"ws+unix:/x:/#",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct rc_url url;
		cr_expect_eq(rc_url_parse(&url, bad[i]), -EINVAL, "%s", bad[i]);
	}
}

Test(handshake_client, url_bounds)
{
	struct rc_url url;
	char text[4096] = "ws://";
	size_t host_max = sizeof url.host - 1, target_max = sizeof url.target - 1;
	memset(text + 5, 'h', host_max);
	cr_expect_eq(rc_url_parse(&url, text), 0);
	text[5 + host_max] = 'h';
	cr_expect_eq(rc_url_parse(&url, text), -EINVAL);
	memset(text, 0, sizeof text);
	strcpy(text, "ws://h/");
	memset(text + 7, 'a', target_max - 1);
	cr_expect_eq(rc_url_parse(&url, text), 0);
	text[6] = '?';
	cr_expect_eq(rc_url_parse(&url, text), -EINVAL, "with the slash it is one too long");
	text[6] = '/';
	text[6 + target_max] = 'a';
	cr_expect_eq(rc_url_parse(&url, text), -EINVAL);
}

static void expect_request(const char *text, const char *protocols, const char *expected)
{
	struct rc_url url;
	cr_assert_eq(rc_url_parse(&url, text), 0);
	for (size_t size = 0; size < strlen(expected) + 3; size++) {
		char *to = malloc(size ? size : 1);
		size_t written = rc_handshake_request(to, size, &url, nonce, protocols, NULL, NULL);
		if (size > strlen(expected))
			cr_expect(written == strlen(expected) && memcmp(to, expected, written) == 0, "%s", text);
		else
			cr_expect_eq(written, 0);
		free(to);
	}
}

Test(handshake_client, requests)
{
#define REST                                                                                                           \
	"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"                 \
	"Sec-WebSocket-Version: 13\r\n"
	expect_request("ws://h/a?b", NULL, "GET /a?b HTTP/1.1\r\nHost: h\r\n" REST "\r\n");
	expect_request("ws://h:80", NULL, "GET / HTTP/1.1\r\nHost: h\r\n" REST "\r\n");
	expect_request("ws://h:443", NULL, "GET / HTTP/1.1\r\nHost: h:443\r\n" REST "\r\n");
	expect_request("wss://h:443", NULL, "GET / HTTP/1.1\r\nHost: h\r\n" REST "\r\n");
	expect_request("ws://[::1]:81", NULL, "GET / HTTP/1.1\r\nHost: [::1]:81\r\n" REST "\r\n");
	expect_request("ws+unix:/s:/x", NULL, "GET /x HTTP/1.1\r\nHost: localhost\r\n" REST "\r\n");
	expect_request("ws://h", "chat, v2",
	               "GET / HTTP/1.1\r\nHost: h\r\n" REST "Sec-WebSocket-Protocol: chat, v2\r\n\r\n");
	static const char *const bad[] = { "", ",", "a b", "a\r\nX: y", "(a)" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct rc_url url;
		char to[512];
		cr_assert_eq(rc_url_parse(&url, "ws://h"), 0);
		cr_expect_eq(rc_handshake_request(to, sizeof to, &url, nonce, bad[i], NULL, NULL), 0, "%s", bad[i]);
	}
}

Test(handshake_client, headers)
{
	static const struct {
		const char *name, *value;
		int result;
	} headers[] = {
		{ "X-Key", "abc", 12 },
		{ "Authorization", "Bearer a.b-c", 29 },
		{ "Cookie", "", 10 },
		{ "X", "a\tb", 8 },
		{ "X", "\xc3\xa4", 7 },
		{ "Sec-Fetch-Mode", "websocket", 27 },
		{ "X", "a\r\nHost: b", -EINVAL },
		{ "X", "a\n", -EINVAL },
		{ "X", "a\r", -EINVAL },
		{ "X", "\x7f", -EINVAL },
		{ "", "a", -EINVAL },
		{ "X Y", "a", -EINVAL },
		{ "X:", "a", -EINVAL },
		{ "X\r\nY", "a", -EINVAL },
		{ "host", "h", -EINVAL },
		{ "Upgrade", "h2c", -EINVAL },
		{ "CONNECTION", "close", -EINVAL },
		{ "Content-Length", "5", -EINVAL },
		{ "Transfer-Encoding", "chunked", -EINVAL },
		{ "Expect", "100-continue", -EINVAL },
		{ "Sec-WebSocket-Key", "x", -EINVAL },
		{ "sec-websocket-protocol", "x", -EINVAL },
		{ "Sec-WebSocket-Anything", "x", -EINVAL },
	};
	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		char to[64], exact[64];
		int size = rc_handshake_add_header(to, sizeof to, headers[i].name, headers[i].value);
		cr_expect_eq(size, headers[i].result, "%s: %s: %d", headers[i].name, headers[i].value, size);
		if (size < 0)
			continue;
		cr_expect_eq(strlen(to), (size_t)size);
		cr_expect_eq(rc_handshake_add_header(exact, (size_t)size + 1, headers[i].name, headers[i].value), size);
		cr_expect_eq(rc_handshake_add_header(exact, (size_t)size, headers[i].name, headers[i].value), -ENOSPC);
	}
	struct rc_url url;
	char to[512];
	cr_assert_eq(rc_url_parse(&url, "ws://h"), 0);
	size_t size = rc_handshake_request(to, sizeof to, &url, nonce, NULL, "A: b\r\nC: d\r\n", NULL);
	cr_assert_gt(size, 16);
	cr_expect_eq(memcmp(to + size - 16, "\r\nA: b\r\nC: d\r\n\r\n", 16), 0);
	cr_expect_eq(rc_handshake_request(to, size, &url, nonce, NULL, "A: b\r\nC: d\r\n", NULL), 0);
}

#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define ALL SWITCH UPGRADE CONNECTION ACCEPT
#define CORRECT 1

static const struct {
	const char *rule, *bytes, *offered;
	int verdict; /* CORRECT, 0 for incomplete, or what is returned */
	const char *protocol;
} cases[] = {
	{ "the least response", ALL "\r\n", NULL, CORRECT, "" },
	{ "in any order, without case",
	  "HTTP/1.1 101\r\nsec-websocket-accept:s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nCONNECTION: keep-alive, upgrade\r\n"
	  "UPGRADE: WebSocket\r\nServer: x\r\n\r\n",
	  NULL, CORRECT, "" },
	{ "no words behind the status", "HTTP/1.1 101 \r\n" UPGRADE CONNECTION ACCEPT "\r\n", NULL, CORRECT, "" },
	{ "a subprotocol that was offered", ALL "Sec-WebSocket-Protocol: v2\r\n\r\n", "chat, v2", CORRECT, "v2" },
	{ "none of those offered", ALL "\r\n", "chat", CORRECT, "" },
	{ "one not offered", ALL "Sec-WebSocket-Protocol: v3\r\n\r\n", "chat, v2", -EPROTO, NULL },
	{ "one in another case", ALL "Sec-WebSocket-Protocol: Chat\r\n\r\n", "chat", -EPROTO, NULL },
	{ "one when none was offered", ALL "Sec-WebSocket-Protocol: chat\r\n\r\n", NULL, -EPROTO, NULL },
	{ "an empty one", ALL "Sec-WebSocket-Protocol:\r\n\r\n", "chat", -EPROTO, NULL },
	{ "two at once", ALL "Sec-WebSocket-Protocol: chat, v2\r\n\r\n", "chat, v2", -EPROTO, NULL },
	{ "two lines", ALL "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n\r\n", "chat, v2", -EPROTO,
	  NULL },
	{ "an extension", ALL "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", NULL, -EPROTO, NULL },
	{ "no Upgrade", SWITCH CONNECTION ACCEPT "\r\n", NULL, -EPROTO, NULL },
	{ "another Upgrade", SWITCH "Upgrade: h2c\r\n" CONNECTION ACCEPT "\r\n", NULL, -EPROTO, NULL },
	{ "no Connection", SWITCH UPGRADE ACCEPT "\r\n", NULL, -EPROTO, NULL },
	{ "another Connection", SWITCH UPGRADE "Connection: close\r\n" ACCEPT "\r\n", NULL, -EPROTO, NULL },
	{ "no Accept", SWITCH UPGRADE CONNECTION "\r\n", NULL, -EPROTO, NULL },
	{ "the key of another", SWITCH UPGRADE CONNECTION "Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n",
	  NULL, -EPROTO, NULL },
	{ "the key in another case",
	  SWITCH UPGRADE CONNECTION "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", NULL, -EPROTO, NULL },
	{ "two Accepts", ALL ACCEPT "\r\n", NULL, -EPROTO, NULL },
	{ "refused", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", NULL, -403, NULL },
	{ "refused by an old server", "HTTP/1.0 503 Busy\r\n\r\n", NULL, -503, NULL },
	{ "not upgraded", "HTTP/1.1 200 OK\r\n\r\n", NULL, -200, NULL },
	{ "elsewhere", "HTTP/1.1 302 Found\r\nLocation: ws://x/\r\n\r\n", NULL, -302, NULL },
	{ "HTTP/1.0 cannot upgrade", "HTTP/1.0 101 x\r\n" UPGRADE CONNECTION ACCEPT "\r\n", NULL, -EPROTO, NULL },
	{ "another 1xx", "HTTP/1.1 100 Continue\r\n\r\n", NULL, -EPROTO, NULL },
	{ "no status", "HTTP/1.1 \r\n\r\n", NULL, -EPROTO, NULL },
	{ "a status of four digits", "HTTP/1.1 1010 x\r\n\r\n", NULL, -EPROTO, NULL },
	{ "a status that is none", "HTTP/1.1 999 x\r\n\r\n", NULL, -EPROTO, NULL },
	{ "HTTP/2", "HTTP/2.0 101 x\r\n\r\n", NULL, -EPROTO, NULL },
	{ "no HTTP", "SSH-2.0-x\r\n\r\n", NULL, -EPROTO, NULL },
	{ "bare LF", "HTTP/1.1 101 x\nUpgrade: websocket\n\n", NULL, -EPROTO, NULL },
	{ "a line that is no header", ALL "x\r\n\r\n", NULL, -EPROTO, NULL },
	{ "a folded line", ALL "X: a\r\n b\r\n\r\n", NULL, -EPROTO, NULL },
	{ "incomplete", ALL "\r", NULL, 0, NULL },
};

static struct rc_deflate agreed;
static const char *why;

static int verdict_at(size_t i, size_t size, char protocol[RC_PROTOCOL_NAME_MAX])
{
	char *block = malloc(size ? size : 1);
	memcpy(block, cases[i].bytes, size);
	int result = rc_handshake_response_parse(block, size, nonce, cases[i].offered, protocol, NULL, &agreed, &why);
	cr_expect_eq(why != NULL, result == -EPROTO, "%s: words for each fault, and for nothing else", cases[i].rule);
	free(block);
	return result;
}

Test(handshake_client, responses_at_every_cut)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t size = strlen(cases[i].bytes);
		char protocol[RC_PROTOCOL_NAME_MAX];
		int whole = verdict_at(i, size, protocol), pieces = 0;
		cr_expect_eq(whole > 0 ? CORRECT : whole, cases[i].verdict, "%s: %d", cases[i].rule, whole);
		if (whole > 0) {
			cr_expect_eq((size_t)whole, size);
			cr_expect_str_eq(protocol, cases[i].protocol, "%s", cases[i].rule);
		}
		for (size_t given = 0; given <= size && pieces == 0; given++)
			pieces = verdict_at(i, given, protocol);
		cr_expect_eq(pieces, whole, "%s: %d in pieces", cases[i].rule, pieces);
	}
}

Test(handshake_client, frames_behind_the_response_are_left)
{
	static const char bytes[] = ALL "\r\n\x81\x05Hello";
	char protocol[RC_PROTOCOL_NAME_MAX];
	cr_expect_eq(rc_handshake_response_parse(bytes, sizeof bytes - 1, nonce, NULL, protocol, NULL, &agreed, &why),
	             (int)sizeof bytes - 8);
}

Test(handshake_client, query_parameters)
{
	static const struct {
		const char *query, *name;
		int result;
		const char *value;
	} queries[] = {
		{ "", "a", -1, NULL },
		{ "a=1", "a", 1, "1" },
		{ "a=1&b=2", "b", 1, "2" },
		{ "b=1&a=2&a=3", "a", 1, "2" },
		{ "a", "a", 0, "" },
		{ "a=", "a", 0, "" },
		{ "a&b=1", "a", 0, "" },
		{ "&&a=1&", "a", 1, "1" },
		{ "ab=1", "a", -1, NULL },
		{ "a=1", "ab", -1, NULL },
		{ "A=1", "a", -1, NULL },
		{ "b=a=1", "a", -1, NULL },
		{ "a=b=c", "a", 3, "b=c" },
		{ "a=%41+%2b%26", "a", 4, "A +&" },
		{ "%61=1", "a", 1, "1" },
		{ "a+b=1", "a b", 1, "1" },
		{ "a=%4", "a", -2, NULL },
		{ "a=%4&b", "a", -2, NULL },
		{ "a=%", "a", -2, NULL },
		{ "a=%zz", "a", -2, NULL },
		{ "a=%00", "a", -2, NULL },
		{ "a=%zz&b=1", "b", 1, "1" },
		{ "%zz&b=1", "b", 1, "1" },
		{ "a%00=1", "a", -1, NULL },
		{ "a%zz", "a", -1, NULL },
		{ "a=1234567", "a", 7, "1234567" },
		{ "a=12345678", "a", -2, NULL },
	};
	for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
		char to[8];
		int result = rc_query_get(queries[i].query, queries[i].name, to, sizeof to);
		cr_expect_eq(result, queries[i].result, "%s in %s: %d", queries[i].name, queries[i].query, result);
		if (queries[i].value && result >= 0)
			cr_expect_str_eq(to, queries[i].value);
	}
}
