/* SPDX-License-Identifier: MIT
 *
 * socket.c - see socket.h.
 */
#include "socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

void socket_drop(struct book_socket *socket)
{
	if (socket->state == SOCKET_CLOSED)
		return;
	close(socket->descriptor);
	free(socket->buffer);
	socket->buffer = NULL;
	socket->state = SOCKET_CLOSED;
}

static int fail(struct book_socket *socket, int code)
{
	socket_drop(socket);
	return code;
}

int socket_begin(struct book_socket *made, uint16_t port, const char *path, int receive_size)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
		                             .sin_port = htons(port),
		                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	*made = (struct book_socket){ .descriptor = -1 };
	snprintf(made->path, sizeof made->path, "%s", path);
	made->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (made->descriptor < 0)
		return -errno;
	made->state = SOCKET_OPENING;
	made->buffer = malloc(SOCKET_BUFFER_SIZE);
	if (!made->buffer)
		return fail(made, -ENOMEM);
	if (receive_size) {
		/* With segments larger than the buffer, as loopback has them, the sender would wait for probes. */
		int segment_size = receive_size / 4;
		setsockopt(made->descriptor, SOL_SOCKET, SO_RCVBUF, &receive_size, sizeof receive_size);
		setsockopt(made->descriptor, IPPROTO_TCP, TCP_MAXSEG, &segment_size, sizeof segment_size);
	}
	if (connect(made->descriptor, (const struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
		return fail(made, -errno);
	return 0;
}

/* The request fits any socket's buffer, so it goes in one piece. */
static int send_request(struct book_socket *socket)
{
	char request[SOCKET_PATH_MAX + 256];
	int size = snprintf(request, sizeof request,
	                    "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                    "Sec-WebSocket-Key: YSByZWFkZXIgb2YgYm9vaw==\r\nSec-WebSocket-Version: 13\r\n\r\n",
	                    socket->path);
	socket->path[0] = 0; /* it was asked for */
	return send(socket->descriptor, request, (size_t)size, MSG_NOSIGNAL) == size ? 0 : fail(socket, -EPIPE);
}

int socket_open(struct book_socket *socket)
{
	if (socket->path[0]) {
		int error = 0;
		socklen_t size = sizeof error;
		getsockopt(socket->descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
		return error ? fail(socket, -error) : send_request(socket);
	}
	int code = socket_fill(socket, SOCKET_BUFFER_SIZE);
	if (code <= 0)
		return code;
	const char *head = (const char *)socket->buffer;
	const char *tail = head ? memmem(head, socket->end, "\r\n\r\n", 4) : NULL;
	if (!tail)
		return socket->end == SOCKET_BUFFER_SIZE ? fail(socket, -EPROTO) : 0;
	if (strncmp(head, "HTTP/1.1 101 ", 13))
		return fail(socket, -EPROTO);
	socket->begin = (size_t)(tail + 4 - head);
	socket->state = SOCKET_OPEN;
	return 0;
}

int socket_fill(struct book_socket *socket, size_t size_max)
{
	if (socket->begin) {
		memmove(socket->buffer, socket->buffer + socket->begin, socket->end - socket->begin);
		socket->end -= socket->begin;
		socket->begin = 0;
	}
	size_t room = SOCKET_BUFFER_SIZE - socket->end;
	if (!room)
		return fail(socket, -EMSGSIZE);
	ssize_t got = recv(socket->descriptor, socket->buffer + socket->end, room < size_max ? room : size_max, 0);
	if (got > 0) {
		socket->end += (size_t)got;
		return (int)got;
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return fail(socket, got ? -errno : -ECONNRESET);
}

/* A control frame from a client is masked; with a mask of zeros it reads as it is. */
static void send_pong(const struct book_socket *socket, const uint8_t *data, size_t size)
{
	uint8_t frame[6 + 125] = { 0x80 | PONG, (uint8_t)(0x80 | size) };
	memcpy(frame + 6, data, size);
	/* One that does not fit now is done without: the server asks again. */
	ssize_t sent = send(socket->descriptor, frame, 6 + size, MSG_NOSIGNAL);
	(void)sent;
}

/* The size of the head of the frame at `at`, with its payload's size, or 0 when it is not whole. */
static size_t read_head(const uint8_t *at, size_t size, uint64_t *payload_size)
{
	if (size < 2)
		return 0;
	size_t head_size = at[1] < 126 ? 2 : at[1] == 126 ? 4 : 10;
	if (size < head_size)
		return 0;
	*payload_size = at[1] < 126 ? at[1] : 0;
	for (size_t i = 2; i < head_size; i++)
		*payload_size = *payload_size << 8 | at[i];
	return head_size;
}

int socket_next(struct book_socket *socket, struct socket_message *message)
{
	for (;;) {
		const uint8_t *at = socket->buffer + socket->begin;
		size_t size = socket->end - socket->begin;
		uint64_t payload_size;
		size_t head_size = read_head(at, size, &payload_size);
		if (!head_size || payload_size > size - head_size)
			return head_size && payload_size > SOCKET_BUFFER_SIZE - head_size ? fail(socket, -EMSGSIZE) : 0;
		socket->begin += head_size + (size_t)payload_size;
		unsigned opcode = at[0] & 15;
		/* Messages come whole, nothing is compressed, and no server masks. */
		if ((at[0] & 0xf0) != 0x80 || at[1] & 0x80)
			return fail(socket, -EPROTO);
		*message = (struct socket_message){ at + head_size, (size_t)payload_size, opcode == TEXT };
		switch (opcode) {
		case TEXT:
		case BINARY:
			return 1;
		case CLOSE:
			socket->code = payload_size < 2 ? 1005 : (uint16_t)(message->data[0] << 8 | message->data[1]);
			return fail(socket, -ENOTCONN);
		case PING:
			if (payload_size > 125)
				return fail(socket, -EPROTO);
			send_pong(socket, message->data, message->size);
			break;
		case PONG:
			break;
		default:
			return fail(socket, -EPROTO);
		}
	}
}
