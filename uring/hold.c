/* SPDX-License-Identifier: MIT
 *
 * hold.c - what hold.h says. It must not know what is sent, only from which entry of the log.
 *
 * Invariant: an entry is here from a zero-copy send's preparation until the kernel let go, and no longer.
 */
#include "hold.h"

static struct hold *find(const struct worker *worker, uint32_t slot)
{
	for (unsigned i = 0; i < worker->hold_count; i++)
		if (worker->holds[i].slot == slot)
			return (struct hold *)&worker->holds[i];
	return NULL;
}

static void forget(struct worker *worker, struct hold *hold)
{
	*hold = worker->holds[--worker->hold_count];
}

bool rc_hold_has(const struct worker *worker, uint32_t slot)
{
	return find(worker, slot);
}

bool rc_hold_begin(struct worker *worker, uint32_t slot, const struct rc_plan *plan)
{
	size_t size_min = worker->server->config.zero_copy_size_min;
	if (!size_min || plan->size < size_min || worker->connections[slot].copies ||
	    worker->hold_count == RC_HOLDS_MAX || find(worker, slot))
		return false;
	worker->holds[worker->hold_count++] = (struct hold){ .begin = plan->begin, .slot = slot, .sending = true };
	rc_count(&worker->stats.sends_zero_copy, 1);
	return true;
}

int rc_hold_sent(struct worker *worker, uint32_t slot, int result, bool held)
{
	struct hold *hold = find(worker, slot);
	if (!hold || !hold->sending)
		return result;
	hold->sending = false;
	if (!held)
		forget(worker, hold);
	if (result >= 0 || result == -EAGAIN)
		return result;
	/* No such thing on this socket, or no memory to pin; if it is the connection's end, the next send says so. */
	worker->connections[slot].copies = true;
	return -EAGAIN;
}

void rc_hold_end(struct worker *worker, uint32_t slot, bool copied)
{
	struct hold *hold = find(worker, slot);
	RC_ASSERT(hold && !hold->sending);
	forget(worker, hold);
	worker->connections[slot].copies |= copied;
	rc_count(&worker->stats.zero_copies_copied, copied);
	rc_connection_try_close_slot(worker, slot);
}

void rc_hold_abort(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	struct hold *hold = find(worker, slot);
	RC_ASSERT(conn->state == CONNECTION_ENDING);
	if (!hold || hold->aborted || conn->shutting)
		return;
	hold->aborted = true;
	conn->shutting = true;
	rc_ring_abort(worker->ring, slot, rc_tag(worker, TAG_SHUT, slot, 0));
}

static void cut_off(struct worker *worker, uint32_t slot)
{
	if (worker->connections[slot].state == CONNECTION_OPEN) /* else it has been closed before */
		rc_count(&worker->stats.slow_closed, 1);
	rc_connection_end(worker, slot, RC_CLOSE_POLICY, NULL, 0);
	if (find(worker, slot))
		rc_hold_abort(worker, slot);
}

uint64_t rc_hold_floor(struct worker *worker)
{
	const struct rc_log *log = &worker->server->log;
	uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed), head = rc_log_head(log),
		 floor = UINT64_MAX;
	for (unsigned i = 0; i < worker->hold_count; i++) {
		struct hold hold = worker->holds[i];
		if (rc_log_too_far(log, rc_log_entry(log, hold.begin), hold.begin, head, end))
			cut_off(worker, hold.slot);
		floor = RC_MIN(floor, hold.begin);
	}
	return floor;
}
