/* SPDX-License-Identifier: MIT
 *
 * operations.c - what becomes of the operations that ring_sim.c was given: when each is done, and its completions.
 */
#include "ring_sim.h"

#include <poll.h>
#include <string.h>

uint64_t operation_sum(const struct rc_range *ranges, unsigned count, size_t *size)
{
	uint64_t sum = count;
	*size = 0;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *at = ranges[i].at;
		for (size_t j = 0; j < ranges[i].size; j++)
			sum = (sum ^ at[j]) * UINT64_C(0x100000001B3);
		*size += ranges[i].size;
	}
	return sum;
}

static void complete(struct rc_ring *ring, struct operation *op, int result, unsigned flags, uint64_t late_ns)
{
	CHECK(ring->completion_count < COMPLETIONS_MAX, "completions without end");
	/* Those of one operation come in order. */
	op->visible_ns = RC_MAX(op->visible_ns, sim.now_ns + late_ns);
	ring->completions[ring->completion_count++] = (struct pending){
		.out = { .tag = op->tag, .result = result, .flags = (uint16_t)flags },
		.operation = op->number,
		.visible_ns = op->visible_ns,
	};
	op->waiting++;
	if (!(flags & RC_RING_MORE))
		op->over = true;
}

static uint64_t late(void)
{
	return sim_fault(FAULT_LATE_COMPLETION) ? sim_below(3000000) : 0;
}

static void finish(struct rc_ring *ring, struct operation *op, int result)
{
	complete(ring, op, result, 0, late());
}

/* The kernel lets go of a zero-copy send when the peer's kernel has acknowledged it, or when its socket is gone. */
static void release_now(struct rc_ring *ring, struct operation *op)
{
	const struct peer *peer = ring->slots[op->slot].peer;
	bool reset = peer->reset_by_peer || peer->reset_by_us || peer->state == PEER_OVER;
	if (!reset && (peer->read_total < op->held_total || op->never_released))
		return;
	if (sim_fault(FAULT_LATE_RELEASE) && op->ready_ns < sim.now_ns) {
		op->ready_ns = sim.now_ns + sim_below(300000000);
		return;
	}
	complete(ring, op, sim_fault(FAULT_COPIED), RC_RING_RELEASED, late());
}

static void send_now(struct rc_ring *ring, struct operation *op)
{
	struct peer *peer = ring->slots[op->slot].peer;
	if (op->held_total) {
		release_now(ring, op);
		return;
	}
	if (op->zero_copy && sim_fault(FAULT_ZERO_COPY_FAILED)) {
		finish(ring, op, sim_one_in(2) ? -EOPNOTSUPP : -ENOBUFS);
		return;
	}
	size_t size = RC_MIN(op->size, peer->down_capacity - peer->down_size);
	if (peer->reset_by_peer || peer->state == PEER_OVER) {
		finish(ring, op, sim_one_in(2) ? -ECONNRESET : -EPIPE);
		return;
	}
	enum fault broken = sim_one_in(2) ? FAULT_CANCELLED : FAULT_RESET;
	if (sim_fault(broken)) {
		peer_excuse(peer, "a send failed");
		finish(ring, op, broken == FAULT_RESET ? -ECONNRESET : -ECANCELED);
		return;
	}
	if (!size || (op->is_alert && size < op->size) || sim_fault(FAULT_WOULD_BLOCK)) {
		finish(ring, op, -EAGAIN);
		return;
	}
	if (size > 1 && !op->is_alert && sim_fault(FAULT_SHORT_SEND))
		size = sim_one_in(2) ? size - sim_between(1, (uint32_t)RC_MIN(size - 1, 12))
		                     : sim_between(1, (uint32_t)size - 1);
	size_t left = size;
	oracle_before_send(peer);
	CHECK(!op->zero_copy || !kernel_seals(peer), "a zero-copy send of what the kernel seals");
	if (kernel_seals(peer)) {
		kernel_send(peer, op->copies, size, op->is_alert);
		left = 0;
	}
	for (unsigned i = 0; left; i++) {
		size_t piece = RC_MIN(left, op->copies[i].size);
		tap_take(peer, op->copies[i].at, piece);
		left -= piece;
	}
	if (!op->zero_copy) {
		finish(ring, op, (int)size);
		return;
	}
	op->held_total = peer->down_total;
	op->never_released = sim_fault(FAULT_NO_RELEASE);
	complete(ring, op, (int)size, RC_RING_MORE, late());
}

static int take_buffer(struct rc_ring *ring, struct peer *peer, size_t *size)
{
	unsigned begin = sim_below(ring->buffer_count);
	for (unsigned i = 0; i < ring->buffer_count; i++) {
		unsigned number = (begin + i) % ring->buffer_count;
		if (ring->buffers[number].out)
			continue;
		uint8_t *at = ring->memory[number];
		for (size_t j = 0; j < ring->buffers[number].used; j++)
			CHECK(at[j] == 0x5A, "a receive buffer was written to after it was given back");
		*size = RC_MIN(ring->buffer_size, peer->up_size);
		if (sim_fault(FAULT_ONE_BYTE_RECEIVE))
			*size = 1;
		ring->buffers[number].out = true;
		ring->buffers[number].used = *size;
		socket_take(peer, at, *size);
		memset(at + *size, 0x5B, CANARY_SIZE);
		return (int)number;
	}
	return -1;
}

static void place(struct rc_ring *ring, struct operation *op, struct peer *peer)
{
	op->placed = RC_MIN(op->size, peer->up_size);
	if (sim_fault(FAULT_ONE_BYTE_RECEIVE))
		op->placed = 1;
	socket_take(peer, op->place, op->placed);
	sim_met(MET_PLACED);
	finish(ring, op, (int)op->placed);
}

static void receive_now(struct rc_ring *ring, struct operation *op)
{
	struct peer *peer = ring->slots[op->slot].peer;
	if (peer->reset_by_peer) {
		finish(ring, op, -ECONNRESET);
		return;
	}
	if (!peer->up_size) {
		if (peer->up_ended)
			finish(ring, op, 0);
		return;
	}
	enum fault broken = sim_one_in(2) ? FAULT_CANCELLED : FAULT_RESET;
	if (sim_fault(broken)) {
		peer_excuse(peer, "a receive failed");
		finish(ring, op, broken == FAULT_RESET ? -ECONNRESET : -ECANCELED);
		return;
	}
	if (op->place) {
		place(ring, op, peer);
		return;
	}
	size_t size;
	int number = sim_fault(FAULT_NO_BUFFERS) ? -1 : take_buffer(ring, peer, &size);
	if (number < 0) {
		finish(ring, op, -ENOBUFS);
		return;
	}
	bool more = !op->once && !sim_fault(FAULT_ENDED_WITH_DATA);
	complete(ring, op, (int)size, RC_RING_BUFFER | (more ? RC_RING_MORE : 0), late());
	struct rc_completion *out = &ring->completions[ring->completion_count - 1].out;
	out->buffer = (uint16_t)number;
	out->data = ring->memory[number];
}

static int free_slot(struct rc_ring *ring)
{
	unsigned begin = ring->slot_freed && sim_one_in(2) ? ring->slot_freed - 1 : sim_below(ring->slot_count);
	for (unsigned i = 0; i < ring->slot_count; i++)
		if (ring->slots[(begin + i) % ring->slot_count].state == SLOT_FREE)
			return (int)((begin + i) % ring->slot_count);
	return -ENFILE;
}

static void accept_now(struct rc_ring *ring, struct operation *op)
{
	static const int errors[] = { -EMFILE, -ENFILE, -ENOMEM };
	if (!listener_waiting(op->fd))
		return;
	for (unsigned i = 0; i < 3; i++) {
		if (sim_fault(FAULT_ACCEPT_EMFILE + i)) {
			finish(ring, op, errors[i]);
			return;
		}
	}
	if (sim_fault(FAULT_ENDED_ALONE)) {
		finish(ring, op, -ECONNABORTED);
		return;
	}
	int slot = free_slot(ring);
	if (slot < 0) {
		finish(ring, op, slot);
		return;
	}
	struct peer *peer = listener_take(op->fd);
	ring->slots[slot] = (struct slot){ .state = SLOT_OPEN, .peer = peer };
	bool more = !sim_fault(FAULT_ENDED_WITH_DATA);
	complete(ring, op, slot, more ? RC_RING_MORE : 0, late());
	struct pending *pending = &ring->completions[ring->completion_count - 1];
	pending->has_peer = peer->over_unix || !sim_fault(FAULT_PEER_UNKNOWN);
	peer->unknown = !pending->has_peer;
	pending->peer = socket_address(peer);
}

static void watch_now(struct rc_ring *ring, struct operation *op)
{
	uint64_t written = host_written(op->fd);
	if (written == op->seen)
		return;
	op->seen = written;
	if (sim_fault(FAULT_ENDED_ALONE))
		finish(ring, op, -ECANCELED);
	else
		complete(ring, op, POLLIN, sim_fault(FAULT_ENDED_WITH_DATA) ? 0 : RC_RING_MORE, late());
}

static void connect_now(struct rc_ring *ring, struct operation *op)
{
	struct peer *peer = NULL;
	if (op->hangs || (op->cancelled && sim_one_in(2))) {
		if (op->cancelled)
			finish(ring, op, -ECANCELED);
		return;
	}
	int slot = free_slot(ring);
	if (slot < 0) {
		finish(ring, op, slot);
		return;
	}
	switch (dial_reaches(&op->to, &peer)) {
	case REACHED_NOTHING:
		op->hangs = true;
		return;
	case REACHED_NOBODY:
		finish(ring, op, -ECONNREFUSED);
		return;
	case REACHED_PEER:
		break;
	}
	ring->slots[slot] = (struct slot){ .state = SLOT_OPEN, .peer = peer };
	socket_link(peer);
	finish(ring, op, slot);
}

static void poll_now(struct rc_ring *ring, struct operation *op)
{
	struct peer *peer = ring->slots[op->slot].peer;
	bool writable = peer->down_size <= peer->down_capacity * 2 / 3 || peer->reset_by_peer ||
	                peer->state == PEER_OVER;
	if (writable || (sim_one_in(64) && sim_fault(FAULT_WRITABLE_EARLY)))
		finish(ring, op, POLLOUT);
}

static void cancel_now(struct rc_ring *ring, struct operation *op)
{
	unsigned count = 0;
	for (unsigned i = 0; i < ring->begun_count; i++) {
		struct operation *other = &ring->operations[ring->begun[i]];
		bool ours = op->kind == OP_ACCEPT_CANCEL ? other->kind == OP_ACCEPT && other->fd == op->fd
		                                         : other->slot == op->slot && other->tag == op->of;
		if (!ours || other->over || other == op)
			continue;
		finish(ring, other, -ECANCELED);
		count++;
	}
	uint64_t late_ns = sim_fault(FAULT_LATE_CANCEL) ? sim_below(20000000) : 0;
	complete(ring, op, count ? (int)count : -ENOENT, 0, late_ns);
}

static void abort_now(struct rc_ring *ring, struct operation *op)
{
	struct peer *peer = ring->slots[op->slot].peer;
	peer_excuse(peer, "it acknowledged nothing");
	socket_abort(peer);
	finish(ring, op, 0);
}

static void do_now(struct rc_ring *ring, struct operation *op)
{
	switch (op->kind) {
	case OP_ACCEPT:
		accept_now(ring, op);
		break;
	case OP_RECEIVE:
		receive_now(ring, op);
		break;
	case OP_SEND:
		send_now(ring, op);
		break;
	case OP_OPTION:
		CHECK(operation_sum(op->copies, 1, &op->size) == op->sum,
		      "an option's value changed before it was read");
		finish(ring, op,
		       kernel_option(ring->slots[op->slot].peer, op->level, op->name, op->copies[0].at,
		                     (unsigned)op->copies[0].size));
		break;
	case OP_POLL:
		poll_now(ring, op);
		break;
	case OP_SHUTDOWN:
		ring->slots[op->slot].peer->down_ended = true;
		finish(ring, op, 0);
		break;
	case OP_ABORT:
		abort_now(ring, op);
		break;
	case OP_CLOSE:
		/* What was sealed and has not left cannot be seen from here, so this asks the production code. */
		for (unsigned i = 0; i < sim.server->worker_count; i++)
			if (sim.server->workers[i].ring == ring &&
			    sim.server->workers[i].connections[op->slot].cursor.partial)
				ring->slots[op->slot].peer->cut = ring->slots[op->slot].peer->secure;
		socket_close(&ring->slots[op->slot]);
		finish(ring, op, 0);
		break;
	case OP_CONNECT:
		connect_now(ring, op);
		break;
	case OP_WATCH:
		watch_now(ring, op);
		break;
	default:
		cancel_now(ring, op);
		break;
	}
}

void operation_start(struct rc_ring *ring, struct operation *op)
{
	ring->begun[ring->begun_count++] = op->number;
	/* A cancel and a close take effect inside the submission: what was begun later must not meet them. */
	bool at_once = op->kind == OP_CANCEL || op->kind == OP_ACCEPT_CANCEL || op->kind == OP_CLOSE;
	if (!at_once && sim_fault(FAULT_LATE_START))
		op->ready_ns = sim.now_ns + sim_below(2000000);
	else if (at_once || op->kind == OP_SEND)
		do_now(ring, op);
}

void operations_go_on(struct rc_ring *ring)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < ring->begun_count; i++) {
		struct operation *op = &ring->operations[ring->begun[i]];
		if (!op->over && (op->ready_ns <= sim.now_ns || sim.quiet))
			do_now(ring, op);
		if (!op->over)
			ring->begun[kept++] = op->number;
	}
	ring->begun_count = kept;
}

void operations_accept_again(struct rc_ring *ring)
{
	if (!sim_fault(FAULT_SLOT_AGAIN))
		return;
	for (unsigned i = 0; i < ring->begun_count; i++) {
		struct operation *op = &ring->operations[ring->begun[i]];
		if (op->kind == OP_ACCEPT && !op->over && op->ready_ns <= sim.now_ns)
			accept_now(ring, op);
	}
}
