/* SPDX-License-Identifier: MIT
 *
 * publish.h - messages from outside to the log: from a connection, which is told by its end when one is not published,
 * and from a POST, which is answered with their numbers. Who may publish is judged before.
 */
#ifndef SERVE_PUBLISH_H
#define SERVE_PUBLISH_H

#include "backplane/backplane.h"
#include "ringcast.h"
#include "spill.h"

struct serve_publisher {
	struct serve_spill *spill;
	struct backplane *backplane; /* null: to the log */
	const char *topic;           /* that of messages which name none */
	size_t topic_size;           /* 0: each names its own */
	bool json;                   /* messages are as in batch.h */
};

/* Publishes what a connection sent, or puts it in line. What cannot be published ends the connection. */
void serve_publish_message(const struct serve_publisher *publisher, rc_conn conn, const struct rc_message *message);

/* Publishes the body of a POST and answers it. Returns 0, or the status that the library is to answer. */
int serve_publish_request(const struct serve_publisher *publisher, rc_request *request);

#endif
