/* SPDX-License-Identifier: MIT
 *
 * touched.c - see touched.h. It must not know what a plan is, nor how a round goes on. Invariant: `firsts` is 0 but for
 * the slots of `touches`.
 */
#include "touched.h"

#include "worker.h"

int rc_touched_open(struct worker *worker)
{
	struct touched *touched = &worker->touched;
	/* Pages that no round needed take no memory. */
	touched->firsts = rc_map(worker->slot_count * sizeof *touched->firsts);
	touched->touches = rc_map(RC_ROUND_TOUCHES_MAX * sizeof *touched->touches);
	return touched->firsts && touched->touches ? 0 : -ENOMEM;
}

void rc_touched_close(struct worker *worker)
{
	struct touched *touched = &worker->touched;
	rc_unmap(touched->firsts, worker->slot_count * sizeof *touched->firsts);
	rc_unmap(touched->touches, RC_ROUND_TOUCHES_MAX * sizeof *touched->touches);
	touched->firsts = NULL;
	touched->touches = NULL;
}

static void add_audience(struct touched *touched, const struct rc_audience *audience, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct rc_member *member = &audience->members[i];
		touched->touches[touched->count++] = (struct touch){ .slot = member->slot,
			                                             .subscription = member->subscription,
			                                             .next = touched->firsts[member->slot] };
		touched->firsts[member->slot] = touched->count;
	}
}

void rc_touched_begin(struct worker *worker)
{
	struct touched *touched = &worker->touched;
	for (uint32_t i = 0; i < touched->count; i++)
		touched->firsts[touched->touches[i].slot] = 0;
	touched->count = 0;
	touched->complete = true;
	for (uint32_t i = 0; touched->complete && i < worker->round.walk_count; i++) {
		const struct rc_audience *audience = rc_audience_at(&worker->subscribers, worker->round.walk[i]);
		uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
		touched->complete = count <= RC_ROUND_TOUCHES_MAX - touched->count;
		if (touched->complete)
			add_audience(touched, audience, count);
	}
}

void rc_touched_spoil(struct worker *worker)
{
	worker->touched.complete = false;
}

void rc_touched_check(const struct worker *worker, uint32_t slot)
{
	const struct touched *touched = &worker->touched;
	for (uint32_t at = touched->firsts[slot]; at; at = touched->touches[at - 1].next) {
		uint32_t number = touched->touches[at - 1].subscription;
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, number);
		const struct rc_audience *audience = rc_audience_at(&worker->subscribers, record->topic);
		RC_ASSERT(record->slot == slot && audience && record->member_index < audience->member_count &&
		          audience->members[record->member_index].subscription == number);
	}
}

uint32_t rc_touched_wants(const struct worker *worker, uint32_t slot, struct rc_want *wants)
{
	const struct touched *touched = &worker->touched;
	uint32_t count = 0;
	RC_VERIFY(rc_touched_check(worker, slot));
	for (uint32_t at = touched->firsts[slot]; at; at = touched->touches[at - 1].next) {
		uint32_t number = touched->touches[at - 1].subscription;
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, number);
		if (!record->resumes)
			wants[count++] = (struct rc_want){ .from = record->from,
				                           .topic = record->topic,
				                           .feed = rc_feed_at(&worker->subscribers, number) };
	}
	return count;
}
