/* SPDX-License-Identifier: MIT
 *
 * floor.c - floor PORT: what the kernel alone costs. The same sockets, sizes and batching as the server (one ring,
 * direct descriptors, multishot accept and receive, one send a subscriber, 256 a submission), and none of the rest: no
 * check of anything, no log, no policy, no timers, no Close. What the neutral client of the benchmarks cannot do
 * without is done once a message and never once a delivery: the handshake's answer, a frame's header and its unmasking.
 *
 * /relay/... is sent to all who came by such a path, /echo comes back. Whoever does otherwise than that client does, or
 * lets too much wait, is simply dropped. Loopback only.
 */
#include "handshake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENTRIES 1024
#define BUFFERS 64
#define BUFFER_SIZE 16384
#define SLICE 256
#define NOTSENT_LOWAT 32768
#define QUEUE 64

enum kind { ACCEPTED, RECEIVED, SENT, CLOSED };
#define TAG(kind, slot) ((uint64_t)(kind) << 32 | (slot))

/* Bytes on their way to one or many; freed when the last has them. */
struct batch {
	uint32_t waiting;
	uint32_t size, capacity;
	uint8_t bytes[];
};

struct peer {
	bool used, open, relays;
	uint8_t *held; /* what has come of a frame or request that is not complete */
	size_t held_size, held_capacity;
	struct batch *batch;  /* being sent ... */
	uint32_t sent;        /* ... and how much of it has left */
	uint32_t place;       /* in the audience */
	struct batch **queue; /* made when first a batch must wait for another */
	uint32_t queue_at, queue_count;
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffer_ring;
static uint8_t buffers[BUFFERS][BUFFER_SIZE];
static struct peer *peers;
static uint32_t *audience, audience_count;

static void die(const char *what, int code)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(code));
	exit(1);
}

static struct io_uring_sqe *entry(uint64_t tag)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	while (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	sqe->user_data = tag;
	return sqe;
}

static void arm_receive(uint32_t slot)
{
	struct io_uring_sqe *sqe = entry(0);
	io_uring_prep_recv_multishot(sqe, (int)slot, NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->user_data = TAG(RECEIVED, slot);
}

static void arm_accept(int listener)
{
	struct io_uring_sqe *sqe = entry(0);
	io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
	sqe->user_data = TAG(ACCEPTED, 0);
}

static void give_buffer(uint16_t number)
{
	io_uring_buf_ring_add(buffer_ring, buffers[number], BUFFER_SIZE, number, io_uring_buf_ring_mask(BUFFERS), 0);
	io_uring_buf_ring_advance(buffer_ring, 1);
}

static void release(struct batch *batch)
{
	if (batch && !--batch->waiting)
		free(batch);
}

static struct batch *next_of(struct peer *peer)
{
	if (!peer->queue_count)
		return NULL;
	struct batch *batch = peer->queue[peer->queue_at++ % QUEUE];
	peer->queue_count--;
	return batch;
}

static void drop(uint32_t slot)
{
	struct peer *peer = &peers[slot];
	if (!peer->used)
		return;
	if (peer->relays) {
		audience[peer->place] = audience[--audience_count];
		peers[audience[peer->place]].place = peer->place;
	}
	free(peer->held);
	release(peer->batch);
	while (peer->queue_count)
		release(next_of(peer));
	free(peer->queue);
	*peer = (struct peer){ 0 };
	struct io_uring_sqe *sqe = entry(TAG(CLOSED, slot));
	io_uring_prep_cancel_fd(sqe, (int)slot, IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_FD_FIXED);
	sqe->flags |= IOSQE_IO_HARDLINK;
	sqe->user_data = TAG(CLOSED, slot);
	sqe = entry(0);
	io_uring_prep_close_direct(sqe, slot);
	sqe->user_data = TAG(CLOSED, slot);
}

/* ---- out ---- */

static void send_rest(uint32_t slot, int flags)
{
	struct peer *peer = &peers[slot];
	struct io_uring_sqe *sqe = entry(0);
	io_uring_prep_send(sqe, (int)slot, peer->batch->bytes + peer->sent, peer->batch->size - peer->sent,
	                   flags | MSG_NOSIGNAL);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = TAG(SENT, slot);
}

static void send_batch(uint32_t slot, struct batch *batch)
{
	struct peer *peer = &peers[slot];
	if (peer->batch && !peer->queue)
		peer->queue = calloc(QUEUE, sizeof *peer->queue);
	if (peer->batch && (!peer->queue || peer->queue_count == QUEUE)) {
		drop(slot);
		return;
	}
	batch->waiting++;
	if (peer->batch) {
		peer->queue[(peer->queue_at + peer->queue_count++) % QUEUE] = batch;
		return;
	}
	peer->batch = batch;
	peer->sent = 0;
	send_rest(slot, MSG_DONTWAIT);
}

static void sent(uint32_t slot, int result)
{
	struct peer *peer = &peers[slot];
	if (!peer->used || !peer->batch)
		return;
	if (result < 0 && result != -EAGAIN) {
		drop(slot);
		return;
	}
	peer->sent += result > 0 ? (uint32_t)result : 0;
	if (peer->sent < peer->batch->size) {
		send_rest(slot, MSG_WAITALL); /* the kernel waits for room */
		return;
	}
	release(peer->batch);
	peer->batch = next_of(peer);
	peer->sent = 0;
	if (peer->batch)
		send_rest(slot, MSG_DONTWAIT);
}

static struct batch *add(struct batch *batch, const uint8_t *bytes, size_t size)
{
	if (!batch || batch->size + size > batch->capacity) {
		uint32_t before = batch ? batch->size : 0, capacity = (uint32_t)(before + size) * 2 + 4096;
		batch = realloc(batch, sizeof *batch + capacity);
		if (!batch)
			die("memory", ENOMEM);
		batch->size = before;
		batch->waiting = 0;
		batch->capacity = capacity;
	}
	memcpy(batch->bytes + batch->size, bytes, size);
	batch->size += (uint32_t)size;
	return batch;
}

/* ---- in ---- */

/* One frame of a client to one of a server, in front of which `batch` has its header. Returns its size, or 0. */
static size_t take_frame(const uint8_t *at, size_t size, struct batch **batch, bool *closes)
{
	if (size < 6)
		return 0;
	size_t payload = at[1] & 127, header = 2;
	if (payload == 126) {
		payload = (size_t)at[2] << 8 | at[3];
		header = 4;
	} else if (payload == 127) {
		payload = 0;
		for (size_t i = 2; i < 10 && size >= 10; i++)
			payload = payload << 8 | at[i];
		header = 10;
	}
	if (size < header + 4 || size < header + 4 + payload)
		return 0;
	*closes = at[0] & 8;
	uint8_t head[10];
	memcpy(head, at, header);
	head[1] &= 127;
	*batch = add(*batch, head, header);
	*batch = add(*batch, at + header + 4, payload);
	uint8_t *out = (*batch)->bytes + (*batch)->size - payload;
	uint64_t mask, word;
	memcpy(&mask, at + header, 4);
	mask = (mask & 0xFFFFFFFF) | mask << 32;
	size_t i = 0;
	for (; i + 8 <= payload; i += 8) {
		memcpy(&word, out + i, 8);
		word ^= mask;
		memcpy(out + i, &word, 8);
	}
	for (; i < payload; i++)
		out[i] ^= at[header + i % 4];
	return header + 4 + payload;
}

static void take_frames(uint32_t slot, const uint8_t *bytes, size_t size, size_t *used)
{
	struct peer *peer = &peers[slot];
	struct batch *batch = NULL;
	bool closes = false;
	for (size_t frame; !closes && (frame = take_frame(bytes + *used, size - *used, &batch, &closes));)
		*used += frame;
	if (closes) {
		free(batch);
		drop(slot);
		return;
	}
	if (!batch)
		return;
	if (!peer->relays) {
		send_batch(slot, batch);
		return;
	}
	batch->waiting++; /* ours, while it is handed out */
	for (uint32_t i = 0; i < audience_count; i++) {
		send_batch(audience[i], batch);
		if (i % SLICE == SLICE - 1)
			io_uring_submit(&ring);
	}
	release(batch);
}

static void take_request(uint32_t slot, uint8_t *bytes, size_t size, size_t *used)
{
	struct peer *peer = &peers[slot];
	struct rc_http_request request;
	char response[512];
	int result = rc_handshake_parse(&request, (char *)bytes, size);
	if (result == 0)
		return;
	bool relays = result > 0 && !strncmp(request.path, "/relay/", 7);
	if (result < 0 || !request.websocket || (!relays && strcmp(request.path, "/echo") != 0)) {
		drop(slot);
		return;
	}
	size_t written = rc_handshake_response(response, sizeof response, request.key, NULL, NULL);
	*used = (size_t)result;
	peer->open = true;
	peer->relays = relays;
	if (relays) {
		peer->place = audience_count;
		audience[audience_count++] = slot;
	}
	send_batch(slot, add(NULL, (uint8_t *)response, written));
}

static void keep(struct peer *peer, const uint8_t *bytes, size_t size)
{
	if (peer->held_size + size > peer->held_capacity) {
		peer->held_capacity = (peer->held_size + size) * 2;
		peer->held = realloc(peer->held, peer->held_capacity);
		if (!peer->held)
			die("memory", ENOMEM);
	}
	memcpy(peer->held + peer->held_size, bytes, size);
	peer->held_size += size;
}

static void received(uint32_t slot, const struct io_uring_cqe *cqe)
{
	struct peer *peer = &peers[slot];
	bool has_buffer = cqe->flags & IORING_CQE_F_BUFFER;
	uint16_t number = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
	if (peer->used && cqe->res > 0) {
		uint8_t *bytes = buffers[number];
		size_t size = (size_t)cqe->res, used = 0;
		bool held = peer->held_size;
		if (held) {
			keep(peer, bytes, size);
			bytes = peer->held;
			size = peer->held_size;
		}
		if (peer->open)
			take_frames(slot, bytes, size, &used);
		else
			take_request(slot, bytes, size, &used);
		if (peer->used && held) {
			memmove(peer->held, peer->held + used, peer->held_size - used);
			peer->held_size -= used;
		} else if (peer->used && used < size) {
			keep(peer, bytes + used, size - used);
		}
	}
	if (has_buffer)
		give_buffer(number);
	if (cqe->res <= 0 && cqe->res != -ENOBUFS)
		drop(slot);
	else if (peer->used && !(cqe->flags & IORING_CQE_F_MORE))
		arm_receive(slot);
}

/* ---- the beginning, and the tick ---- */

static int open_listener(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, lowat = NOTSENT_LOWAT;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
		die("listen", errno);
	return fd;
}

static void open_ring(unsigned slots)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
		         IORING_SETUP_CQSIZE,
		.cq_entries = ENTRIES * 8,
	};
	int code = io_uring_queue_init_params(ENTRIES, &ring, &params);
	if (code)
		die("a ring", -code);
	io_uring_register_ring_fd(&ring);
	if ((code = io_uring_register_files_sparse(&ring, slots)))
		die("the table of descriptors", -code);
	buffer_ring = aligned_alloc(4096, 4096);
	struct io_uring_buf_reg registration = { .ring_addr = (uintptr_t)buffer_ring, .ring_entries = BUFFERS };
	if (!buffer_ring || (code = io_uring_register_buf_ring(&ring, &registration, 0)))
		die("buffers", -code);
	io_uring_buf_ring_init(buffer_ring);
	for (uint16_t i = 0; i < BUFFERS; i++)
		give_buffer(i);
}

static void take(const struct io_uring_cqe *cqe, int listener)
{
	uint32_t slot = (uint32_t)cqe->user_data;
	switch ((enum kind)(cqe->user_data >> 32)) {
	case ACCEPTED:
		if (cqe->res >= 0) {
			peers[cqe->res] = (struct peer){ .used = true };
			arm_receive((uint32_t)cqe->res);
		}
		if (!(cqe->flags & IORING_CQE_F_MORE))
			arm_accept(listener);
		break;
	case RECEIVED:
		received(slot, cqe);
		break;
	case SENT:
		sent(slot, cqe->res);
		break;
	case CLOSED:
		break;
	}
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	unsigned slots = limit.rlim_cur < 65536 ? (unsigned)limit.rlim_cur : 65536;
	if (argc != 2)
		die("usage: floor PORT", EINVAL);
	peers = calloc(slots, sizeof *peers);
	audience = calloc(slots, sizeof *audience);
	if (!peers || !audience)
		die("memory", ENOMEM);
	int listener = open_listener((uint16_t)atoi(argv[1]));
	open_ring(slots);
	if (!strcmp(argv[1], "--tiny")) /* the tests: it could begin */
		return 0;
	arm_accept(listener);
	for (;;) {
		struct io_uring_cqe *cqe;
		unsigned head, count = 0;
		io_uring_submit_and_wait(&ring, 1);
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			take(cqe, listener);
			count++;
		}
		io_uring_cq_advance(&ring, count);
	}
}
