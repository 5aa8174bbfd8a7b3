/* SPDX-License-Identifier: MIT
 *
 * rings.c - what uring/ring.h promises, asked of both rings: the same table of tests runs on io_uring and on epoll. The
 * ring connects to its own listener, so that both ends of a connection are slots of it.
 */
#include "ring.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ACCEPT = 1, CONNECT, RECEIVE, SEND, POLL, CANCEL, CLOSE, SHUT, WATCH };

#define KEPT 256

static struct rc_ring *ring;
static struct rc_completion kept[KEPT];
static unsigned kept_count;
static int listener;
static unsigned here, there; /* the slots of a connection */

/* The next completion with this tag; the others wait until they are asked for. */
static struct rc_completion take(uint64_t tag)
{
	for (unsigned tries = 0; tries < 200; tries++) {
		for (unsigned i = 0; i < kept_count; i++) {
			struct rc_completion found = kept[i];
			if (found.tag != tag)
				continue;
			memmove(&kept[i], &kept[i + 1], (--kept_count - i) * sizeof *kept);
			return found;
		}
		int count = rc_ring_wait(ring, kept + kept_count, KEPT - kept_count, 50000000);
		cr_assert_geq(count, 0, "%s", strerror(-count));
		kept_count += (unsigned)count;
	}
	cr_assert_fail("no completion with tag %d", (int)tag);
	return (struct rc_completion){ 0 };
}

static struct sockaddr_storage listen_on_loopback(socklen_t *size)
{
	struct sockaddr_storage address = { 0 };
	struct sockaddr_in *four = (struct sockaddr_in *)&address;
	four->sin_family = AF_INET;
	four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*size = sizeof *four;
	listener = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert(listener >= 0 && bind(listener, (struct sockaddr *)&address, *size) == 0 &&
	          listen(listener, 16) == 0);
	getsockname(listener, (struct sockaddr *)&address, size);
	return address;
}

static void open_ring(bool epoll, unsigned slot_count)
{
	struct rc_error error = { 0 };
	struct rc_ring_config config = {
		.slot_count = slot_count,
		.entry_count = 64,
		.buffer_count = 64,
		.buffer_size = 4096,
		.ring_count = 1,
		.epoll = epoll,
	};
	int result = rc_ring_open(&ring, &config, &error);
	if (!epoll && (result == -EPERM || result == -ENOSYS || result == -EINVAL))
		cr_skip_test("no io_uring here");
	cr_assert_eq(result, 0, "%s", error.text);
	kept_count = 0;
}

static void connect_once(void)
{
	socklen_t size;
	struct sockaddr_storage address = listen_on_loopback(&size);
	rc_ring_accept(ring, listener, ACCEPT);
	rc_ring_connect(ring, &address, size, NULL, 0, CONNECT);
	struct rc_completion connected = take(CONNECT), accepted = take(ACCEPT);
	cr_assert(connected.result >= 0 && accepted.result >= 0 && connected.result != accepted.result);
	cr_assert_eq(accepted.flags, RC_RING_MORE);
	here = (unsigned)connected.result;
	there = (unsigned)accepted.result;
}

static void send_text(unsigned slot, const char *text)
{
	static char bytes[64];
	static struct rc_range ranges[2];
	size_t size = strlen(text);
	memcpy(bytes, text, size);
	ranges[0] = (struct rc_range){ bytes, size / 2 };
	ranges[1] = (struct rc_range){ bytes + size / 2, size - size / 2 };
	rc_ring_send(ring, slot, ranges, 2, false, SEND);
	cr_assert_eq(take(SEND).result, (int)size);
}

static void expect_text(const struct rc_completion *got, const char *text)
{
	cr_assert_eq(got->result, (int)strlen(text));
	cr_assert(got->flags & RC_RING_BUFFER && memcmp(got->data, text, strlen(text)) == 0);
	rc_ring_buffer_return(ring, got->buffer);
}

ParameterizedTestParameters(rings, talk)
{
	static bool kinds[] = { false, true };
	return cr_make_param_array(bool, kinds, 2);
}
ParameterizedTest(bool *epoll, rings, talk)
{
	open_ring(*epoll, 8);
	connect_once();
	rc_ring_receive(ring, there, RECEIVE);
	send_text(here, "first");
	struct rc_completion got = take(RECEIVE);
	cr_expect(got.flags & RC_RING_MORE);
	expect_text(&got, "first");
	send_text(here, "second");
	rc_ring_shutdown(ring, here, SHUT);
	got = take(RECEIVE);
	cr_expect(got.flags & RC_RING_MORE);
	expect_text(&got, "second");
	got = take(RECEIVE);
	cr_expect_eq(got.result, 0, "the end of the stream");
	cr_expect_not(got.flags & RC_RING_MORE);
	cr_expect_eq(take(SHUT).result, 0);
	rc_ring_close_slot(ring, there, CLOSE);
	cr_expect_eq(take(CLOSE).result, 0);
	rc_ring_close(ring);
}

/* What comes while nothing is received is there for the next receive, whatever told of it before. */
ParameterizedTestParameters(rings, what_came_between)
{
	static bool kinds[] = { false, true };
	return cr_make_param_array(bool, kinds, 2);
}
ParameterizedTest(bool *epoll, rings, what_came_between)
{
	open_ring(*epoll, 8);
	connect_once();
	rc_ring_receive(ring, there, RECEIVE);
	rc_ring_cancel(ring, there, RECEIVE, CANCEL);
	struct rc_completion got = take(RECEIVE);
	cr_expect_eq(got.result, -ECANCELED);
	cr_expect_not(got.flags & RC_RING_MORE);
	take(CANCEL);
	send_text(here, "between");
	rc_ring_wait(ring, kept + kept_count, KEPT - kept_count, 1000000);
	char place[64];
	rc_ring_receive_once(ring, there, place, 4, RECEIVE);
	got = take(RECEIVE);
	cr_assert_eq(got.result, 4);
	cr_expect(!(got.flags & (RC_RING_MORE | RC_RING_BUFFER)) && memcmp(place, "betw", 4) == 0);
	rc_ring_receive_once(ring, there, NULL, 0, RECEIVE);
	got = take(RECEIVE);
	cr_expect_not(got.flags & RC_RING_MORE);
	expect_text(&got, "een");
	rc_ring_close(ring);
}

ParameterizedTestParameters(rings, who_does_not_read)
{
	static bool kinds[] = { false, true };
	return cr_make_param_array(bool, kinds, 2);
}
ParameterizedTest(bool *epoll, rings, who_does_not_read)
{
	static uint8_t bytes[1 << 18];
	static const struct rc_range range = { bytes, sizeof bytes };
	uint64_t sent = 0, received = 0;
	int result;
	open_ring(*epoll, 8);
	connect_once();
	do {
		rc_ring_send(ring, here, &range, 1, false, SEND);
		result = take(SEND).result;
		sent += result > 0 ? (uint64_t)result : 0;
	} while (result == (int)sizeof bytes);
	cr_assert(result > 0 || result == -EAGAIN, "%d", result);
	rc_ring_poll_writable(ring, here, POLL);
	cr_assert_eq(rc_ring_wait(ring, kept, KEPT, 1000000), 0, "it is not writable");
	rc_ring_cancel(ring, here, POLL, CANCEL);
	cr_expect_eq(take(POLL).result, -ECANCELED);
	take(CANCEL);
	rc_ring_poll_writable(ring, here, POLL);
	rc_ring_receive(ring, there, RECEIVE);
	while (received < sent) {
		struct rc_completion got = take(RECEIVE);
		if (got.result == -ENOBUFS || !(got.flags & RC_RING_MORE))
			rc_ring_receive(ring, there, RECEIVE);
		cr_assert(got.result > 0 || got.result == -ENOBUFS, "%d", got.result);
		received += got.result > 0 ? (uint64_t)got.result : 0;
		if (got.flags & RC_RING_BUFFER)
			rc_ring_buffer_return(ring, got.buffer);
	}
	cr_expect_gt(take(POLL).result, 0);
	rc_ring_close(ring);
}

ParameterizedTestParameters(rings, a_full_table)
{
	static bool kinds[] = { false, true };
	return cr_make_param_array(bool, kinds, 2);
}
ParameterizedTest(bool *epoll, rings, a_full_table)
{
	socklen_t size;
	open_ring(*epoll, 2);
	struct sockaddr_storage address = listen_on_loopback(&size);
	int clients[3];
	rc_ring_accept(ring, listener, ACCEPT);
	for (unsigned i = 0; i < 3; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		cr_assert_eq(connect(clients[i], (struct sockaddr *)&address, size), 0);
	}
	unsigned accepted = 0, refused = 0, slot = 0;
	while (accepted + refused < 3) { /* who is refused may be heard of first */
		int result = take(ACCEPT).result;
		cr_assert(result >= 0 || result == -ENFILE, "%d", result);
		accepted += result >= 0;
		refused += result < 0;
		slot = result >= 0 ? (unsigned)result : slot;
	}
	cr_expect_eq(accepted, 2);
	rc_ring_close_slot(ring, slot, CLOSE);
	cr_expect_eq(take(CLOSE).result, 0);
	for (unsigned i = 0; i < 3; i++)
		close(clients[i]);
	rc_ring_close(ring);
	close(listener);
}

ParameterizedTestParameters(rings, connects_that_fail)
{
	static bool kinds[] = { false, true };
	return cr_make_param_array(bool, kinds, 2);
}
ParameterizedTest(bool *epoll, rings, connects_that_fail)
{
	socklen_t size;
	open_ring(*epoll, 2);
	struct sockaddr_storage address = listen_on_loopback(&size);
	close(listener);
	for (unsigned i = 0; i < 5; i++) { /* each gives its slot back */
		cr_assert(rc_ring_can_connect(ring));
		rc_ring_connect(ring, &address, size, NULL, 0, CONNECT);
		cr_expect_eq(take(CONNECT).result, -ECONNREFUSED);
	}
	rc_ring_close(ring);
}

ParameterizedTestParameters(rings, watched)
{
	static bool kinds[] = { false, true };
	return cr_make_param_array(bool, kinds, 2);
}
ParameterizedTest(bool *epoll, rings, watched)
{
	int fd = eventfd(0, EFD_NONBLOCK), copy = dup(fd); /* closing one of them ends nothing */
	open_ring(*epoll, 2);
	rc_ring_watch(ring, fd, WATCH);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(eventfd_write(copy, 1), 0);
		struct rc_completion got = take(WATCH);
		cr_expect(got.result > 0 && got.flags & RC_RING_MORE);
	}
	rc_ring_cancel(ring, 0, WATCH, CANCEL);
	struct rc_completion got = take(WATCH);
	cr_expect_eq(got.result, -ECANCELED);
	cr_expect_not(got.flags & RC_RING_MORE);
	take(CANCEL);
	cr_assert_eq(eventfd_write(copy, 1), 0);
	cr_expect_eq(rc_ring_wait(ring, kept, KEPT, 1000000), 0, "it is watched no more");
	rc_ring_close(ring);
	close(fd);
	close(copy);
}

static bool is_readable(int fd, int ms)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };
	return poll(&one, 1, ms) == 1;
}

ParameterizedTestParameters(rings, inside_another_loop)
{
	static bool kinds[] = { false, true };
	return cr_make_param_array(bool, kinds, 2);
}
ParameterizedTest(bool *epoll, rings, inside_another_loop)
{
	open_ring(*epoll, 8);
	int event = eventfd(0, EFD_NONBLOCK), fd = rc_ring_signal(ring, event);
	cr_assert_geq(fd, 0);
	cr_assert_eq(rc_ring_arm(ring, -1), 0);
	cr_expect_not(is_readable(fd, 20), "nothing happens");
	cr_assert_eq(eventfd_write(event, 1), 0);
	cr_expect(is_readable(fd, 1000), "somebody knocked");
	rc_ring_wait(ring, kept, KEPT, 0);
	cr_assert_eq(rc_ring_arm(ring, 5000000), 0);
	cr_expect(is_readable(fd, 1000), "the time is up");
	rc_ring_wait(ring, kept, KEPT, 0);
	cr_assert_eq(rc_ring_arm(ring, 0), 0);
	cr_expect(is_readable(fd, 0), "at once");
	rc_ring_wait(ring, kept, KEPT, 0);
	cr_assert_eq(rc_ring_arm(ring, -1), 0);
	socklen_t size;
	struct sockaddr_storage address = listen_on_loopback(&size);
	rc_ring_accept(ring, listener, ACCEPT);
	cr_assert_eq(rc_ring_arm(ring, -1), 0);
	cr_expect_not(is_readable(fd, 20), "nobody connects");
	int client = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(client, (struct sockaddr *)&address, size), 0);
	cr_expect(is_readable(fd, 1000), "somebody connected");
	close(client);
	close(listener);
	rc_ring_close(ring);
	if (fd != event)
		close(fd);
	close(event);
}
