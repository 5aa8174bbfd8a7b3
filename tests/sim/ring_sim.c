/* SPDX-License-Identifier: MIT
 *
 * ring_sim.c - the seam of uring/ring.h on simulated sockets. It keeps what the header promises and nothing that it does
 * not: operations of a slot start in the order they were submitted; what it is given must lie there unchanged until the
 * completion; everything else comes when the seed wants it.
 */
#include "ring_sim.h"

#include <poll.h>
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

static void start(struct rc_ring *ring, struct operation *op);

static void submit(struct rc_ring *ring)
{
	for (unsigned i = 0; i < ring->prepared_count; i++)
		start(ring, &ring->operations[ring->prepared[i]]);
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
	CHECK(number < OPERATIONS_MAX, "operations without end");
	struct operation *op = &ring->operations[number];
	*op = (struct operation){ .kind = kind, .slot = slot, .tag = tag, .number = number };
	if (slot != NO_SLOT) {
		CHECK(slot < ring->slot_count && ring->slots[slot].state == SLOT_OPEN, "operation %d on slot %u, which is not open",
		      kind, slot);
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
	prepare(ring, OP_CONNECT, NO_SLOT, tag)->fd = socket_port(to);
}

void rc_ring_receive(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	CHECK(!ring->slots[slot].receiving, "a second receive on slot %u", slot);
	prepare(ring, OP_RECEIVE, slot, tag);
	ring->slots[slot].receiving = true;
}

static uint64_t sum_of(const struct rc_range *ranges, unsigned count, size_t *size)
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

void rc_ring_send(struct rc_ring *ring, unsigned slot, const struct rc_range *ranges, unsigned range_count, bool zero_copy,
                  uint64_t tag)
{
	CHECK(!ring->slots[slot].sending, "a second send on slot %u", slot);
	CHECK(range_count && range_count <= RC_PLAN_RANGES_MAX, "%u ranges", range_count);
	struct operation *op = prepare(ring, OP_SEND, slot, tag);
	ring->slots[slot].sending = true;
	op->zero_copy = zero_copy;
	op->ranges = ranges;
	op->range_count = range_count;
	memcpy(op->copies, ranges, range_count * sizeof *ranges);
	op->sum = sum_of(ranges, range_count, &op->size);
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
	op->sum = sum_of(op->copies, 1, &op->size);
	return -EINPROGRESS;
}

void rc_ring_send_alert(struct rc_ring *ring, unsigned slot, const struct rc_range *bytes, uint64_t tag)
{
	CHECK(kernel_seals(ring->slots[slot].peer), "an alert to a socket that makes no records");
	rc_ring_send(ring, slot, bytes, 1, false, tag);
	ring->operations[ring->prepared[ring->prepared_count - 1]].is_alert = true;
}

void rc_ring_poll_writable(struct rc_ring *ring, unsigned slot, uint64_t tag) { prepare(ring, OP_POLL, slot, tag); }
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

void rc_ring_shutdown(struct rc_ring *ring, unsigned slot, uint64_t tag) { prepare(ring, OP_SHUTDOWN, slot, tag); }
void rc_ring_cancel(struct rc_ring *ring, unsigned slot, uint64_t of, uint64_t tag)
{
	prepare(ring, OP_CANCEL, slot, tag)->of = of;
}
void rc_ring_watch(struct rc_ring *ring, int fd, uint64_t tag) { prepare(ring, OP_WATCH, NO_SLOT, tag)->fd = fd; }

void rc_ring_close_slot(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	CHECK(!ring->slots[slot].in_flight, "slot %u is closed with %u operations on their way", slot,
	      ring->slots[slot].in_flight);
	prepare(ring, OP_CLOSE, slot, tag);
	ring->slots[slot].state = SLOT_CLOSING;
}

/* ---- doing: results ---- */

static void complete(struct rc_ring *ring, struct operation *op, int result, unsigned flags, uint64_t late_ns)
{
	CHECK(ring->completion_count < COMPLETIONS_MAX, "completions without end");
	/* Those of one operation come in order. */
	op->visible_ns = RC_MAX(op->visible_ns, sim.now_ns + late_ns);
	ring->completions[ring->completion_count++] = (struct pending){
		.out = { .tag = op->tag, .result = result, .flags = (uint16_t)flags }, .operation = op->number,
		.visible_ns = op->visible_ns,
	};
	op->waiting++;
	if (!(flags & RC_RING_MORE))
		op->over = true;
}

static uint64_t late(void) { return sim_fault(FAULT_LATE_COMPLETION) ? sim_below(3000000) : 0; }

static void finish(struct rc_ring *ring, struct operation *op, int result) { complete(ring, op, result, 0, late()); }

/* The kernel lets go of a zero-copy send when the peer's has acknowledged it, or when nobody asks for it any more. */
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
		size = sim_one_in(2) ? size - sim_between(1, (uint32_t)RC_MIN(size - 1, 12)) : sim_between(1, (uint32_t)size - 1);
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
	size_t size;
	int number = sim_fault(FAULT_NO_BUFFERS) ? -1 : take_buffer(ring, peer, &size);
	if (number < 0) {
		finish(ring, op, -ENOBUFS);
		return;
	}
	bool more = !sim_fault(FAULT_ENDED_WITH_DATA);
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
	struct peer *peer = socket_dialled(op->fd);
	int slot = free_slot(ring);
	if (!peer || slot < 0 || sim_fault(FAULT_CONNECT_REFUSED)) {
		finish(ring, op, slot < 0 ? slot : sim_one_in(2) ? -ECONNREFUSED : -ETIMEDOUT);
		return;
	}
	ring->slots[slot] = (struct slot){ .state = SLOT_OPEN, .peer = peer };
	socket_link(peer);
	finish(ring, op, slot);
}

static void poll_now(struct rc_ring *ring, struct operation *op)
{
	struct peer *peer = ring->slots[op->slot].peer;
	bool writable = peer->down_size <= peer->down_capacity * 2 / 3 || peer->reset_by_peer || peer->state == PEER_OVER;
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
		CHECK(sum_of(op->copies, 1, &op->size) == op->sum, "an option's value changed before it was read");
		finish(ring, op, kernel_option(ring->slots[op->slot].peer, op->level, op->name, op->copies[0].at,
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
			if (sim.server->workers[i].ring == ring && sim.server->workers[i].connections[op->slot].partial)
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

static void start(struct rc_ring *ring, struct operation *op)
{
	ring->begun[ring->begun_count++] = op->number;
	/* A cancel and a close take effect inside the submission: what was begun later must not meet them. */
	bool at_once = op->kind == OP_CANCEL || op->kind == OP_ACCEPT_CANCEL || op->kind == OP_CLOSE;
	if (!at_once && sim_fault(FAULT_LATE_START))
		op->ready_ns = sim.now_ns + sim_below(2000000);
	else if (at_once || op->kind == OP_SEND)
		do_now(ring, op);
}

static void go_on(struct rc_ring *ring)
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

/* ---- waiting ---- */

static bool is_visible(const struct pending *pending) { return pending->visible_ns <= sim.now_ns || sim.quiet; }

static bool any_visible(const struct rc_ring *ring)
{
	for (unsigned i = 0; i < ring->completion_count; i++)
		if (is_visible(&ring->completions[i]))
			return true;
	return false;
}

bool ring_rests(struct rc_ring *ring)
{
	go_on(ring);
	return !any_visible(ring) && !ring->prepared_count;
}

bool ring_waits(struct rc_ring *ring) { return ring->waits && ring_rests(ring); }

bool ring_can_run(struct rc_ring *ring) { return !ring_waits(ring) || ring->wake_ns <= sim.now_ns; }

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
	CHECK(sum_of(op->copies, op->range_count, &size) == op->sum, "a send's bytes changed before %s",
	      released ? "the kernel let go of them" : "its completion");
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
		CHECK(sum_of(op->copies, 1, &op->size) == op->sum, "an option's value changed before its completion");
		ring->slots[op->slot].sending = false;
	}
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

/* Right behind the completion that says a slot is closed comes the one that says it is a new connection's. */
static void use_again(struct rc_ring *ring)
{
	if (!sim_fault(FAULT_SLOT_AGAIN))
		return;
	for (unsigned i = 0; i < ring->begun_count; i++) {
		struct operation *op = &ring->operations[ring->begun[i]];
		if (op->kind == OP_ACCEPT && !op->over && op->ready_ns <= sim.now_ns)
			accept_now(ring, op);
	}
}

unsigned rc_ring_wait(struct rc_ring *ring, struct rc_completion *completions, unsigned max, int64_t timeout_ns)
{
	CHECK(ring->open, "a wait on a closed ring");
	memset(ring->addresses, 0x5C, sizeof ring->addresses);
	submit(ring);
	go_on(ring);
	ring->waits = timeout_ns != 0 && !sim_fault(FAULT_WOKEN_EARLY);
	ring->wake_ns = timeout_ns < 0 ? UINT64_MAX : sim.now_ns + (uint64_t)timeout_ns;
	host_yield();
	ring->waits = false;
	go_on(ring);
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
			use_again(ring);
	}
	ring->completion_count = kept;
	return count;
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
		CHECK(at[ring->buffers[number].used + i] == 0x5B, "something was written behind the received bytes");
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
		CHECK(op->kind == OP_NONE || op->kind == OP_ACCEPT || op->kind == OP_WATCH, "operation %d goes on for ever", op->kind);
	}
}

uint64_t rc_ring_now(struct rc_ring *ring)
{
	(void)ring;
	return sim.now_ns;
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
