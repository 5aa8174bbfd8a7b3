/* SPDX-License-Identifier: MIT
 *
 * opening.h - the opening handshake: bytes of a request (or, in the client role, of a response) to a verdict, and to an
 * open connection.
 */
#ifndef RC_OPENING_H
#define RC_OPENING_H

#include "handshake.h"

#include <stddef.h>
#include <stdint.h>

struct worker;
struct handshake;

/* Takes bytes of a connection in its handshake. Returns how many belonged to the handshake. What is left is frames:
 * then the connection is open. */
size_t rc_opening_take(struct worker *worker, uint32_t slot, uint8_t *bytes, size_t size);

/* Refuses a request with a status, and a text that may be null. */
void rc_opening_refuse(struct worker *worker, uint32_t slot, int status, const char *words);

/* request.c: the application's verdict on a complete request. */
struct rc_verdict {
	int status;     /* of the answer */
	bool accepted;  /* the application hears of its end, whatever happens */
	bool keeps;     /* the answer says that the next request may follow */
	bool lingers;   /* it is the last, and the peer still has something to say */
	char *response; /* malloc'ed: opens the connection or refuses it. Null: memory is out, or it comes later */
	size_t size;
	void *user;
};
void rc_request_judge(struct worker *worker, uint32_t slot, struct rc_http_request *http, struct rc_verdict *verdict);
/* The same on a head whose body is not awaited yet; status 0: it may come. */
void rc_request_judge_head(struct worker *worker, uint32_t slot, struct rc_http_request *http,
                           struct rc_verdict *verdict);

#endif
