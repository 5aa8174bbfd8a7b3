/* SPDX-License-Identifier: MIT
 *
 * agree.h - permessage-deflate as the two sides of an opening handshake agree on it (engine/extension.h), and what
 * follows for a connection: its window, an inflater of its own, the encodings of what it is subscribed to.
 */
#ifndef RC_AGREE_H
#define RC_AGREE_H

#include "extension.h"

struct worker;

/* Agrees with a client's offers, writes the answer ("" for none), and moves the connection's subscriptions to the
 * encoding that follows from it. */
void rc_agree_with_client(struct worker *worker, uint32_t slot, const struct rc_http_request *request,
                          char answer[RC_EXTENSION_SIZE_MAX]);

/* Client role: takes what the server answered. False when memory is out. */
bool rc_agree_with_server(struct worker *worker, uint32_t slot, const struct rc_deflate *agreed);

#endif
