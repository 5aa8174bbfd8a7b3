/* SPDX-License-Identifier: MIT
 *
 * socket.h - a client's WebSocket on a socket of its own, which its owner reads as late and as little as it likes: what
 * the library's client role never does. It knows RFC 6455 as far as a server may use it, and nothing of books.
 *
 * Invariant: it never waits, and it never holds more than SOCKET_BUFFER_SIZE bytes.
 */
#ifndef BOOK_SOCKET_H
#define BOOK_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOCKET_BUFFER_SIZE ((size_t)16 << 10) /* a longer message ends the connection */
#define SOCKET_PATH_MAX 256

enum socket_state { SOCKET_CLOSED, SOCKET_OPENING, SOCKET_OPEN };

struct book_socket {
	int descriptor;
	enum socket_state state;
	char path[SOCKET_PATH_MAX];
	uint8_t *buffer;
	size_t begin, end; /* unread bytes */
	uint16_t code;     /* of the server's Close, or 0 */
};

/* Begins to connect to 127.0.0.1. A `receive_size` other than 0 keeps the system's buffer that small. Returns 0 or a
 * negative errno. */
int socket_begin(struct book_socket *socket, uint16_t port, const char *path, int receive_size);
/* Goes on with the opening, when the descriptor can be written or read. The state is SOCKET_OPEN when it is done.
 * Returns 0, or a negative errno: it is closed then, -EPROTO where the server refused it. */
int socket_open(struct book_socket *socket);

struct socket_message {
	const uint8_t *data; /* valid until the next call */
	size_t size;
	bool is_text;
};
/* Reads at most `size_max` bytes from the system. Returns how many, 0 when there are none now, or a negative errno: it
 * is closed then. */
int socket_fill(struct book_socket *socket, size_t size_max);
/* The next message among what was read; Pings are answered. Returns 1, 0 when there is no whole one, or a negative
 * errno: it is closed then, -ENOTCONN where the server closed it, with socket->code set. */
int socket_next(struct book_socket *socket, struct socket_message *message);

/* Ends it at once, as a client does that is gone. */
void socket_drop(struct book_socket *socket);

#endif
