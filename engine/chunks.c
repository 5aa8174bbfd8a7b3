/* SPDX-License-Identifier: MIT
 *
 * chunks.c - a body in chunks (RFC 9112, section 7.1); see http.h. Extensions and trailers are passed over. It must not
 * know heads.
 *
 *      5;x=y CR LF  h e l l o  CR LF  0 CR LF  Trailer: z CR LF  CR LF
 *      `at` stands before a size; what is behind it is looked at anew when more bytes have come
 *
 * Invariant: no byte before `at` is looked at again, and bytes are changed only by rc_chunks_join().
 */
#include "bounds.h"
#include "handshake.h"
#include "http.h"

#include <string.h>

#define LINE_MAX 256 /* of a size and its extensions */
#define DIGITS_MAX 8

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The length of a line with its CR LF; 0 while it is incomplete; -400 for another line end, or too long a line. */
static int line_size(const char *text, size_t size, size_t max)
{
	const char *end = memchr(text, '\n', size < max ? size : max);
	if (!end)
		return size < max ? 0 : -400;
	return end > text && end[-1] == '\r' ? (int)(end - text) + 1 : -400;
}

/* Reads a size. False for what is none. */
static bool read_size(const char *line, size_t *size)
{
	unsigned digits = 0;
	*size = 0;
	for (int digit; (digit = digit_of(line[digits])) >= 0; digits++) {
		if (digits == DIGITS_MAX)
			return false;
		*size = *size * 16 + (size_t)digit;
	}
	char after = line[digits];
	return digits && (after == '\r' || after == ';' || after == ' ' || after == '\t');
}

/* Behind the last chunk: lines that mean nothing here, up to an empty one. */
static int trailer_size(const char *text, size_t size)
{
	size_t at = 0;
	for (;;) {
		int line = line_size(text + at, size - at, RC_REQUEST_SIZE_MAX - at);
		if (line <= 0)
			return line;
		at += (size_t)line;
		if (line == 2)
			return (int)at;
	}
}

int rc_chunks_walk(struct rc_http_chunks *chunks, const char *body, size_t size, size_t max)
{
	for (;;) {
		const char *text = body + chunks->at;
		size_t left = size - chunks->at, chunk;
		int line = line_size(text, left, LINE_MAX);
		if (line <= 0)
			return line;
		if (!read_size(text, &chunk))
			return -400;
		if (chunk == 0) {
			int trailer = trailer_size(text + line, left - (size_t)line);
			return trailer <= 0 ? trailer : (int)chunks->at + line + trailer;
		}
		size_t whole = (size_t)line + chunk + 2;
		if (chunk > max - chunks->body_size ||
		    chunks->at + whole - chunks->body_size - chunk > max + RC_REQUEST_SIZE_MAX)
			return -413;
		if (left < whole)
			return 0;
		if (memcmp(text + whole - 2, "\r\n", 2) != 0)
			return -400;
		chunks->at += (uint32_t)whole;
		chunks->body_size += (uint32_t)chunk;
	}
}

void rc_chunks_join(char *body)
{
	const char *from = body;
	size_t chunk;
	while (read_size(from, &chunk) && chunk) {
		from = strchr(from, '\n') + 1;
		memmove(body, from, chunk);
		body += chunk;
		from += chunk + 2;
	}
}
