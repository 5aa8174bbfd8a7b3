/* SPDX-License-Identifier: MIT
 *
 * handshake.h - the opening handshake (RFC 6455, section 4) and as much HTTP/1.1 (RFC 9112) as it needs, as pure
 * functions from bytes to verdicts, in both roles. It never waits and never sends.
 */
#ifndef RC_HANDSHAKE_H
#define RC_HANDSHAKE_H

#include "bounds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RC_ACCEPT_SIZE 28 /* base64 of a SHA-1 */

struct rc_header {
	const char *name, *value; /* zero-terminated, the value trimmed */
};

/* A request, parsed in place: all text points into the buffer that was given. */
struct rc_http_request {
	const char *method;
	const char *path; /* percent-decoded */
	char *query;      /* raw, after the '?'; "" without one */
	struct rc_header headers[RC_REQUEST_HEADERS_MAX];
	unsigned header_count;
	bool websocket;   /* a correct opening handshake; otherwise plain HTTP */
	bool keeps;       /* another request may follow on this connection (RFC 9112, section 9.3) */
	bool continues;   /* its body waits to be told to come (RFC 9110, section 10.1.1) */
	const char *key;  /* Sec-WebSocket-Key */
	const char *body; /* behind the head */
	size_t body_size;
	int head_size; /* once the head is complete, though its body may not be; else 0 */
};

/* How far a body in chunks was walked. Zeroed before a request's first bytes, and kept while more of them come, so that
 * a body costs the same in however many pieces it comes. */
struct rc_http_chunks {
	uint32_t at;        /* behind the head: the next chunk's size line */
	uint32_t body_size; /* of the chunks before it */
};

/* Returns the length of the request (its head) when it is complete and correct; 0 while more bytes are needed; or a
 * negative HTTP status to refuse with: 400, 405 (a handshake not by GET), 414, 426 (a version other than 13), 431, 501
 * (a method unknown to HTTP, another coding than chunked), 505 (neither HTTP/1.1 nor 1.0; a handshake by 1.0). `bytes`
 * is changed only once it is complete. Limits are judged as soon as they are passed, so that no buffer beyond
 * RC_REQUEST_SIZE_MAX is ever needed. A request with a body (Content-Length above 0, Transfer-Encoding) is 400 for a
 * handshake and 413 otherwise. */
int rc_handshake_parse(struct rc_http_request *request, char *bytes, size_t size);

/* The same, but plain HTTP may have a body of up to `body_size_max` bytes, given by Content-Length or in chunks (RFC
 * 9112, section 7.1): the request is complete, and its length returned, with the last of them. While only they are
 * missing, `head_size` is set. Chunks are put together in place; what is written around them may be as long again and
 * RC_REQUEST_SIZE_MAX, and beyond that the request is 413. */
int rc_handshake_parse_body(struct rc_http_request *request, char *bytes, size_t size, size_t body_size_max,
                            struct rc_http_chunks *chunks);

/* The head alone of such a request while its body is awaited: `size` is the head_size that was given. Returns it, or a
 * negative status. The bytes are changed, so they are a copy of what the body is gathered behind. */
int rc_handshake_parse_head(struct rc_http_request *request, char *bytes, int size, size_t body_size_max);

/* The first value of a header or null; names compare without case. */
const char *rc_http_header(const struct rc_http_request *request, const char *name);
/* The value on the line `index`, from 0, of those with this header, or null. */
const char *rc_http_header_at(const struct rc_http_request *request, const char *name, unsigned index);

/* True when a header that is a comma separated list (in any number of lines) holds the token, without case. */
bool rc_http_list_has(const struct rc_http_request *request, const char *name, const char *token);

/* True when the client offered this subprotocol (Sec-WebSocket-Protocol, compared with case). */
bool rc_handshake_offers(const struct rc_http_request *request, const char *protocol);

/* Finds a parameter of a query and decodes its value ('+' is a space) into `to`. Returns the length, -1 when it is not
 * there, -2 when it is malformed or does not fit in `size` with its zero. */
int rc_query_get(const char *query, const char *name, char *to, size_t size);

/* base64(SHA-1(key + GUID)), zero-terminated. */
void rc_handshake_accept(char to[RC_ACCEPT_SIZE + 1], const char *key);

/* Writes the 101 response; protocol and extensions may be null. Returns its length, or 0 when it does not fit. */
size_t rc_handshake_response(char *to, size_t size, const char *key, const char *protocol, const char *extensions);

enum rc_http_after { RC_HTTP_CLOSES, RC_HTTP_KEEPS }; /* what comes of the connection behind a response */

/* Writes a response, with "Connection: close" where it is the last, and with whatever its status demands (Allow,
 * Sec-WebSocket-Version, Upgrade, Retry-After). `type` and `body` may be null: the body is then the status in words.
 * Returns its length, 0 when it does not fit. A HEAD request gets the same without the body; 204 and 304 have none. */
size_t rc_http_response(char *to, size_t size, int status, const char *type, const void *body, size_t body_size,
                        bool head, enum rc_http_after after);

const char *rc_http_status_text(int status);

/* ---- client role ---- */

struct rc_deflate;
struct rc_deflate_wish; /* extension.h; null: none is offered, and none may be answered */

struct rc_url {
	char host[256]; /* without brackets; the socket's path for a Unix socket */
	uint16_t port;
	bool is_unix;
	bool tls;          /* wss */
	char target[2048]; /* path and query, as sent */
};

/* "ws://HOST[:PORT][/PATH[?QUERY]]", "wss://...", "ws+unix:/SOCKET[:/PATH]". Returns 0 or -EINVAL. No fragment is
 * allowed (section 3). */
int rc_url_parse(struct rc_url *url, const char *text);

/* Writes a line for the request, zero-terminated. Returns its length, -EINVAL for bytes that may not stand there and
 * for headers that the request has by itself, or -ENOSPC. */
int rc_handshake_add_header(char *to, size_t size, const char *name, const char *value);

/* Writes the request; `nonce` is 16 random bytes, whose base64 is the key; `headers` are lines of
 * rc_handshake_add_header(), or null. Returns its length, 0 when it does not fit or `protocols` is no list of tokens.
 */
size_t rc_handshake_request(char *to, size_t size, const struct rc_url *url, const uint8_t nonce[16],
                            const char *protocols, const char *headers, const struct rc_deflate_wish *wish);

/* Judges a response to that request. Returns its length when it is a correct 101; 0 while more bytes are needed; the
 * negative HTTP status when the server refused; -EPROTO (as -71) for anything that section 4.1 says must fail.
 * `protocol` receives the subprotocol chosen, "" for none. Statuses are above 100, so they do not meet EPROTO. With
 * -EPROTO *why says what is wrong. */
int rc_handshake_response_parse(const char *bytes, size_t size, const uint8_t nonce[16], const char *protocols,
                                char protocol[RC_PROTOCOL_NAME_MAX], const struct rc_deflate_wish *wish,
                                struct rc_deflate *agreed, const char **why);

#endif
