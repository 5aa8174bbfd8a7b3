/* SPDX-License-Identifier: MIT
 *
 * source.h - where `ringcast top` gets its text from: the /stats page of a server, named by a URL or a process. One
 * plain request of HTTP/1.1 each time; knows nothing of what the text says.
 */
#ifndef TOP_SOURCE_H
#define TOP_SOURCE_H

#include <sys/socket.h>

struct top_source {
	struct sockaddr_storage address;
	socklen_t address_size;
	char name[300];  /* for people */
	const char *key; /* set before top_find(): the operator's, or null */
};

/* Finds the server: "ws://HOST:PORT", "http://HOST:PORT", "HOST:PORT", "ws+unix:/SOCKET:", or a process id, whose
 * listening sockets are tried. Returns 0, or -1 with words in `name`. */
int top_find(struct top_source *source, const char *target);

/* The body of /stats, to be freed, or null. */
char *top_fetch(const struct top_source *source);

#endif
