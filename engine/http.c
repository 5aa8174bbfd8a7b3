/* SPDX-License-Identifier: MIT
 *
 * http.c - heads of HTTP/1.1 messages, and all responses but the 101; see http.h and handshake.h. Of WebSocket it knows
 * only the headers that some statuses demand. Invariant: nothing is read past the empty line.
 */
#include "http.h"

#include "handshake.h"

#include <string.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
}

static bool is_made_of(struct rc_span span, const char *others)
{
	for (size_t i = 0; i < span.size; i++) {
		char c = span.text[i];
		if (!is_alphanumeric(c) && (c == 0 || !strchr(others, c)))
			return false;
	}
	return span.size > 0;
}

bool rc_span_is_token(struct rc_span span)
{
	return is_made_of(span, "!#$%&'*+-.^_`|~");
}

bool rc_span_is_authority(struct rc_span span)
{
	return is_made_of(span, "-._~!$&'()*+,;=%:[]");
}

bool rc_span_is_target(struct rc_span span)
{
	for (size_t i = 0; i < span.size; i++)
		if (span.text[i] <= ' ' || span.text[i] >= 0x7f || span.text[i] == '#')
			return false;
	return span.size > 0;
}

bool rc_span_is(struct rc_span span, const char *text)
{
	for (size_t i = 0; i < span.size; i++)
		if (text[i] == 0 || lower(span.text[i]) != lower(text[i]))
			return false;
	return text[span.size] == 0;
}

bool rc_span_is_exactly(struct rc_span span, const char *text)
{
	return strlen(text) == span.size && memcmp(text, span.text, span.size) == 0;
}

int rc_http_head_size(const char *bytes, size_t size)
{
	size_t line_start = 0, line_count = 0;
	for (size_t i = 0; i < size && i < RC_REQUEST_SIZE_MAX; i++) {
		unsigned char c = (unsigned char)bytes[i];
		bool after_cr = i > line_start && bytes[i - 1] == '\r';
		if (after_cr != (c == '\n'))
			return -400;
		if (c == '\n') {
			if (i == line_start + 1)
				return (int)i + 1;
			line_count++;
			line_start = i + 1;
			continue;
		}
		if ((c < ' ' && c != '\t' && c != '\r') || c == 0x7f)
			return -400;
		if (i == line_start && c != '\r' && line_count > RC_REQUEST_HEADERS_MAX)
			return -431;
		if (line_count == 0 && c != '\r' && i >= RC_REQUEST_LINE_MAX)
			return -414;
	}
	return size < RC_REQUEST_SIZE_MAX ? 0 : -431;
}

bool rc_http_line(struct rc_span *head, struct rc_span *line)
{
	const char *end = memchr(head->text, '\r', head->size);
	*line = (struct rc_span){ head->text, (size_t)(end - head->text) };
	head->text = end + 2;
	head->size -= line->size + 2;
	return line->size > 0;
}

static struct rc_span trimmed(const char *text, const char *end)
{
	while (text < end && is_blank(*text))
		text++;
	while (text < end && is_blank(end[-1]))
		end--;
	return (struct rc_span){ text, (size_t)(end - text) };
}

bool rc_http_field(struct rc_span line, struct rc_span *name, struct rc_span *value)
{
	const char *colon = memchr(line.text, ':', line.size);
	if (!colon)
		return false;
	*name = (struct rc_span){ line.text, (size_t)(colon - line.text) };
	*value = trimmed(colon + 1, line.text + line.size);
	return rc_span_is_token(*name);
}

bool rc_http_item(struct rc_span *list, struct rc_span *item)
{
	do {
		if (list->size == 0)
			return false;
		const char *comma = memchr(list->text, ',', list->size), *end = list->text + list->size;
		*item = trimmed(list->text, comma ? comma : end);
		list->text = comma ? comma + 1 : end;
		list->size = (size_t)(end - list->text);
	} while (item->size == 0);
	return true;
}

bool rc_http_is_name(const char *name, const char *other)
{
	while (*name && lower(*name) == lower(*other)) {
		name++;
		other++;
	}
	return *name == *other;
}

const char *rc_http_header_at(const struct rc_http_request *request, const char *name, unsigned index)
{
	for (unsigned i = 0; i < request->header_count; i++) {
		const char *found = request->headers[i].name;
		/* Most names that are asked for are not there, and mostly the first letter says so. */
		if (((found[0] ^ name[0]) & ~0x20) == 0 && rc_http_is_name(found, name) && index-- == 0)
			return request->headers[i].value;
	}
	return NULL;
}

const char *rc_http_header(const struct rc_http_request *request, const char *name)
{
	return rc_http_header_at(request, name, 0);
}

const char *rc_http_status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{ 101, "Switching Protocols" },
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 303, "See Other" },
		{ 304, "Not Modified" },
		{ 307, "Temporary Redirect" },
		{ 308, "Permanent Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 421, "Misdirected Request" },
		{ 422, "Unprocessable Content" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Unassigned";
}

static const char *demanded_headers(int status)
{
	switch (status) {
	case 405:
		return "Allow: GET\r\n";
	case 426:
		return "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
	case 503:
		return "Retry-After: 5\r\n";
	default:
		return "";
	}
}

static const char *connection_header(int status, enum rc_http_after after)
{
	/* RFC 9110, section 7.8: Connection names Upgrade wherever that header stands. */
	if (status == 426)
		return after == RC_HTTP_KEEPS ? "Connection: Upgrade\r\n" : "Connection: close, Upgrade\r\n";
	return after == RC_HTTP_KEEPS ? "" : "Connection: close\r\n";
}

/* A response as it is written. */
struct pen {
	char *to;
	size_t size, room;
	bool full;
};

static void put(struct pen *pen, const void *bytes, size_t size)
{
	pen->full |= size > pen->room - pen->size;
	if (pen->full)
		return;
	memcpy(pen->to + pen->size, bytes, size);
	pen->size += size;
}

static void put_text(struct pen *pen, const char *text)
{
	put(pen, text, strlen(text));
}

static void put_number(struct pen *pen, size_t number)
{
	char digits[20], *at = digits + sizeof digits;
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	put(pen, at, (size_t)(digits + sizeof digits - at));
}

size_t rc_http_response(char *to, size_t size, int status, const char *type, const void *body, size_t body_size,
                        bool head, enum rc_http_after after)
{
	const char *text = rc_http_status_text(status);
	struct pen pen = { .to = to, .room = size };
	/* RFC 9110, sections 8.6 and 15.4.5: these have no body, and 204 not even a length. */
	bool bodiless = status == 204 || status == 304, in_words = !body;
	put_text(&pen, "HTTP/1.1 ");
	put_number(&pen, (size_t)status);
	put_text(&pen, " ");
	put_text(&pen, text);
	put_text(&pen, "\r\n");
	put_text(&pen, demanded_headers(status));
	put_text(&pen, connection_header(status, after));
	if (!bodiless) {
		put_text(&pen, "Content-Type: ");
		put_text(&pen, type ? type : "text/plain; charset=utf-8");
		put_text(&pen, "\r\nContent-Length: ");
		put_number(&pen, in_words ? strlen(text) + 1 : body_size);
		put_text(&pen, "\r\n");
	}
	put_text(&pen, "\r\n");
	if (!head && !bodiless && in_words) {
		put_text(&pen, text);
		put_text(&pen, "\n");
	} else if (!head && !bodiless) {
		put(&pen, body, body_size);
	}
	return pen.full ? 0 : pen.size;
}
