/* SPDX-License-Identifier: MIT
 *
 * ring_sim.c - the seam of uring/ring.h on simulated sockets. It keeps what the header promises and nothing that it
 * does not: operations of a slot start in the order they were submitted; what it is given must lie there unchanged
 * until the completion; everything else comes when the seed wants it.
 */
#include "ring_sim.h"

#include <string.h>

static struct rc_ring rings[WORKERS_MAX];
static unsigned ring_count;
struct ring_counts ring_counts;

void ring_reset(void)
{
	memset(rings, 0, sizeof rings);
	ring_count = 0;
	ring_counts = (struct ring_counts){ 0 };
}

/* ---- opening and closing ---- */

bool rc_ring_can_uring(struct rc_error *why)
{
	(void)why;
	return true;
}

int rc_ring_open(struct rc_ring **out, struct rc_ring_config *config, struct rc_error *error)
{
	static const unsigned counts[] = { 2, 3, 8, RC_RECEIVE_BUFFERS };
	CHECK(ring_count < WORKERS_MAX, "more rings than workers");
	if (sim_fault(FAULT_ALLOCATION))
		return rc_fail(error, -ENOMEM, "no memory for a ring");
	struct rc_ring *ring = &rings[ring_count++];
	ring->open = true;
	ring->buffer_count = counts[sim_below(4)];
	ring->buffer_size = sim_one_in(3) ? sim_between(16, 200) : config->buffer_size;
	unsigned most = !sim.config.connections_max && sim_one_in(4) ? sim_between(3, 12) : SLOTS;
	ring->slot_count = config->slot_count = RC_MIN(config->slot_count, most);
	memset(ring->memory, 0x5A, sizeof ring->memory);
	*out = ring;
	return 0;
}

void rc_ring_close(struct rc_ring *ring)
{
	for (unsigned i = 0; i < ring->slot_count; i++)
		if (ring->slots[i].state != SLOT_FREE)
			socket_close(&ring->slots[i]);
	ring->open = false;
}

/* ---- preparing ---- */

static void submit(struct rc_ring *ring)
{
	for (unsigned i = 0; i < ring->prepared_count; i++)
		operation_start(ring, &ring->operations[ring->prepared[i]]);
	ring->prepared_count = 0;
}

static struct operation *prepare(struct rc_ring *ring, enum kind kind, unsigned slot, uint64_t tag)
{
	CHECK(ring->open && tag < RC_RING_TAG_MAX, "a ring that is not open, or a wrong tag");
	host_preempt();
	if (ring->prepared_count == PREPARED_MAX || (ring->prepared_count && sim_fault(FAULT_QUEUE_FULL)))
		submit(ring);
	unsigned number = 0;
	while (number < OPERATIONS_MAX && ring->operations[number].kind != OP_NONE)
		number++;
	CHECK(number < OPERATIONS_MAX, "too many operations");
	struct operation *op = &ring->operations[number];
	*op = (struct operation){ .kind = kind, .slot = slot, .tag = tag, .number = number };
	if (slot != NO_SLOT) {
		CHECK(slot < ring->slot_count && ring->slots[slot].state == SLOT_OPEN,
		      "operation %d on slot %u, which is not open", kind, slot);
		ring->slots[slot].in_flight += kind != OP_CANCEL;
	}
	ring->prepared[ring->prepared_count++] = number;
	return op;
}

void rc_ring_accept(struct rc_ring *ring, int fd, uint64_t tag)
{
	for (unsigned i = 0; i < OPERATIONS_MAX; i++)
		CHECK(ring->operations[i].kind != OP_ACCEPT || ring->operations[i].over || ring->operations[i].fd != fd,
		      "a second accept of one listener");
	prepare(ring, OP_ACCEPT, NO_SLOT, tag)->fd = fd;
}

void rc_ring_accept_cancel(struct rc_ring *ring, int fd, uint64_t tag)
{
	prepare(ring, OP_ACCEPT_CANCEL, NO_SLOT, tag)->fd = fd;
}

bool rc_ring_can_connect(const struct rc_ring *ring)
{
	unsigned count = 0;
	for (unsigned i = 0; i < OPERATIONS_MAX; i++)
		count += ring->operations[i].kind == OP_CONNECT;
	return count < 3;
}

void rc_ring_connect(struct rc_ring *ring, const struct sockaddr_storage *to, socklen_t to_size,
                     const struct sockaddr_storage *source, socklen_t source_size, uint64_t tag)
{
	(void)to_size, (void)source, (void)source_size;
	CHECK(rc_ring_can_connect(ring), "a connect that was not asked for");
	prepare(ring, OP_CONNECT, NO_SLOT, tag)->to = *to;
}

void rc_ring_connect_cancel(struct rc_ring *ring, uint64_t tag)
{
	unsigned found = 0;
	for (unsigned i = 0; i < OPERATIONS_MAX; i++) {
		struct operation *op = &ring->operations[i];
		if (op->kind != OP_CONNECT || op->tag != tag)
			continue;
		op->cancelled = true;
		op->ready_ns = 0;
		found++;
	}
	CHECK(found == 1, "%u connects are cancelled by one call", found);
}

void rc_ring_receive(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	CHECK(!ring->slots[slot].receiving, "a second receive on slot %u", slot);
	prepare(ring, OP_RECEIVE, slot, tag);
	ring->slots[slot].receiving = true;
}

void rc_ring_receive_once(struct rc_ring *ring, unsigned slot, void *to, size_t size, uint64_t tag)
{
	rc_ring_receive(ring, slot, tag);
	struct operation *op = &ring->operations[ring->prepared[ring->prepared_count - 1]];
	op->once = true;
	op->place = to;
	op->size = to ? size : 0;
	CHECK(!to || size, "a receive of nothing");
	if (to)
		memset(to, 0x5D, size);
}

void rc_ring_send(struct rc_ring *ring, unsigned slot, const struct rc_range *ranges, unsigned range_count,
                  bool zero_copy, uint64_t tag)
{
	CHECK(!ring->slots[slot].sending, "a second send on slot %u", slot);
	CHECK(range_count && range_count <= RC_PLAN_RANGES_MAX, "%u ranges", range_count);
	struct operation *op = prepare(ring, OP_SEND, slot, tag);
	ring->slots[slot].sending = true;
	op->zero_copy = zero_copy;
	op->ranges = ranges;
	op->range_count = range_count;
	memcpy(op->copies, ranges, range_count * sizeof *ranges);
	op->sum = operation_sum(ranges, range_count, &op->size);
	CHECK(op->size, "a send of nothing");
	ring_counts.sends++;
	TRACE("  send slot %u tag %llx: %zu bytes in %u ranges", slot, (unsigned long long)tag, op->size, range_count);
}

int rc_ring_set_option(struct rc_ring *ring, unsigned slot, int level, int name, const void *value, unsigned size,
                       uint64_t tag)
{
	CHECK(!ring->slots[slot].sending, "an option beside a send on slot %u", slot);
	if (sim.old_kernel)
		return kernel_option(ring->slots[slot].peer, level, name, value, size);
	struct operation *op = prepare(ring, OP_OPTION, slot, tag);
	ring->slots[slot].sending = true;
	op->level = level;
	op->name = name;
	op->copies[0] = (struct rc_range){ (void *)(uintptr_t)value, size };
	op->sum = operation_sum(op->copies, 1, &op->size);
	return -EINPROGRESS;
}

void rc_ring_send_alert(struct rc_ring *ring, unsigned slot, const struct rc_range *bytes, uint64_t tag)
{
	CHECK(kernel_seals(ring->slots[slot].peer), "an alert to a socket that makes no records");
	rc_ring_send(ring, slot, bytes, 1, false, tag);
	ring->operations[ring->prepared[ring->prepared_count - 1]].is_alert = true;
}

void rc_ring_poll_writable(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	prepare(ring, OP_POLL, slot, tag);
}

void rc_ring_abort(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	bool holds = false;
	for (unsigned i = 0; i < OPERATIONS_MAX; i++) {
		const struct operation *op = &ring->operations[i];
		holds |= op->kind == OP_SEND && op->zero_copy && op->slot == slot;
	}
	CHECK(holds, "slot %u is reset though the kernel holds nothing for it", slot);
	prepare(ring, OP_ABORT, slot, tag);
}

void rc_ring_shutdown(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	prepare(ring, OP_SHUTDOWN, slot, tag);
}

void rc_ring_cancel(struct rc_ring *ring, unsigned slot, uint64_t of, uint64_t tag)
{
	prepare(ring, OP_CANCEL, slot, tag)->of = of;
}

void rc_ring_watch(struct rc_ring *ring, int fd, uint64_t tag)
{
	prepare(ring, OP_WATCH, NO_SLOT, tag)->fd = fd;
}

void rc_ring_close_slot(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	CHECK(!ring->slots[slot].in_flight, "slot %u is closed with %u operations on their way", slot,
	      ring->slots[slot].in_flight);
	prepare(ring, OP_CLOSE, slot, tag);
	ring->slots[slot].state = SLOT_CLOSING;
}

/* ---- waiting ---- */

static bool is_visible(const struct pending *pending)
{
	return pending->visible_ns <= sim.now_ns || sim.quiet;
}

static bool any_visible(const struct rc_ring *ring)
{
	for (unsigned i = 0; i < ring->completion_count; i++)
		if (is_visible(&ring->completions[i]))
			return true;
	return false;
}

bool ring_rests(struct rc_ring *ring)
{
	operations_go_on(ring);
	bool signalled = ring->event_fd && host_written(ring->event_fd) != ring->written;
	return !any_visible(ring) && !ring->prepared_count && !signalled;
}

bool ring_waits(struct rc_ring *ring)
{
	return ring->waits && ring_rests(ring);
}

bool ring_can_run(struct rc_ring *ring)
{
	return !ring_waits(ring) || ring->wake_ns <= sim.now_ns;
}

uint64_t ring_next_ns(struct rc_ring *ring)
{
	uint64_t next = ring->wake_ns;
	for (unsigned i = 0; i < ring->completion_count; i++)
		next = RC_MIN(next, ring->completions[i].visible_ns);
	for (unsigned i = 0; i < ring->begun_count; i++) {
		const struct operation *op = &ring->operations[ring->begun[i]];
		if (op->ready_ns > sim.now_ns)
			next = RC_MIN(next, op->ready_ns);
	}
	return next;
}

/* What the caller gave must still lie there. */
static void check_memory(const struct operation *op, bool released)
{
	size_t size;
	for (unsigned i = 0; i < op->range_count && !released; i++)
		CHECK(op->ranges[i].at == op->copies[i].at && op->ranges[i].size == op->copies[i].size,
		      "a send's ranges changed before its completion");
	CHECK(operation_sum(op->copies, op->range_count, &size) == op->sum, "a send's bytes changed before %s",
	      released ? "the kernel let go of them" : "its completion");
}

/* Where bytes were to come, nobody else wrote, and it is still the session's: what was freed may lie there unchanged
 * for long, so this asks the production code. */
static void check_place(const struct rc_ring *ring, const struct operation *op)
{
	for (size_t i = op->placed; i < op->size; i++)
		CHECK(op->place[i] == 0x5D, "memory that was being received into was written to");
	for (unsigned i = 0; i < sim.server->worker_count; i++) {
		const struct worker *worker = &sim.server->workers[i];
		if (worker->ring != ring)
			continue;
		const struct rc_session *session = worker->connections[op->slot].session;
		CHECK(session && session->gathered && op->place > session->gathered &&
		          op->place + op->size <= session->gathered + session->gathered_capacity,
		      "slot %u was received into memory that is not its own any more", op->slot);
	}
}

/* Hands a completion out. */
static void hand_out(struct rc_ring *ring, struct pending *pending)
{
	struct operation *op = &ring->operations[pending->operation];
	struct rc_completion *out = &pending->out;
	op->waiting--;
	if (op->kind == OP_SEND) {
		check_memory(op, out->flags & RC_RING_RELEASED);
		if (!(out->flags & RC_RING_RELEASED))
			ring->slots[op->slot].sending = false;
	}
	if (op->kind == OP_OPTION) {
		CHECK(operation_sum(op->copies, 1, &op->size) == op->sum,
		      "an option's value changed before its completion");
		ring->slots[op->slot].sending = false;
	}
	if (op->place)
		check_place(ring, op);
	if (op->kind == OP_RECEIVE && out->result > 0) {
		ring->slots[op->slot].peer->bytes_in += (uint64_t)out->result;
		ring_counts.received_size += (uint64_t)out->result;
	}
	ring_counts.starved += op->kind == OP_RECEIVE && out->result == -ENOBUFS;
	sim_mix(out->tag);
	sim_mix((uint64_t)(uint32_t)out->result << 16 | out->flags);
	TRACE("  completion kind %d slot %d tag %llx result %d flags %u", op->kind, (int)op->slot,
	      (unsigned long long)out->tag, out->result, out->flags);
	if (out->flags & RC_RING_MORE)
		return;
	CHECK(op->over && !op->waiting, "the last completion is not the last");
	if (op->slot != NO_SLOT && op->kind != OP_CANCEL) {
		struct slot *slot = &ring->slots[op->slot];
		slot->in_flight--;
		slot->receiving &= op->kind != OP_RECEIVE;
		if (op->kind == OP_CLOSE) {
			slot->state = SLOT_FREE;
			ring->slot_freed = op->slot + 1;
		}
	}
	op->kind = OP_NONE;
}

int rc_ring_wait(struct rc_ring *ring, struct rc_completion *completions, unsigned max, int64_t timeout_ns)
{
	CHECK(ring->open, "a wait on a closed ring");
	memset(ring->addresses, 0x5C, sizeof ring->addresses);
	submit(ring);
	operations_go_on(ring);
	ring->waits = timeout_ns != 0 && !sim_fault(FAULT_WOKEN_EARLY);
	ring->wake_ns = timeout_ns < 0 ? UINT64_MAX : sim.now_ns + (uint64_t)timeout_ns;
	host_yield();
	short_tick();
	ring->waits = false;
	if (ring->event_fd)
		ring->written = host_written(ring->event_fd);
	operations_go_on(ring);
	if (!ring->held && sim_fault(FAULT_OVERFLOW))
		ring->held = sim_between(1, 5);
	if (ring->held) {
		ring->held--;
		if (!sim.quiet)
			return 0;
	}
	if (sim_fault(FAULT_FEW))
		max = sim_between(1, 2);
	unsigned count = 0, kept = 0;
	for (unsigned i = 0; i < ring->completion_count; i++) {
		struct pending pending = ring->completions[i];
		if (count == RC_MIN(max, ADDRESSES_MAX) || !is_visible(&pending)) {
			ring->completions[kept++] = pending;
			continue;
		}
		bool closed = ring->operations[pending.operation].kind == OP_CLOSE;
		if (pending.has_peer) {
			ring->addresses[count] = pending.peer;
			pending.out.peer = &ring->addresses[count];
		}
		hand_out(ring, &pending);
		completions[count++] = pending.out;
		if (closed)
			operations_accept_again(ring);
	}
	ring->completion_count = kept;
	return (int)count;
}

int rc_ring_signal(struct rc_ring *ring, int event_fd)
{
	CHECK(ring->open && !ring->event_fd, "a closed ring, or a second eventfd");
	ring->event_fd = event_fd;
	return event_fd;
}

int rc_ring_arm(struct rc_ring *ring, int64_t timeout_ns)
{
	CHECK(ring->open && ring->event_fd, "a closed ring is armed, or one that signals nobody");
	submit(ring);
	operations_go_on(ring);
	ring->waits = timeout_ns != 0 && !sim_fault(FAULT_WOKEN_EARLY);
	ring->wake_ns = timeout_ns < 0 ? UINT64_MAX : sim.now_ns + (uint64_t)timeout_ns;
	return 0;
}

void rc_ring_buffer_return(struct rc_ring *ring, uint16_t number)
{
	CHECK(number < ring->buffer_count && ring->buffers[number].out, "a receive buffer is given back twice");
	for (unsigned i = 0; i < ring->completion_count; i++)
		CHECK(!(ring->completions[i].out.flags & RC_RING_BUFFER) || ring->completions[i].out.buffer != number ||
		          !is_visible(&ring->completions[i]) || ring->waits,
		      "a receive buffer is given back before it was handed out");
	uint8_t *at = ring->memory[number];
	for (unsigned i = 0; i < CANARY_SIZE; i++)
		CHECK(at[ring->buffers[number].used + i] == 0x5B, "something was written after the received bytes");
	memset(at, 0x5A, ring->buffers[number].used);
	ring->buffers[number].out = false;
}

void ring_check_empty(struct rc_ring *ring)
{
	for (unsigned i = 0; i < ring->buffer_count; i++)
		CHECK(!ring->buffers[i].out, "receive buffer %u was not given back", i);
	for (unsigned i = 0; i < ring->slot_count; i++)
		CHECK(ring->slots[i].state == SLOT_FREE, "slot %u was not closed", i);
	for (unsigned i = 0; i < OPERATIONS_MAX; i++) {
		const struct operation *op = &ring->operations[i];
		CHECK(op->kind == OP_NONE || op->kind == OP_ACCEPT || op->kind == OP_WATCH,
		      "operation %d goes on for ever", op->kind);
	}
}

uint64_t rc_ring_now(struct rc_ring *ring)
{
	(void)ring;
	return sim.now_ns;
}

/* Here everybody is let in. */
int rc_ring_explain(const struct rc_ring *ring, int code, struct rc_error *error)
{
	(void)ring, (void)error;
	return code;
}

void rc_ring_random(struct rc_ring *ring, void *bytes, size_t size)
{
	(void)ring;
	/* The one nonce whose answer is printed in RFC 6455, section 1.3, so that no peer here needs to compute it. */
	if (size == 16) {
		memcpy(bytes, "the sample nonce", 16);
		return;
	}
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = (uint8_t)sim_random();
}
