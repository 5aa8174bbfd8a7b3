/* SPDX-License-Identifier: MIT
 *
 * plans.c - see plans.h. It must not know how anything is sent.
 */
#include "plans.h"
#include "form.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>

static_assert(RC_PLANS_MAX <= RC_TAG_DETAILS, "a tag holds a plan's index");

int rc_plans_open(struct plans *plans)
{
	plans->all = rc_map(RC_PLANS_MAX * sizeof *plans->all);
	for (unsigned i = 0; i < RC_PLANS_MAX; i++)
		plans->free[i] = (uint16_t)(RC_PLANS_MAX - 1 - i);
	plans->free_count = RC_PLANS_MAX;
	plans->wants = rc_map(RC_PLAN_WINDOW * sizeof *plans->wants);
	return plans->all && plans->wants ? 0 : -ENOMEM;
}

void rc_plans_close(struct plans *plans)
{
	rc_unmap(plans->all, RC_PLANS_MAX * sizeof *plans->all);
	rc_unmap(plans->wants, RC_PLAN_WINDOW * sizeof *plans->wants);
}

void rc_plans_drop(struct plans *plans, struct rc_plan *plan)
{
	if (plan->reference_count || plan == plans->shared)
		return;
	plans->free[plans->free_count++] = (uint16_t)(plan - plans->all);
}

void rc_plans_forget(struct plans *plans)
{
	struct rc_plan *plan = plans->shared;
	plans->shared = NULL;
	if (plan)
		rc_plans_drop(plans, plan);
}

uint64_t rc_plans_floor(const struct plans *plans)
{
	uint64_t floor = UINT64_MAX;
	for (unsigned i = 0; plans->free_count < RC_PLANS_MAX && i < RC_PLANS_MAX; i++)
		if (plans->all[i].reference_count)
			floor = RC_MIN(floor, plans->all[i].begin);
	return floor;
}

static struct rc_plan *take_plan(struct plans *plans)
{
	if (!plans->free_count)
		return NULL;
	struct rc_plan *plan = &plans->all[plans->free[--plans->free_count]];
	plan->reference_count = 0;
	return plan;
}

static bool conflates(const struct worker *worker, uint32_t topic)
{
	return rc_topic_conflates(rc_topic_at(&worker->server->topics, topic));
}

/* Says what a connection wants in the way that costs least. */
static void tell_interest(struct worker *worker, uint32_t slot, struct rc_interest *interest, uint64_t window)
{
	const struct connection *conn = &worker->connections[slot];
	/* Who is told numbers is told of what is left out, and so it is left out by the feed: feeds.h. */
	bool may_conflate = conn->cursor.behind && !rc_form_of(conn)->mark;
	if (conn->subscription_count > RC_MIN(window, RC_PLAN_WINDOW)) {
		interest->set = &worker->subscribers;
		interest->slot = slot;
		interest->conflates = may_conflate;
		return;
	}
	interest->wants = worker->plans.wants;
	for (uint32_t at = conn->first_subscription; at;) {
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		const struct rc_feed *feed = rc_feed_at(&worker->subscribers, at - 1);
		at = record->next;
		if (record->resumes)
			continue; /* not before rc_subscription_resume() */
		interest->wants[interest->want_count++] = (struct rc_want){
			.from = record->from,
			.topic = record->topic,
			.conflate = may_conflate && (record->conflate || conflates(worker, record->topic)),
			.feed = feed,
		};
	}
}

/* Whether it may meet what it has had elsewhere; from the first message on that it has not, it never will again. */
static bool has_had(const struct worker *worker, uint32_t topic, struct rc_feed *feed, uint64_t begin)
{
	const struct rc_log *log = &worker->server->log;
	if (!feed->had)
		return false;
	uint64_t first = rc_log_first_from(log, rc_topic_at(&worker->server->topics, topic), begin);
	if (first != RC_NONE && rc_log_entry(log, first)->before >= feed->had)
		feed->had = 0;
	return feed->had;
}

/* The only topic of a connection whose plan does not depend on anything else of it, or UINT32_MAX. */
static uint32_t only_topic(const struct worker *worker, const struct connection *conn, uint64_t begin)
{
	if (conn->subscription_count != 1 || conn->cursor.partial || conn->cursor.resuming || conn->cursor.own_ahead)
		return UINT32_MAX;
	const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, conn->first_subscription - 1);
	struct rc_feed *feed = rc_feed_at(&worker->subscribers, conn->first_subscription - 1);
	if (record->from > begin ||
	    (feed && (feed->rate || feed->until > begin || has_had(worker, record->topic, feed, begin))) ||
	    (conn->cursor.behind && (record->conflate || conflates(worker, record->topic))))
		return UINT32_MAX;
	return record->topic;
}

struct rc_plan *rc_plans_for(struct worker *worker, uint32_t slot, uint64_t begin, uint64_t end)
{
	struct connection *conn = &worker->connections[slot];
	struct plans *plans = &worker->plans;
	struct rc_interest interest = { 0 };
	rc_encode_interest(worker, conn, &interest);
	uint32_t topic = only_topic(worker, conn, begin);
	if (topic != UINT32_MAX) {
		struct rc_plan *shared = plans->shared;
		if (shared && shared->topic == topic && plans->shared_begin == begin && plans->shared_end == end &&
		    shared->encoding == interest.encoding && shared->encoded_only == interest.encoded_only &&
		    shared->synced == interest.synced && plans->shared_size_min == interest.encoded_size_min)
			return shared;
		rc_plans_forget(plans);
		interest.topic = topic;
	} else if (worker->touched.complete && !conn->cursor.behind) {
		RC_ASSERT(begin >= worker->round.begin && !conn->cursor.partial);
		interest.wants = plans->wants;
		interest.want_count = rc_touched_wants(worker, slot, plans->wants);
		end = worker->round.end;
	} else {
		tell_interest(worker, slot, &interest, end - begin);
	}
	struct rc_plan *plan = take_plan(plans);
	if (!plan)
		return NULL;
	interest.self = conn->cursor.own_ahead ? rc_handle(worker, slot) : 0;
	rc_plan_make(plan, &worker->server->log, &interest, begin, end, conn->cursor.partial);
	/* It has passed all entries of its own: from here on it may share plans again. */
	if (!plan->left_out && plan->end == end && end >= plans->own_end)
		conn->cursor.own_ahead = false;
	if (topic != UINT32_MAX) {
		plans->shared = plan;
		plans->shared_begin = begin;
		plans->shared_end = end;
		plans->shared_size_min = interest.encoded_size_min;
	}
	return plan;
}
