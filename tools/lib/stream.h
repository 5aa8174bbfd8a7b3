/* SPDX-License-Identifier: MIT
 *
 * stream.h - a plain blocking connection of a command's own, over TCP, a Unix socket or TLS: for what a connection of
 * the library does not do, as asking for a page, or never reading. Knows no protocol above TLS.
 */
#ifndef LIB_STREAM_H
#define LIB_STREAM_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "ringcast_client.h"

#define STREAM_WORDS_SIZE 256

/* Where a URL leads. */
struct stream_place {
	struct sockaddr_storage address;
	socklen_t address_size;
	bool secure;
	char host[256]; /* without brackets and port: what a certificate must be for */
	char name[300]; /* for people, and for a Host header: "127.0.0.1:8080", "unix:/run/x.sock" */
};

/* Reads "ws://HOST:PORT", "http://", "wss://", "https://", "ws+unix:/SOCKET:" or "HOST:PORT", up to a path, and looks
 * the name up. A scheme has its own port where none is written. Returns false with what is wrong in `words`. */
bool stream_find(struct stream_place *place, const char *url, char words[STREAM_WORDS_SIZE]);

/* What TLS needs for any number of streams; to be freed by SSL_CTX_free(). Null with `words`. */
SSL_CTX *stream_tls(const struct rc_tls_client_options *options, char words[STREAM_WORDS_SIZE]);

struct stream {
	int fd;
	SSL *ssl; /* null without TLS */
};

struct stream_limits {
	unsigned seconds;        /* for each step: connecting, a read, a write */
	int receive_buffer_size; /* of the socket; 0: the system's */
};

/* Connects; `tls` is only looked at for a secure place. Returns false with `words`, and nothing is open then. */
bool stream_open(struct stream *stream, const struct stream_place *place, SSL_CTX *tls,
                 const struct stream_limits *limits, char words[STREAM_WORDS_SIZE]);

/* What is there, at most `size` bytes. 0 at the end, negative when it broke or took too long. */
ssize_t stream_read(struct stream *stream, void *to, size_t size);
/* Writes all. */
bool stream_write(struct stream *stream, const void *bytes, size_t size);
/* May be called again, and on a zeroed stream whose fd is -1. */
void stream_close(struct stream *stream);

#endif
