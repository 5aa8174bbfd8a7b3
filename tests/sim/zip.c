/* SPDX-License-Identifier: MIT
 *
 * zip.c - the peers' side of permessage-deflate (RFC 7692), by zlib itself: what they offer, how they read what comes
 * compressed, and what they send so. A peer inflates each message as the RFC says and nothing else, so that a message
 * which was compressed with more than it has seen, or with a larger window than was agreed, is not what was published.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static struct zip {
	z_stream in, out;
	bool made;
	int bits;     /* of `out` */
	int promised; /* in the offer: it will not use more, whatever the answer (section 7.1.2.2) */
} zips[PEERS_MAX];

static const char *const offers[] = {
	"permessage-deflate",
	"permessage-deflate; client_no_context_takeover",
	"permessage-deflate; server_no_context_takeover",
	"permessage-deflate; server_max_window_bits=9; client_max_window_bits",
	"permessage-deflate; server_max_window_bits=12; server_no_context_takeover; client_max_window_bits=11",
	"permessage-deflate; what=1, x-other, permessage-deflate",
	"permessage-deflate; server_max_window_bits=16", /* declined */
};

static int bits_of(const char *line, const char *name)
{
	const char *at = strstr(line, name);
	return at && at[strlen(name)] == '=' ? atoi(at + strlen(name) + 1) : 15;
}

const char *zip_offer(struct peer *peer)
{
	static char line[200];
	if (!sim_one_in(2))
		return "";
	peer->offers = true;
	const char *offer = offers[sim_below(sizeof offers / sizeof *offers)];
	snprintf(line, sizeof line, "Sec-WebSocket-Extensions: %s\r\n", offer);
	zips[peer->index].promised = bits_of(offer, "client_max_window_bits");
	return line;
}

void zip_agree(struct peer *peer)
{
	const char *line = strstr(peer->head, "Sec-WebSocket-Extensions: permessage-deflate");
	struct zip *zip = &zips[peer->index];
	if (!line)
		return;
	CHECK(peer->offers && sim.config.deflate.on, "peer %u: an extension that nobody asked for", peer->index);
	char answer[200] = { 0 };
	memcpy(answer, line, RC_MIN(strcspn(line, "\r"), sizeof answer - 1));
	peer->deflate = true;
	peer->keeps_in = !strstr(answer, "server_no_context_takeover");
	peer->keeps_out = !strstr(answer, "client_no_context_takeover");
	CHECK(!peer->keeps_out || sim.config.deflate.client_takeover, "peer %u: it may keep its compressor",
	      peer->index);
	int in = bits_of(answer, "server_max_window_bits"), out = bits_of(answer, "client_max_window_bits");
	out = RC_MIN(out, zip->promised);
	if (!zip->made) {
		CHECK(inflateInit2(&zip->in, -15) == Z_OK, "no inflater");
		CHECK(deflateInit2(&zip->out, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK, "no deflater");
		zip->made = true;
		zip->bits = 15;
	}
	if (zip->bits != out) {
		deflateEnd(&zip->out);
		/* zlib's raw windows begin at 9 bits; ours never asks for less. */
		CHECK(deflateInit2(&zip->out, 1, Z_DEFLATED, -out, 8, Z_DEFAULT_STRATEGY) == Z_OK,
		      "no deflater of %d bits", out);
		zip->bits = out;
	}
	CHECK(inflateReset2(&zip->in, -in) == Z_OK && deflateReset(&zip->out) == Z_OK, "streams cannot begin");
}

/* ---- what comes ---- */

void zip_take(struct peer *peer, const uint8_t *bytes, size_t size)
{
	z_stream *in = &zips[peer->index].in;
	uint8_t plain[256]; /* small: zlib lets a stream refer to what is still in here, whatever its window */
	in->next_in = (Bytef *)(uintptr_t)bytes;
	in->avail_in = (uInt)size;
	do {
		in->next_out = plain;
		in->avail_out = sizeof plain;
		int result = inflate(in, Z_SYNC_FLUSH);
		CHECK(result == Z_OK || result == Z_BUF_ERROR, "peer %u: a compressed message does not inflate: %s",
		      peer->index, in->msg ? in->msg : zError(result));
		tap_plain(peer, plain, sizeof plain - in->avail_out);
	} while (!in->avail_out);
	CHECK(!in->avail_in, "peer %u: bytes after a compressed message", peer->index);
}

void zip_over(struct peer *peer)
{
	zip_take(peer, (const uint8_t *)"\0\0\xff\xff", 4); /* section 7.2.2 */
	sim_met(peer->keeps_in ? MET_COHORT : MET_COMPRESSED);
	if (!peer->keeps_in)
		inflateReset(&zips[peer->index].in);
}

/* ---- what goes ---- */

size_t zip_message(struct peer *peer, const void *bytes, size_t size, uint8_t *to, size_t room)
{
	z_stream *out = &zips[peer->index].out;
	if (!peer->deflate || !sim_one_in(2))
		return 0;
	if (!peer->keeps_out)
		deflateReset(out);
	out->next_in = (Bytef *)(uintptr_t)bytes;
	out->avail_in = (uInt)size;
	out->next_out = to;
	out->avail_out = (uInt)room;
	/* Blocks that end anywhere, empty ones too. */
	if (size && sim_one_in(3)) {
		out->avail_in = sim_below((uint32_t)size);
		uInt rest = (uInt)size - out->avail_in;
		deflate(out, sim_one_in(2) ? Z_FULL_FLUSH : Z_PARTIAL_FLUSH);
		out->avail_in = rest;
	}
	CHECK(deflate(out, Z_SYNC_FLUSH) == Z_OK && !out->avail_in && out->avail_out,
	      "a peer's message does not deflate");
	sim_met(MET_SENT_COMPRESSED);
	return room - out->avail_out - 4;
}

size_t zip_bomb(uint8_t *to, size_t room)
{
	static uint8_t nothing[100000];
	z_stream out = { 0 };
	CHECK(deflateInit2(&out, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK, "no deflater");
	out.next_in = nothing;
	out.avail_in = sizeof nothing;
	out.next_out = to;
	out.avail_out = (uInt)room;
	CHECK(deflate(&out, Z_SYNC_FLUSH) == Z_OK && out.avail_out, "a bomb is too large");
	deflateEnd(&out);
	return room - out.avail_out - 4;
}
