/* SPDX-License-Identifier: MIT
 *
 * ringcast_request.h - what is asked more rarely of a request. Part of the public contract; the conventions at the head
 * of ringcast.h hold here too.
 */
#ifndef RINGCAST_REQUEST_H
#define RINGCAST_REQUEST_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The whole query of a request, as it was sent, without the question mark: to be handed on. Empty: there is none.
 * Inside handlers.request and handlers.head only; the text is valid until the callback returns. */
RC_API const char *rc_request_query_string(const rc_request *request);

#ifdef __cplusplus
}
#endif
#endif
