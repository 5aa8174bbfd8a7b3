/* SPDX-License-Identifier: MIT
 *
 * hold.c - see hold.h. It must not know what is sent, only from which entry of the log.
 *
 * Invariant: a hold is in the list from the preparation of its send until the kernel let go, and no longer.
 */
#include "hold.h"

#include "worker.h"

static struct hold *find(const struct holds *holds, uint32_t slot)
{
	for (unsigned i = 0; i < holds->count; i++)
		if (holds->list[i].slot == slot)
			return (struct hold *)&holds->list[i];
	return NULL;
}

static void forget(struct holds *holds, struct hold *hold)
{
	*hold = holds->list[--holds->count];
}

bool rc_hold_has(const struct holds *holds, uint32_t slot)
{
	return find(holds, slot);
}

bool rc_hold_begin(struct worker *worker, uint32_t slot, const struct rc_plan *plan)
{
	size_t size_min = worker->server->config.zero_copy_size_min;
	if (!size_min || plan->size < size_min || worker->connections[slot].copies ||
	    worker->holds.count == RC_HOLDS_MAX || find(&worker->holds, slot))
		return false;
	worker->holds.list[worker->holds.count++] =
	    (struct hold){ .begin = plan->begin, .slot = slot, .sending = true };
	rc_count(&worker->stats.sends_zero_copy, 1);
	return true;
}

int rc_hold_sent(struct worker *worker, uint32_t slot, int result, bool held)
{
	struct hold *hold = find(&worker->holds, slot);
	if (!hold || !hold->sending)
		return result;
	hold->sending = false;
	if (!held)
		forget(&worker->holds, hold);
	if (result >= 0 || result == -EAGAIN)
		return result;
	/* This socket has no zero-copy sends, or no memory could be pinned. If it is the connection's end, the next
	 * send says so. */
	worker->connections[slot].copies = true;
	return -EAGAIN;
}

void rc_hold_end(struct worker *worker, uint32_t slot, bool copied)
{
	struct hold *hold = find(&worker->holds, slot);
	RC_ASSERT(hold && !hold->sending);
	forget(&worker->holds, hold);
	worker->connections[slot].copies |= copied;
	rc_count(&worker->stats.zero_copies_copied, copied);
}

void rc_hold_reset(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	struct hold *hold = find(&worker->holds, slot);
	RC_ASSERT(conn->state == CONNECTION_ENDING);
	if (!hold || hold->aborted || conn->shutting)
		return;
	hold->aborted = true;
	conn->shutting = true;
	rc_ring_abort(worker->ring, slot, rc_tag(worker, TAG_SHUT, slot, 0));
}

static void cut_off(struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	const struct ending ending = { .kind = ENDING_RESET, .slot = slot, .code = RC_CLOSE_POLICY };
	if (conn->state == CONNECTION_ENDING)
		rc_hold_reset(worker, slot);
	else if (rc_ending_note(worker, &ending) && conn->state == CONNECTION_OPEN) /* else it has been closed before */
		rc_count(&worker->stats.slow_closed, 1);
}

uint64_t rc_hold_floor(struct worker *worker)
{
	const struct rc_log *log = &worker->server->log;
	uint64_t end = atomic_load_explicit(&log->end, memory_order_relaxed), head = rc_log_head(log),
		 floor = UINT64_MAX;
	for (unsigned i = 0; i < worker->holds.count; i++) {
		struct hold hold = worker->holds.list[i];
		if (rc_log_too_far(log, rc_log_entry(log, hold.begin), hold.begin, head, end))
			cut_off(worker, hold.slot);
		floor = RC_MIN(floor, hold.begin);
	}
	return floor;
}
