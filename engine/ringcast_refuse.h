/* SPDX-License-Identifier: MIT
 *
 * ringcast_refuse.h - refusing a WebSocket so that a browser learns why. Part of the public contract; the conventions
 * at the head of ringcast.h hold here too.
 */
#ifndef RINGCAST_REFUSE_H
#define RINGCAST_REFUSE_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Refuses an opening handshake as rc_request_respond() does, but in words that a page can read: of an answer with an
 * HTTP status a browser shows its page nothing. The answer is the 101 and, behind it, a Close with this code and at
 * most RC_CONTROL_SIZE_MAX - 2 bytes of reason, which are cut at a character or left out when they are not UTF-8. The
 * connection never opens: it takes and counts what a refused one does, no handler hears of it again, and it is over
 * after 2 s at the latest, whatever the peer does. `status` is what rc_request_status() says. Choose the subprotocol
 * before: browsers take none that they did not offer, and some want one. Inside handlers.request only. Returns 0,
 * -EINVAL (no handshake, a status other than 400 to 599, a code that may not be sent, a longer reason), -ENOMEM. */
RC_API int rc_request_refuse(rc_request *request, int status, uint16_t code, const char *reason, size_t reason_size);

#ifdef __cplusplus
}
#endif
#endif
