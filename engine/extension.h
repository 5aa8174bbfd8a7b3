/* SPDX-License-Identifier: MIT
 *
 * extension.h - negotiating permessage-deflate (RFC 7692, section 7.1), in both roles, as pure functions on header
 * text.
 */
#ifndef RC_EXTENSION_H
#define RC_EXTENSION_H

#include "handshake.h"

#define RC_EXTENSION_SIZE_MAX 160 /* of what is offered or agreed, written out */

/* What both sides agreed on. Zeroed: no compression. */
struct rc_deflate {
	bool on;
	bool server_takeover, client_takeover; /* each side's compressor goes on from message to message */
	uint8_t server_bits, client_bits;      /* window sizes, 8 to 15, as powers of two */
};

/* What our side wants. */
struct rc_deflate_wish {
	bool server_takeover, client_takeover; /* allowed, if the other side allows it too */
	uint8_t bits;                          /* the largest window of our own compressor */
};

/* Server: takes the first acceptable of the client's offers, in their order, and writes the answer into `to`; an offer
 * with an unknown, repeated or malformed parameter is declined (section 7). No acceptable offer: `agreed` is zeroed. */
void rc_extension_accept(struct rc_deflate *agreed, char to[RC_EXTENSION_SIZE_MAX],
                         const struct rc_http_request *request, const struct rc_deflate_wish *wish);

/* Client: writes the offer. */
void rc_extension_offer(char to[RC_EXTENSION_SIZE_MAX], const struct rc_deflate_wish *wish);

/* Client: judges the value of the server's Sec-WebSocket-Extensions; false when it answers what was not offered. */
bool rc_extension_judge(struct rc_deflate *agreed, const char *value, size_t size, const struct rc_deflate_wish *wish);

#endif
