/* SPDX-License-Identifier: MIT
 *
 * forward.h - messages of clients to the backplane instead of the log, and what became of them back to who sent them:
 * to a connection by its end when they were not published, to a POST by its answer. Workers never wait for it.
 */
#ifndef SERVE_FORWARD_H
#define SERVE_FORWARD_H

#include "backplane/backplane.h"
#include "batch.h"
#include "ringcast.h"

/* Hands over what a connection sent, as one. Returns 0, or what backplane_publish() does. */
int serve_forward_message(struct backplane *backplane, rc_server *server, rc_conn conn,
                          const struct rc_batch_message *messages, size_t count);

/* Hands over what a POST brought, which is answered later: the request waits. Returns 0, or what backplane_publish()
 * does, and then nothing waits. */
int serve_forward_request(struct backplane *backplane, rc_request *request, const struct serve_batch *batch);

/* The same in words, and as a status. */
const char *serve_forward_words(int code);
int serve_forward_status(int code);

#endif
