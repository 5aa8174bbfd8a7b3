/* SPDX-License-Identifier: MIT
 *
 * http.h - what both roles of the opening handshake share: reading the head of an HTTP/1.1 message (RFC 9112) as spans
 * of the bytes, bodies in chunks, and the decoding of targets (RFC 3986). Only the handshake's files include it.
 */
#ifndef RC_HTTP_H
#define RC_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct rc_span {
	const char *text;
	size_t size;
};

/* Walks a head up to its empty line and judges each byte as it comes, so that the verdict does not depend on the pieces
 * in which the head comes. Returns its size, 0 while it is incomplete, or the negative status: 400 (control bytes, a
 * line end that is not CR LF), 414 (a long first line), 431 (too long, or too many headers). */
int rc_http_head_size(const char *bytes, size_t size);

/* Takes the next line off a head, without its CR LF; false at the empty one. */
bool rc_http_line(struct rc_span *head, struct rc_span *line);

/* Divides "name: value"; the value is trimmed. False when the line is no such field. */
bool rc_http_field(struct rc_span line, struct rc_span *name, struct rc_span *value);

/* Takes the next item off a comma separated list, trimmed; empty ones are skipped (RFC 9110, section 5.6.1). */
bool rc_http_item(struct rc_span *list, struct rc_span *item);

bool rc_http_is_name(const char *name, const char *other); /* the same name of a header, without case, in ASCII */

bool rc_span_is(struct rc_span span, const char *text); /* without case, in ASCII */
bool rc_span_is_exactly(struct rc_span span, const char *text);
bool rc_span_is_token(struct rc_span span);     /* RFC 9110, section 5.6.2 */
bool rc_span_is_authority(struct rc_span span); /* host [":" port], no user: by its characters */
bool rc_span_is_target(struct rc_span span);    /* visible ASCII, no fragment */

struct rc_http_chunks;

/* Walks a body in chunks, on from where it came to last. Returns the length of all of it as it was written; 0 while
 * more bytes are needed; or the negative status: 400, 413 (more than `max` bytes, or more than that and
 * RC_REQUEST_SIZE_MAX around them). */
int rc_chunks_walk(struct rc_http_chunks *chunks, const char *body, size_t size, size_t max);

/* Puts the chunks of a body that was walked to its end side by side, from its beginning on. */
void rc_chunks_join(char *body);

/* Decodes in place and terminates; false for a malformed escape or an escaped zero byte. */
bool rc_percent_decode(char *text);

#endif
