/* SPDX-License-Identifier: MIT
 *
 * plans.c - see plans.h. It must not know how anything is sent.
 */
#include "plans.h"
#include "encode.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int rc_plans_open(struct worker *worker)
{
	size_t plans_size = PLANS_MAX * sizeof *worker->plans;
	worker->plans = mmap(NULL, plans_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
	                     0);
	if (worker->plans == MAP_FAILED) {
		worker->plans = NULL;
		return -ENOMEM;
	}
	for (unsigned i = 0; i < PLANS_MAX; i++)
		worker->plans_free[i] = (uint16_t)(PLANS_MAX - 1 - i);
	worker->plan_free_count = PLANS_MAX;
	return 0;
}

void rc_plans_close(struct worker *worker)
{
	if (worker->plans)
		munmap(worker->plans, PLANS_MAX * sizeof *worker->plans);
	free(worker->marks);
}

void rc_plans_drop(struct worker *worker, struct rc_plan *plan)
{
	if (plan->reference_count || plan == worker->shared)
		return;
	worker->plans_free[worker->plan_free_count++] = (uint16_t)(plan - worker->plans);
}

void rc_plans_forget(struct worker *worker)
{
	struct rc_plan *plan = worker->shared;
	worker->shared = NULL;
	if (plan)
		rc_plans_drop(worker, plan);
}

static struct rc_plan *take_plan(struct worker *worker)
{
	if (!worker->plan_free_count)
		return NULL;
	struct rc_plan *plan = &worker->plans[worker->plans_free[--worker->plan_free_count]];
	plan->reference_count = 0;
	return plan;
}

static bool conflates(const struct worker *worker, uint32_t topic)
{
	return rc_topic_at(&worker->server->topics, topic)->options.policy == RC_POLICY_CONFLATE;
}

/* Marks what a connection wants; forgotten at the next call. */
static bool mark_interest(struct worker *worker, const struct connection *conn, struct rc_interest *interest)
{
	if (!++worker->mark_round) {
		worker->mark_count = 0; /* it came around: marks as old as that would count again */
		worker->mark_round = 1;
	}
	for (uint32_t at = conn->first_subscription; at;) {
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		if (record->topic >= worker->mark_count) {
			uint32_t count = RC_MAX(record->topic + 1, worker->mark_count * 2);
			RC_ASSERT(count > record->topic);
			struct rc_mark *marks = realloc(worker->marks, count * sizeof *marks);
			if (!marks)
				return false;
			memset(marks + worker->mark_count, 0, (count - worker->mark_count) * sizeof *marks);
			worker->marks = marks;
			worker->mark_count = count;
		}
		at = record->next;
		if (record->resumes)
			continue; /* not before rc_fanout_resume() */
		worker->marks[record->topic] = (struct rc_mark){
			.from = record->from,
			.generation = worker->mark_round,
			.conflate = conn->behind && (record->conflate || conflates(worker, record->topic)),
		};
	}
	/* Without a subscription there may never have been an array, and a null one would mean topic 0. */
	static const struct rc_mark none;
	interest->marks = worker->marks ? worker->marks : &none;
	interest->mark_count = worker->mark_count;
	interest->generation = worker->mark_round;
	return true;
}

/* The only topic of a connection whose plan does not depend on anything else of it, or UINT32_MAX. */
static uint32_t only_topic(const struct worker *worker, const struct connection *conn, uint64_t begin)
{
	if (conn->subscription_count != 1 || conn->partial || conn->resuming || conn->own_ahead)
		return UINT32_MAX;
	const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, conn->first_subscription - 1);
	if (record->from > begin || (conn->behind && (record->conflate || conflates(worker, record->topic))))
		return UINT32_MAX;
	return record->topic;
}

struct rc_plan *rc_plans_for(struct worker *worker, uint32_t slot, uint64_t begin, uint64_t end)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_log *log = &worker->server->log;
	struct rc_interest interest = { 0 };
	rc_encode_interest(worker, conn, &interest);
	uint32_t topic = only_topic(worker, conn, begin);
	if (topic != UINT32_MAX) {
		struct rc_plan *shared = worker->shared;
		if (shared && shared->topic == topic && shared->begin == begin && worker->shared_end == end &&
		    shared->encoding == interest.encoding && shared->encoded_only == interest.encoded_only &&
		    shared->synced == interest.synced && worker->shared_size_min == interest.encoded_size_min)
			return shared;
		rc_plans_forget(worker);
		interest.topic = topic;
	} else if (!mark_interest(worker, conn, &interest)) {
		return NULL;
	}
	struct rc_plan *plan = take_plan(worker);
	if (!plan)
		return NULL;
	interest.self = conn->own_ahead ? rc_handle(worker, slot) : 0;
	rc_plan_make(plan, log, &interest, begin, end, conn->partial);
	/* Its own entries are all behind it: from here on it may share plans again. */
	if (!plan->left_out && plan->end == end && end == worker->head)
		conn->own_ahead = false;
	if (topic != UINT32_MAX) {
		worker->shared = plan;
		worker->shared_end = end;
		worker->shared_size_min = interest.encoded_size_min;
	}
	return plan;
}
