/* SPDX-License-Identifier: MIT
 *
 * handshake_body.c - plain HTTP requests with a body: complete with its last byte and not before, refused at the head
 * when it is too large, and never a body for an opening handshake.
 */
#include "handshake.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX 10
#define POST "POST /x HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define OPENING                                                                                                        \
	"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"      \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static const struct {
	const char *text;
	int status;       /* 0: taken whole */
	const char *body; /* what is taken as its body */
} cases[] = {
	{ POST "\r\n", 0, "" },
	{ POST "Content-Length: 0\r\n\r\n", 0, "" },
	{ POST "Content-Length: 1\r\n\r\nx", 0, "x" },
	{ POST "content-length: 10\r\n\r\n0123456789", 0, "0123456789" },
	{ POST "Content-Length: 0010\r\n\r\n0123456789", 0, "0123456789" },
	{ POST "Content-Length: 11\r\n\r\n", 413, "" },
	{ POST "Content-Length: 18446744073709551617\r\n\r\n", 413, "" },
	{ POST "Content-Length: x\r\n\r\n", 400, "" },
	{ POST "Content-Length: -1\r\n\r\n", 400, "" },
	{ POST "Content-Length:\r\n\r\n", 400, "" },
	{ POST "Content-Length: 2\r\nContent-Length: 2\r\n\r\nxy", 400, "" },
	{ POST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nxy", 400, "" },
	{ POST "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", 400, "" },
	{ POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "" },
	{ POST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "" },
	{ POST "Transfer-Encoding: identity\r\n\r\n", 501, "" },
	{ "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "" },
	{ "POST /x HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", 0, "x" },
	{ CHUNKED "0\r\n\r\n", 0, "" },
	{ CHUNKED "3\r\nabc\r\n0\r\n\r\n", 0, "abc" },
	{ CHUNKED "1\r\na\r\n02;x=y\r\nbc\r\n1 \r\nd\r\n0;z\r\n\r\n", 0, "abcd" },
	{ CHUNKED "a\r\n0123456789\r\n00\r\nTrailer: x\r\nOther: y\r\n\r\n", 0, "0123456789" },
	{ CHUNKED "3\r\na\r\n\r\n0\r\n\r\n", 0, "a\r\n" },
	{ CHUNKED "B\r\n", 413, "" },
	{ CHUNKED "3\r\nabc\r\n8\r\n", 413, "" },
	{ CHUNKED "ffffffff\r\n", 413, "" },
	{ CHUNKED "100000001\r\n", 400, "" },
	{ CHUNKED "x\r\n", 400, "" },
	{ CHUNKED "-1\r\n", 400, "" },
	{ CHUNKED "\r\n", 400, "" },
	{ CHUNKED "3\n", 400, "" },
	{ CHUNKED "3\r\nabcd\r", 400, "" },
	{ CHUNKED "0\r\nTrailer: x\n", 400, "" },
	{ OPENING "\r\n", 0, "" },
	{ OPENING "Content-Length: 2\r\n\r\nxy", 400, "" },
};

/* Of these the head is right, whatever the body is. */
static bool is_in_chunks(const char *text)
{
	return strncmp(text, CHUNKED, sizeof CHUNKED - 1) == 0;
}

Test(handshake_body, in_every_prefix)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t whole = strlen(cases[i].text);
		for (size_t size = 0; size <= whole + 3; size++) {
			struct rc_http_request request;
			char *bytes = malloc(size ? size : 1);
			memcpy(bytes, cases[i].text, size < whole ? size : whole);
			if (size > whole)
				memset(bytes + whole, 'z', size - whole);
			struct rc_http_chunks chunks = { 0 };
			int result = rc_handshake_parse_body(&request, bytes, size, BODY_MAX, &chunks);
			int wanted = size < whole ? 0 : cases[i].status ? -cases[i].status : (int)whole;
			cr_expect_eq(result, wanted, "%s with %zu bytes: %d", cases[i].text, size, result);
			if (result > 0) {
				cr_expect_eq(request.body_size, strlen(cases[i].body), "%s", cases[i].text);
				cr_expect_arr_eq(request.body, cases[i].body, request.body_size, "%s", cases[i].text);
			} else if (result == 0 && size) {
				cr_expect_arr_eq(bytes, cases[i].text, size < whole ? size : whole,
				                 "changed before it was complete");
			}
			free(bytes);
		}
	}
}

/* While the body is awaited, the head is known and says what the whole will. */
Test(handshake_body, its_head_alone)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_http_request request;
		size_t whole = strlen(cases[i].text);
		int head_size = (int)(strstr(cases[i].text, "\r\n\r\n") - cases[i].text) + 4;
		for (size_t size = 0; size < whole; size++) {
			char *bytes = strndup(cases[i].text, size);
			struct rc_http_chunks chunks = { 0 };
			cr_expect_eq(rc_handshake_parse_body(&request, bytes, size, BODY_MAX, &chunks), 0, "%s",
			             cases[i].text);
			cr_expect_eq(request.head_size, size < (size_t)head_size ? 0 : head_size, "%s", cases[i].text);
			free(bytes);
		}
		if ((size_t)head_size == whole)
			continue;
		char *head = strndup(cases[i].text, (size_t)head_size);
		int result = rc_handshake_parse_head(&request, head, head_size, BODY_MAX);
		bool is_wrong = cases[i].status && !is_in_chunks(cases[i].text);
		cr_expect_eq(result, is_wrong ? -cases[i].status : head_size, "%s: %d", cases[i].text, result);
		cr_expect_eq(request.body_size, 0);
		free(head);
	}
}

Test(handshake_body, none_where_none_is_allowed)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_http_request request;
		char *bytes = strdup(cases[i].text);
		int result = rc_handshake_parse(&request, bytes, strlen(bytes));
		bool has_body = *cases[i].body || is_in_chunks(cases[i].text);
		cr_expect_eq(result,
		             has_body          ? -413
		             : cases[i].status ? -cases[i].status
		                               : (int)strlen(cases[i].text),
		             "%s: %d", cases[i].text, result);
		free(bytes);
	}
}

/* A head of nothing but its end has no line to read a length from. */
Test(handshake_body, an_empty_line_first)
{
	static const char text[] = "\r\nContent-Length: 3\r\n\r\nabc";
	for (size_t size = 2; size < sizeof text; size++) {
		struct rc_http_request request;
		struct rc_http_chunks chunks = { 0 };
		char *bytes = malloc(size);
		memcpy(bytes, text, size);
		cr_expect_eq(rc_handshake_parse_body(&request, bytes, size, BODY_MAX, &chunks), -400, "%zu", size);
		free(bytes);
	}
}

/* A receiver that keeps how far it came says the same. */
Test(handshake_body, in_pieces)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_http_request request;
		struct rc_http_chunks chunks = { 0 };
		size_t whole = strlen(cases[i].text);
		char *bytes = strdup(cases[i].text);
		int result = 0;
		for (size_t size = 0; size <= whole && !result; size++)
			result = rc_handshake_parse_body(&request, bytes, size, BODY_MAX, &chunks);
		cr_expect_eq(result, cases[i].status ? -cases[i].status : (int)whole, "%s: %d", cases[i].text, result);
		if (result > 0)
			cr_expect_arr_eq(request.body, cases[i].body, request.body_size, "%s", cases[i].text);
		free(bytes);
	}
}

/* Chunks of a byte each are six bytes each on the wire: what surrounds the bytes has a bound of its own. */
Test(handshake_body, as_much_around_it_as_allowed)
{
	struct rc_http_request request;
	struct rc_http_chunks chunks = { 0 };
	size_t head_size = strlen(CHUNKED), count = (RC_REQUEST_SIZE_MAX + 100000) / 5;
	char *bytes = malloc(head_size + (count + 1) * 6);
	memcpy(bytes, CHUNKED, head_size);
	for (size_t i = 0; i <= count; i++)
		memcpy(bytes + head_size + i * 6, "1\r\nx\r\n", 6);
	int result = rc_handshake_parse_body(&request, bytes, head_size + count * 6, 100000, &chunks);
	cr_expect_eq(result, 0, "%d", result);
	result = rc_handshake_parse_body(&request, bytes, head_size + (count + 1) * 6, 100000, &chunks);
	cr_expect_eq(result, -413, "%d", result);
	free(bytes);
}

/* Whether the next request may follow, and whether the body waits to be asked for. */
Test(handshake_body, what_comes_after)
{
	static const struct {
		const char *text;
		bool keeps, continues;
	} heads[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", true, false },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false, false },
		{ "GET / HTTP/1.0\r\n\r\n", false, false },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, false },
		{ POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", true, true },
		{ POST "Expect: 100-continue\r\n\r\n", true, false },
		{ "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", false, false },
	};
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		struct rc_http_request request;
		struct rc_http_chunks chunks = { 0 };
		char *bytes = strdup(heads[i].text);
		cr_expect_gt(rc_handshake_parse_body(&request, bytes, strlen(bytes), BODY_MAX, &chunks), 0);
		cr_expect_eq(request.keeps, heads[i].keeps, "%s", heads[i].text);
		cr_expect_eq(request.continues, heads[i].continues, "%s", heads[i].text);
		free(bytes);
	}
}
