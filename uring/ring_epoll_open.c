/* SPDX-License-Identifier: MIT
 *
 * ring_epoll_open.c - a ring on epoll from its set-up to its end, and the remedy for what may be in the way. It must
 * not know what operations a ring has.
 *
 * Invariant: rc_epoll_close() ends a ring from any point of its opening.
 */
#include "ring_epoll.h"

#include "error.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define DONE_A_SLOT 8   /* receive, send, poll, shutdown, close, and up to three that were cancelled */
#define DONE_OTHER 8192 /* of connects, watches and listeners */

static int fail(struct rc_error *error, int code, const char *text)
{
	return rc_fail(error, code, "%s: %s", text, strerror(-code));
}

int rc_epoll_explain(const struct rc_epoll *ring, int code, struct rc_error *error)
{
	(void)ring;
	return fail(error, code,
	            "the kernel forbids epoll: allow epoll_create1, epoll_ctl, epoll_wait, epoll_pwait2 and accept4 in "
	            "the seccomp profile");
}

/* Of which only what is touched takes memory. */
static void *map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

static bool make_room(struct rc_epoll *ring, unsigned count)
{
	ring->done_max = (size_t)count * DONE_A_SLOT + DONE_OTHER;
	ring->slot = map(count * sizeof *ring->slot);
	ring->writable_tags = map(count * sizeof *ring->writable_tags);
	ring->places = map(count * sizeof *ring->places);
	ring->done = map(ring->done_max * sizeof *ring->done);
	ring->area = map(ring->area_size);
	return rc_slots_open(&ring->slots, count) && ring->slot && ring->writable_tags && ring->places && ring->done &&
	       ring->area;
}

static int open_parts(struct rc_epoll *ring, struct rc_ring_config *config, struct rc_error *error)
{
	uint64_t most = rc_ring_descriptors(config->ring_count);
	if (!most)
		return fail(error, -EMFILE,
		            "the descriptor limit is too low: raise 'ulimit -n' (systemd: LimitNOFILE)");
	config->slot_count = (unsigned)RC_MIN((uint64_t)config->slot_count, most);
	ring->fd = epoll_create1(EPOLL_CLOEXEC);
	if (ring->fd < 0)
		return rc_ring_is_refusal(-errno)
		           ? rc_epoll_explain(ring, -errno, error)
		           : fail(error, -errno, "no descriptor is left for epoll: raise 'ulimit -n'");
	/* A filter that forbids only this would be found too late. */
	if (epoll_wait(ring->fd, ring->events, 1, 0) < 0)
		return rc_epoll_explain(ring, -errno, error);
	return make_room(ring, config->slot_count) ? 0 : fail(error, -ENOMEM, "no memory for the ring on epoll");
}

int rc_epoll_open(struct rc_epoll **out, struct rc_ring_config *config, struct rc_error *error)
{
	struct rc_epoll *ring = calloc(1, sizeof *ring);
	if (!ring)
		return fail(error, -ENOMEM, "no memory for a ring");
	ring->head.epoll = true;
	ring->fd = ring->event_fd = ring->timer_fd = -1;
	ring->fine = true;
	ring->buffer_size = config->buffer_size;
	ring->area_size = config->buffer_size * RC_EPOLL_BUFFERS;
	int result = open_parts(ring, config, error);
	if (result < 0) {
		rc_epoll_close(ring);
		return result;
	}
	*out = ring;
	return 0;
}

void rc_epoll_close(struct rc_epoll *ring)
{
	size_t count = ring->slots.slot_count;
	for (uint32_t slot = 0; slot < ring->slots.made_count; slot++)
		if (ring->slots.descriptors[slot] >= 0)
			close(ring->slots.descriptors[slot]);
	if (ring->fd >= 0)
		close(ring->fd);
	if (ring->timer_fd >= 0)
		close(ring->timer_fd);
	rc_slots_close(&ring->slots);
	unmap(ring->slot, count * sizeof *ring->slot);
	unmap(ring->writable_tags, count * sizeof *ring->writable_tags);
	unmap(ring->places, count * sizeof *ring->places);
	unmap(ring->done, ring->done_max * sizeof *ring->done);
	unmap(ring->area, ring->area_size);
	free(ring);
}
