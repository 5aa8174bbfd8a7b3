/* SPDX-License-Identifier: MIT
 *
 * renew.c - see renew.h. It must not know how anything is sent. Invariant: whoever is subscribed to a topic with a
 * successor is in the audience of one that is in the list of rc_topics.left_first.
 */
#include "renew.h"

#include "subscription.h"
#include "worker.h"

#define MOVED_AT_ONCE 64 /* and topics looked at, before publishers get the lock */

bool rc_renewals_wait(const struct worker *worker)
{
	return atomic_load(&worker->server->topics.successions) != worker->renewals.seen;
}

/* With the log's lock. One that cannot be told that what it knows is void must not go on. */
static void move(struct worker *worker, uint32_t slot, struct rc_subscription *record)
{
	static const char reason[] = "no memory to begin a topic anew";
	const struct ending ending = { .kind = ENDING_CLOSE,
		                       .slot = slot,
		                       .code = RC_CLOSE_INTERNAL,
		                       .reason = reason,
		                       .reason_size = sizeof reason - 1 };
	if (rc_subscription_move(worker, slot, record) == 0)
		return;
	if (worker->connections[slot].state == CONNECTION_OPEN)
		rc_ending_note(worker, &ending);
	else
		rc_ending_cut(worker, slot, RC_CLOSE_INTERNAL);
}

/* The topic of the list that is next: where that is none any more, it begins again with the first. */
static struct rc_topic *next_topic(struct worker *worker)
{
	struct rc_topics *topics = &worker->server->topics;
	struct renewals *renewals = &worker->renewals;
	struct rc_topic *topic = renewals->at ? rc_topic_if_made(topics, renewals->at - 1) : NULL;
	if (topic && rc_topic_was_left(topics, topic))
		return topic;
	renewals->at = topics->left_first;
	return renewals->at ? rc_topic_at(topics, renewals->at - 1) : NULL;
}

/* Looks at one topic, and moves one of its subscribers. Returns whether there may be more. */
static bool look_at_one(struct worker *worker)
{
	struct renewals *renewals = &worker->renewals;
	struct rc_topic *topic = next_topic(worker);
	if (!topic)
		return false;
	const struct rc_audience *audience = rc_audience_at(&worker->subscribers, topic->id);
	uint32_t count = audience ? atomic_load_explicit(&audience->member_count, memory_order_relaxed) : 0;
	if (count <= 1)
		renewals->at = topic->left;
	bool more = renewals->at;
	if (count) {
		const struct rc_member member = audience->members[count - 1];
		move(worker, member.slot, rc_subscription_at(&worker->subscribers, member.subscription));
	}
	return more;
}

void rc_renewals_look(struct worker *worker)
{
	struct renewals *renewals = &worker->renewals;
	bool more = true;
	if (!rc_renewals_wait(worker))
		return;
	pthread_mutex_lock(&worker->server->log_lock);
	if (!renewals->at)
		renewals->pass = atomic_load(&worker->server->topics.successions);
	for (unsigned i = 0; more && i < MOVED_AT_ONCE; i++)
		more = look_at_one(worker);
	if (!more) {
		renewals->at = 0;
		renewals->seen = renewals->pass;
	}
	pthread_mutex_unlock(&worker->server->log_lock);
}

/* The first of its subscriptions whose topic has a successor, or null. */
static struct rc_subscription *left_behind(const struct worker *worker, uint32_t slot)
{
	for (uint32_t at = worker->connections[slot].first_subscription; at;) {
		struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		if (rc_topic_at(&worker->server->topics, record->topic)->successor)
			return record;
		at = record->next;
	}
	return NULL;
}

void rc_renewals_of(struct worker *worker, uint32_t slot)
{
	struct rc_subscription *record;
	if (!rc_renewals_wait(worker))
		return;
	while ((record = left_behind(worker, slot)))
		move(worker, slot, record);
}
