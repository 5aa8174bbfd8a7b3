/* SPDX-License-Identifier: MIT
 *
 * tap.c - reads every byte that a send of the production code puts into a socket, at that moment, whether the peer will
 * ever read it or not: responses, requests and frames, by a small reader of its own.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_SIZE (1 << 18)
#define FAR 1500

static uint8_t table[TABLE_SIZE];

static const uint8_t *fill_at(unsigned number, size_t from)
{
	if (!table[0]) {
		uint32_t state = 1;
		for (size_t i = 0; i < TABLE_SIZE; i++) {
			state = state * 1664525 + 1013904223;
			/* Repeated far apart, so that a compressor with too large a window refers to what is out of
			 * sight. */
			table[i] = i / FAR % 2 ? table[i - FAR] : (uint8_t)('!' + (state >> 24) % 90);
		}
	}
	return table + number * 97 % 65536 + from;
}

void tap_fill(uint8_t *to, unsigned number, size_t from, size_t size)
{
	memcpy(to, fill_at(number, from), size);
}

static bool is_fill(const uint8_t *bytes, unsigned number, size_t from, size_t size)
{
	return memcmp(bytes, fill_at(number, from), size) == 0;
}

/* ---- the head of a response or request ---- */

static void head_over(struct peer *peer)
{
	peer->response_over = true;
	if (peer->kind == PEER_SERVER) {
		CHECK(strstr(peer->head, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
		      "a request without its key");
		script_answer(peer);
		return;
	}
	CHECK(strncmp(peer->head, "HTTP/1.1 ", 9) == 0, "peer %u: a response begins with '%.20s'", peer->index,
	      peer->head);
	peer->response = atoi(peer->head + 9);
	peer->opened = peer->response == (peer->events ? 200 : 101);
	CHECK(!peer->unknown || !sim.config.connections_per_address,
	      "peer %u: nobody knows its address, and it is answered", peer->index);
	if (peer->opened && !peer->events)
		CHECK(strstr(peer->head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "a wrong accept");
	if (peer->opened && !peer->events)
		zip_agree(peer);
	TRACE("peer %u: response %d", peer->index, peer->response);
	int status = peer->response;
	bool limited = (status == 503 && (sim.config.connections_max || sim.config.memory_max)) ||
	               (status == 429 && sim.config.connections_per_address);
	bool slow = status == 408 &&
	            sim.now_ns - peer->linked_ns >= (uint64_t)sim.config.handshake_timeout_ms * 1000000;
	bool no_memory = status == 500 && sim_memory_lacks();
	CHECK(status == peer->status || limited || slow || no_memory, "peer %u: status %d instead of %d", peer->index,
	      status, peer->status);
}

static size_t take_head(struct peer *peer, const uint8_t *bytes, size_t size)
{
	size_t used = 0;
	while (used < size && !peer->response_over) {
		CHECK(peer->head_size < sizeof peer->head - 1, "a head without end");
		peer->head[peer->head_size++] = (char)bytes[used++];
		peer->head[peer->head_size] = 0;
		if (peer->head_size >= 4 && memcmp(peer->head + peer->head_size - 4, "\r\n\r\n", 4) == 0)
			head_over(peer);
	}
	return used;
}

/* ---- frames ---- */

static unsigned hex(const uint8_t *at, unsigned digits)
{
	char text[9] = { 0 };
	memcpy(text, at, digits);
	return (unsigned)strtoul(text, NULL, 16);
}

static void direct_message(struct peer *peer, unsigned what)
{
	CHECK(peer->direct_begin != peer->direct_end, "peer %u: message %x, which nobody sent it", peer->index, what);
	unsigned wanted = peer->direct[peer->direct_begin++ % DIRECT_MAX];
	CHECK(wanted == what, "peer %u: message %x instead of %x", peer->index, what, wanted);
}

static unsigned fill_from(uint8_t kind)
{
	return kind == 'T' ? 9 : kind == 'P' ? 7 : kind == 'M' ? 6 : 5;
}

/* The part of a payload after its first bytes is a function of its number. */
static void check_fill(struct peer *peer, const uint8_t *bytes, size_t size)
{
	const uint8_t *start = peer->start;
	unsigned from = fill_from(start[0]);
	uint64_t done = peer->plain_done;
	if (done + size <= from)
		return;
	size_t skip = done < from ? (size_t)(from - done) : 0;
	unsigned number = start[0] == 'T' ? hex(start + 2, 7) : start[0] == 'E' ? hex(start + 1, 4) : 0;
	CHECK(is_fill(bytes + skip, number, (size_t)done + skip, size - skip), "peer %u: wrong bytes in message %.9s",
	      peer->index, start);
}

static void message_over(struct peer *peer)
{
	const uint8_t *start = peer->start;
	if (peer->compressed)
		zip_over(peer);
	if (books_over(peer))
		return;
	size_t size = (size_t)peer->plain_done;
	CHECK(size >= fill_from(start[0]), "peer %u: a message of %zu bytes", peer->index, size);
	switch (start[0]) {
	case 'T':
		oracle_got(peer, hex(start + 2, 7), hex(start + 1, 1), size, (peer->header[0] & 15) == RC_BINARY);
		break;
	case 'M':
		direct_message(peer, 'M' << 24 | hex(start + 1, 1) << 16 | hex(start + 2, 4));
		if (hex(start + 1, 1) < TOPICS)
			oracle_marked(peer, hex(start + 1, 1), hex(start + 2, 4));
		else if (hex(start + 1, 1) < TOPICS + BOOKS)
			books_marked(peer, hex(start + 1, 1) - TOPICS, hex(start + 2, 4));
		else
			streams_marked(peer, hex(start + 1, 1) - TOPICS - BOOKS, hex(start + 2, 4));
		break;
	case 'E':
	case 'D':
		direct_message(peer, (unsigned)start[0] << 24 | hex(start + 1, 4));
		break;
	case 'P':
		CHECK(hex(start + 1, 2) == peer->index, "peer %u: a message that was sent to peer %u", peer->index,
		      hex(start + 1, 2));
		CHECK(hex(start + 3, 4) > peer->posted_got, "peer %u: posted message %u after %u", peer->index,
		      hex(start + 3, 4), peer->posted_got);
		peer->posted_got = hex(start + 3, 4);
		break;
	default:
		sim_fail("peer %u: a message of kind %02x", peer->index, start[0]);
	}
}

static void control_over(struct peer *peer)
{
	unsigned opcode = peer->header[0] & 15;
	size_t size = (size_t)peer->payload_size;
	if (opcode == 8) {
		peer->close_got = size < 2 ? RC_CLOSE_NO_CODE : (uint16_t)(peer->start[0] << 8 | peer->start[1]);
		peer->close_at = peer->down_total;
		TRACE("peer %u: close %u %.*s", peer->index, peer->close_got, size > 2 ? (int)size - 2 : 0,
		      peer->start + 2);
		oracle_close_code(peer, peer->close_got);
	} else if (opcode == 9) {
		peer->ping_waits = true;
		peer->ping.at = peer->down_total;
		peer->ping.size = (uint8_t)size;
		memcpy(peer->ping.bytes, peer->start, size);
	} else {
		CHECK(opcode == 10 && size >= 5 && peer->start[0] == 'G', "peer %u: a wrong frame", peer->index);
		unsigned number = hex(peer->start + 1, 4);
		CHECK(number > peer->pong_last && number <= peer->pings_out, "peer %u: pong %u after %u of %u",
		      peer->index, number, peer->pong_last, peer->pings_out);
		peer->pong_last = number;
	}
}

/* Takes the bytes of a header; true when it is complete. */
static bool take_header(struct peer *peer, uint8_t byte)
{
	uint8_t *header = peer->header;
	header[peer->header_size++] = byte;
	if (peer->header_size == 1) {
		peer->compressed = byte == (0xC0 | RC_TEXT) || byte == (0xC0 | RC_BINARY);
		CHECK((byte & 0xF0) == (peer->compressed && peer->deflate ? 0xC0 : 0x80) && !peer->close_got,
		      "peer %u: a frame begins with %02x%s", peer->index, byte,
		      peer->close_got ? " after a Close" : "");
		return false;
	}
	unsigned masked = header[1] >> 7, length = header[1] & 127, extra = length == 126 ? 2 : length == 127 ? 8 : 0;
	CHECK(masked == (peer->kind == PEER_SERVER), "peer %u: masked %u", peer->index, masked);
	if (peer->header_size < 2 + extra + 4 * masked)
		return false;
	peer->payload_size = extra ? 0 : length;
	for (unsigned i = 0; i < extra; i++)
		peer->payload_size = peer->payload_size << 8 | header[2 + i];
	CHECK(!extra || peer->payload_size >= (extra == 2 ? 126u : 65536u), "a length that is not the shortest");
	CHECK(header[0] & 8 ? peer->payload_size <= 125 : peer->payload_size <= sim.config.log_size,
	      "peer %u: frame of %llu", peer->index, (unsigned long long)peer->payload_size);
	peer->payload_done = peer->plain_done = 0;
	return true;
}

void tap_plain(struct peer *peer, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size && peer->plain_done + i < sizeof peer->start; i++)
		peer->start[peer->plain_done + i] = bytes[i];
	if (!(peer->header[0] & 8) && size && !books_take(peer, bytes, size))
		check_fill(peer, bytes, size);
	peer->plain_done += size;
}

static size_t take_payload(struct peer *peer, const uint8_t *bytes, size_t size)
{
	uint8_t plain[256];
	size_t piece = (size_t)RC_MIN(peer->payload_size - peer->payload_done, (uint64_t)size);
	if (peer->header[1] & 0x80) {
		const uint8_t *mask = peer->header + peer->header_size - 4;
		piece = RC_MIN(piece, sizeof plain);
		for (size_t i = 0; i < piece; i++)
			plain[i] = bytes[i] ^ mask[(peer->payload_done + i) % 4];
		bytes = plain;
	}
	if (peer->compressed)
		zip_take(peer, bytes, piece);
	else
		tap_plain(peer, bytes, piece);
	peer->payload_done += piece;
	return piece;
}

/* ---- server-sent events ---- */

/* A line that is no data, or the end of one that is. */
static void line_over(struct peer *peer)
{
	unsigned long long epoch, number;
	peer->line[peer->line_size] = 0;
	if (peer->in_data) {
		CHECK(!peer->has_data, "peer %u: a message of two lines", peer->index);
		peer->in_data = false;
		peer->has_data = true;
	} else if (!peer->line_size) {
		if (peer->has_data) {
			sim_met(MET_EVENT);
			message_over(peer);
		}
		peer->has_data = false;
		peer->header_size = 0;
		peer->plain_done = 0;
	} else if (sscanf(peer->line, "id: %llx-%llx", &epoch, &number) == 2) {
		CHECK(!peer->event_epoch || (epoch == peer->event_epoch && number > peer->event_number),
		      "peer %u: event %s after %llx", peer->index, peer->line, (unsigned long long)peer->event_number);
		peer->event_epoch = epoch;
		peer->event_number = number;
	} else {
		CHECK(strcmp(peer->line, ":") == 0, "peer %u: a line '%s'", peer->index, peer->line);
	}
	peer->line_size = 0;
}

static size_t take_event(struct peer *peer, const uint8_t *bytes, size_t size)
{
	const uint8_t *end = memchr(bytes, '\n', size);
	size_t piece = end ? (size_t)(end - bytes) : size;
	peer->header_size = 1; /* something of an event has come */
	if (peer->in_data && piece) {
		tap_plain(peer, bytes, piece);
		return piece;
	}
	if (!peer->in_data && *bytes != '\n') {
		CHECK(peer->line_size < sizeof peer->line - 1, "peer %u: a line without end", peer->index);
		peer->line[peer->line_size++] = (char)*bytes;
		if (peer->line_size == 6 && memcmp(peer->line, "data: ", 6) == 0) {
			peer->in_data = true;
			peer->line_size = 0;
		}
		return 1;
	}
	line_over(peer);
	return 1;
}

void tap_read(struct peer *peer, const uint8_t *bytes, size_t size)
{
	while (size) {
		size_t used = 1;
		bool complete = false;
		if (!peer->response_over) {
			used = take_head(peer, bytes, size);
		} else if (!peer->opened && peer->kind == PEER_CLIENT) {
			used = size; /* the body of a response */
		} else if (peer->events) {
			used = take_event(peer, bytes, size);
		} else if (peer->payload_size == UINT64_MAX) {
			if (take_header(peer, *bytes))
				complete = peer->payload_size == 0;
		} else {
			used = take_payload(peer, bytes, size);
			complete = peer->payload_done == peer->payload_size;
		}
		bytes += used;
		size -= used;
		if (!peer->secure)
			peer->down_total += used;
		if (!complete)
			continue;
		if (peer->header[0] & 8)
			control_over(peer);
		else
			message_over(peer);
		peer->header_size = 0;
		peer->payload_size = UINT64_MAX;
	}
}

void tap_take(struct peer *peer, const uint8_t *bytes, size_t size)
{
	uint64_t end = peer->down_total + size;
	peer->down_size += size;
	sim_mix(size << 8 | peer->index);
	if (peer->secure) {
		peer->down_total = end;
		secret_open(peer, bytes, size);
	} else {
		tap_read(peer, bytes, size);
	}
	CHECK(peer->down_total == end, "the tap lost count");
}
