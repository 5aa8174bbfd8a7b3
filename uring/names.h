/* SPDX-License-Identifier: MIT
 *
 * names.h - from names to addresses, off the workers: asking may take seconds, and a worker never waits. The answer
 * comes as a command in the worker's mailbox. The simulator has a file of its own for this.
 */
#ifndef RC_NAMES_H
#define RC_NAMES_H

#include "bounds.h"
#include "mailbox.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct rc_address {
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	};
};

/* A question, and its answer. malloc'ed; whoever has it frees it. */
struct lookup {
	struct command command; /* its function is the asker's */
	struct lookup *next;
	struct mailbox *mailbox; /* that the answer comes to */
	rc_conn conn;            /* the asker's own */
	uint16_t port;
	int result;       /* 0, or what getaddrinfo returned ... */
	int system_error; /* ... and errno for EAI_SYSTEM */
	unsigned count;
	struct rc_address addresses[RC_ADDRESSES_MAX];
	char name[256];
};

struct names;

/* Null when memory is out. */
struct names *rc_names_new(void);

/* From now on nobody gets an answer. Does not wait for a question that somebody is asking: what is left of it frees
 * itself. Null is allowed. */
void rc_names_free(struct names *names);

/* Asks. Any thread. Returns 0, -EBUSY when RC_NAMES_MAX wait, or the errno with which a thread was refused: the
 * question is still the caller's then. */
int rc_names_ask(struct names *names, struct lookup *lookup);

#endif
