/* SPDX-License-Identifier: MIT
 *
 * script.c - what peers write, byte by byte: openings right and wrong, messages whole and in fragments, control frames,
 * what no peer may write, and ends of every kind.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define LAST "Host: sim\r\nConnection: close\r\n\r\n"
#define UPGRADE "Host: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

/* ---- openings ---- */

static const struct {
	const char *text;
	int status;
} openings[] = {
	{ "GET /x HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Version: 13\r\n\r\n", 400 },
	{ "GET /x HTTP/1.1\r\n" UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426 },
	{ "GET /hello HTTP/1.1\r\n" LAST, 200 },
	{ "HEAD /hello HTTP/1.1\r\n" LAST, 200 },
	{ "GET /nothing HTTP/1.1\r\n" LAST, 426 },
	{ "GET /hello HTTP/1.1\r\nHost: sim\r\n\r\nGET /nothing HTTP/1.1\r\n" LAST, 200 },
	{ "GET /deny HTTP/1.1\r\n" UPGRADE KEY "Sec-WebSocket-Version: 13\r\n\r\n", 403 },
	{ "POST /x HTTP/1.1\r\n" UPGRADE KEY "Sec-WebSocket-Version: 13\r\n\r\n", 405 },
	{ "BREW /x HTTP/1.1\r\nHost: sim\r\n\r\n", 501 },
	{ "GET /x HTTP/3.0\r\nHost: sim\r\n\r\n", 505 },
	{ "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400 },
	{ "POST /x HTTP/1.1\r\nHost: sim\r\nContent-Length: 5\r\n\r\nhello", 413 },
	{ NULL, 414 },
	{ NULL, 431 },
};

static void bad_opening(struct peer *peer)
{
	unsigned which = sim_below(sizeof openings / sizeof openings[0]);
	peer->status = openings[which].status;
	if (openings[which].text) {
		peer_write(peer, openings[which].text, strlen(openings[which].text));
		return;
	}
	static char filler[5000];
	memset(filler, 'a', sizeof filler);
	peer_write(peer, "GET /", 5);
	if (peer->status == 414) {
		peer_write(peer, filler, sizeof filler);
		return;
	}
	peer_write(peer, "x HTTP/1.1\r\n", 12);
	for (unsigned i = 0; i < 70; i++)
		peer_write(peer, "A: b\r\n", 6);
	peer_write(peer, "\r\n", 2);
}

void script_begin(struct peer *peer)
{
	char request[512];
	if (peer->kind == PEER_SERVER)
		return;
	if (sim_one_in(6)) {
		bad_opening(peer);
		return;
	}
	if (sim.events && sim_one_in(2)) {
		peer->events = peer->script_over = true;
		peer->says_bye = false;
		peer->status = 200;
		int length = snprintf(request, sizeof request,
		                      "GET /e?c=%u&t=%x&l=%x&r=%x HTTP/1.1\r\nHost: sim\r\n\r\n", peer->index,
		                      peer->topics, peer->want_last, peer->want_since);
		peer_write(peer, request, (size_t)length);
		return;
	}
	peer->status = 101;
	peer->books = sim.books && sim_one_in(2);
	int size = snprintf(
	    request, sizeof request,
	    "GET /%c?c=%u&t=%x&l=%x&r=%x HTTP/1.1\r\n" UPGRADE "%s%s" KEY "Sec-WebSocket-Version: 13\r\n\r\n",
	    peer->books ? 'b' : 's', peer->index, peer->topics, peer->want_last, peer->want_since,
	    sim_one_in(2) ? "Sec-WebSocket-Protocol: a, b\r\nOrigin: http://sim\r\n" : "", zip_offer(peer));
	if (sim_one_in(20)) { /* and not a byte more */
		peer_write(peer, request, (size_t)size / 2);
		peer->status = 408;
		return;
	}
	peer_write(peer, request, (size_t)size);
	if (sim_one_in(4) && peer->actions_left) { /* frames right after it, before the answer */
		peer->actions_left--;
		script_act(peer);
	}
}

void script_answer(struct peer *peer)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	static const char *const wrong[] = {
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"what?\r\n\r\n",
		("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		 "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"),
	};
	if (!sim_one_in(4)) {
		peer_write(peer, answer, sizeof answer - 1);
		return;
	}
	peer_excuse(peer, "it answers wrongly");
	peer->script_over = true;
	unsigned which = sim_below(5); /* 3: nothing at all */
	if (which < 3)
		peer_write(peer, wrong[which], strlen(wrong[which]));
	else if (which == 4)
		peer_write(peer, answer, sim_between(1, sizeof answer - 2));
}

/* ---- frames ---- */

/* A frame with any first byte; `wrong` bits of the second byte are flipped. */
static void frame(struct peer *peer, unsigned first, const uint8_t *payload, size_t size, unsigned wrong)
{
	uint8_t bytes[14 + 8192];
	bool masked = (peer->kind == PEER_CLIENT) != (wrong >> 7 & 1);
	size_t at = 0;
	bytes[at++] = (uint8_t)first;
	if (size < 126) {
		bytes[at++] = (uint8_t)(size | (masked ? 0x80 : 0));
	} else {
		bytes[at++] = (uint8_t)(126 | (masked ? 0x80 : 0));
		bytes[at++] = (uint8_t)(size >> 8);
		bytes[at++] = (uint8_t)size;
	}
	uint8_t mask[4] = { 0 };
	for (unsigned i = 0; masked && i < 4; i++)
		bytes[at++] = mask[i] = (uint8_t)sim_random();
	for (size_t i = 0; i < size; i++)
		bytes[at++] = payload[i] ^ mask[i % 4];
	peer_write(peer, bytes, at);
}

void script_frame(struct peer *peer, unsigned first, const void *payload, size_t size)
{
	if (peer->out_end - peer->out_begin + size + 64 < OUT_MAX / 2)
		frame(peer, first, payload, size, 0);
}

void script_close(struct peer *peer, uint16_t code)
{
	const uint8_t payload[] = { (uint8_t)(code >> 8), (uint8_t)code, 'b', 'y', 'e' };
	frame(peer, 0x88, payload, code ? sim_one_in(2) ? 2 : 5 : 0, 0);
	peer->close_sent = code ? code : RC_CLOSE_NO_CODE;
}

static void ping(struct peer *peer, size_t size)
{
	uint8_t payload[125];
	char start[8];
	snprintf(start, sizeof start, "G%04x", ++peer->pings_out);
	memset(payload, '.', sizeof payload);
	memcpy(payload, start, 5);
	frame(peer, 0x89, payload, size, 0);
}

static void message(struct peer *peer, const uint8_t *bytes, size_t size)
{
	uint8_t zipped[8192 + 64];
	unsigned opcode = sim_one_in(2) ? RC_TEXT : RC_BINARY, left = sim_one_in(3) ? sim_between(1, 6) : 0;
	size_t zipped_size = zip_message(peer, bytes, size, zipped, sizeof zipped);
	if (zipped_size) {
		bytes = zipped;
		size = zipped_size;
		opcode |= 0x40;
	}
	while (left-- && size) {
		size_t piece = sim_below((uint32_t)size);
		frame(peer, opcode, bytes, piece, 0);
		opcode = 0;
		bytes += piece;
		size -= piece;
		if (sim_one_in(3))
			ping(peer, sim_between(5, 125));
	}
	frame(peer, 0x80 | opcode, bytes, size, 0);
}

static void numbered(struct peer *peer, char kind, const char *text, size_t size)
{
	uint8_t bytes[8192];
	char start[8];
	snprintf(start, sizeof start, "%c%04x", kind, ++peer->messages_out);
	memcpy(bytes, start, 5);
	if (text)
		memcpy(bytes + 5, text, size);
	else
		tap_fill(bytes + 5, peer->messages_out, 5, size);
	message(peer, bytes, 5 + size);
}

static void command(struct peer *peer)
{
	char text[32];
	static const char modes[] = { 'n', 'l', 'r' };
	unsigned topic = sim.crowd ? sim_below(2) * 3 : sim_below(TOPICS);
	switch (sim_below(10)) {
	case 0:
	case 1:
	case 2:
		snprintf(text, sizeof text, "s%x %c0", topic, modes[sim_below(3)]);
		break;
	case 3:
	case 4:
	case 5:
		snprintf(text, sizeof text, "u%x n0", topic);
		break;
	case 6:
		snprintf(text, sizeof text, "g0 n0");
		break;
	case 7:
		if (sim_one_in(8)) {
			snprintf(text, sizeof text, "x0 n%u", sim_between(4000, 4003));
			break;
		}
		/* fallthrough */
	default:
		snprintf(text, sizeof text, "p%x %c%u", topic, sim_one_in(2) ? 'b' : 't', sim_between(9, 900));
		break;
	}
	if (peer->kind == PEER_SERVER && (text[0] == 's' || text[0] == 'u'))
		return;
	if (peer->books && (text[0] == 's' || text[0] == 'u'))
		snprintf(text, sizeof text, "b%x n%u", sim_below(BOOKS + STREAMS), sim_below(64));
	numbered(peer, 'C', text, strlen(text));
}

/* ---- what nobody may do ---- */

static void wrong_stream(struct peer *peer)
{
	static const uint8_t reserved[] = { 0x06, 0x55, 0xAA }; /* a block of the kind that does not exist */
	uint8_t bomb[1000];
	sim_met(MET_WRONG_STREAM);
	switch (sim_below(4)) {
	case 0:
		frame(peer, 0xC9, reserved, 3, 0); /* a control frame, compressed */
		break;
	case 1:
		frame(peer, 0x42, reserved, 0, 0);
		frame(peer, 0xC0, reserved, 3, 0); /* a continuation that says so once more */
		break;
	case 2:
		frame(peer, 0xC2, reserved, 3, 0);
		peer->violation = RC_CLOSE_INVALID_DATA;
		break;
	default:
		frame(peer, 0xC2, bomb, zip_bomb(bomb, sizeof bomb), 0);
		peer->violation = RC_CLOSE_TOO_BIG;
		break;
	}
}

static void wrong_frame(struct peer *peer)
{
	static const uint8_t bytes[200] = { 0x03, 0xE8, 0xFF, 0xFE };
	static const uint8_t text[] = { 'a', 0xC3, 0x28, 'b' }, code[] = { 0x03, 0xED };
	uint8_t longer[12] = { 0x82, peer->kind == PEER_CLIENT ? 0xFE : 126, 0, 5, 0, 0, 0, 0, 'a', 'b', 'c', 'd' };
	peer->violation = RC_CLOSE_PROTOCOL_ERROR;
	if (peer->deflate && sim_one_in(3)) {
		wrong_stream(peer);
		return;
	}
	switch (sim_below(12)) {
	case 0:
		frame(peer, 0x82, bytes, 20, 0x80); /* masked the wrong way */
		break;
	case 1:
		frame(peer, 0x83 + sim_below(5), bytes, 4, 0); /* reserved opcode */
		break;
	case 2:
		frame(peer, 0x82 | 0x10 << sim_below(peer->offers ? 2 : 3), bytes, 4, 0); /* reserved bit */
		break;
	case 3:
		frame(peer, 0x80, bytes, 4, 0); /* a continuation of nothing */
		break;
	case 4:
		frame(peer, 0x09, bytes, 4, 0); /* a control frame in fragments */
		break;
	case 5:
		frame(peer, 0x89, bytes, 126, 0); /* a control frame too long */
		break;
	case 6:
		frame(peer, 0x81, text, sizeof text, 0);
		peer->violation = RC_CLOSE_INVALID_DATA;
		break;
	case 7:
		memset(longer + 2, 0, 8);
		longer[1] |= 127;
		longer[6] = 1; /* 16 MB */
		peer_write(peer, longer, 10);
		peer->violation = RC_CLOSE_TOO_BIG;
		break;
	case 8:
		frame(peer, 0x88, code, 2, 0); /* 1005 is never sent */
		break;
	case 9:
		frame(peer, 0x88, bytes, 1, 0);
		break;
	case 10:
		for (unsigned i = 0; i <= sim.config.fragments_max; i++)
			frame(peer, i ? 0 : 2, bytes, 3, 0);
		peer->violation = RC_CLOSE_TOO_BIG;
		break;
	default:
		peer_write(peer, longer, sizeof longer); /* a length that is not the shortest */
		break;
	}
}

/* ---- the next thing it does ---- */

void script_act(struct peer *peer)
{
	size_t most = RC_MIN(sim.config.message_size_max - 5, 8000);
	if (peer->secure && sim_one_in(4)) {
		secret_act(peer);
		return;
	}
	switch (sim_below(24)) {
	case 0:
		for (unsigned i = sim_between(1, 20); i; i--) /* a flood */
			ping(peer, sim_between(5, 125));
		break;
	case 1:
		ping(peer, 5);
		break;
	case 2:
		frame(peer, 0x8A, (const uint8_t *)"pong", 4, 0);
		break;
	case 3:
		if (sim_one_in(3))
			wrong_frame(peer);
		break;
	case 4:
		if (sim_one_in(6))
			peer_reset(peer);
		break;
	case 5:
		if (sim_one_in(6) && peer->out_begin == peer->out_end) {
			peer_excuse(peer, "it says no more");
			peer->up_ended = true;
		}
		break;
	case 6:
		numbered(peer, 'E', NULL, sim_below((uint32_t)most));
		break;
	case 7:
		for (unsigned i = sim_below(12); i; i--)
			numbered(peer, 'E', NULL, sim_below(20));
		break;
	case 8:
	case 9:
	case 10:
	case 11:
		numbered(peer, 'E', NULL, sim_below(200));
		break;
	case 12:
	case 13:
		break;
	default:
		command(peer);
		break;
	}
}
