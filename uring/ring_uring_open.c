/* SPDX-License-Identifier: MIT
 *
 * ring_uring_open.c - a ring from its set-up to its end: the queues, the table of descriptors, the receive buffers, and
 * the remedy for each way in which the kernel refuses one. It must not know what operations a ring has.
 *
 * SINGLE_ISSUER and DEFER_TASKRUN (6.1): completions are worked off inside our own wait and never interrupt us; a
 * completion queue of several times the submission queue, because multishot operations complete more often than they
 * are submitted. Descriptors live in the ring's table only, so neither accept nor send touches the process's.
 *
 * Invariant: rc_uring_close() ends a ring from any point of its opening.
 */
#include "ring_uring.h"

#include "check.h"
#include "error.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int fail(struct rc_error *error, int code, const char *text)
{
	return rc_fail(error, code, "%s: %s", text, strerror(-code));
}

static int open_uring(struct rc_uring *ring, const struct rc_ring_config *config, struct rc_error *error)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
		         IORING_SETUP_CQSIZE,
		.cq_entries = config->entry_count * RC_COMPLETIONS_PER_ENTRY,
	};
	int result = io_uring_queue_init_params(config->entry_count, &ring->uring, &params);
	if (result == -EPERM)
		return fail(error, result,
		            "io_uring is not allowed here: set the sysctl kernel.io_uring_disabled to 0, or "
		            "allow io_uring in the container's seccomp profile");
	if (result == -ENOSYS)
		return fail(error, result,
		            "this kernel was built without io_uring: Linux 6.1 or newer with io_uring is needed");
	if (result == -EINVAL)
		return fail(error, result, "this kernel's io_uring is too old: Linux 6.1 or newer is needed");
	if (result == -ENOMEM)
		return fail(error, result,
		            "no memory may be locked for a ring: raise 'ulimit -l', or use fewer workers");
	if (result == -EMFILE || result == -ENFILE)
		return fail(error, result, "no descriptor is left for a ring: raise 'ulimit -n'");
	if (result < 0)
		return fail(error, result, "cannot make a ring");
	io_uring_register_ring_fd(&ring->uring); /* only spares a look-up a call, so a failure does not matter */
	ring->direct = !config->old_kernel && params.features & RC_RING_FEATURE_6_14;
	return 0;
}

int rc_uring_explain(const struct rc_uring *ring, int code, struct rc_error *error)
{
	(void)ring;
	return fail(error, code,
	            "the kernel forbids io_uring_enter: allow it in the seccomp profile, beside io_uring_setup and "
	            "io_uring_register");
}

/* Where only this call is forbidden, a ring can be made, and nothing would ever complete. */
static int try_enter(struct rc_uring *ring, struct rc_error *error)
{
	int result = io_uring_get_events(&ring->uring);
	return rc_ring_is_refusal(result) ? rc_uring_explain(ring, result, error) : 0;
}

static int open_table(struct rc_uring *ring, struct rc_ring_config *config, struct rc_error *error)
{
	/* The kernel's table may have as many slots as the process may have descriptors, though it uses none of them.
	 */
	uint64_t most = ring->direct ? rc_ring_descriptor_limit() : rc_ring_descriptors(config->ring_count);
	if (!most)
		return fail(error, -EMFILE,
		            "the descriptor limit is too low: raise 'ulimit -n' (systemd: LimitNOFILE)");
	unsigned count = (unsigned)RC_MIN((uint64_t)config->slot_count, most);
	config->slot_count = count;
	if (!ring->direct)
		return rc_slots_open(&ring->slots, count) ? 0 : fail(error, -ENOMEM, "no memory for slots");
	int result = io_uring_register_files_sparse(&ring->uring, count);
	if (result == -EMFILE)
		return fail(error, result, "the descriptor limit is too low: raise 'ulimit -n' (systemd: LimitNOFILE)");
	if (result == -ENOMEM)
		return fail(error, result,
		            "no memory for the table of connections: lower connections_max, or raise 'ulimit -l'");
	if (result < 0)
		return fail(error, result, "cannot register the table of connections");
	return 0;
}

static int open_buffers(struct rc_uring *ring, const struct rc_ring_config *config, struct rc_error *error)
{
	ring->buffer_count = config->buffer_count;
	ring->buffer_size = config->buffer_size;
	ring->buffer_ring_size = sizeof(struct io_uring_buf) * config->buffer_count;
	ring->buffer_ring = mmap(NULL, ring->buffer_ring_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	                         0);
	ring->buffers = mmap(NULL, config->buffer_size * config->buffer_count, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ring->buffer_ring == MAP_FAILED || ring->buffers == MAP_FAILED)
		return fail(error, -ENOMEM, "no memory for receive buffers");
	struct io_uring_buf_reg registration = {
		.ring_addr = (uintptr_t)ring->buffer_ring,
		.ring_entries = config->buffer_count,
		.bgid = RC_RING_BUFFER_GROUP,
	};
	int result = io_uring_register_buf_ring(&ring->uring, &registration, 0);
	if (result < 0)
		return fail(error, result,
		            "cannot register receive buffers (Linux 5.19 or newer; or raise 'ulimit -l')");
	io_uring_buf_ring_init(ring->buffer_ring);
	ring->buffers_more = true;
	return 0;
}

int rc_uring_open(struct rc_uring **out, struct rc_ring_config *config, struct rc_error *error)
{
	struct rc_uring *ring = calloc(1, sizeof *ring);
	if (!ring)
		return fail(error, -ENOMEM, "no memory for a ring");
	ring->uring.ring_fd = -1;
	ring->event_fd = -1;
	ring->buffer_ring = MAP_FAILED;
	ring->buffers = MAP_FAILED;
	ring->messages = calloc(config->entry_count, sizeof *ring->messages);
	ring->pending_max = config->entry_count * RC_COMPLETIONS_PER_ENTRY;
	ring->pending = calloc(ring->pending_max, sizeof *ring->pending);
	int result = -ENOMEM;
	if (!ring->messages || !ring->pending) {
		fail(error, result, "no memory for a ring");
		goto failed;
	}
	if ((result = open_uring(ring, config, error)) < 0 || (result = try_enter(ring, error)) < 0 ||
	    (result = open_table(ring, config, error)) < 0 || (result = open_buffers(ring, config, error)) < 0)
		goto failed;
	*out = ring;
	return 0;
failed:
	rc_uring_close(ring);
	return result;
}

void rc_uring_close(struct rc_uring *ring)
{
	if (ring->uring.ring_fd >= 0)
		io_uring_queue_exit(&ring->uring);
	if (ring->buffer_ring != MAP_FAILED)
		munmap(ring->buffer_ring, ring->buffer_ring_size);
	if (ring->buffers != MAP_FAILED)
		munmap(ring->buffers, ring->buffer_size * ring->buffer_count);
	for (uint32_t slot = 0; slot < ring->slots.made_count; slot++)
		if (ring->slots.descriptors[slot] >= 0)
			close(ring->slots.descriptors[slot]);
	rc_slots_close(&ring->slots);
	free(ring->messages);
	free(ring->pending);
	free(ring);
}
