/* SPDX-License-Identifier: MIT
 *
 * probe_send.c - see probe.h. A ring of its own, a connection of it to a listener on loopback, one send. It must not
 * know a server.
 *
 * Invariant: the bytes live until the ring is closed, so that the kernel never reads what is somebody else's.
 */
#include "probe.h"

#include "ring.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEND_SIZE ((size_t)16 << 10)
#define PATIENCE_NS INT64_C(100000000)
#define WAITS_MAX 10

/* A listener that nobody but this machine reaches, on a free port. */
static int open_listener(struct sockaddr_storage *address, socklen_t *size)
{
	struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	*size = sizeof loopback;
	memset(address, 0, sizeof *address);
	memcpy(address, &loopback, sizeof loopback);
	if (listener >= 0 && !bind(listener, (struct sockaddr *)address, *size) && !listen(listener, 1) &&
	    !getsockname(listener, (struct sockaddr *)address, size))
		return listener;
	if (listener >= 0)
		close(listener);
	return -1;
}

/* The next completion. Returns whether there was one in time. */
static bool next(struct rc_ring *ring, struct rc_completion *completion)
{
	for (int turn = 0; turn < WAITS_MAX; turn++) {
		int count = rc_ring_wait(ring, completion, 1, PATIENCE_NS);
		if (count)
			return count > 0;
	}
	return false;
}

/* Over the loopback device the kernel copies when the peer's socket takes the bytes, and says so then. */
static enum rc_zero_copy send_once(struct rc_ring *ring, unsigned slot, void *bytes)
{
	const struct rc_range range = { bytes, SEND_SIZE };
	struct rc_completion done;
	rc_ring_send(ring, slot, &range, 1, true, 2);
	if (!next(ring, &done))
		return RC_ZERO_COPY_UNTRIED;
	if (done.result < 0 || !(done.flags & RC_RING_MORE))
		return RC_ZERO_COPY_REFUSED;
	if (!next(ring, &done) || !(done.flags & RC_RING_RELEASED))
		return RC_ZERO_COPY_UNTRIED;
	return done.result ? RC_ZERO_COPY_COPIED : RC_ZERO_COPY_DONE;
}

enum rc_zero_copy rc_probe_zero_copy(void)
{
	struct rc_ring_config config = {
		.slot_count = 8, .entry_count = 8, .buffer_count = 2, .buffer_size = 4096, .ring_count = 1
	};
	struct rc_ring *ring = NULL;
	struct rc_error error;
	struct rc_completion connected;
	struct sockaddr_storage address;
	socklen_t size;
	enum rc_zero_copy found = RC_ZERO_COPY_UNTRIED;
	void *bytes = calloc(1, SEND_SIZE);
	int peer = -1, listener = open_listener(&address, &size);
	if (!bytes || listener < 0 || rc_ring_open(&ring, &config, &error) < 0)
		goto done;
	rc_ring_connect(ring, &address, size, NULL, 0, 1);
	if (!next(ring, &connected) || connected.result < 0)
		goto done;
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (peer >= 0)
		found = send_once(ring, (unsigned)connected.result, bytes);
done:
	/* The peer goes first: what it has not read no longer holds the bytes when the ring ends. */
	if (peer >= 0)
		close(peer);
	if (listener >= 0)
		close(listener);
	if (ring)
		rc_ring_close(ring);
	free(bytes);
	return found;
}
