/* SPDX-License-Identifier: MIT
 *
 * source.h - where `ringcast top` gets its text from: the /stats page of a server, named by a URL or a process. One
 * request of HTTP/1.1 each time, over TLS where the URL says so; knows nothing of what the text says.
 */
#ifndef TOP_SOURCE_H
#define TOP_SOURCE_H

#include "lib/stream.h"

struct top_source {
	struct stream_place place;
	SSL_CTX *tls;                  /* set before: for wss://, or null */
	const char *key;               /* set before: the operator's, or null */
	char words[STREAM_WORDS_SIZE]; /* what went wrong last */
};

/* Finds the server: a URL as stream_find() takes it, or a process id, whose listening sockets are tried. Returns 0, or
 * -1 with `words`. */
int top_find(struct top_source *source, const char *target);

/* The body of /stats, to be freed, or null with `words`. */
char *top_fetch(struct top_source *source);

#endif
