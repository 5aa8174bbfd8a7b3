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
	{ POST "Transfer-Encoding: chunked\r\n\r\n", 413, "" },
	{ POST "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nxy", 413, "" },
	{ OPENING "\r\n", 0, "" },
	{ OPENING "Content-Length: 2\r\n\r\nxy", 400, "" },
};

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
			int result = rc_handshake_parse_body(&request, bytes, size, BODY_MAX);
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
Test(handshake_body, none_behind_an_empty_line)
{
	static const char text[] = "\r\nContent-Length: 1\r\n\r\nx";
	for (size_t size = 2; size < sizeof text; size++) {
		struct rc_http_request request;
		char *bytes = malloc(size);
		memcpy(bytes, text, size);
		cr_expect_eq(rc_handshake_parse_body(&request, bytes, size, BODY_MAX), -400, "%zu bytes", size);
		free(bytes);
	}
}

Test(handshake_body, its_head_alone)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_http_request request;
		size_t whole = strlen(cases[i].text);
		int head_size = (int)(strstr(cases[i].text, "\r\n\r\n") - cases[i].text) + 4;
		for (size_t size = 0; size < whole; size++) {
			char *bytes = strndup(cases[i].text, size);
			cr_expect_eq(rc_handshake_parse_body(&request, bytes, size, BODY_MAX), 0, "%s", cases[i].text);
			cr_expect_eq(request.head_size, size < (size_t)head_size ? 0 : head_size, "%s", cases[i].text);
			free(bytes);
		}
		if ((size_t)head_size == whole)
			continue;
		char *head = strndup(cases[i].text, (size_t)head_size);
		int result = rc_handshake_parse_head(&request, head, head_size, BODY_MAX);
		cr_expect_eq(result, cases[i].status ? -cases[i].status : head_size, "%s: %d", cases[i].text, result);
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
		bool has_body = *cases[i].body;
		cr_expect_eq(result,
		             cases[i].status ? -cases[i].status
		             : has_body      ? -413
		                             : (int)strlen(cases[i].text),
		             "%s: %d", cases[i].text, result);
		free(bytes);
	}
}
